"""How hypotheses are ranked. Imports no torch, so that the command line starts fast."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


_WIDEST_BEAM = 1000  # a wider one finds nothing more, and fills the memory


@dataclass(frozen=True, kw_only=True)
class DecodingSettings:
    """How to search.

    Attributes:
        beam: Hypotheses kept at each step, at most 1,000; 1 is greedy search.
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
                yield name, f"must be at least 1, but is {getattr(self, name)}"
        if self.beam > _WIDEST_BEAM:
            yield "beam", f"must be at most {_WIDEST_BEAM}, but is {self.beam}"
        if self.num_best > max(self.beam, 1):
            yield "num_best", f"must be at most `beam` ({self.beam}), but is {self.num_best}"
        if not (math.isfinite(self.length_penalty) and self.length_penalty >= 0):
            yield "length_penalty", f"must be a number from 0 up, but is {self.length_penalty}"


def length_penalty(length: int, alpha: float) -> float:
    """Return ((5 + length) / 6)^alpha (Wu et al. 2016, equation 14); the end counts as a piece."""
    return ((5.0 + length) / 6.0) ** alpha
