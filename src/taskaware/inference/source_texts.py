"""Texts and paths that a user gives: what is none, though Python has it as one."""

from __future__ import annotations

import os
import re
from pathlib import Path

from taskaware.data.sound.audio import shown
from taskaware.errors import UserError

_SURROGATE = re.compile("[\ud800-\udfff]")


def require_unicode(text: str, name: str = "a text") -> None:
    """Require that a text has no half characters, which are bytes that are not UTF-8.

    Raises:
        UserError: It has.
    """
    if _SURROGATE.search(text):
        raise UserError(f"{name} must be UTF-8, but has bytes that are not: '{shown(text)}'")


def as_path(source: str | os.PathLike[str]) -> Path:
    """Return a path; an empty one would be the folder in which Python runs.

    Raises:
        UserError: It is empty.
    """
    if not os.fspath(source):
        raise UserError("the path of a source must not be empty, but is")
    return Path(source)
