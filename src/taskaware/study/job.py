"""Do one job of a study: train its run, score its models, write down what it cost.

A job may be tried by several processes, on several machines: a lock in its folder lets one of them
work on it. The lock is the operating system's, so that it ends with the process that holds it,
however that process ends.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch

from taskaware.data.prepared.folder import PreparedData
from taskaware.errors import DataError, ExperimentError, RunInUseError
from taskaware.evaluation.embedding_points import embedding_points
from taskaware.evaluation.embeddings import silhouette
from taskaware.evaluation.evaluate import TaskResult, evaluate, save_outputs
from taskaware.evaluation.machine import device_name
from taskaware.files import num_bytes_in, read_json_object, write_text
from taskaware.held_memory import peak_mib
from taskaware.inference.data_fit import require_vocabulary
from taskaware.inference.model import load
from taskaware.inference.model_folder import find_model
from taskaware.inference.task_embeddings import support_task_embeddings
from taskaware.model.parameters import parameters_by_part, parameters_of_one_task
from taskaware.run.lock import lock
from taskaware.run.log import read_log
from taskaware.run.train import train_with
from taskaware.settings import typed as settings
from taskaware.study.job_files import read_cost
from taskaware.study.settings import support_number
from taskaware.training.ending import Ending
from taskaware.training.processes import Seat, join

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskaware.inference.model import TaskAwareModel
    from taskaware.run.run import Run
    from taskaware.study.plan import Job
    from taskaware.training.loop import Validation
    from taskaware.training.processes import Processes
    from taskaware.training.progress import TrainingProgress

Outcome = Literal["complete", "stopped", "terminated", "locked"]

_SECONDS_BETWEEN_STATUS = 1.0
_SECONDS_CURRENT = 60.0
_EMBEDDINGS_PER_TASK = 150


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far a job is, for whoever looks on.

    Attributes:
        state: What it does.
        update: Updates done.
        updates: Updates in all.
        seconds_left: Of training, as far as can be told.
        is_current: Whether a process said within the last minute that it works on it.
    """

    state: Literal["waiting", "training", "scoring", "complete"]
    update: int = 0
    updates: int = 0
    seconds_left: float = 0.0
    is_current: bool = False


def read_status(job: Job) -> Status:
    """Return how far a job is, whoever does it."""
    if job.is_complete:
        return Status(state="complete")
    path = job.folder / "status.json"
    try:
        said = settings.from_mapping(Status, read_json_object(path), where="status")
        age_seconds = time.time() - path.stat().st_mtime
        return replace(said, is_current=age_seconds < _SECONDS_CURRENT)
    except (OSError, ValueError, ExperimentError):
        return Status(state="waiting")


def keep_status_current(job: Job) -> None:
    """Say that a process still works on a job, which may long have nothing new to say itself."""
    with contextlib.suppress(OSError):  # it has said nothing yet, or its folder was moved away
        os.utime(job.folder / "status.json")


def do_job(job: Job, *, num_threads: int = 0, processes: Processes | None = None) -> Outcome:
    """Bring a job to its end, from wherever it stands.

    Args:
        job: What to do.
        num_threads: Threads of torch, instead of the experiment's own; 0: as it says.
        processes: Which of several processes that do it together this is; ``None``: it is alone.

    Returns:
        ``"complete"``; ``"stopped"`` on Ctrl-C and ``"terminated"`` on SIGTERM, with a checkpoint
        written; ``"locked"`` where another command works on it.
    """
    if processes is None:
        with join(job.experiment.training.device, Seat()) as alone:
            return do_job(job, num_threads=num_threads, processes=alone)
    # What the first process sees of the folder counts for all.
    if not processes.any(processes.is_first and not job.is_complete):
        return "complete"
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.ExitStack() as stack:
        is_locked = False
        if processes.is_first:
            try:
                stack.enter_context(lock(job.folder))
            except RunInUseError:
                is_locked = True
        if processes.any(is_locked):
            return "locked"
        untrained = processes.any(processes.is_first and not job.is_trained)
        if untrained and not (ending := _train(job, num_threads, processes)):
            return "terminated" if ending is Ending.TERMINATED else "stopped"
        if processes.is_first:
            threads = num_threads or job.experiment.training.num_threads
            if threads:
                torch.set_num_threads(threads)
            for variant in job.variants:
                if not job.result_path(variant).is_file():
                    _write_status(job, Status(state="scoring"))
                    _score(job, variant)
            (job.folder / "status.json").unlink(missing_ok=True)
        processes.wait()
    return "complete"


def _train(job: Job, num_threads: int, processes: Processes) -> Ending:
    experiment = job.experiment
    if job.num_tasks:
        tasks = PreparedData.open(experiment.data.folder).tasks[: job.num_tasks]
        names = tuple(task.name for task in tasks)
        experiment = replace(experiment, data=replace(experiment.data, tasks=names))
    if num_threads:
        training = replace(experiment.training, num_threads=num_threads)
        experiment = replace(experiment, training=training)
    # The folder's name is made of all that matters, and of no path.
    ending = train_with(processes, experiment, job.folder, display=_StatusFile(job), is_known=True)
    if processes.is_first:
        _write_cost(job, processes.device)
    return ending


