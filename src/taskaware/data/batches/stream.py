"""The endless stream of updates that training reads, made by this process or by others ahead of it.

What is read when is decided here, in one process; the others only read. So the stream is the same
for any number of them, and can be continued exactly, whatever they had read ahead.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from taskaware.data.batches.batching import TextCue, collate, collate_tasks
from taskaware.data.batches.order import PlannedBatch, ShardedSource, TaskOrder
from taskaware.errors import DataError, ExperimentError, TaskawareError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from taskaware.data.batches.batching import TaskSource
    from taskaware.data.batches.settings import BatchingSettings
    from taskaware.data.prepared.length_limits import ChangedLengths
    from taskaware.types import Batch, Task


class ExampleReader(Protocol):
    """Reads the examples of a batch."""

    def read(
        self, planned: PlannedBatch
    ) -> tuple[list[NDArray[Any]], list[NDArray[Any]], list[str]]:
        """Return sources, the pieces of the targets, and ids."""
        ...

    def is_encoded(self, task: Task) -> bool:
        """Whether a task's sources are what an encoder put out."""
        ...

    def begin_worker(self) -> None:
        """This process reads for another one, which has checked the shards."""
        ...


class PlainReader:
    """Reads examples as they are."""

    def __init__(self, split: TaskSource) -> None:
        self._split = split

    def read(
        self, planned: PlannedBatch
    ) -> tuple[list[NDArray[Any]], list[NDArray[Any]], list[str]]:
        """Return sources, the pieces of the targets, and ids."""
        indices = [int(i) for i in planned.indices]
        examples = [self._split.examples[i] for i in indices]
        return (
            [self._split.source(i) for i in indices],
            [self._split.target(i) for i in indices],
            [example.id for example in examples],
        )

    def is_encoded(self, task: Task) -> bool:
        """Whether a task's sources are what an encoder put out."""
        return self._split.is_encoded(task)

    def begin_worker(self) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class _Failure:
    """What went wrong in a process that reads; it is raised in the one that trains."""

    error: TaskawareError


class _Updates(Dataset):
    """Turns what is planned into batches; lives in the processes that read."""

    def __init__(
        self, reader: ExampleReader, tasks: Sequence[Task], cues: Mapping[str, TextCue]
    ) -> None:
        self._reader = reader
        self._tasks = {task.name: task for task in tasks}
        self._cues = cues

    def __getitem__(self, planned: Sequence[PlannedBatch]) -> list[Batch] | _Failure:
        try:
            return [self._batch(batch) for batch in planned]
        except TaskawareError as error:
            return _Failure(error)

    def _batch(self, planned: PlannedBatch) -> Batch:
        sources, targets, ids = self._reader.read(planned)
        tasks = [self._tasks[name] for name in planned.row_tasks]
        if len(set(planned.row_tasks)) == 1:
            cue = self._cues[tasks[0].name]
            batch = collate(tasks[0], sources, targets, cue=cue, example_ids=ids)
        else:
            batch = collate_tasks(tasks, sources, targets, cues=self._cues, example_ids=ids)
        batch = replace(batch, is_encoded=self._reader.is_encoded(tasks[0]))
        if planned.cues is None:
            return batch
        return replace(batch, cue_examples=self._batch(planned.cues))

    def begin_worker(self, number: int) -> None:
        # Ctrl-C reaches every process of a terminal; the one that trains ends the others.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        torch.set_num_threads(1)
        self._reader.begin_worker()


@contextmanager
def reporting_killed_workers() -> Iterator[None]:
    """Say what it means that a process which reads was killed; torch may say so at any time.

    Raises:
        DataError: One was.
    """
    try:
        yield
    except RuntimeError as error:
        # What a living one failed at is said as "Caught ... in DataLoader worker process".
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        raise _killed_worker(error) from error


@contextmanager
def reporting_lost_workers() -> Iterator[None]:
    """As `reporting_killed_workers`, for receiving from them: a lost connection says the same.

    The connection of a killed process can be reset before its death is told.

    Raises:
        DataError: A process that reads was killed.
    """
    with reporting_killed_workers():
        try:
            yield
        except (ConnectionError, EOFError, FileNotFoundError) as error:
            if str(error).startswith("Caught "):  # it was raised while reading, not received
                raise
            time.sleep(1)  # let its death be told here, not wherever this process is next
            raise _killed_worker(error) from error


