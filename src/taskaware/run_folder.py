"""Whose folder a run's folder is, and what starting over deletes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from taskaware import experiment as experiment_file
from taskaware.data.users import note_run
from taskaware.decoding.scoring import DecodingSettings
from taskaware.errors import ExperimentError
from taskaware.run_files import claim_files

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.experiment import Experiment

# Fields of the training section that a run may go on with under another value.
_CHANGEABLE = ("updates", "log_every", "validate_every", "save_every", "keep", "num_threads")


def claim(folder: Path, experiment: Experiment, *, restart: bool, is_known: bool = False) -> None:
    """Make the folder this experiment's, or find that it is.

    Args:
        folder: The run's folder.
        experiment: What is to be trained there.
        restart: Whether to delete what the run there wrote.
        is_known: Whether the caller knows that what is there is of this experiment.

    Raises:
        ExperimentError: It holds another experiment.
        OutputError: It holds files that no run wrote.
    """
    path = folder / "experiment.toml"
    claim_files(folder, restart=restart)
    if path.exists() and not is_known:
        before = experiment_file.load(path)
        if _course(before) != _course(experiment):
            was = experiment_file.dump(before).splitlines()
            lines = [
                line for line in experiment_file.dump(experiment).splitlines() if line not in was
            ]
            raise ExperimentError(
                f"{folder} must be a new folder or one of this experiment, but holds another; "
                f"these lines differ: {'; '.join(lines[:5])}. Choose another folder with --to, or "
                "start over with --restart"
            )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(experiment_file.dump(experiment))
    note_run(experiment.data.folder, folder)


def _course(experiment: Experiment) -> Experiment:
    """Return the experiment without what may change while a run goes on."""
    return replace(
        experiment,
        decoding=DecodingSettings(),
        batching=replace(experiment.batching, num_workers=0, prefetch=1),
        training=replace(
            experiment.training,
            **dict.fromkeys(_CHANGEABLE, 1),
            average_last=0,
            try_largest="auto",
        ),
    )
