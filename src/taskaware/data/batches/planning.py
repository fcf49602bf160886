"""What each update holds: which tasks, which batches of their examples, in which order."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from taskaware.data.batches.order import TaskOrder
from taskaware.errors import ExperimentError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from taskaware.data.batches.order import PlannedBatch, ShardedSource
    from taskaware.data.batches.settings import BatchingSettings
    from taskaware.data.prepared.length_limits import ChangedLengths
    from taskaware.types import Task


class UpdatePlanner:
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

    def go_to(self, updates: Any, positions: Mapping[str, Any]) -> None:
        """Continue from another place.

        Args:
            updates: How many are done.
            positions: Of each order: epoch, window and batch, each from 0.

        Raises:
            ValueError: These are no such numbers.
            IndexError: The data have no such place.
        """
        if not _are_counts([updates]) or not all(map(_are_counts, positions.values())):
            raise ValueError("updates and positions must be whole numbers from 0 up")
        self._updates = updates
        for name, (epoch, window, batch) in positions.items():
            self.orders[name].position = (epoch, window, batch)
        self.states.clear()


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(one) is int and 0 <= one < 1 << 62 for one in values
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
