"""How much a model forgets while it is trained in stages: two figures of continual learning.

Points go from 0 to 100, 100 is best.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


def average_forgetting(
    points: Sequence[Mapping[str, float]], trained: Sequence[Collection[str]]
) -> float:
    """How far tasks fell below their own best: positive means forgotten, negative improved.

    ``F = 1/|U| * sum over j in U of (max over l < S of a[l][j]) - a[S][j]`` with ``a[l][j]`` the
    points of task j after stage l of S, counted from 1 (Chaudhry et al. 2018, "Riemannian Walk for
    Incremental Learning": a stage a task there, so U are all but the last). Here a stage may train
    several tasks, as a joint first stage trains all; so U are the tasks that an earlier stage
    trained and the last did not.

    Args:
        points: After every stage, in order, the points of every task.
        trained: For every stage, the tasks that it trained.

    Raises:
        ValueError: The two do not fit together, or no task could be forgotten.
    """
    tasks = _left_behind(points, trained)
    return statistics.fmean(
        max(stage[task] for stage in points[:-1]) - points[-1][task] for task in tasks
    )


def backward_transfer(
    points: Sequence[Mapping[str, float]], trained: Sequence[Collection[str]]
) -> float:
    """What later stages did to the tasks that they did not train: negative means forgotten.

    ``BWT = 1/|U| * sum over j in U of a[S][j] - a[s(j)][j]`` with ``a[l][j]`` the points of task j
    after stage l of S (Lopez-Paz and Ranzato 2017, "Gradient Episodic Memory": there stage i trains
    task i, so ``s(i) = i``). Here ``s(j)`` is the latest stage that trained task j, and U are the
    tasks that an earlier stage trained and the last did not.

    Args:
        points: After every stage, in order, the points of every task.
        trained: For every stage, the tasks that it trained.

    Raises:
        ValueError: The two do not fit together, or no task could be forgotten.
    """
    tasks = _left_behind(points, trained)
    latest = {
        task: stage[task]
        for stage, names in zip(points, trained, strict=True)
        for task in names
        if task in stage  # one that is trained need not be among those that are looked at
    }
    return statistics.fmean(points[-1][task] - latest[task] for task in tasks)


def _left_behind(
    points: Sequence[Mapping[str, float]], trained: Sequence[Collection[str]]
) -> list[str]:
    """The tasks that an earlier stage trained and the last one did not."""
    if len(points) != len(trained):
        counts = f"{len(points)} and {len(trained)}"
        raise ValueError(f"`points` and `trained` must have as many stages, but have {counts}")
    tasks = list(dict.fromkeys(task for stage in points for task in stage))
    for number, stage in enumerate(points, start=1):
        for task in tasks:
            if not math.isfinite(stage.get(task, math.nan)):
                raise ValueError(
                    f"every stage must have finite points for every task, but stage {number} has "
                    f"{stage.get(task)} for '{task}'"
                )
    earlier = {task for names in trained[:-1] for task in names}
    found = [task for task in tasks if task in earlier and task not in trained[-1]]
    if not found:
        raise ValueError(
            "an earlier stage must have trained a task that the last did not, but none has"
        )
    return found
