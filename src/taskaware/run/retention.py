"""What keeps the tasks of the start that a run does not train."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from taskaware.data.batches.batching import batches_of, groups_of
from taskaware.data.batches.order import OneShard
from taskaware.data.batches.stream import PlainReader, TrainingBatches
from taskaware.errors import DataError, UserError
from taskaware.run.feed import batching_settings
from taskaware.run.feed import cues as cues_of
from taskaware.training.retention.distillation import Distillation
from taskaware.training.retention.ewc import ElasticWeights, fisher_information
from taskaware.training.retention.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from taskaware.data.batches.batching import TaskSource
    from taskaware.run.run import Run
    from taskaware.training.retention.interface import Retention
    from taskaware.types import Batch, Example, Task


def create_retention(run: Run) -> Retention | None:
    """Return what keeps the start's other tasks, ``None`` where nothing does.

    Raises:
        UserError: There is no other task to keep.
        DataError: The data has no examples of a task that must be remembered.
    """
    settings = run.experiment.start.retention
    if settings.method == "none" or run.start is None:
        return None
    trained = {task.name for task in run.trained_tasks}
    old_tasks = [task for task in run.tasks if task.name not in trained]
    if not old_tasks:
        raise UserError(
            f"`data.tasks` must leave out tasks of {run.experiment.start.model} where "
            f"`start.retention.method` is '{settings.method}', but names all: there is none to keep"
        )
    match settings.method:
        case "replay":
            return Replay(
                run.model,
                run.tasks,
                _memory_stream(run, old_tasks),
                weight=settings.weight,
                objective=run.experiment.objective,
                conditioning=run.experiment.model.conditioning,
            )
        case "distillation":
            return Distillation(
                run.model,
                old_tasks,
                task_embeddings=_embeddings_of_the_start(run, old_tasks),
                cues=cues_of(run, run.tasks),
                weight=settings.weight,
                temperature=settings.temperature,
            )
        case "ewc":
            importance = fisher_information(run.model, _single_examples(run, old_tasks))
            return ElasticWeights(run.model, importance, weight=settings.weight)


def _embeddings_of_the_start(run: Run, tasks: Sequence[Task]) -> dict[str, Tensor]:
    """Return the mean t_e that tasks had at the start; none where it has no task network.

    Raises:
        DataError: A checkpoint, which keeps none, and no examples to compute them from.
    """
    if not run.experiment.model.conditioning.has_task_network or run.start is None:
        return {}
    found = dict(run.start.task_embeddings)
    if not found:
        run.model.eval()
        # A copy, because what is made in inference mode cannot take part in training.
        found = {name: value.clone() for name, value in run.task_embeddings(run.model).items()}
        run.model.train()
    missing = [task.name for task in tasks if task.name not in found]
    if missing:
        raise DataError(
            f"{run.experiment.start.model} must have the embedding of task '{missing[0]}', which "
            "is to be kept, or the data examples of it, but there is neither; start from the run's "
            "`model` instead of a checkpoint"
        )
    return {task.name: found[task.name].to(run.processes.device) for task in tasks}


class _Memory:
    """A few examples of some tasks of a split, as another split."""

    def __init__(self, split: TaskSource, indices: Mapping[str, NDArray[np.int64]]) -> None:
        self._split = split
        self._indices = indices

    @property
    def examples(self) -> Sequence[Example]:
        return self._split.examples

    @property
    def source_lengths(self) -> NDArray[np.int64]:
        return self._split.source_lengths

    @property
    def target_lengths(self) -> NDArray[np.int64]:
        return self._split.target_lengths

    def indices(self, task_name: str) -> NDArray[np.int64]:
        return self._indices[task_name]

    def source(self, index: int) -> NDArray[Any]:
        return self._split.source(index)

    def target(self, index: int) -> NDArray[np.int64]:
        return self._split.target(index)

    def is_encoded(self, task: Task) -> bool:
        return self._split.is_encoded(task)


def _memory(run: Run, tasks: Sequence[Task]) -> _Memory:
    """Draw the examples to remember, the same in every process and after every stop."""
    split = run.data.split(run.experiment.data.train_split)
    number = run.experiment.start.retention.memory_examples
    chosen: dict[str, NDArray[np.int64]] = {}
    for task in tasks:
        if not split.num_examples(task.name):
            raise DataError(
                f"{run.data.folder} must have training examples of task '{task.name}', which is "
                'to be kept, but has none; `start.retention.method = "distillation"` needs none'
            )
        random = np.random.default_rng([run.experiment.training.seed, 3])
        limits = run.experiment.batching
        chosen[task.name] = np.sort(split.sample(task.name, number, random, limits=limits))
    return _Memory(split, chosen)


def _single_examples(run: Run, tasks: Sequence[Task]) -> Iterator[tuple[Batch, int]]:
    """Yield every remembered example as a batch of its own, with its task's index."""
    memory = _memory(run, tasks)
    for index, task in enumerate(run.tasks):
        if task not in tasks:
            continue
        batches = batches_of(
            memory,
            task,
            groups_of(memory.indices(task.name), 1),
            vocabulary=run.data.vocabulary,
            cue=run.experiment.model.conditioning.cue,
        )
        for batch in batches:
            yield batch.to(run.processes.device), index


def _memory_stream(run: Run, tasks: Sequence[Task]) -> TrainingBatches:
    """Return endless batches of the remembered examples, of one task at a time."""
    memory = _memory(run, tasks)
    batching = replace(
        batching_settings(run), mix="sampled", task_weights={}, temperature=1.0, num_workers=0
    )
    return TrainingBatches(
        OneShard(memory),
        PlainReader(memory),
        tasks,
        batching,
        cues=cues_of(run, tasks),
        seed=run.experiment.training.seed,
        rank=run.processes.rank,
        num_ranks=run.processes.num_ranks,
    )
