"""Where a long recording is cut: at pauses, where a detector of speech is least sure, or anywhere.

Three ways:

- ``pauses``: what is spoken between pauses, neighbours joined up to the greatest length ("cut and
  merge" of Bain et al. 2023, WhisperX, https://arxiv.org/abs/2303.00747). Few, long stretches.
- ``divide``: divide and conquer of Tsiamas et al. (2022, SHAS, https://arxiv.org/abs/2202.04774,
  algorithm pDAC): what is longer than the greatest length is cut where the detector is least sure,
  so that neither part is shorter than the least, and so on; what is not speech at the ends of a
  part is taken off. Their detector was trained on how people cut talks for translation; here it is
  the probability of speech.
- ``windows``: stretches of the greatest length that overlap.

What lasts longer than the greatest length without a pause is cut in either of the first two where
speech is least likely; the parts overlap there if it is speech all the same.

Shape legend: F frames of the detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from taskaware.data.sound.speech_detection import FRAME_SECONDS, SPEECH

Way = Literal["pauses", "divide", "windows"]

_LEAVES_SPEECH = SPEECH - 0.15  # speech ends below this, so that it does not flicker
_SMOOTHED_SECONDS = 0.3  # over which a probability is averaged: a longer pause is a better place
_SHORTEST_SPEECH_SECONDS = 0.2
_SHORTEST_PAUSE_SECONDS = 0.3
_AROUND_SECONDS = 0.2  # of the pause that is kept on either side of what is spoken


@dataclass(frozen=True, kw_only=True)
class CutSettings:
    """How a recording is cut.

    Attributes:
        way: See the top of this file.
        least_seconds: No cut makes a part that is shorter.
        greatest_seconds: No stretch is longer, its overlap counted.
        overlap_seconds: How much two stretches share where they are cut within speech.
        longest_pause_seconds: `pauses`: what lies further apart is not joined.
    """

    way: Way = "pauses"
    least_seconds: float = 0.2
    greatest_seconds: float = 28.0
    overlap_seconds: float = 2.0
    longest_pause_seconds: float = 3.0


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A part of a recording that is decoded by itself.

    Attributes:
        start_seconds: Where it begins.
        end_seconds: Where it ends.
        cut_before: Where the stretch before was cut from it within speech, so that both overlap
            around this time; ``None``: they do not.
    """

    start_seconds: float
    end_seconds: float
    cut_before: float | None = None


@dataclass(frozen=True)
class _Part:
    """Frames from ``first`` to before ``end``, and whether a cut within speech is at its start."""

    first: int
    end: int
    is_cut: bool = False


