"""Recordings: what is in a file, and its samples as one float32 channel at any rate.

Reads every container that libsndfile reads: wav, flac, mp3, ogg, NIST sphere and others.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from taskaware.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import soundfile

    from taskaware.types import Speech

# A stretch may end this much after its file: manifests round times to a hundredth of a second.
END_TOLERANCE_SECONDS = 0.01
_DECLARED_SIZE = re.compile(r"^\s*data : (\d+) \(should be \d+\)", re.MULTILINE)
_COMPRESSED_SUFFIXES = ("flac", "mp3", "ogg", "opus")
_OGG_MAX_PAGE_BYTES = 65_307
_NIST_SAMPLE_COUNT = re.compile(rb"^sample_count -i (\d+)", re.MULTILINE)
_NIST_HEADER_BYTES = 1024
_UNKNOWN_SIZE = 0x7FFF0000  # programs that write to a pipe declare at least this many bytes


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
    with _opened(path) as (file, name):
        _check_header(file, path, name)
        return AudioInfo(
            duration_seconds=file.frames / file.samplerate,
            sample_rate_hz=file.samplerate,
            num_channels=file.channels,
        )


def read(
    path: Path | str | BinaryIO,
    *,
    sample_rate_hz: int,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
) -> np.ndarray:
    """Read a stretch of a recording; only that stretch is decoded.

    Args:
        path: The file, or a binary file object (for example, standard input; it is read whole).
        sample_rate_hz: The rate that the result has; the recording is resampled to it.
        start_seconds: Where the stretch starts.
        duration_seconds: How long it is; ``None`` means to the end of the file.

    Returns:
        float32 ``[N]``, the mean of the channels, full scale at -1 and 1.

    Raises:
        AudioError: The file is missing, is not audio, is empty, holds fewer samples than its header
            or the stretch says, or holds samples that are not finite.
    """
    with _opened(path) as (file, name):
        _check_header(file, path, name)
        rate = file.samplerate
        first = round(start_seconds * rate)
        available = file.frames - first
        if available <= 0 or first < 0:
            raise AudioError(
                f"{name}: the stretch must start before the end of the recording "
                f"({file.frames / rate:.3f} s), but starts at {start_seconds:.3f} s"
            )
        wanted = available if duration_seconds is None else round(duration_seconds * rate)
        if wanted > available + END_TOLERANCE_SECONDS * rate:
            raise AudioError(
                f"{name}: the stretch must end before the end of the recording "
                f"({file.frames / rate:.3f} s), but ends at {(first + wanted) / rate:.3f} s"
            )
        wanted = min(wanted, available)
        samples = _decode(file, first, wanted, name)
    waveform = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    if not np.isfinite(waveform).all():
        raise AudioError(f"{name}: every sample must be finite, but some are NaN or infinite")
    if rate == sample_rate_hz:
        return waveform
    import soxr

    return soxr.resample(waveform, rate, sample_rate_hz, quality="HQ").astype(np.float32)


def compressed(speech: Speech) -> tuple[bytes, str]:
    """Return a stretch of a recording as a compressed file, and the file's suffix.

    A compressed recording that is used whole is returned as it is; anything else is encoded as
    16-bit FLAC, one channel, at the recording's own rate.

    Raises:
        AudioError: See ``read``.
    """
    import io

    import soundfile

    suffix = speech.path.suffix.lower().removeprefix(".")
    whole = speech.duration_seconds is None and not speech.start_seconds
    if whole and suffix in _COMPRESSED_SUFFIXES:
        return speech.path.read_bytes(), suffix
    rate = info(speech.path).sample_rate_hz
    waveform = read(
        speech.path,
        sample_rate_hz=rate,
        start_seconds=speech.start_seconds,
        duration_seconds=speech.duration_seconds,
    )
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(waveform, -1, 1), rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue(), "flac"


def _decode(file: soundfile.SoundFile, first: int, wanted: int, name: str) -> np.ndarray:
    """Return float32 ``[wanted, channels]``."""
    import soundfile

    try:
        if first:
            file.seek(first)
        samples = file.read(wanted, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise AudioError(f"{name}: the file is truncated or damaged ({error})") from error
    # Lossy containers may end some samples early; a truncated file lacks far more.
    if len(samples) < wanted - END_TOLERANCE_SECONDS * file.samplerate:
        expected_seconds = (first + wanted) / file.samplerate
        actual_seconds = (first + len(samples)) / file.samplerate
        raise AudioError(
            f"{name}: the file is truncated: it must hold {expected_seconds:.3f} s, "
            f"but ends after {actual_seconds:.3f} s"
        )
    return samples


@contextmanager
def _opened(path: Path | str | BinaryIO) -> Iterator[tuple[soundfile.SoundFile, str]]:
    """Open a recording, or say why not; gives the file and its name for messages."""
    import soundfile

    if isinstance(path, str | Path):
        name, source = str(path), str(path)
        if not Path(path).is_file():
            raise AudioError(f"{name}: the file does not exist")
        if Path(path).stat().st_size == 0:
            raise AudioError(f"{name}: the file is empty (0 bytes)")
    else:
        name, source = str(getattr(path, "name", "the audio stream")), _seekable(path)
    try:
        file = soundfile.SoundFile(source)
    except (soundfile.SoundFileError, TypeError) as error:
        raise AudioError(
            f"{name}: must be a recording (wav, flac, mp3, ogg, NIST sphere), "
            f"but cannot be read as one ({error})"
        ) from error
    with file:
        yield file, name


def _seekable(stream: BinaryIO) -> BinaryIO:
    """Standard input cannot seek, and libsndfile must."""
    if stream.seekable():
        return stream
    import io

    return io.BytesIO(stream.read())


def _check_header(file: soundfile.SoundFile, path: Path | str | BinaryIO, name: str) -> None:
    """Find what libsndfile forgives silently: a file that ends before its header says it does."""
    declared = _DECLARED_SIZE.search(file.extra_info)
    truncated = declared is not None and 0 < int(declared[1]) < _UNKNOWN_SIZE
    if isinstance(path, str | Path):
        match file.format:
            case "NIST":
                truncated = _nist_num_frames(Path(path)) > file.frames
            case "OGG":
                truncated = _last_ogg_page_is_cut(Path(path))
    if truncated:
        raise AudioError(
            f"{name}: the file is truncated: it ends after {file.frames / file.samplerate:.3f} s, "
            "before the length that its header says"
        )
    if file.frames <= 0:
        raise AudioError(f"{name}: the recording is empty (0 samples)")


def _nist_num_frames(path: Path) -> int:
    """Return the samples of each channel that a NIST sphere header declares, or 0."""
    with path.open("rb") as file:
        count = _NIST_SAMPLE_COUNT.search(file.read(_NIST_HEADER_BYTES))
    return int(count[1]) if count else 0


def _last_ogg_page_is_cut(path: Path) -> bool:
    """Return whether an Ogg file ends inside a page (RFC 3533, section 6)."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _OGG_MAX_PAGE_BYTES))
        tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    num_segments = page[26] if len(page) > 26 else 255
    return len(page) < 27 + num_segments + sum(page[27 : 27 + num_segments])
