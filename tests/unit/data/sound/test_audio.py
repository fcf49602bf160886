"""Recordings: every container reads alike, and every broken file is named with its reason."""

from __future__ import annotations

import io
import os
import struct
import threading
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch

from taskaware.data.manifest.line import channel_number
from taskaware.data.sound import audio, mpeg
from taskaware.data.sound.features import log_mel
from taskaware.data.sound.settings import FeatureSettings
from taskaware.errors import AudioError, UserError

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
def test_a_segment_is_the_slice_of_the_whole(tmp_path: Path, container: str):
    noise = np.random.default_rng(0).normal(0, 0.1, RATE_HZ)  # no two segments of it are alike
    path = write(tmp_path / f"a.{container}", noise)
    whole = audio.read(path, sample_rate_hz=RATE_HZ)
    segment = audio.read(path, sample_rate_hz=RATE_HZ, start_seconds=0.25, duration_seconds=0.5)
    to_the_end = audio.read(path, sample_rate_hz=RATE_HZ, start_seconds=0.25)
    np.testing.assert_array_equal(segment, whole[4_000:12_000])
    np.testing.assert_array_equal(to_the_end, whole[4_000:])


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * RATE_HZ)).astype(np.float32)


def test_one_channel_can_be_chosen_from_1(tmp_path: Path):
    left, right = sine(0.5), sine(0.5, frequency_hz=300)
    path = write(tmp_path / "a.wav", np.stack([left, right], axis=1))
    for channel, expected in ((1, left), (2, right)):
        waveform = audio.read(path, sample_rate_hz=RATE_HZ, channel=channel)
        np.testing.assert_allclose(waveform, expected, atol=1e-4)
    for channel in (0, 3):
        with pytest.raises(AudioError, match=f"must be from 1 to 2, but is {channel}"):
            audio.read(path, sample_rate_hz=RATE_HZ, channel=channel)


@pytest.mark.parametrize(("value", "channel"), [("mean", None), ("1", 1), (2, 2), ("12", 12)])
def test_a_channel_is_the_mean_or_a_number_from_1(value: int | str, channel: int | None):
    assert channel_number(value) == channel


@pytest.mark.parametrize("value", [0, "0", -1, "left", "1.5", True, "", 1.0, "²"])
def test_anything_else_is_no_channel(value: int | str):
    with pytest.raises(UserError, match="'mean' or a number from 1 up"):
        channel_number(value)


@pytest.mark.parametrize(
    ("make", "cancel"),
    [
        (lambda one, _: [one, -one], True),
        (lambda one, _: [one, -0.9 * one], True),
        (lambda one, _: [one + 0.3, -one], True),
        (lambda one, other: [one, -one + 0.1 * other], True),
        (lambda one, _: [one, one], False),
        (lambda one, other: [one, other], False),
        (lambda one, _: [one, 0 * one], False),
        (lambda one, _: [one, *[0 * one] * 5], False),
        (lambda one, _: [0 * one, 0 * one], False),
    ],
)
def test_channels_that_cancel_each_other_are_found(make, cancel: bool, tmp_path: Path):
    channels = np.stack(make(noise(0.5), noise(0.5, seed=1)), axis=1)
    path = write(tmp_path / "a.wav", channels)
    assert audio.read_sound(path, sample_rate_hz=RATE_HZ).channels_cancel == cancel
    assert not audio.read_sound(path, sample_rate_hz=RATE_HZ, channel=1).channels_cancel


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


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_binary_stream_reads_like_its_file(container: str, tmp_path: Path):
    class Pipe(io.BytesIO):  # standard input cannot seek
        def seekable(self) -> bool:
            return False

    path = write(tmp_path / f"a.{container}", sine(0.5))
    expected = audio.read(path, sample_rate_hz=RATE_HZ)
    for stream in (io.BytesIO(path.read_bytes()), Pipe(path.read_bytes())):
        np.testing.assert_array_equal(audio.read(stream, sample_rate_hz=RATE_HZ), expected)


# --- length: what a header does not say ---


def mp3_without_header(waveform: np.ndarray, mode: str = "VARIABLE") -> bytes:
    """Return MP3 frames without the frame that says how many they are."""
    file = io.BytesIO()
    soundfile.write(file, waveform, RATE_HZ, format="MP3", bitrate_mode=mode)
    data = file.getvalue()
    stream = mpeg.scan(data)
    assert stream is not None
    return data[stream.first_byte :]


def growing(seconds: float) -> np.ndarray:
    """Silence that becomes noise: of a variable bit rate the first frames tell little."""
    return noise(seconds) * np.linspace(0, 1, int(seconds * RATE_HZ), dtype=np.float32) ** 4


