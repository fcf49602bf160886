"""The signals that end a command, apart from Ctrl-C, and what they mean for its output."""

from __future__ import annotations

import contextlib
import os
import select
import signal


def terminations() -> tuple[signal.Signals, ...]:
    """Return SIGTERM, as schedulers send it, and SIGHUP, as a terminal sends it that is closed.

    Where the latter is ignored, as under nohup, it must stay so, and is left out.
    """
    hang_up = getattr(signal, "SIGHUP", None)  # not on Windows
    if hang_up is None or signal.getsignal(hang_up) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return (signal.SIGTERM, hang_up)


def leave_to_first_process() -> None:
    """Ignore, in a worker, what a terminal sends to all processes; the first ends the others."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def leave_closed_terminal() -> None:
    """Let output go nowhere where its terminal was closed: writing it would be an error."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError, AttributeError):  # closed, or no poll here
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            if any(event & select.POLLHUP for _, event in poll.poll(0)):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
