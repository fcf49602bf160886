"""From settings to a model with new weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.model.film import ConstantFilm
from taskaware.model.parts import (
    create_bridge,
    create_decoder,
    create_encoder,
    create_frontends,
    create_layout,
    create_positions,
    create_task_network,
    create_text_encoder,
    create_token_embedding,
    initialise,
    last_norm,
)
from taskaware.model.transformer import TaskAwareTransformer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.model.settings import ModelSettings
    from taskaware.types import Task


def create_model(
    settings: ModelSettings,
    *,
    vocabulary_size: int,
    tasks: Sequence[Task],
    adapter_tasks: Sequence[str] = (),
) -> TaskAwareTransformer:
    """Return a model with new weights for these tasks (weights: Glorot uniform; embedding: normal).

    Args:
        settings: Sizes and choices.
        vocabulary_size: Pieces.
        tasks: Every task; their order gives the explicit network's one-hot positions.
        adapter_tasks: The names of those that have a set of adapter weights.

    Raises:
        UserError: A task has a text source, and a bridge joins an encoder that reads none.
        MissingDependencyError: A set needs a library that is not installed.
    """
    own = settings.of_encoder
    # First, as always: the order in which weights are drawn decides what a seed gives.
    frontends = create_frontends(own, {task.source_modality for task in tasks})
    model = TaskAwareTransformer(
        token_embedding=create_token_embedding(settings, vocabulary_size),
        frontends=frontends,
        source_positions=create_positions(
            own, settings.source_positions, limit=settings.num_source_positions
        ),
        target_positions=create_positions(
            settings, settings.target_positions, limit=settings.num_target_positions
        ),
        encoder=create_encoder(settings),
        decoder=create_decoder(settings),
        task_network=None,
        acts_by=settings.conditioning.acts_by,
        layout=create_layout(settings),
        d_model=settings.d_model,
        dropout=settings.dropout,
        reads_encoded=settings.conditioning.reads_encoded,
        encoder_norm=last_norm(own, needed=settings.encoder_block == "transformer"),
        decoder_norm=last_norm(settings),
        bridge=create_bridge(settings),
        text_encoder=create_text_encoder(settings),
        source_film=ConstantFilm(own.d_model) if settings.folded.source else None,
        target_film=ConstantFilm(settings.d_model) if settings.folded.target else None,
    )
    initialise(model)
    model.task_network = create_task_network(settings, num_tasks=len(tasks))
    for index, task in enumerate(tasks):
        if task.name in adapter_tasks:
            model.adapters.add(model, settings.adapters, task.name, task_index=index)
    return model