@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
@pytest.mark.parametrize("waveform", [growing(5.0), growing(5.0)[::-1]], ids=["rising", "falling"])
def test_an_mp3_without_a_header_is_read_to_its_end(
    waveform: np.ndarray, mode: str, tmp_path: Path
):
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3_without_header(waveform, mode))
    read = audio.read(path, sample_rate_hz=RATE_HZ)
    assert 5.0 <= len(read) / RATE_HZ < 5.2, "encoders add a part of a frame before and after"
    assert audio.info(path).duration_seconds == len(read) / RATE_HZ
    late = audio.read(path, sample_rate_hz=RATE_HZ, start_seconds=2.0, duration_seconds=2.5)
    np.testing.assert_allclose(late, read[2 * RATE_HZ : 9 * RATE_HZ // 2], atol=1e-4)


@pytest.mark.parametrize(
    "around", [(b"", b"TAG" + bytes(125)), (b"ID3\4\0\0\0\0\0\x64" + bytes(100), b"")]
)
def test_tags_around_an_mp3_are_no_sound(around: tuple[bytes, bytes], tmp_path: Path):
    path = tmp_path / "a.mp3"
    data = mp3_without_header(growing(2.0))
    path.write_bytes(data)
    expected = audio.read(path, sample_rate_hz=RATE_HZ)
    path.write_bytes(around[0] + data + around[1])
    np.testing.assert_array_equal(audio.read(path, sample_rate_hz=RATE_HZ), expected)


def test_two_mp3s_in_one_file_are_read_whole(tmp_path: Path):
    path = write(tmp_path / "a.mp3", growing(2.0))
    path.write_bytes(path.read_bytes() * 2)
    assert audio.info(path).duration_seconds > 4.0
    assert len(audio.read(path, sample_rate_hz=RATE_HZ)) > 4 * RATE_HZ


def wav_of_mp3(data: bytes) -> bytes:
    """Return an MP3 in a WAV container (format 0x55)."""
    layout = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE_HZ, 3_000, 1, 0, 12, 1, 2, 144, 1, 1393)
    chunks = b"WAVEfmt " + struct.pack("<I", len(layout)) + layout
    chunks += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def test_an_mp3_inside_a_wav_is_read_to_its_end_and_refused_where_it_is_cut(tmp_path: Path):
    path = tmp_path / "a.wav"
    data = mp3_without_header(growing(3.0))
    path.write_bytes(wav_of_mp3(data))
    assert 3.0 <= len(audio.read(path, sample_rate_hz=RATE_HZ)) / RATE_HZ < 3.2
    path.write_bytes(wav_of_mp3(data[: len(data) // 2]))
    with pytest.raises(AudioError, match="truncated"):
        audio.read(path, sample_rate_hz=RATE_HZ)
    path.write_bytes(wav_of_mp3(data)[: len(data) // 2])
    with pytest.raises(AudioError, match="truncated"):
        audio.read(path, sample_rate_hz=RATE_HZ)


def test_an_mp3_without_a_header_that_ends_inside_a_frame_is_truncated(tmp_path: Path):
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3_without_header(growing(3.0))[:-7])
    with pytest.raises(AudioError, match="the file is truncated"):
        audio.info(path)


@pytest.mark.parametrize("seconds", [1.2, 70.0])
def test_a_flac_that_a_program_wrote_to_a_pipe_is_read_to_its_end(seconds: float, tmp_path: Path):
    path = write(tmp_path / "a.flac", noise(seconds))
    expected = audio.read(path, sample_rate_hz=RATE_HZ)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the number of samples
    data[22:26] = bytes(4)
    data[26:42] = bytes(16)  # their MD5
    path.write_bytes(bytes(data))
    assert audio.info(path).duration_seconds == seconds
    np.testing.assert_array_equal(audio.read(path, sample_rate_hz=RATE_HZ), expected)
    path.write_bytes(b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + data)
    with pytest.raises(AudioError, match=r"does not: write the file anew|must be a recording"):
        audio.info(path)


@pytest.mark.parametrize("format_", ["AIFF", "AU", "W64", "RF64"])
def test_containers_that_are_read_seldom_are_refused_where_they_are_cut(
    format_: str, tmp_path: Path
):
    path = tmp_path / "a.audio"
    soundfile.write(path, noise(1.0), RATE_HZ, format=format_)
    assert len(audio.read(path, sample_rate_hz=RATE_HZ)) == RATE_HZ
    with pytest.raises(AudioError, match="truncated"):
        audio.read(cut(path), sample_rate_hz=RATE_HZ)


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_truncated_file_is_refused(tmp_path: Path, container: str):
    noise = np.random.default_rng(0).normal(
        0, 0.1, 4 * RATE_HZ
    )  # a sine is too small a file to cut
    path = cut(write(tmp_path / f"a.{container}", noise))
    with pytest.raises(AudioError, match=rf"a\.{container}: the file is truncated"):
        audio.read(path, sample_rate_hz=RATE_HZ)
    with pytest.raises(AudioError, match="the recording: the file is truncated"):
        audio.read(io.BytesIO(path.read_bytes()), sample_rate_hz=RATE_HZ)


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
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    assert "does not exist" in reason(tmp_path / "gone.wav")
    (tmp_path / "folder.wav").mkdir()
    assert "is a folder" in reason(tmp_path / "folder.wav")
    soundfile.write(tmp_path / "nan.wav", broken, RATE_HZ, subtype="FLOAT")
    assert "finite" in reason(tmp_path / "nan.wav")
    soundfile.write(tmp_path / "huge.wav", 1e20 * sine(0.5), RATE_HZ, subtype="FLOAT")
    assert "full scale is 1 (at most 1e+12 is read), but one is 4e+19" in reason(
        tmp_path / "huge.wav"
    )


def test_features_of_the_largest_samples_that_are_read_are_finite(tmp_path: Path):
    path = tmp_path / "large.wav"
    soundfile.write(path, np.tile([1e12, -1e12], RATE_HZ), RATE_HZ, subtype="FLOAT")
    waveform = torch.from_numpy(audio.read(path, sample_rate_hz=RATE_HZ))
    for settings in (FeatureSettings(), FeatureSettings(kind="whisper", padded_seconds=30.0)):
        assert log_mel(waveform, settings).isfinite().all()


def test_a_segment_outside_the_recording_is_refused(tmp_path: Path):
    path = write(tmp_path / "a.wav", sine(1.0))
    with pytest.raises(AudioError, match=r"must start before the end .*1\.000 s.*starts at 1\.5"):
        audio.read(path, sample_rate_hz=RATE_HZ, start_seconds=1.5)
    with pytest.raises(AudioError, match=r"must end before the end .*1\.000 s.*ends at 1\.2"):
        audio.read(path, sample_rate_hz=RATE_HZ, start_seconds=0.5, duration_seconds=0.7)


def test_times_rounded_to_a_hundredth_of_a_second_are_accepted(tmp_path: Path):
    path = write(tmp_path / "a.wav", sine(0.996))
    assert len(audio.read(path, sample_rate_hz=RATE_HZ, duration_seconds=1.0)) == 15_936


def test_a_path_that_is_not_utf_8_is_read_and_shown(tmp_path: Path):
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    path.write_bytes(write(tmp_path / "a.wav", sine(0.5)).read_bytes())
    assert len(audio.read(path, sample_rate_hz=RATE_HZ)) == RATE_HZ // 2
    cut(path)
    with pytest.raises(AudioError, match=r"caf\\xe9\.wav: the file is truncated"):
        audio.read(path, sample_rate_hz=RATE_HZ)


def test_a_named_pipe_is_read_once(tmp_path: Path):
    data = write(tmp_path / "a.wav", sine(0.5)).read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    assert len(audio.read(pipe, sample_rate_hz=RATE_HZ)) == RATE_HZ // 2
    writer.join()


@pytest.mark.parametrize("time", [{"start_seconds": 1e308}, {"duration_seconds": 1e308}])
def test_a_time_of_any_size_is_refused(time: dict[str, float], tmp_path: Path):
    path = write(tmp_path / "a.wav", sine(1.0))
    with pytest.raises(AudioError, match=r"must (start|end) before the end"):
        audio.read(path, sample_rate_hz=RATE_HZ, **time)


def test_a_device_is_no_recording():
    with pytest.raises(AudioError, match="must be a recording, but is a device"):
        audio.read("/dev/zero", sample_rate_hz=RATE_HZ)


def test_a_header_that_claims_a_hundred_thousand_hours_takes_no_room_for_them(tmp_path: Path):
    path = tmp_path / "a.flac"
    soundfile.write(path, sine(1.0), RATE_HZ)
    data = bytearray(path.read_bytes())
    data[21] |= 0x01  # of the number of samples, 2**32 more
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(AudioError, match="truncated"):
        audio.read(path, sample_rate_hz=RATE_HZ)
    assert tracemalloc.get_traced_memory()[1] < 600e6
    tracemalloc.stop()


@pytest.mark.parametrize("second", ["._a.{}", ".AppleDouble/a.{}"])
@pytest.mark.parametrize("form", ["mp3", "wav", "flac", "ogg"])
def test_what_a_mac_leaves_beside_a_recording_is_no_part_of_it(
    form: str, second: str, tmp_path: Path
):
    path = tmp_path / f"a.{form}"
    soundfile.write(path, sine(0.5), RATE_HZ)
    alone = audio.read(path, sample_rate_hz=RATE_HZ)
    notes = tmp_path / second.format(form)
    notes.parent.mkdir(exist_ok=True)
    notes.write_bytes(b"\0\x05\x16\x07\0\2\0\0" + bytes(4096))
    assert audio.is_recording(path)
    np.testing.assert_array_equal(audio.read(path, sample_rate_hz=RATE_HZ), alone)
    with pytest.raises(AudioError, match=r"but is what a Mac notes of another file"):
        audio.info(notes)
