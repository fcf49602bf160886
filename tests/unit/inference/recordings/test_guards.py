"""Guards against repetition and against text for silence."""

from __future__ import annotations

import numpy as np
import pytest

from taskaware.inference.recordings import guards


@pytest.mark.parametrize(
    ("text", "is_loop"),
    [
        ("Thank you. " * 5, True),
        ("Thank you. " * 4, False),
        ("no " * 8, True),
        ("No, no, no, no, no, no, no!", False),
        ("I do not know. " * 4, True),
        ("I do not know. I do not know. Who knows?", False),
        ("谢谢" * 5, True),
        ("and so the red house, and so the green house, and so on", False),
        ("", False),
    ],
)
def test_a_loop_is_told_from_what_people_repeat(text: str, is_loop: bool):
    assert guards.repeats(text) is is_loop


def test_of_a_loop_the_first_run_stays():
    words = "so I went home " * 6 + "and slept"
    kept = [words.split()[i] for i in guards.without_repeats(words.split())]
    assert kept == ["so", "I", "went", "home", "and", "slept"]


@pytest.mark.parametrize(
    ("no_speech", "confidence", "speech_frames", "hears", "is_invented"),
    [
        (0.9, 0.3, 50, True, True),  # Whisper says so, and the model is unsure
        (0.9, 0.5, 50, True, False),
        (0.5, 0.1, 50, True, False),
        (0.0, 0.4, 2, True, True),  # hardly any speech, and the model is unsure
        (0.0, 0.4, 2, False, False),
        (0.0, 0.6, 2, True, False),
        (0.0, 0.4, 4, True, False),
    ],
)
def test_a_text_for_silence_is_left_out_by_the_stated_rule(
    no_speech: float, confidence: float, speech_frames: int, hears: bool, is_invented: bool
):
    is_speech = np.arange(100) < speech_frames
    found = guards.is_invented(
        no_speech=no_speech, confidence=confidence, is_speech=is_speech, detector_hears=hears
    )
    assert found is is_invented
