"""Recordings that are read by blocks."""

from __future__ import annotations

import io
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from taskaware.data.sound import audio
from taskaware.data.sound.sound_blocks import long_sound, long_waveform
from taskaware.errors import AudioError

if TYPE_CHECKING:
    from pathlib import Path

RATE_HZ = 16_000


def write(path: Path, wave: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    soundfile.write(path, wave, rate_hz)
    return path


def noise(num_samples: int, channels: int = 1) -> np.ndarray:
    wave = 0.1 * np.random.default_rng(0).standard_normal((num_samples, channels))
    return wave.astype(np.float32)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
@pytest.mark.parametrize("block_seconds", [0.1, 0.37, 60])
def test_blocks_put_together_are_the_recording(suffix: str, block_seconds: float, tmp_path: Path):
    path = write(tmp_path / f"a.{suffix}", noise(50_001, 2))
    expected = audio.read(path, sample_rate_hz=RATE_HZ)
    sound = long_sound(path)
    for _ in range(2):  # it can be read again
        found = np.concatenate(list(sound.blocks(RATE_HZ, block_seconds=block_seconds)))
        assert np.allclose(found, expected, rtol=0, atol=1e-6)
    assert sound.duration_seconds == pytest.approx(len(expected) / RATE_HZ, abs=0.1)


def test_a_stretch_and_a_channel_are_read_as_they_are_elsewhere(tmp_path: Path):
    path = write(tmp_path / "a.wav", noise(48_000, 2))
    place = {"start_seconds": 0.5, "duration_seconds": 1.25, "channel": 2}
    found = np.concatenate(list(long_sound(path, **place).blocks(RATE_HZ, block_seconds=0.3)))
    assert np.array_equal(found, audio.read(path, sample_rate_hz=RATE_HZ, **place))


def test_another_rate_gives_what_resampling_the_whole_gives(tmp_path: Path):
    path = write(tmp_path / "a.wav", noise(44_100 * 2), 44_100)
    expected = audio.read(path, sample_rate_hz=RATE_HZ)
    found = np.concatenate(list(long_sound(path).blocks(RATE_HZ, block_seconds=0.2)))
    assert len(found) == pytest.approx(len(expected), abs=2)
    size = min(len(found), len(expected))
    assert np.abs(found[:size] - expected[:size]).max() < 1e-3


def test_open_files_bytes_and_waveforms_are_read_again_and_again(tmp_path: Path):
    path = write(tmp_path / "a.wav", noise(20_000))
    expected = audio.read(path, sample_rate_hz=RATE_HZ)
    stream = io.BytesIO(b"before" + path.read_bytes())
    stream.seek(6)
    for sound in (long_sound(stream), long_waveform(expected, RATE_HZ, name="the waveform")):
        for _ in range(2):
            assert np.array_equal(np.concatenate(list(sound.blocks(RATE_HZ))), expected)


def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path):
    empty = tmp_path / "empty.wav"
    empty.write_bytes(b"")
    with pytest.raises(AudioError, match=r"empty.wav: must be a recording, but is empty"):
        long_sound(empty)
    with pytest.raises(AudioError, match="the recording is empty"):
        long_waveform(np.zeros(0, np.float32), RATE_HZ, name="the waveform")
    path = write(tmp_path / "a.wav", noise(1000))
    with pytest.raises(AudioError, match="the channel must be from 1 to 1, but is 2"):
        long_sound(path, channel=2)
    wave = noise(1000)[:, 0]
    wave[500] = np.nan
    with pytest.raises(AudioError, match="every sample must be finite"):
        list(long_waveform(wave, RATE_HZ, name="the waveform").blocks(RATE_HZ))
    wave[500] = 1e20
    with pytest.raises(AudioError, match=r"the waveform: samples must be .*, but one is 1e\+20"):
        list(long_waveform(wave, RATE_HZ, name="the waveform").blocks(RATE_HZ))


def test_a_long_recording_takes_the_memory_of_a_block(tmp_path: Path):
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 8000, 1) as file:
        for _ in range(60):
            file.write(np.zeros(8000 * 20, dtype=np.int16))
    tracemalloc.start()
    num_samples = sum(map(len, long_sound(path).blocks(RATE_HZ)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert num_samples == 1200 * RATE_HZ
    assert peak < 8e6  # as a whole it has 77 MB at the rate wanted
