"""How hypotheses are ranked. Imports no torch, so that the command line starts fast."""

from __future__ import annotations


def length_penalty(length: int, alpha: float) -> float:
    """Return ((5 + length) / 6)^alpha (Wu et al. 2016, equation 14); the end counts as a piece."""
    return ((5.0 + length) / 6.0) ** alpha