def _killed_worker(error: Exception) -> DataError:
    return DataError(
        "the processes that read batches must live as long as the training, but one was ended "
        f"({str(error).strip() or type(error).__name__}); if memory is short, lower "
        "`batching.num_workers`; the same command resumes from the last checkpoint"
    )


class _Planner:
    """Decides what the updates hold, one after the other; an iterable of them without end.

    It does not know who reads them: were it in a circle with the loader's processes, these would
    not be ended when they are no longer needed, but at some later time and slowly.
    """

    def __init__(
        self,
        source: ShardedSource,
        tasks: Sequence[Task],
        settings: BatchingSettings,
        *,
        seed: int,
        batches_per_task: int,
        rank: int,
        num_ranks: int,
        changed_lengths: ChangedLengths | None,
    ) -> None:
        self._settings = settings
        self._seed = seed
        self._batches_per_task = batches_per_task
        self._updates = 0
        orders = [
            TaskOrder(
                source,
                sharing,
                settings,
                seed=seed,
                rank=rank,
                num_ranks=num_ranks,
                changed_lengths=changed_lengths,
            )
            for sharing in _sharing_batches(tasks, settings)
        ]
        self.orders = {order.name: order for order in orders}
        self._probabilities = _task_probabilities(source, tasks, settings)
        self.states: deque[dict[str, Any]] = deque()  # after each update that is being read

    def __iter__(self) -> Iterator[list[PlannedBatch]]:
        """Yield what each update holds, and note where that brings the stream."""
        while True:
            orders = list(self.orders.values())
            if self._settings.mix == "sampled":
                random = np.random.default_rng([self._seed, self._updates, 1])
                orders = [orders[random.choice(len(orders), p=self._probabilities)]]
            self._updates += 1
            planned = [next(order) for order in orders for _ in range(self._batches_per_task)]
            self.states.append(self.state())
            yield planned

    def largest(self) -> list[PlannedBatch]:
        """Return the largest batch of every task, as often as an update has one of a task."""
        return [
            order.largest() for order in self.orders.values() for _ in range(self._batches_per_task)
        ]

    def state(self) -> dict[str, Any]:
        """Return where planning stands."""
        return {
            "updates": self._updates,
            "positions": {name: order.position for name, order in self.orders.items()},
            "epochs": {
                task: order.epochs for order in self.orders.values() for task in order.task_names
            },
        }

    def go_to(self, updates: int, positions: Mapping[str, Sequence[int]]) -> None:
        """Continue from another place."""
        self._updates = updates
        for name, (epoch, window, batch) in positions.items():
            self.orders[name].position = (epoch, window, batch)
        self.states.clear()


