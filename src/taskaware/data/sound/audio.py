"""Recordings: what is in a file, and its samples as one float32 channel at any rate.

Reads every container that libsndfile reads: wav, flac, mp3, ogg, NIST sphere and others. Where a
header does not say how long the recording is (mp3, flac from a pipe), libsndfile guesses or fails;
such a recording is given a header that does (``audio_length``).

Shape legend: N samples, C channels.
"""

from __future__ import annotations

import io
import math
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from taskaware.data.sound.audio_length import check_header, is_mpeg, with_known_length
from taskaware.data.sound.heads import head_of_file, head_of_stream
from taskaware.data.sound.piped import read_pipe, read_piped
from taskaware.errors import AudioError
from taskaware.file_forms import HEAD_BYTES, other_than_recording

if TYPE_CHECKING:
    from collections.abc import Iterator

    import soundfile

    from taskaware.types import Speech

READABLE = "wav, flac, mp3, ogg, NIST sphere"
"""Forms that are read, for messages; libsndfile reads some more."""
# A segment may end this much after its file: manifests round times to a hundredth of a second.
END_TOLERANCE_SECONDS = 0.01
_MOST_VALUES_AT_ONCE = 1 << 26  # 256 MiB
_COMPRESSED_SUFFIXES = ("flac", "mp3", "ogg", "opus")
_MPEG_TOLERANCE_SECONDS = 0.25  # the first frames may need what was before them to be decoded
# Integers of 32 bits that were not scaled are read, though they are no float samples. The power of
# a window of samples some thousands of times larger would not fit float32.
_LARGEST_SAMPLE = 1e12
# Channels cancel where their mean has less than this share of the power that the mean of unrelated
# channels of the same power would have: in stereo, where they correlate below -0.95.
_CANCELLING_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """What the header of a recording says.

    Attributes:
        duration_seconds: Length of the recording.
        sample_rate_hz: Samples a second, of each channel.
        num_channels: 1 for mono, 2 for stereo.
    """

    duration_seconds: float
    sample_rate_hz: int
    num_channels: int


def info(path: Path | str | BinaryIO) -> AudioInfo:
    """Read the header of a recording.

    Raises:
        AudioError: The file is missing, is not audio, is empty, or is shorter than its header says.
    """
    with opened(path) as (file, _):
        return AudioInfo(
            duration_seconds=file.frames / file.samplerate,
            sample_rate_hz=file.samplerate,
            num_channels=file.channels,
        )


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A segment of a recording, decoded.

    Attributes:
        waveform: float32 ``[N]``, full scale at -1 and 1.
        sample_rate_hz: The rate of the recording, before it was resampled.
        channels_cancel: Whether the waveform is the mean of channels that cancel each other, so
            that little or nothing is left of what each of them holds.
    """

    waveform: np.ndarray
    sample_rate_hz: int
    channels_cancel: bool = False


def read(
    path: Path | str | BinaryIO,
    *,
    sample_rate_hz: int,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    channel: int | None = None,
) -> np.ndarray:
    """Return the samples of a segment of a recording, float32 ``[N]``; see ``read_sound``."""
    return read_sound(
        path,
        sample_rate_hz=sample_rate_hz,
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
        channel=channel,
    ).waveform


def read_speech(speech: Speech, *, sample_rate_hz: int) -> Sound:
    """Read the segment and the channel that a ``Speech`` names; see ``read_sound``."""
    return read_sound(
        speech.path,
        sample_rate_hz=sample_rate_hz,
        start_seconds=speech.start_seconds,
        duration_seconds=speech.duration_seconds,
        channel=speech.channel,
    )


def read_sound(
    path: Path | str | BinaryIO,
    *,
    sample_rate_hz: int,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    channel: int | None = None,
) -> Sound:
    """Read a segment of a recording; only that segment is decoded.

    Args:
        path: The file, or a binary file object (for example, standard input; it is read whole).
        sample_rate_hz: The rate that the result has; the recording is resampled to it.
        start_seconds: Where the segment starts.
        duration_seconds: How long it is; ``None`` means to the end of the file.
        channel: The channel, from 1; ``None``: the mean of all channels.

    Raises:
        AudioError: The file is missing, is not audio, is empty, has no such channel, holds fewer
            samples than its header or the segment says, or holds samples that are not finite.
    """
    with opened(path) as (file, name):
        rate = file.samplerate
        first, wanted = segment_frames(file, name, start_seconds, duration_seconds)
        if channel is not None and not 1 <= channel <= file.channels:
            raise AudioError(
                f"{name}: the channel must be from 1 to {file.channels}, but is {channel}"
            )
        # A header may claim any length: room is taken as samples come.
        size = min(wanted, max(_MOST_VALUES_AT_ONCE // file.channels, 1))
        blocks = list(decoded_blocks(file, first, wanted, name, size=size))
        samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    waveform, channels_cancel = mixed(samples, channel)
    require_samples(waveform, name)
    return Sound(
        waveform=resampled(waveform, rate, sample_rate_hz),
        sample_rate_hz=rate,
        channels_cancel=channels_cancel,
    )


def require_samples(waveform: np.ndarray, name: str) -> None:
    """Require of samples ``[N]`` that features can be computed of them.

    Raises:
        AudioError: One is not finite, or so large that its power is not.
    """
    largest = float(np.abs(waveform).max(initial=0.0))
    if not math.isfinite(largest):
        raise AudioError(f"{name}: every sample must be finite, but some are NaN or infinite")
    if largest > _LARGEST_SAMPLE:
        raise AudioError(
            f"{name}: samples must be numbers whose full scale is 1 (at most {_LARGEST_SAMPLE:g} "
            f"is read), but one is {largest:g}: write the recording anew"
        )


def resampled(waveform: np.ndarray, rate_hz: int, to_rate_hz: int) -> np.ndarray:
    """Return a waveform, float32 ``[N]``, at another sample rate."""
    if rate_hz == to_rate_hz:
        return waveform
    import soxr

    return soxr.resample(waveform, rate_hz, to_rate_hz, quality="HQ").astype(np.float32)


def is_recording(path: Path | str | BinaryIO) -> bool:
    """Return whether a file's header is that of a recording; nothing is decoded."""
    import soundfile

    try:
        with _sound_file(_openable(path) if isinstance(path, str | Path) else path):
            return True
    except (soundfile.SoundFileError, TypeError, OSError, ValueError):
        return False


