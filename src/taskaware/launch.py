"""Several processes on one machine that train one run together, started from here.

On many machines, or with many devices, ``torchrun`` starts them instead.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from taskaware.errors import TaskawareError
from taskaware.runs import Display, Run, train_experiment
from taskaware.training.processes import Seat

if TYPE_CHECKING:
    from taskaware.experiment import Experiment
    from taskaware.training.loop import Validation
    from taskaware.training.progress import Progress


def train_in_processes(
    experiment: Experiment,
    folder: Path,
    *,
    num_processes: int,
    display: Display,
    restart: bool = False,
) -> bool:
    """Train an experiment in several processes, this one the first; return whether it is finished.

    Each process makes batches of the experiment's size: the examples of an update are as many times
    more. A process that dies ends the run; it goes on from its last checkpoint.
    """
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
            return train_experiment(
                experiment, folder, display=display, restart=restart, seat=seats[0]
            )
        finally:
            for process in others:
                process.join(timeout=10)
                process.terminate()


def _train_silently(experiment: Experiment, folder: Path, seat: Seat) -> None:
    try:
        train_experiment(experiment, folder, display=_NoDisplay(), seat=seat)
    except TaskawareError:
        sys.exit(1)  # the first process meets the same and says so
    except KeyboardInterrupt:
        sys.exit(130)


class _NoDisplay:
    def start(self, run: Run, *, first_update: int) -> None:
        pass

    def on_update(self, update: int) -> None:
        pass

    def on_progress(self, progress: Progress) -> None:
        pass

    def on_validation(self, update: int, validation: Validation) -> None:
        pass
