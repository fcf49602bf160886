"""Recordings: what is in a file, and its samples as one float32 channel at any rate.

Reads every container that libsndfile reads: wav, flac, mp3, ogg, NIST sphere and others. Where a
header does not say how long the recording is (mp3, flac from a pipe), libsndfile guesses or fails;
such a recording is given a header that does (``_with_known_length``).

Shape legend: N samples, C channels.
"""

from __future__ import annotations

import io
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from taskaware.data import mpeg
from taskaware.errors import AudioError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import soundfile

    from taskaware.types import Speech

# A stretch may end this much after its file: manifests round times to a hundredth of a second.
END_TOLERANCE_SECONDS = 0.01
# What libsndfile notes of wav, aiff, w64, rf64 and au where the data end before their header says.
_DECLARED_SIZE = re.compile(
    r"^\s*(?:data|SSND|riff|Riff size|Data Size) +: (\d+) \(should be \d+\)", re.MULTILINE
)
_COMPRESSED_SUFFIXES = ("flac", "mp3", "ogg", "opus")
_OGG_MAX_PAGE_BYTES = 65_307
_NIST_SAMPLE_COUNT = re.compile(rb"^sample_count -i (\d+)", re.MULTILINE)
_NIST_HEADER_BYTES = 1024
_UNKNOWN_SIZE = 0x7FFF0000  # programs that write to a pipe declare at least this many bytes
_UNKNOWN_FRAMES = 1 << 36  # as many samples as a FLAC header can hold; libsndfile says more
_FLAC_TOTAL_BYTE = 21  # STREAMINFO: 4 bits of this byte and 4 bytes are the number of samples
_BLOCK_FRAMES = 1 << 20
_MPEG_TOLERANCE_SECONDS = 0.25  # the first frames may need what was before them to be decoded
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
    with _opened(path) as (file, _):
        return AudioInfo(
            duration_seconds=file.frames / file.samplerate,
            sample_rate_hz=file.samplerate,
            num_channels=file.channels,
        )


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A stretch of a recording, decoded.

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
    """Return the samples of a stretch of a recording, float32 ``[N]``; see ``read_sound``."""
    return read_sound(
        path,
        sample_rate_hz=sample_rate_hz,
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
        channel=channel,
    ).waveform


def read_speech(speech: Speech, *, sample_rate_hz: int) -> Sound:
    """Read the stretch and the channel that a ``Speech`` names; see ``read_sound``."""
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
    """Read a stretch of a recording; only that stretch is decoded.

    Args:
        path: The file, or a binary file object (for example, standard input; it is read whole).
        sample_rate_hz: The rate that the result has; the recording is resampled to it.
        start_seconds: Where the stretch starts.
        duration_seconds: How long it is; ``None`` means to the end of the file.
        channel: The channel, from 1; ``None``: the mean of all channels.

    Raises:
        AudioError: The file is missing, is not audio, is empty, has no such channel, holds fewer
            samples than its header or the stretch says, or holds samples that are not finite.
    """
    with _opened(path) as (file, name):
        rate = file.samplerate
        first, wanted = _stretch(file, name, start_seconds, duration_seconds)
        if channel is not None and not 1 <= channel <= file.channels:
            raise AudioError(
                f"{name}: the channel must be from 1 to {file.channels}, but is {channel}"
            )
        samples = _decode(file, first, wanted, name)
    waveform, channels_cancel = _mixed(samples, channel)
    if not np.isfinite(waveform).all():
        raise AudioError(f"{name}: every sample must be finite, but some are NaN or infinite")
    return Sound(
        waveform=resampled(waveform, rate, sample_rate_hz),
        sample_rate_hz=rate,
        channels_cancel=channels_cancel,
    )


def resampled(waveform: np.ndarray, rate_hz: int, to_rate_hz: int) -> np.ndarray:
    """Return a waveform, float32 ``[N]``, at another sample rate."""
    if rate_hz == to_rate_hz:
        return waveform
    import soxr

    return soxr.resample(waveform, rate_hz, to_rate_hz, quality="HQ").astype(np.float32)


