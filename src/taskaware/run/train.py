"""Train a run, from its experiment to its models: what each process does, in order."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

import torch

from taskaware.data.batches.lost_workers import reporting_killed_workers
from taskaware.run.checks import check_run
from taskaware.run.feed import training_batches
from taskaware.run.finish import remarks_on_models, write_models
from taskaware.run.folder import claim, write_experiment
from taskaware.run.idle_settings import Remark
from taskaware.run.lock import lock
from taskaware.run.log import RunLog
from taskaware.run.resume import resume
from taskaware.run.retention import create_retention
from taskaware.run.run import Run, set_up
from taskaware.run.start import start_remarks
from taskaware.run.validation import validate
from taskaware.settings import typed as settings_file
from taskaware.training.best import BestWeights
from taskaware.training.kernels import suit_changing_shapes
from taskaware.training.loop import Validation, Watchers, has_ended, stop_signals, train
from taskaware.training.processes import Processes, Seat, join
from taskaware.training.step import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from taskaware.run.experiment import Experiment
    from taskaware.training.ending import Ending
    from taskaware.training.progress import TrainingProgress


_NOTHING_TO_SPLIT = Remark(
    about="training.sharded",
    text="`training.sharded = true` has no effect in a single process: start several, with "
    "`torchrun` or `--processes` (docs/scale.md)",
)


class Display(Protocol):
    """What shows a run to the person who waits for it."""

    def start(self, run: Run, *, first_update: int) -> None:
        """The run is set up and begins or resumes at this update."""
        ...

    def note(self, text: str) -> None:
        """Something that the person should know."""
        ...

    def on_update(self, update: int) -> None:
        """Another update is done."""
        ...

    def on_progress(self, progress: TrainingProgress) -> None:
        """Another line of the log."""
        ...

    def on_validation(self, update: int, validation: Validation) -> None:
        """Another validation."""
        ...


def train_experiment(
    experiment: Experiment,
    folder: Path,
    *,
    display: Display,
    restart: bool = False,
    seat: Seat | None = None,
) -> Ending:
    """Train an experiment, or resume it, in this process or as one of several.

    The processes connect and disconnect here; ``train_with`` is for those that are connected.

    Args:
        experiment: What to train.
        folder: Where to write; what is there of the same experiment is resumed.
        display: Shows the run.
        restart: Whether to delete what is there and start over.
        seat: Which of several processes this is; by default what ``torchrun`` says, or the
            only one.

    Returns:
        How it ended; true where it is finished.

    Raises:
        ExperimentError: A setting is impossible, the folder holds another experiment, or the data
            does not fit this one.
        DataError: The data is missing, incomplete, or not what the run began with.
        RunInUseError: Another command trains in the folder.
        NotFiniteError: A loss, a gradient, a weight or a moment is not finite.
        WriteError: The disk is full, for example; the checkpoints before are as they were.
    """
    settings_file.require_valid(experiment, where=experiment.name)
    with join(experiment.training.device, seat or Seat.from_environment()) as processes:
        return train_with(processes, experiment, folder, display=display, restart=restart)


def train_with(
    processes: Processes,
    experiment: Experiment,
    folder: Path,
    *,
    display: Display,
    restart: bool = False,
    is_known: bool = False,
) -> Ending:
    """Train an experiment, or resume it, in processes that have joined; see there.

    Args:
        processes: Which of them this is.
        experiment: What to train.
        folder: Where to write; what is there of the same experiment is resumed.
        display: Shows the run.
        restart: Whether to delete what is there and start over.
        is_known: Whether the caller holds the folder's lock and knows that the folder holds this
            experiment, if any: paths may then be written in another way than before.
    """
    suit_changing_shapes()
    if experiment.training.num_threads:
        torch.set_num_threads(experiment.training.num_threads)
    with ExitStack() as stack:
        # First, so that a folder is not claimed for data that is not there.
        run = set_up(experiment, folder, processes)
        batches = training_batches(run)
        stack.callback(batches.close)
        remarks = check_run(experiment, run.data, trained=run.trained_tasks, tasks=run.tasks)
        if run.start is not None:
            remarks = (
                *start_remarks(run.start, run.tasks, run.model, experiment),
                *remarks,
            )
        if experiment.training.sharded and processes.num_ranks == 1:
            remarks = (*remarks, _NOTHING_TO_SPLIT)
        run.remarks = remarks
        changes: dict[str, float] = {}
        with processes.together():
            if processes.is_first:
                if not is_known:
                    stack.enter_context(lock(folder))
                changes = claim(folder, experiment, restart=restart, is_known=is_known)
        retention = create_retention(run)
        run.split()
        best_weights = BestWeights(folder / "best_weights")
        note = display.note if processes.is_first else _say_nothing
        state = resume(run, batches, retention, best_weights, note)
        with processes.together():
            if processes.is_first:
                write_experiment(folder, experiment)
            log = RunLog(folder, first_update=state.update, on=processes.is_first)
            stack.enter_context(log)
        if state.update and not has_ended(state, experiment.training):
            log.write_resumed()
        for remark in run.remarks:
            log.write_remark({"kind": "remark", "update": state.update, **asdict(remark)})
        if processes.is_first:
            _log_changes(changes, state.update, log, note)
            display.start(run, first_update=state.update)
        with reporting_killed_workers():
            ending = train(
                state,
                run.model,
                batches,
                tasks=run.tasks,
                recipe=recipe_of(experiment),
                retention=retention,
                processes=processes,
                checkpoint_folder=folder / "checkpoints",
                best_weights=best_weights,
                watchers=_watchers(run, display, log),
                frames_per_second=1000 / run.data.hop_ms,
            )
        if ending:
            with state.validating(), processes.together():
                if processes.is_first:
                    with stop_signals():  # a moment: better finished than interrupted
                        remarks = remarks_on_models(run, state, best_weights)
                        write_models(run, state, best_weights)
                    for remark in remarks:
                        found = {"kind": "remark", "update": state.update, **asdict(remark)}
                        log.write_remark(found)
                        display.note(remark.text)
    return ending


def _say_nothing(_text: str) -> None:
    pass


def _log_changes(
    changes: Mapping[str, float], update: int, log: RunLog, note: Callable[[str], None]
) -> None:
    """Write down from where on a run has another learning rate, for example."""
    if changes:
        log.write({"kind": "change", "update": update, "optimiser": dict(changes)})
        words = ", ".join(f"optimiser.{name} = {value}" for name, value in changes.items())
        note(f"from update {update:,} on: {words} (noted in log.jsonl)")


def recipe_of(experiment: Experiment) -> Recipe:
    """Return the settings that an update follows."""
    return Recipe(
        training=experiment.training,
        optimiser=experiment.optimiser,
        objective=experiment.objective,
        learning=experiment.learning,
        conditioning=experiment.model.conditioning,
    )


def _watchers(run: Run, display: Display, log: RunLog) -> Watchers:
    def on_progress(progress: TrainingProgress) -> None:
        log.write({"kind": "progress", **asdict(progress)})
        display.on_progress(progress)

    def on_validation(update: int, validation: Validation) -> None:
        log.write({"kind": "validation", "update": update, **asdict(validation)})
        display.on_validation(update, validation)

    return Watchers(
        on_update=display.on_update,
        on_progress=on_progress,
        validate=lambda: validate(run),
        on_validation=on_validation,
    )