def compressed(speech: Speech) -> tuple[bytes, str]:
    """Return a segment of a recording as a compressed file, and the file's suffix.

    A compressed recording that is used whole is returned as it is; anything else is encoded as
    16-bit FLAC, one channel, at the recording's own rate.

    Raises:
        AudioError: See ``read``.
    """
    suffix = speech.path.suffix.lower().removeprefix(".")
    whole = (speech.duration_seconds, speech.start_seconds, speech.channel) == (None, 0.0, None)
    if whole and suffix in _COMPRESSED_SUFFIXES:
        return speech.path.read_bytes(), suffix
    rate = info(speech.path).sample_rate_hz
    waveform = read_speech(speech, sample_rate_hz=rate).waveform
    return flac(np.clip(waveform, -1, 1), rate), "flac"


def flac(waveform: np.ndarray, sample_rate_hz: int) -> bytes:
    """Return a waveform as a FLAC file of 16 bits.

    Written to a file by libsndfile itself, the end may be missing where the disk is full, and
    nothing says so.
    """
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, sample_rate_hz, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def segment_frames(
    file: soundfile.SoundFile, name: str, start_seconds: float, duration_seconds: float | None
) -> tuple[int, int]:
    """Return the first sample of a segment and how many it has, which must lie in the file."""
    rate = file.samplerate
    length = 0.0 if duration_seconds is None else duration_seconds
    if not all(math.isfinite(value) and value >= 0 for value in (start_seconds, length)):
        raise AudioError(
            f"{name}: a stretch must start and last a number of seconds from 0 up, but starts at "
            f"{start_seconds} s"
            + ("" if duration_seconds is None else f" and lasts {duration_seconds} s")
        )
    first = round(min(start_seconds * rate, file.frames))  # a time may be 1e308
    available = file.frames - first
    if available <= 0:
        raise AudioError(
            f"{name}: the segment must start before the end of the recording "
            f"({file.frames / rate:.3f} s), but starts at {start_seconds:.3f} s"
        )
    if length * rate > available + END_TOLERANCE_SECONDS * rate + 0.5:
        raise AudioError(
            f"{name}: the segment must end before the end of the recording "
            f"({file.frames / rate:.3f} s), but ends at {first / rate + length:.3f} s"
        )
    wanted = available if duration_seconds is None else round(length * rate)
    if not wanted:
        raise AudioError(f"{name}: a stretch must last a sample or more, but lasts {length} s")
    return first, min(wanted, available)


