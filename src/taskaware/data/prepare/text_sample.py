"""The texts that a vocabulary is trained on: distinct, and no more than memory holds."""

from __future__ import annotations

import heapq

from taskaware.data.hashes import hash_texts


class TextSample:
    """Distinct texts; beyond ``limit``, those with the smallest hashes.

    What is kept depends on the set of texts alone, not on their order: the same texts always give
    the same sample, and each distinct text is as likely to be in it as any other.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[int, str] = {}
        self._largest = (1 << 64) - 1

    def add(self, text: str) -> None:
        """Add a text; an empty one is ignored."""
        if not text:
            return
        key = hash_texts(text)
        if key > self._largest or key in self._kept:
            return
        self._kept[key] = text
        if len(self._kept) >= 2 * self._limit:
            self._shrink()

    def texts(self) -> list[str]:
        """Return the texts, sorted."""
        self._shrink()
        return sorted(self._kept.values())

    def _shrink(self) -> None:
        if len(self._kept) <= self._limit:
            return
        keys = heapq.nsmallest(self._limit, self._kept)
        self._kept = {key: self._kept[key] for key in keys}
        self._largest = keys[-1]
