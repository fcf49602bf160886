"""Where somebody speaks."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

from taskaware.data.sound import speech_detection
from taskaware.data.sound.sound_blocks import LongSound, long_waveform
from taskaware.data.sound.speech_detection import (
    FRAME_SECONDS,
    SPEECH,
    Detected,
    detect_speech,
    speech_by_level,
)
from taskaware.errors import MissingDependencyError

RATE_HZ = 16_000


def sound(wave: np.ndarray, rate_hz: int = RATE_HZ) -> LongSound:
    return long_waveform(wave.astype(np.float32), rate_hz, name="the waveform")


def tone(seconds: float, loudness: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(int(seconds * RATE_HZ))
    return loudness * noise


def test_by_level_a_pause_in_noise_is_told_from_what_is_louder():
    wave = np.concatenate([tone(2, 0.1), tone(1, 0.002), tone(2, 0.1)])
    found = detect_speech(sound(wave), "level")
    assert found.detector == "level"
    assert len(found.probabilities) == pytest.approx(5 / FRAME_SECONDS, abs=1)
    assert found.is_speech(0.1, 1.9).all()
    assert not found.is_speech(2.1, 2.9).any()
    assert found.is_speech(3.1, 4.9).all()


def test_by_level_sound_without_a_pause_is_all_speech_and_silence_none():
    assert (speech_by_level(np.full(100, -20.0, np.float32)) == 1).all()
    assert (speech_by_level(np.full(100, -90.0, np.float32)) == 0).all()
    assert len(speech_by_level(np.zeros(0, np.float32))) == 0


@pytest.mark.parametrize("room_db", [-100.0, -70.0, -50.0])
def test_by_level_a_few_words_in_an_hour_are_heard_and_a_click_is_not(room_db: float):
    rng = np.random.default_rng(0)
    levels_db = (room_db + rng.normal(0, 1, 112_500)).astype(np.float32)
    spoken = slice(50_000, 50_040)
    levels_db[spoken] = -25.0
    is_speech = speech_by_level(levels_db) >= SPEECH
    assert is_speech[spoken].all()
    assert is_speech.sum() == 40
    levels_db[50_005:50_040] = room_db
    heard = (speech_by_level(levels_db) >= SPEECH).mean()
    assert heard == (0.0 if room_db < -66 else 1.0)  # a room without a pause may be all speech


def test_the_size_of_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    wave = tone(3, 0.1) * np.linspace(0, 1, 3 * RATE_HZ)
    whole = detect_speech(sound(wave), "level")

    def small(self: LongSound, rate_hz: int):
        for start in range(0, len(wave), 777):
            yield wave[start : start + 777].astype(np.float32)

    monkeypatch.setattr(LongSound, "blocks", small)
    blocks = detect_speech(sound(wave), "level")
    assert np.allclose(whole.levels_db, blocks.levels_db, atol=1e-3)
    assert whole.peak == pytest.approx(blocks.peak, abs=1e-2)


def test_without_its_packages_the_named_detector_is_refused_and_auto_takes_the_level(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert detect_speech(sound(tone(1, 0.1)), "auto").detector == "level"
    with pytest.raises(MissingDependencyError, match=r"silero_vad .*taskaware\[long\]"):
        detect_speech(sound(tone(1, 0.1)), "silero")


def silero() -> None:
    pytest.importorskip("silero_vad", reason="the extra `long` is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `long` is not installed")


def test_noise_is_no_speech_to_silero_and_torch_keeps_its_threads():
    silero()
    import torch

    threads = torch.get_num_threads()
    found = detect_speech(sound(tone(3, 0.1)), "silero")
    assert (found.detector, torch.get_num_threads()) == ("silero", threads)
    assert not found.is_speech(0, 3).any()


def test_what_silero_remembers_goes_from_block_to_block(monkeypatch: pytest.MonkeyPatch):
    silero()
    # A voice-like sound: pulses through a formant, louder and softer.
    times = np.arange(4 * RATE_HZ) / RATE_HZ
    pulses = (np.sin(2 * np.pi * 120 * times) > 0.95) * (1 + np.sin(2 * np.pi * 3 * times)) / 2
    formant = np.sin(2 * np.pi * 700 * times[:200]) * np.hanning(200)
    wave = np.convolve(pulses, formant)[: len(times)]
    wave = (0.3 * wave / np.abs(wave).max()).astype(np.float32)
    whole = detect_speech(sound(wave), "silero").probabilities
    assert whole.max() - whole.min() > 0.01

    def small(self: LongSound, rate_hz: int):
        for start in range(0, len(wave), 1000):
            yield wave[start : start + 1000]

    monkeypatch.setattr(LongSound, "blocks", small)
    assert np.allclose(detect_speech(sound(wave), "silero").probabilities, whole, atol=1e-4)


def test_it_is_the_network_of_the_package(monkeypatch: pytest.MonkeyPatch):
    silero()
    found = detect_speech(sound(tone(2, 0.1)), "silero").probabilities
    import torch

    threads = torch.get_num_threads()
    from silero_vad import load_silero_vad

    torch.set_num_threads(threads)  # the package sets it to 1
    model = load_silero_vad(sequence=True)
    expected = model.audio_forward(tone(2, 0.1).astype(np.float32))
    assert np.allclose(found, expected, atol=1e-5)


def test_frames_of_a_stretch_are_one_at_least():
    one = Detected(
        probabilities=np.array([0.9, 0.1, 0.9], np.float32),
        levels_db=np.zeros(3, np.float32),
        peak=1.0,
        detector="level",
    )
    assert one.is_speech(0.0, 0.001).tolist() == [True]
    assert one.is_speech(0.032, 0.064).tolist() == [False]


def test_nothing_of_the_extra_is_loaded_by_importing(monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def refuse(name: str, *rest, **more):
        assert name.partition(".")[0] not in {"silero_vad", "onnxruntime"}
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    import importlib

    importlib.reload(speech_detection)
