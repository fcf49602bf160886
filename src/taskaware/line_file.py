"""Files that are written line by line: what the system refuses while it writes names the file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import ReadableBuffer


class _Named(io.FileIO):
    """A full disk is found when a buffer is written, by a call that knows no name."""

    def write(self, b: ReadableBuffer, /) -> int:
        try:
            return super().write(b)
        except OSError as error:
            error.filename = str(self.name)
            raise


def open_lines(path: Path, mode: str = "w", *, errors: str = "strict") -> io.TextIOWrapper:
    """Open a text file in UTF-8 to be written, lines ending as they are.

    Args:
        path: The file.
        mode: ``w``, or ``a`` to go on at its end.
        errors: What happens to a character that UTF-8 lacks, as of ``open``.

    Raises:
        OSError: It cannot be opened; later, it cannot be written. Either names it.
    """
    raw = io.BufferedWriter(_Named(str(path), mode))
    return io.TextIOWrapper(raw, encoding="utf-8", errors=errors, newline="\n")
