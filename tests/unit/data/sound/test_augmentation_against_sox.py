"""Speed, tempo and echo beside SoX, which the paper used: the same numbers of the same input."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from taskaware.data.sound import audio
from taskaware.data.sound.augmentation import echo, speed, tempo

pytestmark = pytest.mark.skipif(
    shutil.which("sox") is None, reason="needs the program sox, which is not on PATH"
)

RATE = 16_000
REAL_SPEECH = Path(__file__).parents[5] / "shared/data/librispeech_mini/audio"


def sox(waveform: np.ndarray, *effect: object, rate: int = RATE) -> np.ndarray:
    """What SoX makes of it, in floating point."""
    raw = ["-t", "f32", "-r", str(rate), "-c", "1"]
    done = subprocess.run(
        ["sox", "-V1", "-D", *raw, "-", "-t", "f32", "-", *map(str, effect)],
        input=waveform.astype("<f4").tobytes(),
        capture_output=True,
        check=True,
    )
    return np.frombuffer(done.stdout, "<f4")


def voiced(seed: int) -> np.ndarray:
    """Four seconds of syllables: harmonics of a moving pitch, with pauses and a little noise."""
    random = np.random.default_rng(seed)
    time = np.arange(4 * RATE) / RATE
    pitch_hz = 130 + 30 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE
    tone = np.sum([np.sin(k * phase + k) / k for k in range(1, 20)], axis=0)
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * time), 0, None)
    noise = random.normal(0, 0.002, len(time))
    return (0.1 * syllables * tone + noise).astype(np.float32)


@pytest.fixture(params=["synthetic", "real"])
def speech(request: pytest.FixtureRequest) -> np.ndarray:
    if request.param == "synthetic":
        return voiced(0)
    recordings = sorted(REAL_SPEECH.glob("*.mp3"))
    if not recordings:
        pytest.skip("needs the real speech of ../shared/data, which is not there")
    return audio.read(recordings[0], sample_rate_hz=RATE, duration_seconds=4.0)


@pytest.mark.parametrize("factor", [0.85, 0.97, 1.1, 1.3])
def test_tempo_is_the_tempo_of_sox(speech: np.ndarray, factor: float):
    ours, theirs = tempo(speech, factor, RATE), sox(speech, "tempo", factor)
    assert len(ours) == pytest.approx(len(theirs), abs=1)
    # Sample by sample, but for the odd segment: two candidates may be equal to SoX's rounding.
    size = 1120
    num_segments = min(len(ours), len(theirs)) // size
    differences = np.abs(ours[: num_segments * size] - theirs[: num_segments * size])
    equal = differences.reshape(num_segments, size).max(axis=1) < 1e-5
    assert equal.mean() > 0.9


@pytest.mark.parametrize("factor", [0.95, 0.9731, 1.05])
def test_speed_is_the_speed_of_sox(speech: np.ndarray, factor: float):
    ours, theirs = speed(speech, factor, RATE), sox(speech, "speed", factor)
    assert len(ours) == pytest.approx(len(theirs), abs=1)
    num_samples = min(len(ours), len(theirs))
    error = ours[:num_samples] - theirs[:num_samples]
    assert np.std(error) < 1e-4 * np.std(theirs)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100])
@pytest.mark.parametrize(("delay_ms", "decay"), [(20, 0.05), (123.4, 0.2), (57.77, 0.1)])
def test_the_echo_lies_where_that_of_sox_lies_and_is_as_high(
    rate: int, delay_ms: float, decay: float
):
    impulse = np.zeros(1000, np.float32)
    impulse[100] = 0.5
    ours = echo(impulse, delay_ms / 1000, decay, rate)
    theirs = sox(impulse, "echo", 1, 1, delay_ms, decay, rate=rate)
    assert len(ours) == len(theirs)
    assert np.count_nonzero(np.abs(theirs) > 1e-3) == 2
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_the_echo_of_speech_is_that_of_sox(speech: np.ndarray):
    ours, theirs = echo(speech, 0.15, 0.2, RATE), sox(speech, "echo", 1, 1, 150, 0.2)
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100])
def test_tempo_at_other_rates_is_that_of_sox(rate: int):
    waveform = voiced(1)
    for factor in (0.9, 1.2):
        ours, theirs = tempo(waveform, factor, rate), sox(waveform, "tempo", factor, rate=rate)
        num_samples = min(len(ours), len(theirs))
        equal = np.abs(ours[:num_samples] - theirs[:num_samples]) < 1e-5
        assert len(ours) == pytest.approx(len(theirs), abs=1)
        assert equal.mean() > 0.9
