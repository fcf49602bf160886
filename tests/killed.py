"""Kill a process at its n-th operation on a file, and look at what the next one makes of it.

Python tells of each operation before it happens (``sys.addaudithook``), so that a forked process
can kill itself at every one of them. What libraries write by themselves is no operation of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Given a name beside a descriptor of its folder, as `shutil.rmtree` does.
_BY_DESCRIPTOR = {"os.remove", "os.rmdir", "os.mkdir", "os.rename"}


def in_a_fork(
    command: Callable[[], object], in_parent: Callable[[int], object] = lambda child: None
) -> int:
    """Run something in a process of its own; return the signal that ended it, 0 for none.

    Args:
        command: What to run; an exception fails the test.
        in_parent: Called with the process's number, which it has until this returns.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            command()
            status = 0
        finally:
            os._exit(status)
    in_parent(child)
    _, ended = os.waitpid(child, 0)
    assert os.WIFSIGNALED(ended) or os.WEXITSTATUS(ended) == 0
    return os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else 0


def killed_where(
    command: Callable[[], object], folder: Path, is_there: Callable[[str, Path], bool]
) -> bool:
    """Run something until an operation on a file below a folder; return whether it came to that."""

    def watched() -> None:
        def look(event: str, arguments: tuple[object, ...]) -> None:
            path = _path(event, arguments, folder)
            if path is not None and is_there(event, path):
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(look)
        command()

    return in_a_fork(watched) == signal.SIGKILL


def killed_at(command: Callable[[], object], folder: Path, number: int) -> bool:
    """Run something until its n-th operation, from 1; return whether it came to that."""
    left = iter(range(number - 1, -1, -1))
    return killed_where(command, folder, lambda event, path: next(left) == 0)


def killed_after(command: Callable[[], object], seconds: float) -> bool:
    """Run something, and kill it after some time; return whether it was still there."""

    def kill(child: int) -> None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)

    return in_a_fork(command, kill) == signal.SIGKILL


def contents(folder: Path) -> dict[str, bytes]:
    """Return what is in each file below a folder, hidden ones too; of a folder, nothing."""
    return {
        str(path.relative_to(folder)): b"" if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def _path(event: str, arguments: tuple[object, ...], folder: Path) -> Path | None:
    for argument in arguments[:2]:
        if isinstance(argument, str | os.PathLike) and str(argument).startswith(str(folder)):
            return Path(argument)
    is_relative = event in _BY_DESCRIPTOR and isinstance(arguments[-1], int) and arguments[-1] >= 0
    return folder / str(arguments[0]) if is_relative else None
