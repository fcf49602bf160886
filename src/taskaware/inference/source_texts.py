"""Texts that a user gives: what is no text, though Python has it as one."""

from __future__ import annotations

import re

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
