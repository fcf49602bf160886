"""How a training ended: it is done, or the process was told to stop, by one signal or another."""

from __future__ import annotations

import signal
from enum import Enum

from taskaware.errors import TerminatedInterrupt


class Ending(Enum):
    """How a training ended; true where it is done.

    Attributes:
        DONE: There is nothing left to train.
        INTERRUPTED: By Ctrl-C (SIGINT), with a checkpoint written.
        TERMINATED: By SIGTERM, as schedulers send it, or SIGHUP, as a terminal sends it that is
            closed, with a checkpoint written.
    """

    DONE = "done"
    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"

    def __bool__(self) -> bool:
        return self is Ending.DONE

    @classmethod
    def by_signal(cls, number: int | None) -> Ending:
        """Return the ending by a signal; ``None``: another process was told, as Ctrl-C does it."""
        return cls.INTERRUPTED if number in (None, signal.SIGINT) else cls.TERMINATED

    @classmethod
    def by_interrupt(cls, error: KeyboardInterrupt) -> Ending:
        """Return the ending by what a signal raised."""
        return cls.TERMINATED if isinstance(error, TerminatedInterrupt) else cls.INTERRUPTED
