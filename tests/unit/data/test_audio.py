"""Recordings: every container reads alike, and every broken file is named with its reason."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from taskaware.data import audio
from taskaware.errors import AudioError

if TYPE_CHECKING:
    from pathlib import Path

RATE_HZ = 16_000
CONTAINERS = ["wav", "flac", "ogg", "mp3", "sph"]


def sine(seconds: float, rate_hz: int = RATE_HZ, frequency_hz: float = 440.0) -> np.ndarray:
    times = np.arange(int(seconds * rate_hz)) / rate_hz
    return (0.4 * np.sin(2 * np.pi * frequency_hz * times)).astype(np.float32)


def write(path: Path, waveform: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    options = {"format": "NIST", "subtype": "PCM_16"} if path.suffix == ".sph" else {}
    soundfile.write(path, waveform, rate_hz, **options)
    return path


def cut(path: Path, share: float = 0.5) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_samples_that_were_written(tmp_path: Path, container: str):
    written = sine(1.0)
    path = write(tmp_path / f"a.{container}", written)
    waveform = audio.read(path, sample_rate_hz=RATE_HZ)
    header = audio.info(path)
    assert waveform.dtype == np.float32
    assert waveform.shape == written.shape
    lossy = container in ("ogg", "mp3")
    # The first and last thousand samples of a lossy file are worse than the rest.
    np.testing.assert_allclose(
        waveform[1000:-1000], written[1000:-1000], atol=0.02 if lossy else 1e-4
    )
    assert (header.duration_seconds, header.sample_rate_hz, header.num_channels) == (1, RATE_HZ, 1)


@pytest.mark.parametrize("container", ["wav", "flac", "sph"])
def test_a_stretch_is_the_slice_of_the_whole(tmp_path: Path, container: str):
    noise = np.random.default_rng(0).normal(0, 0.1, RATE_HZ)  # no two stretches of it are alike
    path = write(tmp_path / f"a.{container}", noise)
    whole = audio.read(path, sample_rate_hz=RATE_HZ)
    stretch = audio.read(path, sample_rate_hz=RATE_HZ, start_seconds=0.25, duration_seconds=0.5)
    to_the_end = audio.read(path, sample_rate_hz=RATE_HZ, start_seconds=0.25)
    np.testing.assert_array_equal(stretch, whole[4_000:12_000])
    np.testing.assert_array_equal(to_the_end, whole[4_000:])


def test_channels_are_averaged(tmp_path: Path):
    left, right = sine(0.5), sine(0.5, frequency_hz=300)
    path = write(tmp_path / "a.wav", np.stack([left, right], axis=1))
    waveform = audio.read(path, sample_rate_hz=RATE_HZ)
    np.testing.assert_allclose(waveform, (left + right) / 2, atol=1e-4)
    assert audio.info(path).num_channels == 2


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 48_000])
def test_any_rate_becomes_the_same_sound(tmp_path: Path, rate_hz: int):
    path = write(tmp_path / "a.wav", sine(1.0, rate_hz), rate_hz)
    waveform = audio.read(path, sample_rate_hz=RATE_HZ)
    assert waveform.dtype == np.float32
    assert abs(len(waveform) - RATE_HZ) <= 1
    np.testing.assert_allclose(waveform[2000:14000], sine(1.0)[2000:14000], atol=0.005)


def test_a_binary_stream_reads_like_its_file(tmp_path: Path):
    class Pipe(io.BytesIO):  # standard input cannot seek
        def seekable(self) -> bool:
            return False

    path = write(tmp_path / "a.flac", sine(0.5))
    expected = audio.read(path, sample_rate_hz=RATE_HZ)
    for stream in (io.BytesIO(path.read_bytes()), Pipe(path.read_bytes())):
        np.testing.assert_array_equal(audio.read(stream, sample_rate_hz=RATE_HZ), expected)


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_truncated_file_is_refused(tmp_path: Path, container: str):
    noise = np.random.default_rng(0).normal(
        0, 0.1, 4 * RATE_HZ
    )  # a sine is too small a file to cut
    path = cut(write(tmp_path / f"a.{container}", noise))
    with pytest.raises(AudioError, match=rf"a\.{container}: the file is truncated"):
        audio.read(path, sample_rate_hz=RATE_HZ)


def test_a_wav_that_a_program_wrote_to_a_pipe_is_not_taken_for_truncated(tmp_path: Path):
    path = write(tmp_path / "a.wav", sine(0.5))
    data = bytearray(path.read_bytes())
    for offset in (4, 40):  # the sizes of the RIFF and the data chunk are not known in a pipe
        data[offset : offset + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(bytes(data))
    assert len(audio.read(path, sample_rate_hz=RATE_HZ)) == RATE_HZ // 2


def test_each_unusable_file_is_named_with_its_reason(tmp_path: Path):
    def reason(path: Path) -> str:
        with pytest.raises(AudioError) as caught:
            audio.read(path, sample_rate_hz=RATE_HZ)
        assert str(path) in str(caught.value)
        return str(caught.value)

    assert "does not exist" in reason(tmp_path / "missing.wav")
    (tmp_path / "empty.wav").write_bytes(b"")
    assert "0 bytes" in reason(tmp_path / "empty.wav")
    (tmp_path / "text.wav").write_text("not a recording")
    assert "must be a recording" in reason(tmp_path / "text.wav")
    assert "0 samples" in reason(write(tmp_path / "zero.wav", np.zeros(0, np.float32)))
    broken = sine(0.5)
    broken[100] = np.nan
    soundfile.write(tmp_path / "nan.wav", broken, RATE_HZ, subtype="FLOAT")
    assert "finite" in reason(tmp_path / "nan.wav")


def test_a_stretch_outside_the_recording_is_refused(tmp_path: Path):
    path = write(tmp_path / "a.wav", sine(1.0))
    with pytest.raises(AudioError, match=r"must start before the end .*1\.000 s.*starts at 1\.5"):
        audio.read(path, sample_rate_hz=RATE_HZ, start_seconds=1.5)
    with pytest.raises(AudioError, match=r"must end before the end .*1\.000 s.*ends at 1\.2"):
        audio.read(path, sample_rate_hz=RATE_HZ, start_seconds=0.5, duration_seconds=0.7)


def test_times_rounded_to_a_hundredth_of_a_second_are_accepted(tmp_path: Path):
    path = write(tmp_path / "a.wav", sine(0.996))
    assert len(audio.read(path, sample_rate_hz=RATE_HZ, duration_seconds=1.0)) == 15_936
