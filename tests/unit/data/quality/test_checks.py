"""Each check finds its own fault, says the field, what must be and what is, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from taskaware.data.quality.checks import (
    Finding,
    check_features,
    check_fits_speech,
    check_recording,
    check_sound,
    check_text_length,
)
from taskaware.data.quality.settings import CheckSettings
from taskaware.data.sound.audio import AudioInfo, Sound
from taskaware.types import Speech

SETTINGS = CheckSettings()


def recording(
    seconds: float = 10.0, start: float = 0.0, duration: float | None = None, rate_hz: int = 16_000
) -> Finding | None:
    info = AudioInfo(duration_seconds=seconds, sample_rate_hz=rate_hz, num_channels=1)
    speech = Speech(path=Path("a.wav"), start_seconds=start, duration_seconds=duration)
    return check_recording(info, speech, SETTINGS)


def test_good_recordings_pass():
    assert recording() is None
    assert recording(start=3.0, duration=7.0) is None
    assert recording(start=3.0, duration=7.009) is None, "times are rounded in manifests"
    assert recording(seconds=3_600, start=100, duration=5) is None
    assert recording(rate_hz=8_000) is None


@pytest.mark.parametrize(
    ("arguments", "field", "reason"),
    [
        ({"rate_hz": 4_000}, "audio", "at least 8000 Hz, but is 4000 Hz"),
        ({"start": 10.0}, "start_seconds", "(10.000 s), but is 10.000 s"),
        ({"start": 5.0, "duration": 5.1}, "duration_seconds", "but ends at 10.100 s"),
        ({"seconds": 41}, "audio", "from 0.1 to 40 s, but lasts 41.000 s"),
        ({"seconds": 0.05}, "audio", "but lasts 0.050 s"),
        ({"seconds": 60, "duration": 50}, "duration_seconds", "but lasts 50.000 s"),
    ],
)
def test_bad_recordings_are_found(arguments: dict[str, float], field: str, reason: str):
    finding = recording(**arguments)  # type: ignore[arg-type]
    assert finding is not None
    assert finding.field == field
    assert reason in finding.reason


def test_silence_is_found_whatever_its_offset():
    rng = np.random.default_rng(0)
    hiss = rng.uniform(-5e-4, 5e-4, 1_000).astype(np.float32)
    for silent in (np.zeros(1_000, np.float32), hiss, hiss + np.float32(0.3)):
        finding = check_sound(Sound(waveform=silent, sample_rate_hz=16_000), SETTINGS)
        assert finding is not None
        assert "silent" in finding.reason
    assert check_sound(Sound(waveform=hiss * 10, sample_rate_hz=16_000), SETTINGS) is None


def test_channels_that_cancel_are_a_reason_of_their_own():
    remains = np.linspace(-0.1, 0.1, 1_000, dtype=np.float32)
    finding = check_sound(
        Sound(waveform=remains, sample_rate_hz=16_000, channels_cancel=True), SETTINGS
    )
    assert finding is not None
    assert finding.field == "audio"
    assert "the channels must not cancel each other" in finding.reason
    assert "choose one channel" in finding.reason


def test_a_channel_that_the_recording_lacks_is_found():
    info = AudioInfo(duration_seconds=10, sample_rate_hz=16_000, num_channels=2)
    assert check_recording(info, Speech(path=Path("a.wav"), channel=2), SETTINGS) is None
    finding = check_recording(info, Speech(path=Path("a.wav"), channel=3), SETTINGS)
    assert finding == Finding(field="channel", reason="must be from 1 to 2, but is 3")


def test_texts_and_transcripts_have_limits():
    assert check_text_length(500, "target_text", SETTINGS) is None
    assert check_text_length(501, "source_text", SETTINGS) == Finding(
        field="source_text", reason="must have at most 500 pieces, but has 501"
    )
    assert check_fits_speech(100, 25, SETTINGS) is None
    finding = check_fits_speech(100, 26, SETTINGS)
    assert finding is not None
    assert finding.field == "target_text"
    assert "at most 25 pieces, as the speech has 100 frames, but has 26" in finding.reason


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        (np.zeros((3, 4, 5)), "[frames, columns]"),
        (np.zeros((0, 4)), "one frame or more"),
        (np.zeros((3, 4), dtype="U1"), "array of numbers"),
        (np.zeros((3, 5)), "must have 4 columns, as all others here, but has 5"),
        (np.full((3, 4), np.nan), "finite"),
        (np.full((3, 4), 1e5), "65,504"),
    ],
)
def test_bad_feature_arrays_are_found(features: np.ndarray, reason: str):
    assert check_features(np.zeros((3, 4)), 4) is None
    finding = check_features(features, 4)
    assert finding is not None
    assert finding.field == "features"
    assert reason in finding.reason
