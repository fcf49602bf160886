"""Recordings that come through a pipe, which can be read once: whole, within a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from taskaware.errors import AudioError
from taskaware.pipes import open_pipe

if TYPE_CHECKING:
    from pathlib import Path

_MOST_PIPED_BYTES = 1 << 31


def read_pipe(path: Path, name: str) -> bytes:
    """Return what comes through a named pipe; see ``read_piped``.

    Raises:
        AudioError: Nobody writes to it.
    """
    try:
        with open_pipe(path) as stream:
            return read_piped(stream, name)
    except OSError as error:
        raise AudioError(f"{name}: the recording cannot be read ({error.strerror})") from error


def read_piped(stream: BinaryIO, name: str) -> bytes:
    """Return what comes through a pipe.

    Raises:
        AudioError: It does not end, or cannot be read.
    """
    content = read_stream(stream, name, _MOST_PIPED_BYTES + 1)
    if len(content) > _MOST_PIPED_BYTES:
        raise AudioError(
            f"{name}: a pipe must bring at most {_MOST_PIPED_BYTES:,} bytes, but brings more: "
            "write the recording to a file first"
        )
    return content


def read_stream(stream: BinaryIO, name: str, most_bytes: int = -1) -> bytes:
    """Return what an open file has left; an ``AudioError`` says why it cannot be used."""
    try:
        content = stream.read(most_bytes)
    except Exception as error:  # whatever an object that is not ours raises
        raise AudioError(f"{name}: the file cannot be read ({error})") from error
    if not isinstance(content, bytes):
        wrong = type(content).__name__
        raise AudioError(
            f"{name}: an open file must give bytes, but gives {wrong}: open it as 'rb'"
        )
    if not content:
        raise AudioError(
            f"{name}: must have something to read, but is empty, or at its end: an open file is "
            "read from where it stands, and `seek(0)` begins again"
        )
    return content
