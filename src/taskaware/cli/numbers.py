"""The numbers that commands take: what they may be, and what is said of those that they may not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclopts import Token

_MOST = 2**31 - 1  # what counts and sizes are everywhere else
_MOST_PROCESSES = 1024
_MOST_SEED = 2**63 - 1  # what torch's generator takes


def between(least: int, most: int, what: str = "a whole number") -> Parameter:
    """Return the parameter of a whole number, or of several, from ``least`` to ``most``."""

    def check(_type: Any, value: Any) -> None:
        numbers = value if isinstance(value, tuple | list) else [value]
        for number in numbers:
            if number is not None and number < least:
                raise ValueError(f"must be {what} of at least {least:,}, but is {number}")
            if number is not None and number > most:
                raise ValueError(f"must be {what} of at most {most:,}, but is {number}")

    return Parameter(converter=_whole_number, validator=check)


def _whole_number(_type: Any, tokens: Sequence[Token]) -> int:
    """Return what a word says; unlike the default of cyclopts, round nothing."""
    word = tokens[0].value
    if not re.fullmatch(r"[-+]?[0-9]{1,30}", word):
        raise ValueError(f"must be a whole number, but is '{word}'")
    return int(word)


Count = Annotated[int, between(1, _MOST)]
"""How many of something, one at least."""

Workers = Annotated[int, between(0, _MOST_PROCESSES)]
"""Threads or processes; 0: as many as the machine has."""

Processes = Annotated[int, between(1, _MOST_PROCESSES)]
"""Processes, one at least."""

Seed = Annotated[int, between(0, _MOST_SEED)]
"""What random numbers begin from."""
