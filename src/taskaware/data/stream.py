"""The endless stream of updates that training reads, made by this process or by others ahead of it.

What is read when is decided here, in one process; the others only read. So the stream is the same
for any number of them, and can be continued exactly, whatever they had read ahead.
"""

from __future__ import annotations

import signal
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from taskaware.data.batching import TextCue, collate
from taskaware.data.order import PlannedBatch, ShardedSource, TaskOrder
from taskaware.errors import DataError, TaskawareError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from taskaware.data.batching import TaskSource
    from taskaware.data.batching_settings import BatchingSettings
    from taskaware.types import Batch, Task


class ExampleReader(Protocol):
    """Reads the examples of a batch."""

    def read(self, planned: PlannedBatch) -> tuple[list[NDArray], list[NDArray], list[str]]:
        """Return sources, the pieces of the targets, and ids."""
        ...

    def begin_worker(self) -> None:
        """This process reads for another one, which has checked the shards."""
        ...


class PlainReader:
    """Reads examples as they are."""

    def __init__(self, split: TaskSource) -> None:
        self._split = split

    def read(self, planned: PlannedBatch) -> tuple[list[NDArray], list[NDArray], list[str]]:
        """Return sources, the pieces of the targets, and ids."""
        indices = [int(i) for i in planned.indices]
        examples = [self._split.examples[i] for i in indices]
        return (
            [self._split.source(i) for i in indices],
            [self._split.target(i) for i in indices],
            [example.id for example in examples],
        )

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
        task = self._tasks[planned.task]
        return collate(task, sources, targets, cue=self._cues[task.name], example_ids=ids)

    def begin_worker(self, number: int) -> None:
        # Ctrl-C reaches every process of a terminal; the one that trains ends the others.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        torch.set_num_threads(1)
        self._reader.begin_worker()


class TrainingBatches:
    """An endless stream of updates; each is a list of batches of one task each.

    Args:
        source: Where the training examples lie.
        reader: Reads them.
        tasks: The tasks to train on.
        settings: Sizes, mixing, order, processes that read ahead.
        cues: What each task puts into the text, by task name.
        seed: Decides the order.
        rank: Which of ``num_ranks`` processes this is; each sees its own examples.
        num_ranks: Processes that train together.
        batches_per_task: Batches of each task in an update, one after the other.
        length_factors: See ``TaskOrder``.
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
        length_factors: Any = None,
    ) -> None:
        self._source = source
        self._tasks = tuple(tasks)
        self._settings = settings
        self._seed = seed
        self._batches_per_task = batches_per_task
        self._orders = {
            task.name: TaskOrder(
                source,
                task,
                settings,
                seed=seed,
                rank=rank,
                num_ranks=num_ranks,
                length_factors=length_factors,
            )
            for task in tasks
        }
        self._updates = 0
        self._probabilities = self._task_probabilities()
        self._dataset = _Updates(reader, tasks, cues)
        self._read: Iterator[list[Batch] | _Failure] | None = None
        self._states: deque[dict[str, Any]] = deque()  # after each update that is being read
        self._state = self._planned_state()

    def __iter__(self) -> Iterator[list[Batch]]:
        return self

    def __next__(self) -> list[Batch]:
        """Return the batches of the next update."""
        if self._read is None:
            self._read = self._reading()
        try:
            found = next(self._read)
        except RuntimeError as error:  # DataLoader's, of a process that was killed
            self._read = None
            raise DataError(
                f"the processes that read batches must live as long as the training, but one ended "
                f"({error}); if memory is short, lower `batching.num_workers`"
            ) from error
        except BaseException:
            self._read = None
            raise
        if isinstance(found, _Failure):
            self._read = None
            raise found.error
        self._state = self._states.popleft()
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return where the stream stands, as JSON: after the last update that it gave."""
        positions = {name: list(position) for name, position in self._state["positions"].items()}
        return {"updates": self._state["updates"], "positions": positions}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where another stream of the same split, settings and seed stood."""
        positions = state["positions"]
        if not isinstance(positions, dict) or set(positions) != set(self._orders):
            raise DataError(
                f"the stream must go on with the tasks {sorted(self._orders)}, but the saved "
                f"one had {sorted(positions) if isinstance(positions, dict) else positions!r}"
            )
        self._updates = int(state["updates"])
        for name, (epoch, window, batch) in positions.items():
            self._orders[name].position = (epoch, window, batch)
        self._read = None  # what was read ahead is of no use
        self._states.clear()
        self._state = self._planned_state()

    def epochs(self) -> dict[str, float]:
        """Return how often each task's examples were seen, with the current epoch's fraction."""
        return dict(self._state["epochs"])

    def epoch(self, task_name: str) -> float:
        """Return how often the task's examples were seen, with the current epoch's fraction."""
        return self._state["epochs"][task_name]

    def _reading(self) -> Iterator[list[Batch] | _Failure]:
        if not self._settings.num_workers:
            return (self._dataset[planned] for planned in self._plans())
        return iter(
            DataLoader(
                self._dataset,
                sampler=_Plans(self._plans),
                batch_size=None,
                num_workers=self._settings.num_workers,
                prefetch_factor=self._settings.prefetch,
                collate_fn=_unchanged,
                worker_init_fn=self._dataset.begin_worker,
            )
        )

    def _plans(self) -> Iterator[list[PlannedBatch]]:
        """Decide what the next updates hold, and note where that brings the stream."""
        while True:
            if self._settings.mix == "every_task":
                chosen = self._tasks
            else:
                random = np.random.default_rng([self._seed, self._updates, 1])
                chosen = [self._tasks[random.choice(len(self._tasks), p=self._probabilities)]]
            self._updates += 1
            planned = [
                next(self._orders[task.name])
                for task in chosen
                for _ in range(self._batches_per_task)
            ]
            self._states.append(self._planned_state())
            yield planned

    def _planned_state(self) -> dict[str, Any]:
        return {
            "updates": self._updates,
            "positions": {name: order.position for name, order in self._orders.items()},
            "epochs": {name: order.epochs for name, order in self._orders.items()},
        }

    def _task_probabilities(self) -> NDArray[np.float64]:
        weights = self._settings.task_weights
        unknown = set(weights) - {task.name for task in self._tasks}
        if unknown:
            raise DataError(
                f"`batching.task_weights` must name tasks of the data "
                f"({', '.join(task.name for task in self._tasks)}), but names "
                f"{', '.join(sorted(unknown))}"
            )
        if weights:
            raw = np.array([weights.get(task.name, 0.0) for task in self._tasks])
        else:
            counts = np.array([self._source.num_examples(task.name) for task in self._tasks])
            raw = counts ** (1.0 / self._settings.temperature)
        if raw.sum() <= 0:
            raise DataError("`batching.task_weights` must have a weight above 0, but has none")
        return raw / raw.sum()


class _Plans:
    """What a ``DataLoader`` takes its samples' indices from; here, whole plans of updates."""

    def __init__(self, plans: Any) -> None:
        self._plans = plans

    def __iter__(self) -> Iterator[list[PlannedBatch]]:
        return self._plans()


def _unchanged(update: list[Batch] | _Failure) -> list[Batch] | _Failure:
    return update
