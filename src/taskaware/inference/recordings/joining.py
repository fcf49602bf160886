"""Stretches that overlap become segments that do not: each word is kept once."""

from __future__ import annotations

from dataclasses import replace
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from taskaware.data.writing_systems import lower, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.inference.recordings.transcript import Word


def joined(
    before: Sequence[Word], after: Sequence[Word], cut_seconds: float, overlap_seconds: float
) -> tuple[list[Word], list[Word]]:
    """Return the words of two stretches that were cut within speech, none of them twice.

    Both heard what lies around the cut. The longest run of equal words of both there, two at least
    or one that is long, is where the second takes over; without any, each keeps the words whose
    middle lies on its side of the cut.

    Args:
        before: Words of the first stretch.
        after: Words of the second.
        cut_seconds: Where it was cut.
        overlap_seconds: How much both heard, half of it on either side.
    """
    reach = overlap_seconds  # twice as far as both heard: alignments are not exact
    tail = [i for i, word in enumerate(before) if word.end_seconds > cut_seconds - reach]
    head = [i for i, word in enumerate(after) if word.start_seconds < cut_seconds + reach]
    plain_tail = [_plain(before[i].text) for i in tail]
    plain_head = [_plain(after[i].text) for i in head]
    match = SequenceMatcher(None, plain_tail, plain_head, autojunk=False).find_longest_match()
    is_long = match.size and sum(map(len, plain_tail[match.a : match.a + match.size])) >= 4
    if match.size >= 2 or is_long:
        keep = tail[match.a] + (match.size + 1) // 2
        drop = head[match.b] + (match.size + 1) // 2
        first, second = list(before[:keep]), list(after[drop:])
    else:
        first = [word for word in before if _middle(word) < cut_seconds]
        second = [word for word in after if _middle(word) >= cut_seconds]
    return first, _not_before(second, first[-1].end_seconds if first else 0.0)


def _not_before(words: list[Word], seconds: float) -> list[Word]:
    """Return words none of which begins before a time."""
    return [
        replace(
            word,
            start_seconds=max(word.start_seconds, seconds),
            end_seconds=max(word.end_seconds, seconds),
        )
        for word in words
    ]


def _middle(word: Word) -> float:
    return (word.start_seconds + word.end_seconds) / 2


def _plain(word: str) -> str:
    return "".join(c for c in lower(visible(word)) if c.isalnum())
