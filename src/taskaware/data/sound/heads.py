"""The beginning of what is given as a recording, looked at before any decoder sees it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from taskaware.errors import AudioError
from taskaware.file_forms import HEAD_BYTES

if TYPE_CHECKING:
    from pathlib import Path


def head_of_file(path: Path, name: str) -> bytes:
    """Return the beginning of a file; of a pipe nothing is read.

    Raises:
        AudioError: It cannot be a recording, or cannot be read.
    """
    head = b""
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise AudioError(f"{name}: must be a recording, but is a folder")
        if path.is_block_device() or path.is_char_device():
            raise AudioError(f"{name}: must be a recording, but is a device")
        if path.is_file():
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
    except FileNotFoundError as error:
        raise AudioError(f"{name}: the file does not exist") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AudioError(f"{name}: the file cannot be read ({reason})") from error
    if size == 0 and path.is_file():
        raise AudioError(f"{name}: must be a recording, but is empty (0 bytes)")
    return head


def head_of_stream(stream: BinaryIO, name: str) -> bytes:
    """Return the beginning of what is left of a stream, which stays where it is.

    Raises:
        AudioError: Nothing is left.
    """
    start = stream.tell()
    size = stream.seek(0, os.SEEK_END)
    stream.seek(start)
    if size is not None and size <= start:
        raise AudioError(
            f"{name}: must be a recording, but is empty (0 bytes)"
            + (": it was read to its end, `seek(0)` begins again" if size else "")
        )
    head = stream.read(HEAD_BYTES)
    stream.seek(start)
    return head
