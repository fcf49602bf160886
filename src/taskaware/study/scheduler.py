"""Do all jobs of a study: in this process one after the other, or several at a time.

Any number of commands may work on the same study, on one machine or on many that share its folder:
each takes the jobs that no other holds (``study.job``). Started by ``torchrun``, all its processes
train every run together instead.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from filelock import FileLock

from taskaware.data.embedded import corpus as embedded
from taskaware.data.prepare.folder import PrepareSettings, prepare
from taskaware.data.quality.settings import OverlapSettings
from taskaware.errors import TaskawareError, TerminatedInterrupt, TrainingError, counted
from taskaware.signals import leave_closed_terminal, terminations
from taskaware.study.checks import is_there, require_fit
from taskaware.study.job import do_job, keep_status_current
from taskaware.training.ending import Ending
from taskaware.training.processes import join

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from multiprocessing.process import BaseProcess

    from taskaware.study.plan import Job, Plan
    from taskaware.training.processes import Seat

_SECONDS_BETWEEN_LOOKS = 0.25
_SECONDS_BETWEEN_RETRIES = 5.0
_EXIT_CODES = {"complete": 0, "locked": 76, "stopped": 130, "terminated": 75}
_FAILED = 1


class Overview(Protocol):
    """What shows a study to the person who waits for it."""

    def show(self, plan: Plan, *, running: Sequence[Job], failed: Mapping[str, str]) -> None:
        """Show how far every job is; called a few times a second.

        Args:
            plan: All jobs.
            running: Those that this command works on.
            failed: Those that failed, by folder name, with the reason.
        """
        ...


def make_data(plan: Plan, *, progress: Callable[[str, int, int], None] | None = None) -> None:
    """Make the embedded corpora that the study needs and that are not there yet.

    No two sentences have the same English, but two may have the same translation: what dev or test
    has as well is left out of train.

    Raises:
        DataError: They have no such split, for example (``study.checks``).
    """
    for name, source in plan.size.data.items():
        folder = plan.data_folders[name]
        if source.embedded is None or is_there(folder):
            continue
        corpus = folder.parent / "corpus"
        settings = source.embedded
        corpus.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / ".lock"):

            def spoken(done: int, total: int) -> None:
                if progress is not None:
                    progress("speaking the synthetic corpus", done, total)

            embedded.write(corpus, settings, progress=spoken)
            prepare(
                {split: [corpus / f"{split}.tsv"] for split in embedded.SPLITS},
                folder,
                PrepareSettings(
                    vocabulary_size=source.vocabulary_size, overlap=OverlapSettings(action="drop")
                ),
                progress=progress,
            )
    require_fit(plan)


def sensible_num_workers(plan: Plan) -> int:
    """Return how many runs this machine does at a time: one a CUDA device, or as cores allow."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.device_count()
    threads = max((job.experiment.training.num_threads for job in plan.jobs), default=0)
    return max(1, (os.cpu_count() or 1) // threads) if threads else 1


def do_together(plan: Plan, seat: Seat) -> Ending:
    """Do the jobs in order, all processes of ``torchrun`` on each; return whether all are done.

    Raises:
        TrainingError: Another command works on a job.
    """
    with join(plan.jobs[0].experiment.training.device, seat) as processes:
        for job in plan.jobs:
            match do_job(job, processes=processes):
                case "stopped":
                    return Ending.INTERRUPTED
                case "terminated":
                    return Ending.TERMINATED
                case "locked":
                    raise TrainingError(
                        f"{job.folder} must not be in use, because torchrun does the runs in "
                        "order, but another command works on it: wait for that one, or stop it"
                    )
    return Ending.DONE


def do_jobs(plan: Plan, *, num_workers: int, overview: Overview) -> Ending:
    """Do the jobs, up to ``num_workers`` at a time, each in a process of its own.

    Returns:
        Whether all are done, or how the command was interrupted.

    Raises:
        TrainingError: A job failed; the others were done, but for those that start from it.
    """
    workers = _Workers(plan, num_workers)
    try:
        with _terminated_like_interrupted():
            while workers.step():
                overview.show(plan, running=list(workers.running), failed=workers.failed)
                time.sleep(_SECONDS_BETWEEN_LOOKS)
    except KeyboardInterrupt as error:
        workers.stop()
        return Ending.by_interrupt(error)
    finally:
        overview.show(plan, running=list(workers.running), failed=workers.failed)
    if workers.stopped is not None:
        return workers.stopped
    if workers.failed:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in workers.failed.items())
        raise TrainingError(f"{counted(len(workers.failed), 'run')} of the study failed: {reasons}")
    return Ending.DONE


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM, which a scheduler sends to this process alone, stop the workers as well."""

    def interrupt(number: int, _frame: object) -> None:
        leave_closed_terminal()
        raise TerminatedInterrupt(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in terminations()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class _Workers:
    """The workers of one command, and what is left for them."""

    plan: Plan
    num_workers: int
    running: dict[Job, BaseProcess] = field(default_factory=dict)
    slots: dict[Job, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    asked: dict[Job, float] = field(default_factory=dict)
    stopped: Ending | None = None

    def step(self) -> bool:
        """Take back workers that have ended, send out others; return whether there is more."""
        for job, process in list(self.running.items()):
            if not process.is_alive():
                process.join()
                del self.running[job]
                self._note_end(job, process)
            else:
                keep_status_current(job)
        left = [job for job in self.plan.jobs if not job.is_complete and not self._is_lost(job)]
        if self.stopped is not None:
            return bool(self.running)
        ready = [job for job in left if job not in self.running and self._is_ready(job)]
        for job in ready[: self.num_workers - len(self.running)]:
            self._send(job)
        return bool(left)

    def stop(self) -> None:
        """Tell the workers to stop, each with a checkpoint, and wait for them.

        Ctrl-C reached them already; after a first signal they take a second one of another kind
        for the same wish.
        """
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.join()
        self.running.clear()

    def _send(self, job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        number = min(set(range(self.num_workers)) - {self.slots[j] for j in self.running})
        # Sums differ in their last digits with the number of threads: what an experiment says
        # holds, so that a study comes to the same numbers with any number of workers.
        shared = not job.experiment.training.num_threads and self.num_workers > 1
        threads = max(1, (os.cpu_count() or 1) // self.num_workers) if shared else 0
        process = context.Process(target=_work, args=(job, threads, number))
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / "error.txt").unlink(missing_ok=True)
        process.start()
        self.running[job] = process
        self.slots[job] = number

    def _note_end(self, job: Job, process: BaseProcess) -> None:
        if process.exitcode == _EXIT_CODES["locked"]:
            self.asked[job] = time.monotonic()  # another command works on it: look again later
        elif process.exitcode == _EXIT_CODES["stopped"]:
            self.stopped = Ending.INTERRUPTED
        elif process.exitcode == _EXIT_CODES["terminated"]:
            self.stopped = Ending.TERMINATED
        elif process.exitcode != 0 or not job.is_complete:
            path = job.folder / "error.txt"
            unforeseen = f"it ended with {process.exitcode}; see {job.folder / 'output.txt'}"
            reason = path.read_text() if path.is_file() else unforeseen
            self.failed[job.folder.name] = reason.strip()

    def _is_ready(self, job: Job) -> bool:
        waited = time.monotonic() - self.asked.get(job, -_SECONDS_BETWEEN_RETRIES)
        return waited >= _SECONDS_BETWEEN_RETRIES and (job.start is None or job.start.is_trained)

    def _is_lost(self, job: Job) -> bool:
        """Whether it, or what it starts from, has failed."""
        if job.folder.name in self.failed:
            return True
        return job.start is not None and self._is_lost(job.start)


def _work(job: Job, num_threads: int, slot: int) -> None:
    """One worker: do one job, on the device of its slot; say by the exit code how it ended."""
    import torch

    # The terminal is the overview's; what libraries and errors of ours print goes beside the run.
    with (job.folder / "output.txt").open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if torch.cuda.device_count() > 1:
        os.environ["LOCAL_RANK"] = str(slot % torch.cuda.device_count())
    try:
        sys.exit(_EXIT_CODES[do_job(job, num_threads=num_threads)])
    except (TaskawareError, OSError, MemoryError) as error:
        traceback.print_exc()  # into output.txt
        with suppress(OSError):  # the disk may be full
            reason = str(error) or type(error).__name__
            (job.folder / "error.txt").write_text(reason, encoding="utf-8")
        sys.exit(_FAILED)
    except KeyboardInterrupt:
        sys.exit(_EXIT_CODES["stopped"])
