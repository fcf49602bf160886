"""Several processes on one machine that train one run together, started from here.

On many machines, or with many devices, ``torchrun`` starts them instead.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskaware.errors import LostProcessError, TaskawareError, UserError
from taskaware.run.train import Display, train_experiment
from taskaware.training.processes import Seat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.process import BaseProcess

    from taskaware.run.experiment import Experiment
    from taskaware.run.run import Run
    from taskaware.training.ending import Ending
    from taskaware.training.loop import Validation
    from taskaware.training.progress import TrainingProgress

_FAILED_WITH_THE_FIRST = 17  # exit code of a process that met what the first one tells of
_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_TO_NOTICE = 10.0
_SECONDS_TO_END = 10.0


def train_in_processes(
    experiment: Experiment,
    folder: Path,
    *,
    num_processes: int,
    display: Display,
    restart: bool = False,
) -> Ending:
    """Train an experiment in several processes, this one the first; return how it ended.

    Each process makes batches of the experiment's size: the examples of an update are as many times
    more. A process that dies ends the run; it resumes from its last checkpoint.

    Raises:
        UserError: There is to be no process.
        LostProcessError: A process died; the message says how.
    """
    if num_processes < 1:
        raise UserError(f"the number of processes must be at least 1, but is {num_processes}")
    if num_processes == 1:
        return train_experiment(experiment, folder, display=display, restart=restart)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as meeting_folder:
        place = f"file://{Path(meeting_folder) / 'meeting'}"
        seats = [
            Seat(rank=rank, num_ranks=num_processes, meeting_place=place)
            for rank in range(num_processes)
        ]
        others = [
            context.Process(target=_train_silently, args=(experiment, folder, seat), daemon=True)
            for seat in seats[1:]
        ]
        for process in others:
            process.start()
        try:
            with _ended_if_one_dies(others):
                return train_experiment(
                    experiment, folder, display=display, restart=restart, seat=seats[0]
                )
        except LostProcessError as error:
            raise LostProcessError(_awaited_death(others) or str(error)) from error
        finally:
            _end(others)


@contextlib.contextmanager
def _ended_if_one_dies(others: Sequence[BaseProcess]) -> Iterator[None]:
    """End this process where another has died and this one waits for it all the same.

    Most often the connection breaks and says so. Where it does not (before the processes have met;
    between CUDA devices), nothing in Python could end the wait.
    """
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(_SECONDS_BETWEEN_LOOKS):
            if _whose_death(others) and not finished.wait(_SECONDS_TO_NOTICE):
                print(f"taskaware: {_whose_death(others)}", file=sys.stderr, flush=True)
                for process in others:
                    process.kill()
                os._exit(1)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


def _whose_death(others: Sequence[BaseProcess]) -> str:
    """Return which process was killed or failed by itself, in words; empty where none was."""
    for rank, process in enumerate(others, start=2):
        code = process.exitcode
        if code is not None and code not in (0, _FAILED_WITH_THE_FIRST, 130):
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            hint = " (the system does that where memory is short)" if code == -9 else ""
            return (
                f"all {len(others) + 1} processes must train together, but process {rank} {how}"
                f"{hint}. The same command resumes from the newest checkpoint"
            )
    return ""


def _awaited_death(others: Sequence[BaseProcess]) -> str:
    """Return which process died once the system says so; empty where none does within seconds.

    The system closes the connections of a process that it kills before it lists it as dead, so
    that the first process may hear of a lost connection while all the others still seem to live.
    """
    until = time.monotonic() + _SECONDS_TO_NOTICE
    running: dict[Any, BaseProcess] = {process.sentinel: process for process in others}
    while running and not _whose_death(others):
        ended = connection.wait(list(running), timeout=max(0.0, until - time.monotonic()))
        for sentinel in ended:
            running.pop(sentinel).join(timeout=_SECONDS_TO_NOTICE)  # its exit code comes last
        if not ended:
            break
    return _whose_death(others)


def _end(others: Sequence[BaseProcess]) -> None:
    """End the other processes: most end by themselves, once the first is gone."""
    until = time.monotonic() + _SECONDS_TO_END
    for process in others:
        process.join(timeout=max(0.0, until - time.monotonic()))
        process.terminate()
        process.join(timeout=1.0)
        if process.is_alive():
            process.kill()


def _train_silently(experiment: Experiment, folder: Path, seat: Seat) -> None:
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    try:
        train_experiment(experiment, folder, display=_NoDisplay(), seat=seat)
    except TaskawareError:
        sys.exit(_FAILED_WITH_THE_FIRST)  # the first process meets the same and says so
    except KeyboardInterrupt:
        sys.exit(130)


def _end_with_the_first() -> None:
    """End this process a while after the first one, however that ended: nobody else would."""
    first = multiprocessing.parent_process()
    if first is not None:
        first.join()
        time.sleep(_SECONDS_TO_NOTICE)
        os._exit(_FAILED_WITH_THE_FIRST)


class _NoDisplay:
    def start(self, run: Run, *, first_update: int) -> None:
        pass

    def on_update(self, update: int) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def on_progress(self, progress: TrainingProgress) -> None:
        pass

    def on_validation(self, update: int, validation: Validation) -> None:
        pass
