"""What was seen before, among more texts than memory holds: 16 bytes each instead of the text.

Two different texts are taken for one with probability 2**-64 a pair: among 100 million texts, one
chance in 3,700 that it happens at all.
"""

from __future__ import annotations

import hashlib
from array import array

_LEAST_SLOTS = 1 << 10
_MAX_LOAD = 0.6  # linear probing: about two looks for a key that is not there


def hash_texts(*parts: str) -> int:
    """Return 64 bits of a hash of some texts, the same in every process and on every machine."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return int.from_bytes(digest.digest(), "little")


class FirstSeen:
    """The place where each key was seen first: a hash table of flat arrays.

    Keys are 64-bit hashes, places integers from 0 to 2**64 - 2.
    """

    def __init__(self) -> None:
        self._make(_LEAST_SLOTS)
        self._num_keys = 0

    def __len__(self) -> int:
        return self._num_keys

    def put(self, key: int, place: int = 0) -> int | None:
        """Return where ``key`` was seen first; if it was not, remember it and return ``None``."""
        if self._num_keys >= self._limit:
            self._grow()
        slot = self._slot(key)
        if self._places[slot]:
            return self._places[slot] - 1
        self._keys[slot], self._places[slot] = key, place + 1
        self._num_keys += 1
        return None

    def get(self, key: int) -> int | None:
        """Return where ``key`` was seen first, or ``None``."""
        return self._places[self._slot(key)] - 1 if self._places[self._slot(key)] else None

    def __contains__(self, key: int) -> bool:
        return bool(self._places[self._slot(key)])

    def _make(self, num_slots: int) -> None:
        self._mask = num_slots - 1
        self._limit = int(num_slots * _MAX_LOAD)
        self._keys = array("Q", bytes(8 * num_slots))
        self._places = array("Q", bytes(8 * num_slots))  # 0: the slot is free

    def _slot(self, key: int) -> int:
        keys, places, slot = self._keys, self._places, key & self._mask
        while places[slot] and keys[slot] != key:
            slot = (slot + 1) & self._mask
        return slot

    def _grow(self) -> None:
        keys, places = self._keys, self._places
        self._make(2 * len(keys))
        for key, place in zip(keys, places, strict=True):
            if place:
                slot = self._slot(key)
                self._keys[slot], self._places[slot] = key, place
