"""The limits of length of training: which examples they leave out, and how many."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray


class LengthLimits(Protocol):
    """The longest source and target that are trained on; ``BatchingSettings`` has them."""

    @property
    def max_source(self) -> int:
        """Frames, or pieces."""
        ...

    @property
    def max_target(self) -> int:
        """Pieces."""
        ...


class ChangedLengths(Protocol):
    """What augmentation makes of source lengths."""

    def __call__(
        self, indices: NDArray[np.int64], lengths: NDArray[np.int64], epoch: int
    ) -> NDArray[np.int64]:
        """Return the lengths that examples have in an epoch."""
        ...


@dataclass(frozen=True, kw_only=True)
class TaskLengths:
    """The lengths of some examples of one task.

    Attributes:
        task: Its name.
        positions: The examples' positions in their split, int64 ``[N]``.
        sources: Frames, or pieces of the source text, int64 ``[N]``.
        targets: Pieces of the target text, int64 ``[N]``.
    """

    task: str
    positions: NDArray[np.int64]
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]


@dataclass(kw_only=True)
class LeftOut:
    """What the limits leave out of a task's training examples, counted part by part.

    Attributes:
        num_examples: All of the task.
        num_positions: Source positions of all.
        num_left_out: Those that are left out, for either reason.
        long_sources: Those whose source is too long: examples, and their source positions.
        long_targets: The same for targets.
        longest: The longest source, the longest target.
        shortest: The shortest source, the shortest target.
        num_left_out_when_changed: Further ones whose source augmentation makes too long, in the
            first epoch.
    """

    num_examples: int = 0
    num_positions: int = 0
    num_left_out: int = 0
    long_sources: tuple[int, int] = (0, 0)
    long_targets: tuple[int, int] = (0, 0)
    longest: tuple[int, int] = (0, 0)
    shortest: tuple[int, int] = (sys.maxsize, sys.maxsize)
    num_left_out_when_changed: int = 0

    def add(
        self,
        part: TaskLengths,
        limits: LengthLimits,
        changed_lengths: ChangedLengths | None = None,
    ) -> None:
        """Count some examples, at least one.

        Args:
            part: Their lengths.
            limits: The limits.
            changed_lengths: What augmentation makes of source lengths; ``None``: nothing.
        """
        sources, targets = part.sources, part.targets
        kept = within_limits(sources, targets, limits)
        self.num_examples += len(sources)
        self.num_positions += int(sources.sum())
        self.num_left_out += int((~kept).sum())
        self.long_sources = _more(self.long_sources, sources, sources > limits.max_source)
        self.long_targets = _more(self.long_targets, sources, targets > limits.max_target)
        source, target = self.longest
        self.longest = max(source, int(sources.max())), max(target, int(targets.max()))
        source, target = self.shortest
        self.shortest = min(source, int(sources.min())), min(target, int(targets.min()))
        if changed_lengths is not None:
            changed = changed_lengths(part.positions, sources, 0)
            still = within_limits(changed, targets, limits)
            self.num_left_out_when_changed += int((kept & ~still).sum())


def within_limits(
    sources: NDArray[np.int64], targets: NDArray[np.int64], limits: LengthLimits
) -> NDArray[np.bool_]:
    """Return which examples of these lengths are trained on."""
    return (sources <= limits.max_source) & (targets <= limits.max_target)


def count_left_out(
    parts: Iterable[TaskLengths],
    limits: LengthLimits,
    *,
    changed_lengths: Mapping[str, ChangedLengths] | None = None,
) -> dict[str, LeftOut]:
    """Count by task what the limits leave out; a task without examples is not there.

    Args:
        parts: The lengths, in any number of parts.
        limits: The limits.
        changed_lengths: What augmentation makes of a task's source lengths, by task; a task that is
            not there is not changed.
    """
    found: dict[str, LeftOut] = {}
    for part in parts:
        if len(part.positions):
            changed = (changed_lengths or {}).get(part.task)
            found.setdefault(part.task, LeftOut()).add(part, limits, changed)
    return found


def _more(
    counted: tuple[int, int], sources: NDArray[np.int64], chosen: NDArray[np.bool_]
) -> tuple[int, int]:
    number, positions = counted
    return number + int(chosen.sum()), positions + int(sources[chosen].sum())
