"""Guards against what models of speech invent: repetitions, and text where nobody speaks.

The rules, which are counted in ``Transcript.guarded``:

1. **Repetition.** An output repeats itself where a run of words follows itself too often: a single
   word 8 times in a row, two words 5 times, three words or more 4 times (in languages that do not
   separate words: signs). It is decoded again with `no_repeat` 4: no four pieces in a row come
   twice. If that repeats itself all the same, or reaches no end, the repeats but one are left out.
2. **Silence.** Where the detector hears no speech, nothing is decoded. What is decoded is left out
   where a Whisper finds it likelier than 0.6 that nobody speaks and gives its output a mean
   log-probability below -1 (its authors' rule, Radford et al. 2022, section 4.5); and, of any
   model, where less than a tenth of a second in all is speech and the confidence is below 0.5.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from taskaware.data.sound.speech_detection import FRAME_SECONDS
from taskaware.data.writing_systems import lower, visible, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

NO_REPEAT = 4
_MOST_IN_A_ROW = {1: 8, 2: 5}
_MOST_OF_LONGER = 4
_LONGEST_RUN = 24  # words
_NO_SPEECH, _MEAN_LOG_PROB = 0.6, -1.0
_LEAST_SPEECH_SECONDS, _LEAST_CONFIDENCE = 0.1, 0.5


def repeats(text: str) -> bool:
    """Return whether a text repeats itself (rule 1)."""
    return _first_loop(_normal(text)) is not None


def without_repeats(units: Sequence[str]) -> list[int]:
    """Return the places of words that stay where loops are left out but for their first run."""
    kept = list(range(len(units)))
    while True:
        loop = _first_loop([_plain(units[i]) for i in kept])
        if loop is None:
            return kept
        start, size, times = loop
        del kept[start + size : start + size * times]


def is_invented(
    *, no_speech: float, confidence: float, is_speech: np.ndarray, detector_hears: bool
) -> bool:
    """Return whether a text was written for silence (rule 2).

    Args:
        no_speech: Whisper's probability that nobody speaks.
        confidence: Of the output.
        is_speech: Of each frame of the stretch, what the detector says.
        detector_hears: Whether there is a detector that tells speech from other sounds.
    """
    if no_speech > _NO_SPEECH and math.log(max(confidence, 1e-30)) < _MEAN_LOG_PROB:
        return True
    seconds = float(is_speech.sum()) * FRAME_SECONDS
    return detector_hears and seconds < _LEAST_SPEECH_SECONDS and confidence < _LEAST_CONFIDENCE


def _normal(text: str) -> list[str]:
    return [_plain(word) for word in words(text)]


def _plain(word: str) -> str:
    """Return a word as it is compared: without case and punctuation."""
    letters = "".join(c for c in lower(visible(word)) if c.isalnum())
    return letters or word


def _first_loop(units: Sequence[str]) -> tuple[int, int, int] | None:
    """Return where the first loop begins, how many words it has, and how often they come."""
    for start in range(len(units)):
        for size in range(1, min(_LONGEST_RUN, (len(units) - start) // 2) + 1):
            run = units[start : start + size]
            times = 1
            while units[start + size * times : start + size * (times + 1)] == run:
                times += 1
            if times >= _MOST_IN_A_ROW.get(size, _MOST_OF_LONGER):
                return start, size, times
    return None
