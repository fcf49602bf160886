"""The limits of length of training: which examples they leave out, and how many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from taskaware.data.batching_settings import BatchingSettings


class ChangedLengths(Protocol):
    """What augmentation makes of source lengths."""

    def __call__(
        self, indices: NDArray[np.int64], lengths: NDArray[np.int64], epoch: int
    ) -> NDArray[np.int64]:
        """Return the lengths that examples have in an epoch."""
        ...


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What the limits leave out of a task's training examples.

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

    num_examples: int
    num_positions: int
    num_left_out: int
    long_sources: tuple[int, int]
    long_targets: tuple[int, int]
    longest: tuple[int, int]
    shortest: tuple[int, int]
    num_left_out_when_changed: int


def within_limits(
    sources: NDArray[np.int64], targets: NDArray[np.int64], settings: BatchingSettings
) -> NDArray[np.bool_]:
    """Return which examples of these lengths are trained on."""
    return (sources <= settings.max_source) & (targets <= settings.max_target)


def count_left_out(
    lengths: Iterable[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]],
    settings: BatchingSettings,
    *,
    changed_lengths: ChangedLengths | None = None,
) -> LeftOut:
    """Count what the limits leave out.

    Args:
        lengths: Positions in the split, source and target lengths, part by part.
        settings: The limits.
        changed_lengths: What augmentation makes of source lengths; ``None``: nothing.
    """
    examples = positions = left_out = changed_out = 0
    long_sources, long_targets = np.zeros(2, np.int64), np.zeros(2, np.int64)
    longest, shortest = np.zeros(2, np.int64), np.full(2, np.iinfo(np.int64).max)
    for indices, sources, targets in lengths:
        if not len(indices):
            continue
        kept = within_limits(sources, targets, settings)
        examples += len(indices)
        positions += int(sources.sum())
        left_out += int((~kept).sum())
        long_source = sources > settings.max_source
        long_target = targets > settings.max_target
        long_sources += [long_source.sum(), sources[long_source].sum()]
        long_targets += [long_target.sum(), sources[long_target].sum()]
        longest = np.maximum(longest, [sources.max(), targets.max()])
        shortest = np.minimum(shortest, [sources.min(), targets.min()])
        if changed_lengths is not None:
            changed = changed_lengths(indices, sources, 0)
            changed_out += int((kept & ~within_limits(changed, targets, settings)).sum())
    return LeftOut(
        num_examples=examples,
        num_positions=positions,
        num_left_out=left_out,
        long_sources=_pair(long_sources),
        long_targets=_pair(long_targets),
        longest=_pair(longest),
        shortest=_pair(shortest),
        num_left_out_when_changed=changed_out,
    )


def _pair(values: NDArray[np.int64]) -> tuple[int, int]:
    return int(values[0]), int(values[1])
