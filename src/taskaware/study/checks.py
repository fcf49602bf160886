"""What a study asks of its runs and its data, said before the first training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.data.prepared.folder import MARKER_NAME, PreparedData
from taskaware.errors import ExperimentError, UserError, nearest, unknown_task
from taskaware.study.settings import support_number

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.study.plan import Job, Plan
    from taskaware.study.settings import RowSettings


def require_fit(plan: Plan) -> None:
    """Require that the runs leave the models of the rows, and that the data have what is asked.

    Data that are not made yet are passed over.

    Raises:
        ExperimentError: A row asks for a model that its run does not leave.
        DataError: A folder is damaged, or has no split of this name.
        UserError: A task or a kind is asked for that the data do not have.
    """
    _require_models(plan)
    _require_data(plan)


def _require_models(plan: Plan) -> None:
    for row in plan.study.rows:
        for name in row.run_names:
            wanted = _missing_for(row, plan.job(name, plan.size.seeds[0]))
            if wanted:
                raise ExperimentError(
                    f"the run '{name}' of the row '{row.label}' must have {wanted}, because the "
                    f"row asks for its model '{row.which}': change the run's fields, or the row"
                )


def _missing_for(row: RowSettings, job: Job) -> str:
    """Return the field that a row's model needs and the run has not, or nothing."""
    training = job.experiment.training
    if row.which == "average" and training.average_last < 1:
        return "a `training.average_last` of at least 1"
    is_alone = job.num_tasks == 1 or len(job.experiment.data.tasks) == 1
    if row.which == "taskwise" and not training.taskwise and not is_alone:
        return "`training.taskwise`"
    is_new = job.start is None and job.experiment.start.model is None
    cue = job.experiment.model.conditioning.cue
    if support_number(row.which) and is_new and cue != "implicit":
        return "the `model.conditioning.cue` 'implicit'"
    return ""


def _require_data(plan: Plan) -> None:
    opened: dict[str, PreparedData] = {}
    for name, folder in plan.data_folders.items():
        if is_there(folder):
            opened[name] = PreparedData.open(folder)
            opened[name].split(plan.size.split)
    for run in plan.study.runs:
        if run.data in opened:
            job = plan.job(run.name, plan.size.seeds[0])
            _require_tasks(job, opened[run.data])
    for row in plan.study.rows:
        for task, name in row.runs.items():
            job = plan.job(name, plan.size.seeds[0])
            if job.data in opened and task not in (of := _scored_tasks(job, opened[job.data])):
                raise unknown_task(task, of, of=f"the run '{name}' of the row '{row.label}'")
    for picture in plan.study.embeddings:
        data = opened.get(plan.job(picture.run, plan.size.seeds[0]).data)
        kinds = dict.fromkeys(task.kind for task in data.tasks) if data else {}
        for kind in picture.kinds if data else ():
            if kind not in kinds:
                raise UserError(
                    f"the kinds of the picture '{picture.title}' must be of {', '.join(kinds)}, "
                    f"but one is '{kind}'{nearest(kind, kinds)}"
                )


def is_there(folder: Path) -> bool:
    """Return whether a prepared folder is complete."""
    return (folder / MARKER_NAME).is_file()


def _require_tasks(job: Job, data: PreparedData) -> None:
    for name in job.experiment.data.tasks:
        data.task(name)
    if job.num_tasks > len(data.tasks):
        raise UserError(
            f"the num_tasks of the run '{job.name}' must be at most the number of tasks of "
            f"{data.folder} ({len(data.tasks)}), but is {job.num_tasks}"
        )


def _scored_tasks(job: Job, data: PreparedData) -> tuple[str, ...]:
    """Return the tasks of a run's model; one that starts from another may have all."""
    names = tuple(task.name for task in data.tasks)
    if job.start is not None or job.experiment.start.model is not None:
        return names
    return names[: job.num_tasks] if job.num_tasks else job.experiment.data.tasks or names
