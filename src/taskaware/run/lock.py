"""One command at a time in a run's folder.

The lock is the operating system's, so that it ends with the process that holds it, however that
process ends.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from taskaware.errors import RunInUseError
from taskaware.files import reporting
from taskaware.output_folder import RUN_LOCK_NAME, require_usable
from taskaware.output_record import require_no_link

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a run's folder, which is made where it is missing.

    Raises:
        RunInUseError: Another command holds it.
        OutputError: There is a file in its place, for example.
        WriteError: The folder may not be written.
    """
    require_usable(folder, whole=False)
    require_no_link(folder / RUN_LOCK_NAME)
    held = FileLock(folder / RUN_LOCK_NAME, blocking=False)
    with reporting(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire()
        except Timeout:
            raise RunInUseError(
                f"{folder} must be free, but another command trains in it; wait for it or stop it "
                "(Ctrl-C: it writes a checkpoint), or choose another folder with --to"
            ) from None
        except NotImplementedError:
            held = None  # some network file systems have no locks
    try:
        yield
    finally:
        if held is not None:
            held.release()