def channel_number(value: int | str) -> int | None:
    """Return the channel that a user names: from 1, or ``None`` for ``"mean"``.

    Raises:
        UserError: The value is neither.
    """
    if value == "mean":
        return None
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise UserError(f"the channel must be 'mean' or a number from 1 up, but is '{value}'")
    return int(text)


def is_recording(path: Path | str | BinaryIO) -> bool:
    """Return whether a file's header is that of a recording; nothing is decoded."""
    import soundfile

    try:
        with soundfile.SoundFile(_openable(path) if isinstance(path, str | Path) else path):
            return True
    except (soundfile.SoundFileError, TypeError, OSError, ValueError):
        return False


def compressed(speech: Speech) -> tuple[bytes, str]:
    """Return a stretch of a recording as a compressed file, and the file's suffix.

    A compressed recording that is used whole is returned as it is; anything else is encoded as
    16-bit FLAC, one channel, at the recording's own rate.

    Raises:
        AudioError: See ``read``.
    """
    import soundfile

    suffix = speech.path.suffix.lower().removeprefix(".")
    whole = (speech.duration_seconds, speech.start_seconds, speech.channel) == (None, 0.0, None)
    if whole and suffix in _COMPRESSED_SUFFIXES:
        return speech.path.read_bytes(), suffix
    rate = info(speech.path).sample_rate_hz
    waveform = read_speech(speech, sample_rate_hz=rate).waveform
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(waveform, -1, 1), rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue(), "flac"


def _stretch(
    file: soundfile.SoundFile, name: str, start_seconds: float, duration_seconds: float | None
) -> tuple[int, int]:
    """Return the first sample of a stretch and how many it has, which must lie in the file."""
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
    return first, min(wanted, available)