def _write_cost(job: Job, device: torch.device) -> None:
    """Write what training took so far; memory is the largest of all the processes that did it."""
    try:
        before = read_cost(job.folder).peak_memory_mib
    except DataError:
        before = 0.0
    progress = [line for line in read_log(job.folder) if line["kind"] == "progress"]
    cost = {
        "updates": progress[-1]["update"] if progress else 0,
        "seconds": progress[-1].get("seconds", 0.0) if progress else 0.0,
        "peak_memory_mib": max(before, peak_mib(device)),
        "device": device_name(),
    }
    write_text(job.folder / "cost.json", json.dumps(cost, indent=1))


def _score(job: Job, variant: str) -> None:
    """Decode the split with one of the run's models; the file of results comes last."""
    data = PreparedData.open(job.experiment.data.folder)
    split = data.split(job.split)
    path = job.result_path(variant)
    results: list[TaskResult] = []
    models: list[TaskAwareModel] = []
    num_bytes = 0
    for which, names in _models(job, variant):
        model = _loaded(job, variant, which)
        tasks = [task for task in model.tasks if names is None or task.name in names]
        results += evaluate(model, split, tasks)
        models.append(model)
        num_bytes += num_bytes_in(find_model(job.folder, which))
    save_outputs(results, job.outputs_path(variant))
    content: dict[str, Any] = {
        "results": [result.summary() for result in results],
        "parameters": parameters_by_part(models[0].transformer),
        "parameters_of_one_task": parameters_of_one_task(models[0].transformer, models[0].tasks),
        "num_bytes": num_bytes,
        "silhouette": None,
    }
    require_vocabulary(models[0], data)
    points = embedding_points(models[0], split, num_per_task=_EMBEDDINGS_PER_TASK)
    if variant == "model" and points is not None:
        points.save(path.parent / "embeddings.npz")
        content["silhouette"] = _finite(silhouette(points.embeddings, points.tasks))
    write_text(path, json.dumps(content, indent=1))


def _models(job: Job, variant: str) -> list[tuple[str, set[str] | None]]:
    """Return which of the run's models a variant has, and the tasks of each; ``None``: all."""
    # Of one task alone, the model chosen is the best for it already.
    if variant == "taskwise" and (names := _tasks_with_a_best(job)):
        return [(f"taskwise/{name}", {name}) for name in names]
    return [("average" if variant == "average" else "model", None)]


def _loaded(job: Job, variant: str, which: str) -> TaskAwareModel:
    model = load(job.folder, which=which)
    if support_number(variant):
        return replace(model, task_embeddings=_embeddings(job, model, variant))
    return model


def _tasks_with_a_best(job: Job) -> list[str]:
    """Return the tasks for which a training left a model each, sorted, whether or not it is there.

    They are those that it validated; none where it trained one task alone.
    """
    names = job.experiment.data.tasks
    if not names:
        tasks = PreparedData.open(job.experiment.data.folder).tasks
        names = tuple(task.name for task in tasks[: job.num_tasks or None])
    if len(names) < 2:
        return []
    validated: set[str] = set()
    for line in read_log(job.folder):
        if line["kind"] == "validation" and isinstance(values := line.get("values"), dict):
            numbers = {name: of for name, of in values.items() if isinstance(of, int | float)}
            validated |= {name for name, of in numbers.items() if of < math.inf}
    return sorted(validated & set(names))


def _embeddings(job: Job, model: TaskAwareModel, variant: str) -> Mapping[str, torch.Tensor]:
    """Return the mean t_e of another number of support examples."""
    experiment = job.experiment
    data = PreparedData.open(experiment.data.folder)
    require_vocabulary(model, data)
    return support_task_embeddings(
        model.transformer,
        model.tasks,
        data.split(experiment.data.train_split),
        cue=model.settings.conditioning.cue,
        num_examples=support_number(variant),
        seed=experiment.training.seed,
        earlier=model.task_embeddings,
    )


def _finite(value: float) -> float | None:
    return value if value == value else None


def _write_status(job: Job, status: Status) -> None:
    write_text(job.folder / "status.json", json.dumps(vars(status)))


class _StatusFile:
    """A display of a training that writes how far it is into the job's folder."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._updates = job.experiment.training.updates
        self._first_update = 0
        self._began = time.monotonic()
        self._last = -_SECONDS_BETWEEN_STATUS

    def start(self, run: Run, *, first_update: int) -> None:
        self._first_update = first_update
        self._began = time.monotonic()
        self.on_update(first_update)

    def on_update(self, update: int) -> None:
        now = time.monotonic()
        if now - self._last < _SECONDS_BETWEEN_STATUS:
            return
        self._last = now
        rate = (update - self._first_update) / max(now - self._began, 1e-9)
        left = (self._updates - update) / rate if rate else 0.0
        status = Status(
            state="training", update=update, updates=self._updates, seconds_left=round(left, 1)
        )
        _write_status(self._job, status)

    def note(self, text: str) -> None:
        print(text)

    def on_progress(self, progress: TrainingProgress) -> None:
        pass

    def on_validation(self, update: int, validation: Validation) -> None:
        pass
