"""Subtitles: what is said, cut into cues of at most two short lines at good places.

The limits are those that most guidelines share (Netflix's Timed Text Style Guide, BBC, TED):
two lines of 42 characters, 5/6 s to 7 s on the screen. A character of Chinese, Japanese or Korean
is as wide as two others. A place is good where a sentence ends, less good at other punctuation or a
pause of the speaker, bad elsewhere; among all ways to cut a segment the one with the least cost is
taken (dynamic programming), and so is the break between two lines.
"""

from __future__ import annotations

import itertools
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskaware.data.writing_systems import words as separate_words
from taskaware.inference.recordings.transcript import Word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.inference.recordings.transcript import Segment, Transcript

_SENTENCE_ENDS = frozenset(".!?…。！？؟।")
_CLAUSE_ENDS = frozenset(",;:—–、，；：،")
_SHORT_WORD = 3
_LONGEST_DOTTED = 5  # p.m, z.B, U.S.A
# What is written with a full stop before what it belongs to, and hardly ever ends a sentence.
_TITLES = frozenset(
    ("mr", "mrs", "ms", "dr", "prof", "st", "hr", "fr", "nr", "bzw", "ca", "vs", "mme", "mlle")
)
_OPENING = "\"'“‘„‚«([{「『"
_CLOSING = "\"'”’»)]}」』"


@dataclass(frozen=True, kw_only=True)
class SubtitleSettings:
    """How subtitles are cut.

    Attributes:
        characters: The longest line; wide characters count as two.
        lines: Lines of a cue.
        least_seconds: A shorter cue stays on the screen this long, if nothing else is said then.
        greatest_seconds: A longer one is cut, where it has several words.
        pause_seconds: A silence between words from which on it is a good place to cut.
    """

    characters: int = 42
    lines: int = 2
    least_seconds: float = 5 / 6
    greatest_seconds: float = 7.0
    pause_seconds: float = 0.4


@dataclass(frozen=True, kw_only=True)
class Cue:
    """One subtitle.

    Attributes:
        start_seconds: When it appears.
        end_seconds: When it goes.
        lines: One or two lines.
    """

    start_seconds: float
    end_seconds: float
    lines: tuple[str, ...]


def cues(transcript: Transcript, settings: SubtitleSettings | None = None) -> list[Cue]:
    """Return the subtitles of a transcript, in order; no two are on the screen together."""
    settings = SubtitleSettings() if settings is None else settings
    found: list[Cue] = []
    for segment in transcript.segments:
        words = [
            part for word in timed_words(segment) for part in _fitting(word, settings.characters)
        ]
        separator = transcript.separator
        for group in _cut(words, separator, settings):
            found.append(
                Cue(
                    start_seconds=group[0].start_seconds,
                    end_seconds=group[-1].end_seconds,
                    lines=_lines(group, separator, settings),
                )
            )
    return _long_enough(found, transcript.duration_seconds, settings)


def timed_words(segment: Segment) -> tuple[Word, ...]:
    """Return the words of a segment; where it has none, its text's, spread by their lengths."""
    if segment.words or not segment.text.strip():
        return segment.words
    texts = separate_words(segment.text)
    lengths = [len(text) + 1 for text in texts]
    seconds = (segment.end_seconds - segment.start_seconds) / sum(lengths)
    found, start = [], segment.start_seconds
    for text, length in zip(texts, lengths, strict=True):
        end = start + length * seconds
        found.append(
            Word(text=text, start_seconds=start, end_seconds=end, confidence=segment.confidence)
        )
        start = end
    return tuple(found)


def width(text: str) -> int:
    """Return how many columns a text takes; marks take none, wide characters two."""
    return sum(
        0
        if unicodedata.category(character) in ("Mn", "Me", "Cf")
        else 2
        if unicodedata.east_asian_width(character) in ("W", "F")
        else 1
        for character in text
    )


def _fitting(word: Word, most: int) -> list[Word]:
    """Return a word in parts that each fit on a line."""
    if width(word.text) <= most:
        return [word]
    parts = [""]
    for character in word.text:
        if width(parts[-1] + character) > most:
            parts.append("")
        parts[-1] += character
    seconds = (word.end_seconds - word.start_seconds) / len(parts)
    return [
        Word(
            text=part,
            start_seconds=word.start_seconds + number * seconds,
            end_seconds=word.start_seconds + (number + 1) * seconds,
            confidence=word.confidence,
        )
        for number, part in enumerate(parts)
    ]


