"""How long a recording is: what its header says, where that is wrong, and where it says nothing."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from taskaware.data.sound import mpeg
from taskaware.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import soundfile

# What libsndfile notes of wav, aiff, w64, rf64 and au where the data end before their header says.
_DECLARED_SIZE = re.compile(
    r"^\s*(?:data|SSND|riff|Riff size|Data Size) +: (\d+) \(should be \d+\)", re.MULTILINE
)
_OGG_MAX_PAGE_BYTES = 65_307
_NIST_SAMPLE_COUNT = re.compile(rb"^sample_count -i (\d+)", re.MULTILINE)
_NIST_HEADER_BYTES = 1024
_UNKNOWN_SIZE = 0x7FFF0000  # programs that write to a pipe declare at least this many bytes
_UNKNOWN_FRAMES = 1 << 36  # as many samples as a FLAC header can hold; libsndfile says more
_FLAC_TOTAL_BYTE = 21  # STREAMINFO: 4 bits of this byte and 4 bytes are the number of samples
_BLOCK_FRAMES = 1 << 20


def is_mpeg(file: soundfile.SoundFile) -> bool:
    """Return whether a recording is an MPEG audio stream, also within another container."""
    return file.subtype.startswith("MPEG_LAYER")


def with_known_length(
    file: soundfile.SoundFile, source: str | bytes | BinaryIO, name: str
) -> bytes | None:
    """Return a recording with a header that says its length, or ``None`` where its header does.

    Raises:
        AudioError: The recording is known to be truncated.
    """
    if is_mpeg(file):
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
        if not data.startswith(b"fLaC"):
            raise AudioError(
                f"{name}: the header must say how long the recording is, but does not: write the "
                "file anew (ffmpeg -i IN OUT.flac)"
            )
        total = _count_frames(file)
        data[_FLAC_TOTAL_BYTE] = data[_FLAC_TOTAL_BYTE] & 0xF0 | total >> 32
        data[_FLAC_TOTAL_BYTE + 1 : _FLAC_TOTAL_BYTE + 5] = (total & 0xFFFFFFFF).to_bytes(4, "big")
        return bytes(data)
    return None


def _all_bytes(source: str | bytes | BinaryIO) -> bytes:
    if isinstance(source, str | bytes):
        return Path(os.fsdecode(source)).read_bytes()
    position = source.tell()  # libsndfile reads on from there
    source.seek(0)
    data = source.read()
    source.seek(position)
    return data


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


def check_header(file: soundfile.SoundFile, path: Path | str | BinaryIO, name: str) -> None:
    """Find what libsndfile forgives silently: a file that ends before its header says it does."""
    declared = _DECLARED_SIZE.search(file.extra_info)
    truncated = declared is not None and 0 < int(declared[1]) < _UNKNOWN_SIZE
    match file.format:
        case "NIST":
            truncated = _nist_num_frames(_part(path, 0, _NIST_HEADER_BYTES)) > file.frames
        case "OGG":
            truncated = _last_ogg_page_is_cut(_part(path, -_OGG_MAX_PAGE_BYTES, None))
    if truncated:
        raise AudioError(
            f"{name}: the file is truncated: it ends after {file.frames / file.samplerate:.3f} s, "
            "before the length that its header says"
        )
    if file.frames <= 0:
        raise AudioError(f"{name}: the recording is empty (0 samples)")


def _part(path: Path | str | BinaryIO, first: int, length: int | None) -> bytes:
    """Return some bytes of a recording, counted from its end where `first` is negative."""
    with _reading(path) as file:
        before = file.tell()
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size + first) if first < 0 else first)
        found = file.read(-1 if length is None else length)
        file.seek(before)  # libsndfile reads on from there
    return found


@contextmanager
def _reading(path: Path | str | BinaryIO) -> Iterator[BinaryIO]:
    if isinstance(path, str | Path):
        with Path(path).open("rb") as file:
            yield file
    else:
        yield path


def _nist_num_frames(header: bytes) -> int:
    """Return the samples of each channel that a NIST sphere header declares, or 0."""
    count = _NIST_SAMPLE_COUNT.search(header)
    return int(count[1]) if count else 0


def _last_ogg_page_is_cut(tail: bytes) -> bool:
    """Return whether an Ogg file that ends so ends inside a page (RFC 3533, section 6)."""
    page = tail[max(0, tail.rfind(b"OggS")) :]
    num_segments = page[26] if len(page) > 26 else 255
    return len(page) < 27 + num_segments + sum(page[27 : 27 + num_segments])
