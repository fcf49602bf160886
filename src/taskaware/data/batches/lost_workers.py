"""What it means that a process which reads batches was killed, said to the user."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from taskaware.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def reporting_killed_workers() -> Iterator[None]:
    """Say what it means that a process which reads was killed; torch may say so at any time.

    Raises:
        DataError: One was.
    """
    try:
        yield
    except RuntimeError as error:
        # What a living one failed at is said as "Caught ... in DataLoader worker process".
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        raise _killed_worker(error) from error


@contextmanager
def reporting_lost_workers() -> Iterator[None]:
    """As `reporting_killed_workers`, for receiving from them: a lost connection says the same.

    The connection of a killed process can be reset before its death is told.

    Raises:
        DataError: A process that reads was killed.
    """
    with reporting_killed_workers():
        try:
            yield
        except (ConnectionError, EOFError, FileNotFoundError) as error:
            if str(error).startswith("Caught "):  # it was raised while reading, not received
                raise
            time.sleep(1)  # let its death be told here, not wherever this process is next
            raise _killed_worker(error) from error


def _killed_worker(error: Exception) -> DataError:
    return DataError(
        "the processes that read batches must live as long as the training, but one was ended "
        f"({str(error).strip() or type(error).__name__}); if memory is short, lower "
        "`batching.num_workers`; the same command resumes from the last checkpoint"
    )