class TrainingBatches:
    """An endless stream of updates; each is a list of batches, of one task each or of several.

    Args:
        source: Where the training examples are.
        reader: Reads them.
        tasks: The tasks to train on.
        settings: Sizes, mixing, order, processes that read ahead.
        cues: What each task puts into the text, by task name.
        seed: Decides the order.
        rank: Which of ``num_ranks`` processes this is; each sees its own examples.
        num_ranks: Processes that train together.
        batches_per_task: Batches of each task in an update, one after the other.
        changed_lengths: See ``TaskOrder``.
    """

    def __init__(
        self,
        source: ShardedSource,
        reader: ExampleReader,
        tasks: Sequence[Task],
        settings: BatchingSettings,
        *,
        cues: Mapping[str, TextCue],
        seed: int,
        batches_per_task: int = 1,
        rank: int = 0,
        num_ranks: int = 1,
        changed_lengths: ChangedLengths | None = None,
    ) -> None:
        self._settings = settings
        self._planner = _Planner(
            source,
            tasks,
            settings,
            seed=seed,
            batches_per_task=batches_per_task,
            rank=rank,
            num_ranks=num_ranks,
            changed_lengths=changed_lengths,
        )
        self._dataset = _Updates(reader, tasks, cues)
        self._read: Iterator[list[Batch] | _Failure] | None = None
        self._state = self._planner.state()

    def __iter__(self) -> Iterator[list[Batch]]:
        return self

    def __next__(self) -> list[Batch]:
        """Return the batches of the next update.

        Raises:
            DataError: A shard is missing or damaged, or a process that reads was killed.
        """
        if self._read is None:
            self._read = self._reading()
        try:
            # Without such processes what is lost is a file or a storage.
            with reporting_lost_workers() if self._settings.num_workers else nullcontext():
                found = next(self._read)
        except BaseException:
            self.close()
            raise
        if isinstance(found, _Failure):
            self.close()
            raise found.error
        self._state = self._planner.states.popleft()
        return found

    def largest(self) -> list[Batch]:
        """Return the largest batches, as one update of every task; the stream does not move.

        The largest of the shards that are read first, where a task has many.
        """
        planned = self._planner.largest()
        found = self._dataset[planned]
        if isinstance(found, _Failure):
            raise found.error
        return found

    def close(self) -> None:
        """End the processes that read; the stream can be resumed from a saved place."""
        self._read = None

    def state_dict(self) -> dict[str, Any]:
        """Return where the stream stands, as JSON: after the last update that it gave."""
        positions = {name: list(position) for name, position in self._state["positions"].items()}
        return {"updates": self._state["updates"], "positions": positions}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from where another stream of the same split, settings and seed stood."""
        positions, known = state["positions"], self._planner.orders
        if not isinstance(positions, dict) or set(positions) != set(known):
            raise DataError(
                "a resumed run must have the tasks of its checkpoint, "
                f"{sorted(positions) if isinstance(positions, dict) else positions!r}, but has "
                f"{sorted(known)}"
            )
        self.close()  # what was read ahead is of no use
        self._planner.go_to(int(state["updates"]), positions)
        self._state = self._planner.state()

    def epochs(self) -> dict[str, float]:
        """Return how often each task's examples were seen, with the current epoch's fraction."""
        return dict(self._state["epochs"])

    def epoch(self, task_name: str) -> float:
        """Return how often the task's examples were seen, with the current epoch's fraction."""
        return self._state["epochs"][task_name]

    def _reading(self) -> Iterator[list[Batch] | _Failure]:
        if not self._settings.num_workers:
            return map(self._dataset.__getitem__, self._planner)
        return iter(
            DataLoader(
                self._dataset,
                sampler=self._planner,  # gives whole plans instead of indices
                batch_size=None,
                num_workers=self._settings.num_workers,
                prefetch_factor=self._settings.prefetch,
                collate_fn=_unchanged,
                worker_init_fn=self._dataset.begin_worker,
                generator=torch.Generator(),  # else it would take a number of the training's own
            )
        )


def _sharing_batches(tasks: Sequence[Task], settings: BatchingSettings) -> list[list[Task]]:
    """Return the tasks whose examples stand in the same batches."""
    if settings.mix != "within_batches":
        return [[task] for task in tasks]
    of_modality: dict[str, list[Task]] = {}
    for task in tasks:
        of_modality.setdefault(task.source_modality, []).append(task)
    return list(of_modality.values())


def _task_probabilities(
    source: ShardedSource, tasks: Sequence[Task], settings: BatchingSettings
) -> NDArray[np.float64]:
    """Return how likely an update is of each task, where it is of one."""
    weights = settings.task_weights
    names = [task.name for task in tasks]
    unknown = sorted(set(weights) - set(names))
    if unknown:
        raise ExperimentError(
            f"`batching.task_weights` must name tasks that are trained ({', '.join(names)}), but "
            f"names {', '.join(unknown)}{nearest(unknown[0], names)}"
        )
    if weights:
        raw = np.array([weights.get(task.name, 0.0) for task in tasks])
    else:
        counts = np.array([source.num_examples(task.name) for task in tasks])
        raw = counts ** (1.0 / settings.temperature)
    if raw.sum() <= 0:
        raise ExperimentError("`batching.task_weights` must have a weight above 0, but has none")
    return raw / raw.sum()


def _unchanged(update: list[Batch] | _Failure) -> list[Batch] | _Failure:
    return update
