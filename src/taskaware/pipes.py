"""Named pipes as inputs: one that nobody writes to is refused, and not waited for for ever."""

from __future__ import annotations

import errno
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, BinaryIO

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
