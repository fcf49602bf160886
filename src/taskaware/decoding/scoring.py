"""How hypotheses are ranked. Imports no torch, so that the command line starts fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class DecodingSettings:
    """How to search.

    Attributes:
        beam: Hypotheses kept at each step; 1 is greedy search.
        length_penalty: Exponent of the length penalty ((5 + length) / 6)^alpha; 0: none.
        extra_pieces: A hypothesis has at most this many pieces more than the source has positions.
        num_best: Hypotheses returned for each source, at most `beam`.
        examples_per_batch: Sources decoded together.
    """

    beam: int = 4
    length_penalty: float = 0.6
    extra_pieces: int = 50
    num_best: int = 1
    examples_per_batch: int = 32

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for name in ("beam", "extra_pieces", "num_best", "examples_per_batch"):
            if getattr(self, name) < 1:
                yield name, "must be at least 1"
        if self.num_best > self.beam:
            yield "num_best", f"must be at most `beam` ({self.beam})"
        if self.length_penalty < 0:
            yield "length_penalty", "must not be negative"


def length_penalty(length: int, alpha: float) -> float:
    """Return ((5 + length) / 6)^alpha (Wu et al. 2016, equation 14); the end counts as a piece."""
    return ((5.0 + length) / 6.0) ** alpha
