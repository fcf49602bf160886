"""When a shard is full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


MAX_BYTES = 2**32 - 1  # positions in a shard's index are of 32 bits


@dataclass(frozen=True, kw_only=True)
class ShardLimits:
    """When a shard is full: at whichever comes first.

    Attributes:
        megabytes: Size of the file, in 10**6 bytes; the last example may go beyond it.
        examples: Number of examples.
    """

    megabytes: int = 64
    examples: int = 20_000

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if not 1 <= self.megabytes <= MAX_BYTES // 2_000_000:
            yield "megabytes", f"must be from 1 to 2,147, but is {self.megabytes}"
        if self.examples < 1:
            yield "examples", f"must be at least 1, but is {self.examples}"