def cut(probabilities: np.ndarray, duration_seconds: float, settings: CutSettings) -> list[Stretch]:
    """Return the stretches of a recording that are decoded, in order; none where nobody speaks.

    Args:
        probabilities: Of speech, float32 ``[F]``.
        duration_seconds: Of the recording.
        settings: How to cut.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    most = _num_frames(settings.greatest_seconds - settings.overlap_seconds)
    least = min(_num_frames(settings.least_seconds), most // 2)
    # A part that is cut within speech is longer than what the next one repeats of it.
    least_in_speech = min(
        max(least, int(settings.overlap_seconds / 2 / FRAME_SECONDS) + 1), most // 2
    )
    match settings.way:
        case "windows":
            starts = range(0, len(p), most)
            parts = [_Part(one, min(one + most, len(p)), is_cut=one > 0) for one in starts]
            parts = [one for one in parts if (p[one.first : one.end] >= SPEECH).any()]
        case "divide":
            whole = [_Part(0, len(p))]
            parts = _divided(p, whole, least, least_in_speech, most, trim=True)
        case _:
            spoken = [part for part in _spoken(p) if part.end > part.first]
            # A cut in the pause around it would make a part in which nobody speaks.
            around = _num_frames(_AROUND_SECONDS)
            least, least_in_speech = (
                min(number + around, most // 2) for number in (least, least_in_speech)
            )
            divided = _divided(p, spoken, least, least_in_speech, most, trim=False)
            parts = _joined(divided, most, settings)
    return _stretches(parts, duration_seconds, settings)


def _num_frames(seconds: float) -> int:
    return max(int(seconds / FRAME_SECONDS), 1)


def _spoken(p: np.ndarray) -> list[_Part]:
    """Return what is spoken between pauses, with a little of the pauses around it."""
    shortest_pause, shortest = map(_num_frames, (_SHORTEST_PAUSE_SECONDS, _SHORTEST_SPEECH_SECONDS))
    runs: list[list[int]] = []
    speaks = False
    for place, value in enumerate(p.tolist()):
        speaks = value >= (_LEAVES_SPEECH if speaks else SPEECH)
        if not speaks:
            continue
        if runs and place - runs[-1][1] < shortest_pause:
            runs[-1][1] = place + 1
        else:
            runs.append([place, place + 1])
    return _widened([_Part(a, b) for a, b in runs if b - a >= shortest], len(p))


def _widened(parts: list[_Part], num_frames: int) -> list[_Part]:
    """Return the parts with some of the pauses around them, none of it twice."""
    around = _num_frames(_AROUND_SECONDS)
    wide = []
    for number, part in enumerate(parts):
        before = parts[number - 1].end if number else -num_frames
        after = parts[number + 1].first if number + 1 < len(parts) else 2 * num_frames
        first = (
            part.first if part.is_cut else max(part.first - around, (before + part.first + 1) // 2)
        )
        follows = number + 1 < len(parts) and parts[number + 1].is_cut
        end = part.end if follows else min(part.end + around, (part.end + after) // 2)
        wide.append(_Part(max(first, 0), min(end, num_frames), part.is_cut))
    return wide


def _divided(
    p: np.ndarray,
    parts: list[_Part],
    least: int,
    least_in_speech: int,
    most: int,
    *,
    trim: bool,
) -> list[_Part]:
    """Return parts that are each at most ``most`` frames long, cut where ``p`` is least.

    Args:
        p: Probabilities of speech ``[F]``.
        parts: What is to be cut.
        least: No cut makes a part that is shorter.
        least_in_speech: Nor does one within speech, which is where there is no better place.
        most: The longest part.
        trim: Whether what is not speech is taken off at the ends.
    """
    if not len(p):
        return []
    size = min(_num_frames(_SMOOTHED_SECONDS), len(p))
    smooth = np.convolve(
        np.pad(p, (size // 2, size - 1 - size // 2), mode="edge"), np.ones(size) / size, "valid"
    )
    found: list[_Part] = []
    waiting = parts[::-1]
    while waiting:
        part = waiting.pop()
        if trim:
            speech = np.flatnonzero(p[part.first : part.end] >= SPEECH)
            if not len(speech):
                continue
            first, end = part.first + int(speech[0]), part.first + int(speech[-1]) + 1
            part = _Part(first, end, part.is_cut and first == part.first)
        if part.end - part.first <= most:
            found.append(part)
            continue
        edge = least
        if smooth[part.first + edge : part.end - edge].min() >= SPEECH:
            edge = least_in_speech
        inner = smooth[part.first + edge : part.end - edge]
        # Of equally good places the one nearest to the middle.
        best = np.flatnonzero(inner <= inner.min() + 1e-9)
        place = part.first + edge + int(best[np.abs(best - len(inner) / 2).argmin()])
        waiting.append(_Part(place, part.end, is_cut=bool(smooth[place] >= SPEECH)))
        waiting.append(_Part(part.first, place, part.is_cut))
    return _widened(found, len(p)) if trim else found


def _joined(parts: list[_Part], most: int, settings: CutSettings) -> list[_Part]:
    """Return neighbours joined as long as both together are not too long."""
    longest_pause = _num_frames(settings.longest_pause_seconds)
    found: list[_Part] = []
    for part in parts:
        is_near = found and part.first - found[-1].end <= longest_pause
        if is_near and part.end - found[-1].first <= most:
            found[-1] = _Part(found[-1].first, part.end, found[-1].is_cut)
        else:
            found.append(part)
    return found


def _stretches(parts: list[_Part], duration_seconds: float, settings: CutSettings) -> list[Stretch]:
    """Return the parts in seconds, with overlaps where they were cut within speech."""
    half = settings.overlap_seconds / 2
    found = []
    for number, part in enumerate(parts):
        start, end = part.first * FRAME_SECONDS, part.end * FRAME_SECONDS
        before = parts[number - 1] if number else None
        is_cut = part.is_cut and half > 0 and before is not None and before.end == part.first
        after = parts[number + 1] if number + 1 < len(parts) else None
        if after is not None and after.is_cut and after.first == part.end:
            end += half
        found.append(
            Stretch(
                start_seconds=max(start - half if is_cut else start, 0.0),
                end_seconds=min(end, duration_seconds),
                cut_before=start if is_cut else None,
            )
        )
    return [one for one in found if one.end_seconds > one.start_seconds]
