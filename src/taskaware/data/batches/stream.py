"""The endless stream of updates that training reads, made by this process or by others ahead of it.

What is read when is decided here, in one process; the others only read. So the stream is the same
for any number of them, and can be continued exactly, whatever they had read ahead.
"""

from __future__ import annotations

import gc
import signal
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from taskaware.data.batches.batching import TextCue, collate, collate_tasks
from taskaware.data.batches.lost_workers import reporting_lost_workers
from taskaware.data.batches.planning import UpdatePlanner
from taskaware.errors import DataError, TaskawareError
from taskaware.signals import leave_to_first_process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from taskaware.data.batches.batching import TaskSource
    from taskaware.data.batches.order import PlannedBatch, ShardedSource
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
        gc.freeze()  # what was inherited is never collected here, see `_collecting_nothing`
        gc.enable()
        leave_to_first_process()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        torch.set_num_threads(1)
        self._reader.begin_worker()


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
        self._planner = UpdatePlanner(
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
        positions, known = state.get("positions"), self._planner.orders
        if not isinstance(positions, dict) or set(positions) != set(known):
            raise DataError(
                "a resumed run must have the tasks of its checkpoint, "
                f"{sorted(positions) if isinstance(positions, dict) else positions!r}, but has "
                f"{sorted(known)}"
            )
        self.close()  # what was read ahead is of no use
        try:
            self._planner.go_to(state.get("updates"), positions)
            self._state = self._planner.state()
        except (ValueError, IndexError) as error:
            raise DataError(
                f"a checkpoint must say where in the data it stands, but says {str(state)[:80]}"
            ) from error

    def epochs(self) -> dict[str, float]:
        """Return how often each task's examples were seen, with the current epoch's fraction."""
        return dict(self._state["epochs"])

    def epoch(self, task_name: str) -> float:
        """Return how often the task's examples were seen, with the current epoch's fraction."""
        return self._state["epochs"][task_name]

    def _reading(self) -> Iterator[list[Batch] | _Failure]:
        if not self._settings.num_workers:
            return map(self._dataset.__getitem__, self._planner)
        loader = DataLoader(
            self._dataset,
            sampler=self._planner,  # gives whole plans instead of indices
            batch_size=None,
            num_workers=self._settings.num_workers,
            prefetch_factor=self._settings.prefetch,
            collate_fn=_unchanged,
            worker_init_fn=self._dataset.begin_worker,
            generator=torch.Generator(),  # else it would take a number of the training's own
        )
        with _collecting_nothing():
            return iter(loader)


def _unchanged(update: list[Batch] | _Failure) -> list[Batch] | _Failure:
    return update


@contextmanager
def _collecting_nothing() -> Iterator[None]:
    """Collect no garbage meanwhile, nor in a process that is forked meanwhile.

    Such a process inherits the garbage of this one. Collecting it there would finalise what belongs
    here: the processes and queues of a stream that this process has let go of, for example. While
    Python compiles something, the message about what failed there can even end the process
    (https://github.com/python/cpython/issues/106905).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
