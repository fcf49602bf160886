"""Whole models of a few thousand random weights, told their task by random task embeddings."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from conftest import TASKS, tiny_settings
from taskaware.data.sound.settings import FeatureSettings
from taskaware.data.vocabulary.vocabulary import Vocabulary, task_tag
from taskaware.decoding.settings import DecodingSettings
from taskaware.inference.model import TaskAwareModel
from taskaware.model.adapter_settings import AdapterMethod, AdapterSettings
from taskaware.model.adapters import set_of
from taskaware.model.create_model import create_model
from taskaware.model.parts import initial_task_embedding

if TYPE_CHECKING:
    from taskaware.types import Task

TEXTS = ["the red house is far away", "das rote Haus ist weit weg", "a dog — ein Hund"] * 4
NUM_BINS = 16  # as `tiny_settings` has


@functools.cache
def vocabulary() -> Vocabulary:
    tags = [task_tag(task.name) for task in TASKS]
    return Vocabulary.train(TEXTS, size=340, tags=tags)


def random_model(
    *,
    tasks: tuple[Task, ...] = TASKS,
    conditioning: dict[str, Any] | None = None,
    decoding: DecodingSettings | None = None,
    double: bool = False,
    **changes: Any,
) -> TaskAwareModel:
    """A model whose norms, biases and task embeddings are random too."""
    torch.manual_seed(1)
    settings = tiny_settings(conditioning=conditioning or {"cue": "explicit"}, **changes)
    transformer = create_model(settings, vocabulary_size=vocabulary().size, tasks=tasks)
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    initial = initial_task_embedding(settings)
    embeddings = {task.name: (initial + 0.4 * torch.randn_like(initial))[None] for task in tasks}
    return TaskAwareModel(
        transformer=(transformer.double() if double else transformer).eval(),
        settings=settings,
        tasks=tasks,
        vocabulary=vocabulary(),
        feature_settings=FeatureSettings(num_mel_bins=NUM_BINS),
        decoding=replace(decoding or DecodingSettings(beam=2), extra_pieces=5),
        task_embeddings=embeddings if settings.conditioning.has_task_network else {},
    )


def adapted(
    model: TaskAwareModel,
    method: AdapterMethod,
    *,
    sets: tuple[str, ...] = ("asr_en", "mt_en_de"),
    **fields: Any,
) -> TaskAwareModel:
    """The model with random adapters of some tasks, everywhere unless told otherwise."""
    adapters = AdapterSettings(method=method, **({"rank": 2, "where": "everything"} | fields))
    transformer = copy.deepcopy(model.transformer)
    for index, task in enumerate(model.tasks):
        if task.name in sets:
            transformer.adapters.add(transformer, adapters, task.name, task_index=index)
    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            if set_of(name) is not None:
                parameter.add_(0.3 * torch.randn_like(parameter))
    settings = replace(model.settings, adapters=adapters)
    return replace(model, transformer=transformer.eval(), settings=settings)
