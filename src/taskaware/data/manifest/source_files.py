"""The files that manifests name: why one cannot be read, found without opening it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def file_problem(path: Path) -> str | None:
    """Return why a file cannot be read, ``None`` where it can be opened.

    A pipe would be waited for, and a device would be read without end: neither is opened.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "the file is a link to nothing" if path.is_symlink() else "the file does not exist"
    except (OSError, ValueError) as error:  # no right to the folder, a loop of links, a null byte
        return f"the file cannot be read ({getattr(error, 'strerror', None) or error})"
    if stat.S_ISDIR(mode):
        return "must be a file, but is a folder"
    if not stat.S_ISREG(mode):
        return "must be a file, but is a pipe or a device"
    if not os.access(path, os.R_OK):
        return "the file cannot be read (Permission denied)"
    return None
