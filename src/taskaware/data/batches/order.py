"""The order in which the examples of a split are trained on: exact, and the same for any number of
processes that read them.

An epoch of a task, or of the tasks that share batches: its shards are shuffled and divided among
the ranks; a rank takes them a window of some shards at a time, shuffles the examples of the window
and cuts them into batches. Where a task has no more shards than a window, or than there are ranks,
all ranks plan the same epoch and divide its batches. All of it is a pure function of (seed, task,
epoch, rank, number of ranks), so that a position in it is three numbers: epoch, window, batch.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from taskaware.data.batches.batching import choose_cues, plan
from taskaware.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from taskaware.data.batches.batching import TaskSource
    from taskaware.data.batches.settings import BatchingSettings
    from taskaware.data.prepared.length_limits import ChangedLengths
    from taskaware.types import Task


class ShardedSource(Protocol):
    """Examples in shards, by position (``data.prepared.Split``)."""

    def shards(self, task_name: str) -> Sequence[int]:
        """The numbers of the shards that have examples of a task."""
        ...

    def open_shards(self, numbers: Sequence[int]) -> None:
        """Bring shards near and check them; may be called from another thread."""
        ...

    def num_examples(self, task_name: str) -> int:
        """How many examples a task has."""
        ...

    def indices(self, task_name: str, shards: Sequence[int] | None = None) -> NDArray[np.int64]:
        """The examples of one task, in all shards or in some."""
        ...

    def lengths(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Source and target lengths."""
        ...