def _cut(words: Sequence[Word], separator: str, settings: SubtitleSettings) -> list[list[Word]]:
    """Return the words in groups of one cue each, cut where it costs least."""
    best = [0.0] + [float("inf")] * len(words)
    came_from = [0] * (len(words) + 1)
    for end in range(1, len(words) + 1):
        for start in range(end - 1, -1, -1):
            group = words[start:end]
            if start < end - 1 and not _fits(group, separator, settings):
                break
            cost = best[start] + _cost_of_cue(group, separator, settings)
            if end < len(words):
                cost += _cost_of_break(words[end - 1], words[end], settings)
            if cost < best[end]:
                best[end], came_from[end] = cost, start
    groups, end = [], len(words)
    while end:
        groups.append(list(words[came_from[end] : end]))
        end = came_from[end]
    return groups[::-1]


def _fits(words: Sequence[Word], separator: str, settings: SubtitleSettings) -> bool:
    """Return whether words fit on the lines of one cue, and are not on the screen for too long."""
    if words[-1].end_seconds - words[0].start_seconds > settings.greatest_seconds:
        return False
    return len(_filled(words, separator, settings.characters)) <= settings.lines


def _filled(words: Sequence[Word], separator: str, most: int) -> list[str]:
    """Return lines that are each filled as far as they go."""
    lines = [words[0].text]
    for word in words[1:]:
        longer = lines[-1] + separator + word.text
        if width(longer) <= most:
            lines[-1] = longer
        else:
            lines.append(word.text)
    return lines


def _cost_of_cue(words: Sequence[Word], separator: str, settings: SubtitleSettings) -> float:
    """Return what one more cue costs: something, and more where it is short.

    It also costs where a sentence ends in it and another begins that is not finished.
    """
    full = settings.characters * settings.lines
    share = min(width(separator.join(word.text for word in words)) / full, 1.0)
    begins_another = any(_ends_a_sentence(*pair) for pair in itertools.pairwise(words))
    unfinished = 1.0 if begins_another and not _ends_a_sentence(words[-1], None) else 0.0
    return 1.0 + 2.0 * (1.0 - share) ** 2 + unfinished


def _ends(word: Word) -> str:
    """Return the last sign of a word that is no bracket or quotation mark."""
    return word.text.rstrip(_CLOSING)[-1:]


def _ends_a_sentence(word: Word, following: Word | None) -> bool:
    """Return whether a sentence ends with a word: not at ``Mr.``, ``J.``, ``a.m.`` or ``am 3.``."""
    last = _ends(word)
    if last != ".":
        return last in _SENTENCE_ENDS
    stem = word.text.rstrip(_CLOSING).lstrip(_OPENING)[:-1]
    is_initial = len(stem) == 1 and stem.isalpha()
    is_ordinal = following is not None and len(stem) <= 2 and stem.isdecimal()
    if is_initial or is_ordinal or stem.lower() in _TITLES:
        return False
    goes_on = following is not None and following.text.lstrip(_OPENING)[:1].islower()
    is_dotted = "." in stem and not stem.endswith(".") and len(stem) <= _LONGEST_DOTTED
    return not (goes_on and is_dotted)


def _cost_of_break(before: Word, after: Word, settings: SubtitleSettings) -> float:
    """Return what it costs to break between two words."""
    last = _ends(before)
    if _ends_a_sentence(before, after):
        return 0.0
    pause = after.start_seconds - before.end_seconds
    if last in _CLAUSE_ENDS:
        return 0.4 if pause >= settings.pause_seconds else 0.8
    # A short word, such as an article or a preposition, belongs to what follows it.
    short = 0.7 if len(before.text) <= _SHORT_WORD else 0.0
    return 0.6 if pause >= settings.pause_seconds else 2.5 + short


def _lines(words: Sequence[Word], separator: str, settings: SubtitleSettings) -> tuple[str, ...]:
    """Return the lines of a cue: one if all fits, else the best break between two."""
    whole = separator.join(word.text for word in words)
    if width(whole) <= settings.characters:
        return (whole,)
    if settings.lines != 2:
        return tuple(_filled(words, separator, settings.characters))
    ways = []
    for middle in range(1, len(words)):
        lines = tuple(
            separator.join(word.text for word in part) for part in (words[:middle], words[middle:])
        )
        if max(map(width, lines)) <= settings.characters:
            uneven = abs(width(lines[0]) - width(lines[1])) / settings.characters
            cost = _cost_of_break(words[middle - 1], words[middle], settings) + 2.0 * uneven
            ways.append((cost, lines))
    return min(ways)[1] if ways else (whole,)


def _long_enough(
    found: list[Cue], duration_seconds: float, settings: SubtitleSettings
) -> list[Cue]:
    """Let short cues stay on the screen until the next one, and no two be there together."""
    kept = []
    for number, cue in enumerate(found):
        following = found[number + 1].start_seconds if number + 1 < len(found) else duration_seconds
        wanted = max(cue.end_seconds, cue.start_seconds + settings.least_seconds)
        end = max(min(wanted, following), cue.start_seconds)
        kept.append(Cue(start_seconds=cue.start_seconds, end_seconds=end, lines=cue.lines))
    return kept
