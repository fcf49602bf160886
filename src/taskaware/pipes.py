"""Named pipes as inputs: one that nobody writes to is refused, and not waited for for ever."""

from __future__ import annotations

import errno
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, BinaryIO

from taskaware.errors import UserError
from taskaware.file_forms import HEAD_BYTES, advised, other_than_text
from taskaware.files import read_at_most, read_regular

if TYPE_CHECKING:
    from pathlib import Path

_SECONDS_TO_WAIT = 5.0


def open_pipe(path: Path) -> BinaryIO:
    """Open a pipe to be read, once somebody has opened it to write.

    Raises:
        OSError: Nobody has within some seconds, or it may not be read.
    """
    opened: Future[BinaryIO] = Future()

    def wait() -> None:
        try:
            opened.set_result(path.open("rb"))
        except OSError as error:
            opened.set_exception(error)

    # The system has no limit of time for this, and the thread of a signal must stay free.
    threading.Thread(target=wait, daemon=True).start()
    try:
        return opened.result(_SECONDS_TO_WAIT)
    except TimeoutError:
        raise OSError(errno.EINVAL, "it is a pipe that nobody writes to", str(path)) from None


def read_given(path: Path, *, most_bytes: int) -> bytes:
    """Return what a file holds that a user named, or a pipe, as shells make them.

    Raises:
        OSError: See ``files.read_regular`` and ``open_pipe``.
    """
    if not path.is_fifo():
        return read_regular(path, most_bytes=most_bytes)
    with open_pipe(path) as stream:
        return read_at_most(stream, path, most_bytes)


def read_given_text(path: Path, *, most_bytes: int) -> str:
    """Return the text, in UTF-8, of a file or a pipe that a user named.

    Raises:
        UserError: There is no such file, it is a folder, or it is not UTF-8; the message names it.
        OSError: See ``read_given``.
    """
    try:
        content = read_given(path, most_bytes=most_bytes)
        if (what := other_than_text(content[:HEAD_BYTES])) is not None:
            raise UserError(f"{path} must be a text in UTF-8, but is {advised(what)}")
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path} must be a file, but is a folder") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line:,}: must be UTF-8, but has the byte "
            f"0x{error.object[error.start]:02X}: save the file as UTF-8 (for example: "
            "iconv -f latin1 -t utf-8)"
        ) from None
