"""The task embeddings that a model is used with: means over random training examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from taskaware.data.batches.batching import batches_of, groups_of
from taskaware.model.task_embedding import mean_task_embedding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from taskaware.data.prepared.folder import Split
    from taskaware.model.conditioning_settings import Cue
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