class OneShard:
    """A split that is in memory, as one shard."""

    def __init__(self, split: TaskSource) -> None:
        self._split = split

    def shards(self, task_name: str) -> Sequence[int]:
        """Return the only shard, where the task has examples."""
        return [0] if self.num_examples(task_name) else []

    def open_shards(self, numbers: Sequence[int]) -> None:
        """There is nothing to open."""

    def num_examples(self, task_name: str) -> int:
        """Return how many examples a task has."""
        return len(self._split.indices(task_name))

    def indices(self, task_name: str, shards: Sequence[int] | None = None) -> NDArray[np.int64]:
        """Return the examples of one task."""
        return self._split.indices(task_name)

    def lengths(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return source and target lengths."""
        return self._split.source_lengths[indices], self._split.target_lengths[indices]


@dataclass(frozen=True, kw_only=True)
class PlannedBatch:
    """A batch that is to be read.

    Attributes:
        row_tasks: The task of each example, by name; those of a task stand one after the other.
        epoch: The epoch that it belongs to.
        indices: Its examples.
        cues: The examples that the task network looks at for it; ``None``: its own.
    """

    row_tasks: tuple[str, ...]
    epoch: int
    indices: NDArray[np.int64]
    cues: PlannedBatch | None = None


class TaskOrder:
    """The endless batches of one task, or of several that share batches, for one rank.

    Args:
        source: The examples.
        tasks: The task or tasks, all with the same kind of source.
        settings: Sizes, windows, order.
        seed: Decides the order.
        rank: Which of ``num_ranks`` this is.
        num_ranks: Processes that train together; together they see every example once an epoch.
        changed_lengths: What augmentation makes of the lengths of speech; ``None``: nothing.
    """

    def __init__(
        self,
        source: ShardedSource,
        tasks: Sequence[Task],
        settings: BatchingSettings,
        *,
        seed: int,
        rank: int = 0,
        num_ranks: int = 1,
        changed_lengths: ChangedLengths | None = None,
    ) -> None:
        self._source = source
        self._tasks = tuple(tasks)
        self._settings = settings
        self.name = "+".join(task.name for task in tasks)
        # The digits of a name make a stable number; hash() differs from process to process.
        self._keys = (seed, int.from_bytes(self.name.encode(), "big") % 2**61)
        self._rank = rank
        self._num_ranks = num_ranks
        # Only a recording has a signal that can be changed.
        self._changed_lengths = changed_lengths if tasks[0].modality.is_recording else None
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="shards")
        self._next_window: tuple[tuple[int, int], Future[None]] | None = None
        self._batches: list[PlannedBatch] = []
        self._planned: tuple[int, int] | None = None
        self._shards = sorted({number for task in tasks for number in source.shards(task.name)})
        self._deals_shards = len(self._shards) > max(settings.window_shards, num_ranks)
        self.position: tuple[int, int, int] = (0, 0, 0)

    def __next__(self) -> PlannedBatch:
        """Return the next batch.

        Raises:
            DataError: There is none, as the settings leave out every example; or a shard of the
                window that begins is missing or damaged.
        """
        epoch, window, batch = self.position
        last_epoch = epoch + self._num_ranks + 1  # by then each rank had its turn to come first
        while batch >= len(self._plan(epoch, window)):
            window, batch = window + 1, 0
            if window >= len(self._windows(epoch)):
                epoch, window = epoch + 1, 0
            if epoch > last_epoch:
                raise self._nothing_fits()
        self.position = (epoch, window, batch + 1)
        return self._plan(epoch, window)[batch]

    def largest(self) -> PlannedBatch:
        """Return the batch of the window under way that takes most memory."""
        epoch, window, _ = self.position
        batches = self._plan(epoch, window)
        if not batches:  # another rank's turn
            before = self.position
            found = next(self)
            self.position = before
            return found

        def size(batch: PlannedBatch) -> float:
            sources, targets = self._source.lengths(batch.indices)
            if self._changed_lengths is not None:
                sources = self._changed_lengths(batch.indices, sources, epoch)
            # Attention over the source takes the square of its length.
            return len(batch.indices) * (float(sources.max()) ** 2 + float(targets.max()) ** 2)

        largest = max(batches, key=size)
        if largest.cues is None:
            return largest
        size_of_cues = slice(self._settings.cue_examples * len(set(largest.row_tasks)))
        cues = replace(
            largest,
            indices=largest.indices[size_of_cues],
            row_tasks=largest.row_tasks[size_of_cues],
            cues=None,
        )
        return replace(largest, cues=cues)

    @property
    def task_names(self) -> list[str]:
        """The tasks, by name."""
        return [task.name for task in self._tasks]

    @property
    def epochs(self) -> float:
        """How often the examples were seen, with the fraction of the epoch under way."""
        epoch, window, batch = self.position
        if not batch and not window:
            return float(epoch)
        share = batch / max(len(self._plan(epoch, window)), 1)
        return epoch + (window + share) / len(self._windows(epoch))

    def _windows(self, epoch: int) -> list[list[int]]:
        """Return this rank's windows of shards, in order."""
        if not self._deals_shards:
            return [self._shards]
        random = np.random.default_rng([self._keys[0], epoch, self._keys[1], 1])
        order = random.permutation(len(self._shards))[self._rank :: self._num_ranks]
        mine, size = [self._shards[i] for i in order], self._settings.window_shards
        return [mine[start : start + size] for start in range(0, len(mine), size)]

    def _plan(self, epoch: int, window: int) -> list[PlannedBatch]:
        """Return this rank's batches of a window."""
        if self._planned != (epoch, window):
            self._batches = self._make_plan(epoch, window)
            self._planned = (epoch, window)
        return self._batches

    def _make_plan(self, epoch: int, window: int) -> list[PlannedBatch]:
        self._open(epoch, window)
        shards = self._windows(epoch)[window]
        of_tasks = [self._source.indices(task.name, shards) for task in self._tasks]
        indices = np.concatenate(of_tasks)
        sources, targets = self._source.lengths(indices)
        if self._changed_lengths is not None:
            sources = self._changed_lengths(indices, sources, epoch)
        key = [2 + window, self._rank] if self._deals_shards else []
        found = plan(
            indices,
            (sources, targets),
            is_text=self._tasks[0].modality.is_text,
            settings=self._settings,
            random=np.random.default_rng([self._keys[0], epoch, self._keys[1], *key]),
            in_order_of_length=self._settings.short_first and epoch == 0,
        )
        batches = [self._batch(batch, of_tasks, epoch) for batch in found]
        if self._settings.cue_examples:
            random = np.random.default_rng([self._keys[0], epoch, self._keys[1], 0, *key])
            chosen = self._choose_cues(batches, random)
            batches = [
                replace(batch, cues=self._batch(cues, of_tasks, epoch))
                for batch, cues in zip(batches, chosen, strict=True)
            ]
        if self._deals_shards:
            return batches
        # Which rank comes first changes, so that each gets something where there are few.
        return batches[(self._rank + epoch) % self._num_ranks :: self._num_ranks]

    def _batch(
        self, indices: NDArray[np.int64], of_tasks: Sequence[NDArray[np.int64]], epoch: int
    ) -> PlannedBatch:
        if len(self._tasks) == 1:
            names = (self._tasks[0].name,) * len(indices)
            return PlannedBatch(row_tasks=names, epoch=epoch, indices=indices)
        of_each = [indices[np.isin(indices, one)] for one in of_tasks]
        names = [
            task.name
            for task, own in zip(self._tasks, of_each, strict=True)
            for _ in range(len(own))
        ]
        return PlannedBatch(row_tasks=tuple(names), epoch=epoch, indices=np.concatenate(of_each))

    def _choose_cues(
        self, batches: Sequence[PlannedBatch], random: np.random.Generator
    ) -> list[NDArray[np.int64]]:
        """Choose for each batch examples of others; of each of its tasks, where it has several."""
        number = self._settings.cue_examples
        if len(self._tasks) == 1:
            return choose_cues([batch.indices for batch in batches], number, random)
        all_names = np.concatenate([np.array(batch.row_tasks) for batch in batches])
        all_indices = np.concatenate([batch.indices for batch in batches])
        of_task = {name: all_indices[all_names == name] for name in np.unique(all_names).tolist()}
        return [
            np.concatenate(
                [
                    random.choice(of_task[n], size=min(number, len(of_task[n])), replace=False)
                    for n in dict.fromkeys(batch.row_tasks)
                ]
            )
            for batch in batches
        ]

    def _open(self, epoch: int, window: int) -> None:
        """Have this window's shards checked, and begin with the next one's in the background."""
        windows = self._windows(epoch)
        if self._next_window is not None and self._next_window[0] == (epoch, window):
            self._next_window[1].result()
        else:
            self._source.open_shards(windows[window])
        self._next_window = None
        if window + 1 < len(windows):
            future = self._ahead.submit(self._source.open_shards, windows[window + 1])
            self._next_window = ((epoch, window + 1), future)

    def _nothing_fits(self) -> DataError:
        settings = self._settings
        return DataError(
            f"task '{self.name}' must have training examples of at most "
            f"{settings.max_source} source and {settings.max_target} target positions, but has "
            "none; check `batching.max_source` and `batching.max_target`, or prepare data for the "
            "task"
        )
