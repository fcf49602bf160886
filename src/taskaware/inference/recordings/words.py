"""From pieces with times and probabilities to the words that they are parts of.

Shape legend: T pieces of an output.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np

from taskaware.data.sound.speech_detection import FRAME_SECONDS, frames_between
from taskaware.data.writing_systems import words as separate_words
from taskaware.inference.recordings.transcript import Word, geometric_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from taskaware.data.sound.speech_detection import Detected
    from taskaware.data.vocabulary.vocabulary import Vocabulary

_SHORTEST_WORD_SECONDS = 0.02


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return where each word of a text begins and ends, in characters.

    Words are what stands between white space, and each sign of scripts without it. Punctuation
    that touches a sign belongs to it: opening brackets to the one after, all other to the one
    before.
    """
    spans: list[tuple[int, int]] = []
    waiting: int | None = None  # where opening brackets began that touch the next word
    for first, end in _parts(text):
        is_word = any(map(str.isalnum, text[first:end]))
        touches = bool(spans) and spans[-1][1] == first
        opens = touches and all(unicodedata.category(c) in ("Ps", "Pi") for c in text[first:end])
        if opens and end < len(text) and not text[end].isspace():
            waiting = first if waiting is None else waiting
            continue
        if touches and not is_word:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((first if waiting is None else waiting, end))
        waiting = None
    return spans


def _parts(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of words and signs; punctuation between signs and letters by itself."""
    place = 0
    for word in separate_words(text):
        first = text.index(word, place)
        touches = first == place and place > 0
        place = first + len(word)
        if touches:
            bare = word.lstrip("".join(c for c in word if not c.isalnum()))
            middle = place - len(bare)
            if first < middle < place:
                opening = first
                while opening < middle and unicodedata.category(text[opening]) not in ("Ps", "Pi"):
                    opening += 1
                yield from ((a, b) for a, b in ((first, opening), (opening, middle)) if a < b)
                first = middle
        yield first, place


def piece_ends(vocabulary: Vocabulary, pieces: Sequence[int], text: str) -> np.ndarray:
    """Return how many characters of their text are written after each piece, int64 ``[T]``.

    A character whose bytes are several pieces is written with the last of them.
    """
    ends = np.zeros(len(pieces), dtype=np.int64)
    for number in range(1, len(pieces) + 1):
        so_far = vocabulary.decode(pieces[:number])
        most = min(len(so_far), len(text))
        same = next((i for i in range(most) if so_far[i] != text[i]), most)
        ends[number - 1] = max(same, ends[number - 2] if number > 1 else 0)
    if len(ends):
        ends[-1] = len(text)
    return ends


def words_of(
    text: str,
    ends_T: np.ndarray,
    starts_seconds_T: np.ndarray,
    ends_seconds_T: np.ndarray,
    probabilities_T: np.ndarray,
) -> list[Word]:
    """Return the words of a text, with times and confidence.

    Args:
        text: What the pieces say.
        ends_T: See ``piece_ends``.
        starts_seconds_T: When each piece begins.
        ends_seconds_T: When it ends.
        probabilities_T: Of each piece, from 0 to 1.
    """
    begins_T = np.concatenate([[0], ends_T[:-1]]) if len(ends_T) else ends_T
    found = []
    for first, end in word_spans(text):
        own = np.flatnonzero((begins_T < end) & (ends_T > first))
        if not len(own):
            continue
        start = _time_of(first, own[0], begins_T, ends_T, starts_seconds_T, ends_seconds_T, text)
        stop = _time_of(end, own[-1], begins_T, ends_T, starts_seconds_T, ends_seconds_T, text)
        found.append(
            Word(
                text=text[first:end],
                start_seconds=float(start),
                end_seconds=float(max(stop, start)),
                confidence=geometric_mean((float(probabilities_T[i]), 1.0) for i in own),
            )
        )
    return found


def _time_of(
    character: int,
    piece: int,
    begins_T: np.ndarray,
    ends_T: np.ndarray,
    starts_seconds_T: np.ndarray,
    ends_seconds_T: np.ndarray,
    text: str,
) -> float:
    """Return when a character comes within its piece, whose time its letters share equally.

    White space takes no time.
    """
    begin, end = int(begins_T[piece]), int(ends_T[piece])
    letters = len("".join(text[begin:end].split()))
    before = len("".join(text[begin:character].split()))
    share = before / letters if letters else 0.0
    start, stop = starts_seconds_T[piece], ends_seconds_T[piece]
    return float(start + share * (stop - start))


def within_speech(words: Sequence[Word], detected: Detected) -> list[Word]:
    """Return words that begin and end where somebody speaks, as far as the detector hears it.

    An alignment gives the silence between two words to one of them. Of a word's time, what lies
    from its first frame of speech to its last is kept, or if it has a pause inside, the longer run
    of speech; a word without any stays as it is.
    """
    found = []
    for word in words:
        frames = frames_between(word.start_seconds, word.end_seconds)
        is_speech = detected.is_speech(word.start_seconds, word.end_seconds)
        start, end = word.start_seconds, word.end_seconds
        if len(is_speech) and is_speech.any() and not is_speech.all():
            first, last = _longest_run(is_speech)
            start = max(start, (frames.start + first) * FRAME_SECONDS)
            end = min(end, (frames.start + last) * FRAME_SECONDS)
        if end - start < _SHORTEST_WORD_SECONDS:
            start, end = word.start_seconds, word.end_seconds
        found.append(
            Word(text=word.text, start_seconds=start, end_seconds=end, confidence=word.confidence)
        )
    return found


def _longest_run(is_true: np.ndarray) -> tuple[int, int]:
    """Return where the longest run of True begins and ends."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_true.astype(np.int8), [0]])))
    runs = edges.reshape(-1, 2)
    first, end = runs[(runs[:, 1] - runs[:, 0]).argmax()]
    return int(first), int(end)
