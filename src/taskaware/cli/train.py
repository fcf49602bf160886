"""``taskaware train``: train an experiment, or resume it."""

from __future__ import annotations

import os
from pathlib import Path

from taskaware.cli.advice import after_not_finite, train_command
from taskaware.cli.display import say, training_display
from taskaware.cli.endings import code_of
from taskaware.cli.numbers import Processes
from taskaware.cli.own_name import own_command
from taskaware.errors import NotFiniteError


def train(
    experiment: Path | None = None,
    /,
    *overrides: str,
    to: Path | None = None,
    restart: bool = False,
    processes: Processes = 1,
    fields: bool = False,
    dry_run: bool = False,
) -> int:
    """Train the experiment that a TOML file describes.

    The run is written to runs/NAME. The same command resumes a run that was stopped (Ctrl-C,
    SIGTERM and a terminal that is closed write a checkpoint first; after the latter two the exit
    code is 75). Its log is log.jsonl; with the extra `tensorboard`, `tensorboard --logdir runs`
    shows it. With several devices: `torchrun --nproc-per-node 8 -m taskaware train FILE`.

    Parameters
    ----------
    experiment
        The TOML file.
    overrides
        Fields that override the file's: `training.updates=500 model.d_model=256`.
    to
        The run's folder (default: runs/ and the experiment's name).
    restart
        Delete the run in the folder and start over.
    processes
        Processes that train together on this machine, each with its own batches of the size that
        the file sets. On a CPU two processes of one thread are faster than one of two.
    fields
        Print every field with its meaning and default, as a TOML file, and stop.
    dry_run
        Write nothing: check data and sizes, try the largest batch and about a minute of updates in
        one process, and say what memory and how many hours the whole run takes on this machine.
        Where the data is not there, made-up batches stand for it.
    """
    from taskaware.run import experiment as experiment_file

    if fields:
        from taskaware.settings.template import describe

        print(describe(experiment_file.Experiment))
        return 0
    if experiment is None:
        from taskaware.errors import UserError

        raise UserError("an experiment file must be given: taskaware train FILE [FIELD=VALUE ...]")
    described = experiment_file.load(experiment, overrides, from_start=True)
    folder = to or Path("runs") / described.name
    if dry_run:
        from taskaware.cli.dry_run import try_run

        return try_run(described, folder)
    from taskaware.run.launch import train_in_processes

    try:
        with training_display() as display:
            ending = train_in_processes(
                described, folder, num_processes=processes, display=display, restart=restart
            )
    except NotFiniteError as error:
        advice = after_not_finite(
            experiment, described, overrides, folder, to=to, processes=processes
        )
        raise NotFiniteError(f"{error}\n{advice}") from error
    if int(os.environ.get("RANK", "0")) > 0:
        return code_of(ending)  # the first process speaks for all
    command = train_command(experiment, overrides, to=to, processes=processes)
    if not ending:
        say(f"Stopped; a checkpoint is written. Resume with: {command}")
        return code_of(ending)
    say(f"Done: {folder / 'model'}\n{next_steps(folder, described.data.folder)}")
    return 0


def next_steps(run: Path, data: Path) -> str:
    """Return the commands that score and use what a run has learnt, each as a shell reads it."""
    return (
        f"Score it:  {own_command('evaluate', run, '--data', data, '--split', 'test')}\n"
        f"Use it:    {own_command('predict', run, 'FILE')} ..."
    )
