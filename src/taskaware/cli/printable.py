"""Text as a terminal shows it: the control characters of strangers are shown, and not obeyed.

Names of files, and what a stranger's model, manifest or recording says of itself, may hold
sequences that move the cursor, hide what was said, or give the window another title.
"""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but the tab and the line feed
_ANY_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    r"""Return a text of one line or several with other control characters as ``\x1b``."""
    return _CONTROL.sub(_escape, text)


def printable_name(text: str) -> str:
    r"""Return a name with every control character as ``\x1b``, so that it stays in its column."""
    return _ANY_CONTROL.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return f"\\x{ord(found[0]):02x}"
