"""Which sources are decoded together, and what is said where they do not fit into the memory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from taskaware.errors import TaskawareError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# 32 recordings of 40 s: a longer source is decoded with few others or alone.
_POSITIONS_TOGETHER = 32 * 4_000


def batches(lengths: Sequence[int], examples_per_batch: int) -> Iterator[list[int]]:
    """Yield the positions of sources to decode together: of similar length, the shortest first.

    Args:
        lengths: Of the sources, in frames or pieces.
        examples_per_batch: At most so many, and fewer where they are long.
    """
    chosen: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        is_full = len(chosen) == examples_per_batch
        if chosen and (is_full or (len(chosen) + 1) * lengths[i] > _POSITIONS_TOGETHER):
            yield chosen
            chosen = []
        chosen.append(i)
    if chosen:
        yield chosen


@contextmanager
def reporting_short_memory(longest: int) -> Iterator[None]:
    """Say how long the longest source was where the memory does not suffice.

    Raises:
        TaskawareError: Instead of what Python or torch raises when memory runs out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not is_memory and "memory" not in str(error):
            raise
        raise TaskawareError(
            f"the memory must suffice for a source of {longest:,} frames or pieces, but does not: "
            "cut it into shorter ones, or lower `beam` or `examples_per_batch`"
        ) from error
