"""The exit code of a command whose training ended before its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.cli.failures import INTERRUPTED, TERMINATED

if TYPE_CHECKING:
    from taskaware.training.ending import Ending


def code_of(ending: Ending) -> int:
    """Return 0 where all is done, 130 after Ctrl-C, 75 after SIGTERM or SIGHUP: run it again."""
    return {"done": 0, "interrupted": INTERRUPTED, "terminated": TERMINATED}[ending.value]