def _decode(file: soundfile.SoundFile, first: int, wanted: int, name: str) -> np.ndarray:
    """Return float32 ``[wanted, C]``."""
    import soundfile

    try:
        if first:
            file.seek(first)
        samples = file.read(wanted, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise AudioError(f"{name}: the file is truncated or damaged ({error})") from error
    # Lossy containers may end some samples early; a truncated file lacks far more.
    tolerance = _MPEG_TOLERANCE_SECONDS if _is_mpeg(file) else END_TOLERANCE_SECONDS
    if len(samples) < wanted - tolerance * file.samplerate:
        expected_seconds = (first + wanted) / file.samplerate
        actual_seconds = (first + len(samples)) / file.samplerate
        raise AudioError(
            f"{name}: the file is truncated: it must hold {expected_seconds:.3f} s, "
            f"but ends after {actual_seconds:.3f} s"
        )
    return samples


def _mixed(samples: np.ndarray, channel: int | None) -> tuple[np.ndarray, bool]:
    """Return one channel of samples ``[N, C]`` or the mean of all, and whether they cancel."""
    num_channels = samples.shape[1]
    if num_channels == 1 or channel is not None:
        return np.ascontiguousarray(samples[:, (channel or 1) - 1]), False
    mean = samples.mean(axis=1)
    unrelated = samples.var(axis=0, dtype=np.float64).sum() / num_channels**2
    return mean, bool(mean.var(dtype=np.float64) < _CANCELLING_SHARE * unrelated)


@contextmanager
def _opened(path: Path | str | BinaryIO) -> Iterator[tuple[soundfile.SoundFile, str]]:
    """Open a recording that is whole, or say why not; gives the file and its name for messages."""
    import soundfile

    if isinstance(path, str | Path):
        name, source = shown(path), _openable(path)
        _check_is_file(Path(path), name)
    else:
        name, source = shown(getattr(path, "name", "the recording")), _seekable(path)
    try:
        file = soundfile.SoundFile(source)
    except (soundfile.SoundFileError, TypeError) as error:
        raise AudioError(
            f"{name}: must be a recording (wav, flac, mp3, ogg, NIST sphere), "
            f"but cannot be read as one{_reason(error)}: convert it (ffmpeg -i IN OUT.flac)"
        ) from error
    with file:
        _check_header(file, path, name)
        replacement = _with_known_length(file, source, name)
        if replacement is None:
            yield file, name
            return
    with soundfile.SoundFile(io.BytesIO(replacement)) as file:
        yield file, name


def shown(path: object) -> str:
    r"""Return a path as messages show it: bytes that are not UTF-8 as ``\xE9``."""
    return os.fsencode(str(path)).decode("utf-8", errors="backslashreplace")


def _openable(path: str | Path) -> Any:
    """Return a path as soundfile takes it, which encodes text as strict UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return str(path)


def _check_is_file(path: Path, name: str) -> None:
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise AudioError(f"{name}: must be a recording, but is a folder")
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
        raise AudioError(f"{name}: the file does not exist") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AudioError(f"{name}: the file cannot be read ({reason})") from error
    if size == 0 and path.is_file():
        raise AudioError(f"{name}: the file is empty (0 bytes)")


def _reason(error: Exception) -> str:
    """Return libsndfile's reason in brackets, unless it says wrongly that the file is missing."""
    reason = getattr(error, "error_string", "") or str(error)
    return "" if "does not exist" in reason else f" ({reason.rstrip('.')})"


def _seekable(stream: BinaryIO) -> BinaryIO:
    """Standard input cannot seek, and libsndfile must."""
    return stream if stream.seekable() else io.BytesIO(stream.read())


def _is_mpeg(file: soundfile.SoundFile) -> bool:
    return file.subtype.startswith("MPEG_LAYER")


def _with_known_length(
    file: soundfile.SoundFile, source: str | bytes | BinaryIO, name: str
) -> bytes | None:
    """Return a recording with a header that says its length, or ``None`` where its header does.

    Raises:
        AudioError: The recording is known to be truncated.
    """
    if _is_mpeg(file):
        data = _all_bytes(source)
        stream = mpeg.wav_payload(data) if file.format in ("WAV", "WAVEX") else data
        found = mpeg.scan(stream) if stream else None
        if stream is None or found is None:
            return None
        if found.is_truncated:
            raise AudioError(
                f"{name}: the file is truncated: it ends after "
                f"{found.num_samples / file.samplerate:.3f} s, inside a frame or before the length "
                "that its header says"
            )
        # Only of layer III do decoders read such a header; the others have constant bit rates.
        return (
            None
            if found.header_is_right or found.layer != 3
            else mpeg.with_frame_count(stream, found)
        )
    if file.format == "FLAC" and file.frames >= _UNKNOWN_FRAMES:
        data = bytearray(_all_bytes(source))
        total = _count_frames(file)
        data[_FLAC_TOTAL_BYTE] = data[_FLAC_TOTAL_BYTE] & 0xF0 | total >> 32
        data[_FLAC_TOTAL_BYTE + 1 : _FLAC_TOTAL_BYTE + 5] = (total & 0xFFFFFFFF).to_bytes(4, "big")
        return bytes(data) if data.startswith(b"fLaC") else None
    return None


def _all_bytes(source: str | bytes | BinaryIO) -> bytes:
    if isinstance(source, str | bytes):
        return Path(os.fsdecode(source)).read_bytes()
    source.seek(0)
    return source.read()


def _count_frames(file: soundfile.SoundFile) -> int:
    """Return the samples of each channel of a FLAC file, by decoding it.

    At the end of a file that does not say its length libsndfile raises an error, after it has
    filled what there is: so the block is filled with NaN before, which integers never become.
    """
    import soundfile

    count = 0
    while True:
        block = np.full((_BLOCK_FRAMES, file.channels), np.nan, dtype=np.float32)
        try:
            read = len(file.read(out=block))
        except soundfile.SoundFileError:
            read = int(np.isfinite(block[:, 0]).sum())
        count += read
        if read < _BLOCK_FRAMES:
            return count


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
