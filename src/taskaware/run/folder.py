"""Whose folder a run's folder is, and what starting over deletes."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from taskaware.data.prepared.users import note_run
from taskaware.decoding.settings import DecodingSettings
from taskaware.errors import DamagedCheckpointError, ExperimentError
from taskaware.files import reporting, write_text
from taskaware.run import experiment as experiment_file
from taskaware.run.data import records_contents
from taskaware.run.files import claim_files
from taskaware.training.checkpoint import checkpoints, read_content, tidy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from taskaware.run.experiment import Experiment

# Fields of the training section that may have another value when a run resumes.
_CHANGEABLE = (
    *("updates", "log_every", "validate_every", "save_every", "keep", "num_threads"),
    "patience",
)
# Fields of the optimiser that help a run on whose loss is not finite. They change its course: only
# a run that has updates left to do takes them, and its log says from where on they hold.
_COURSE_CHANGES = ("learning_rate", "warmup_updates", "max_gradient_norm")


def claim(
    folder: Path, experiment: Experiment, *, restart: bool, is_known: bool = False
) -> dict[str, float]:
    """Find that the folder is this experiment's, or free; return what changes its course.

    ``write_experiment`` makes it this experiment's, once nothing else speaks against it. A folder
    without a checkpoint holds no work yet, and takes any experiment.

    Args:
        folder: The run's folder.
        experiment: What is to be trained there.
        restart: Whether to delete what the run there wrote.
        is_known: Whether the caller knows that what is there is of this experiment.

    Returns:
        The fields of the optimiser that are others from here on, with their new values.

    Raises:
        ExperimentError: It holds another experiment, or a finished run whose course is changed or
            whose checkpoints are gone.
        OutputError: It holds files that no run wrote.
    """
    path = folder / "experiment.toml"
    claim_files(folder, restart=restart)
    with reporting(folder):
        tidy(folder / "checkpoints")
    changes: dict[str, float] = {}
    if path.exists() and not is_known and _has_work(folder):
        before = _with_paths_of(experiment, experiment_file.load(path), _recorded(folder))
        if _course(before) != _course(experiment):
            raise ExperimentError(
                f"{folder} must be a new folder or one of this experiment, but holds another; "
                f"these lines differ: {_differing_lines(before, experiment)}. Choose another "
                "folder with --to, or start over with --restart"
            )
        changes = {
            name: getattr(experiment.optimiser, name)
            for name in _COURSE_CHANGES
            if getattr(before.optimiser, name) != getattr(experiment.optimiser, name)
        }
        if changes and not _has_updates_left(folder, experiment):
            raise ExperimentError(
                f"{folder} must have updates left for another course of training, but is at its "
                f"end; these lines differ: {_differing_lines(before, experiment)}. Choose another "
                "folder with --to, start over with --restart, or give it more training.updates"
            )
        if not checkpoints(folder / "checkpoints"):
            raise ExperimentError(
                f"{folder} must have a checkpoint to go on from, or no model yet, but holds the "
                "model of a finished run and no checkpoint to go on from: training would begin "
                "anew and replace the model. Use that model, choose another folder with --to, or "
                "start over with --restart"
            )
    return changes


def write_experiment(folder: Path, experiment: Experiment) -> None:
    """Write down what the folder's run is.

    Raises:
        WriteError: The folder may not be written.
    """
    write_text(folder / "experiment.toml", experiment_file.dump(experiment))
    note_run(experiment.data.folder, folder)


def _has_work(folder: Path) -> bool:
    return bool(checkpoints(folder / "checkpoints")) or (folder / "model").exists()


def _recorded(folder: Path) -> dict[str, Any]:
    """Return what the newest checkpoint says of the data and the start."""
    for path in reversed(checkpoints(folder / "checkpoints")):
        with contextlib.suppress(DamagedCheckpointError):
            return read_content(path).get("data", {})
    return {}


def _with_paths_of(
    experiment: Experiment, before: Experiment, recorded: Mapping[str, Any]
) -> Experiment:
    """Return what a folder holds with the paths of now, where contents will be compared.

    Data and models may be moved, and paths be written in several ways.
    """
    if records_contents(recorded, "data"):
        data = replace(before.data, folder=experiment.data.folder)
        before = replace(before, data=data)
    is_start = before.start.model is not None and experiment.start.model is not None
    if is_start and records_contents(recorded, "start"):
        before = replace(before, start=replace(before.start, model=experiment.start.model))
    return before


def _has_updates_left(folder: Path, experiment: Experiment) -> bool:
    names = [path.name for path in checkpoints(folder / "checkpoints")]
    newest = max(names, default="update-0").removeprefix("update-")
    return int(newest) < experiment.training.updates


def _differing_lines(before: Experiment, now: Experiment) -> str:
    was = experiment_file.dump(before).splitlines()
    return "; ".join([s for s in experiment_file.dump(now).splitlines() if s not in was][:5])


def _course(experiment: Experiment) -> Experiment:
    """Return the experiment without what may change when a run resumes."""
    return replace(
        experiment,
        decoding=DecodingSettings(),
        start=replace(experiment.start, share=0.0),
        batching=replace(experiment.batching, num_workers=0, prefetch=1),
        optimiser=replace(experiment.optimiser, **dict.fromkeys(_COURSE_CHANGES, 1)),
        training=replace(
            experiment.training,
            **dict.fromkeys(_CHANGEABLE, 1),
            average_last=0,
            try_largest="auto",
        ),
    )