def decoded_blocks(
    file: soundfile.SoundFile, first: int, wanted: int, name: str, *, size: int
) -> Iterator[np.ndarray]:
    """Yield the samples of a segment in order, float32 ``[size, C]``, fewer in the last block.

    Raises:
        AudioError: The file is damaged, or holds fewer samples than its header says.
    """
    import soundfile

    num_read = 0
    try:
        if first:
            file.seek(first)
        while num_read < wanted:
            samples = file.read(min(size, wanted - num_read), dtype="float32", always_2d=True)
            if not len(samples):
                break
            num_read += len(samples)
            yield samples
    except soundfile.SoundFileError as error:
        raise AudioError(f"{name}: the file is truncated or damaged ({error})") from error
    # Lossy containers may end some samples early; a truncated file lacks far more.
    tolerance = _MPEG_TOLERANCE_SECONDS if is_mpeg(file) else END_TOLERANCE_SECONDS
    if num_read < wanted - tolerance * file.samplerate:
        raise AudioError(
            f"{name}: the file is truncated: it must hold "
            f"{(first + wanted) / file.samplerate:.3f} s, "
            f"but ends after {(first + num_read) / file.samplerate:.3f} s"
        )


def mixed(samples: np.ndarray, channel: int | None) -> tuple[np.ndarray, bool]:
    """Return one channel of samples ``[N, C]`` or the mean of all, and whether they cancel."""
    num_channels = samples.shape[1]
    if num_channels == 1 or channel is not None:
        return np.ascontiguousarray(samples[:, (channel or 1) - 1]), False
    mean = samples.mean(axis=1)
    unrelated = samples.var(axis=0, dtype=np.float64).sum() / num_channels**2
    return mean, bool(mean.var(dtype=np.float64) < _CANCELLING_SHARE * unrelated)


@contextmanager
def opened(path: Path | str | BinaryIO) -> Iterator[tuple[soundfile.SoundFile, str]]:
    """Open a recording that is whole, or say why not; gives the file and its name for messages."""
    import soundfile

    if isinstance(path, str | Path):
        name = shown(path)
        head = head_of_file(Path(path), name)
        source = _openable(path)
        if not Path(path).is_file():  # a pipe, which can be read once and not be sought in
            content = read_pipe(Path(path), name)
            head, source = content[:HEAD_BYTES], io.BytesIO(content)
    else:
        name, source = shown(getattr(path, "name", "the recording")), seekable(path)
        head = head_of_stream(source, name)
    # Before libsndfile, which tries a decoder by the name alone: that of MP3 prints what it meets.
    if (what := other_than_recording(head)) is not None:
        raise AudioError(f"{name}: must be a recording ({READABLE}), but is {what}")
    try:
        file = _sound_file(source)
    except (soundfile.SoundFileError, TypeError) as error:
        raise AudioError(
            f"{name}: must be a recording ({READABLE}), but cannot be read as one{_reason(error)}: "
            "convert it (ffmpeg -i IN OUT.flac)"
        ) from error
    with file:
        check_header(file, path if isinstance(source, str | bytes) else source, name)
        replacement = with_known_length(file, source, name)
        if replacement is None:
            yield file, name
            return
    with soundfile.SoundFile(io.BytesIO(replacement)) as file:
        yield file, name


def _sound_file(source: Any) -> soundfile.SoundFile:
    """Open a path or a stream by libsndfile.

    Beside NAME a Mac leaves ``._NAME`` on other systems' disks and in archives. libsndfile takes
    that for a part of an MP3, and refuses both, unless it is given no name.
    """
    import soundfile

    given: Any = source
    if isinstance(source, str | bytes):
        path = Path(os.fsdecode(source))
        notes = (path.with_name(f"._{path.name}"), path.parent / ".AppleDouble" / path.name)
        if any(os.path.lexists(one) for one in notes):
            given = os.open(path, os.O_RDONLY)  # closed with the recording, or where it is none
    return soundfile.SoundFile(given)


def shown(path: object) -> str:
    r"""Return a path as messages show it: bytes that are not UTF-8 as ``\xE9``."""
    try:
        return os.fsencode(str(path)).decode("utf-8", errors="backslashreplace")
    except UnicodeEncodeError:  # half of a surrogate pair, which is no byte of a name
        return ascii(str(path))[1:-1]


def _openable(path: str | Path) -> Any:
    """Return a path as soundfile takes it, which encodes text as strict UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return str(path)


def _reason(error: Exception) -> str:
    """Return libsndfile's reason in brackets, unless it says wrongly that the file is missing."""
    reason = getattr(error, "error_string", "") or str(error)
    return "" if "does not exist" in reason else f" ({reason.rstrip('.')})"


def seekable(stream: BinaryIO) -> BinaryIO:
    """Standard input cannot seek, nor can all that has a `read`, and libsndfile must."""
    if not isinstance(stream, type) and getattr(stream, "seekable", bool)():
        return stream
    return io.BytesIO(read_piped(stream, shown(getattr(stream, "name", "the recording"))))
