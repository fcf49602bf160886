"""The task embeddings that a model is used with: means over random training examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from taskaware.data.batches.batching import batches_of, groups_of
from taskaware.errors import UserError
from taskaware.inference.source_texts import require_unicode
from taskaware.inference.sources import as_list
from taskaware.model.parts import neutral_task_embedding
from taskaware.model.task_embedding import mean_task_embedding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from taskaware.data.prepared.folder import Split
    from taskaware.inference.sources import Source
    from taskaware.model.conditioning_settings import Cue
    from taskaware.model.settings import ModelSettings
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Task

_EXAMPLES_PER_BATCH = 16


def support_task_embeddings(
    model: TaskAwareTransformer,
    tasks: Sequence[Task],
    split: Split,
    *,
    cue: Cue,
    num_examples: int,
    seed: int,
    earlier: Mapping[str, Tensor],
    fixed: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return the mean t_e of random examples of each task, ``[1, O]`` each (paper, section 2.3).

    The examples depend on seed and task alone, so that every call sees the same.

    Args:
        model: In evaluation mode.
        tasks: All of its tasks, in its order.
        split: The training examples, encoded with the model's vocabulary.
        cue: How the model is told its task.
        num_examples: Examples of each task.
        seed: Decides which.
        earlier: What a task without examples keeps, if it is there.
        fixed: The embeddings of tasks that are not computed from examples, if there are any.

    Returns:
        Task name to embedding; empty without a task network.
    """
    found: dict[str, Tensor] = {}
    fixed = fixed or {}
    vocabulary = split.contents.vocabulary
    for index, task in enumerate(tasks):
        embedding = fixed.get(task.name, earlier.get(task.name))
        if task.name not in fixed and split.num_examples(task.name):
            random = np.random.default_rng([seed, 2])
            groups = groups_of(split.sample(task.name, num_examples, random), _EXAMPLES_PER_BATCH)
            batches = batches_of(split, task, groups, vocabulary=vocabulary, cue=cue)
            embedding = mean_task_embedding(model, batches, task_index=index)
        if embedding is not None:
            found[task.name] = embedding
    return found


def as_examples(examples: Iterable[tuple[Source, str]]) -> list[tuple[Source, str]]:
    """Return examples that a user gave as pairs of a source and its target text.

    Raises:
        UserError: There is none, one is no pair, or a text is no valid Unicode.
    """
    given: list[Any] = as_list(
        cast("Iterable[Any]", examples),
        what="examples",
        advice="put each source and its target text into brackets, [(source, text)]",
    )
    if not given:
        raise UserError("at least one example must be given, but there is none")
    pairs: list[tuple[Source, str]] = []
    for number, pair in enumerate(given):
        match pair:
            case [source, str(text)]:
                require_unicode(text, f"the target text of examples[{number}]")
                pairs.append((source, text))
            case _:
                raise UserError(
                    f"examples[{number}] must be a pair of a source and its target text"
                )
    return pairs


def stored_name(task: str) -> str:
    """Return what messages call the stored task embedding of a task."""
    return f"`task_embeddings['{task}']`"


def as_task_embedding(value: object, settings: ModelSettings, name: str) -> Tensor:
    """Return a task embedding that a user gave, float32 ``[1, O]``.

    Args:
        value: What was given.
        settings: Of the model, which has a task network.
        name: What messages call it.

    Raises:
        UserError: It is no task embedding of such a model.
    """
    if not isinstance(value, Tensor):
        raise UserError(f"{name} must be a torch tensor, but is of type {type(value).__name__}")
    wanted = [1, len(neutral_task_embedding(settings))]
    if list(value.shape) != wanted:
        raise UserError(f"{name} must be {wanted}, but is {list(value.shape)}")
    is_dense = value.layout is torch.strided and not value.is_meta
    if not is_dense or not value.is_floating_point():
        kind = str(value.dtype).removeprefix("torch.")
        what = "" if is_dense else ", and is not dense or holds no numbers"
        raise UserError(f"{name} must be a dense tensor of floats, but is {kind}{what}")
    embedding = value.detach().float()
    if not bool(torch.isfinite(embedding).all()):
        raise UserError(f"{name} must be finite, but is not")
    return embedding
