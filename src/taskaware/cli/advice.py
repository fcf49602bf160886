"""Commands that help where training cannot continue as it was."""

from __future__ import annotations

import shlex
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.run.experiment import Experiment

_RATE = "optimiser.learning_rate"
# What seldom fails; the factor of `inverse_sqrt` is the paper's (Table 8).
_SAFE_RATES = {"inverse_sqrt": 2.0, "linear": 1e-3}


def train_command(
    experiment: Path, overrides: Sequence[str], *, to: Path | None = None, processes: int = 1
) -> str:
    """Return the command that trains an experiment, or resumes it, for a shell."""
    options = (["--to", str(to)] if to else []) + (
        ["--processes", str(processes)] if processes > 1 else []
    )
    return shlex.join(["taskaware", "train", str(experiment), *overrides, *options])


def after_not_finite(
    experiment: Path,
    described: Experiment,
    overrides: Sequence[str],
    folder: Path,
    *,
    to: Path | None,
    processes: int,
) -> str:
    """Return what to do where a loss, a gradient or a weight was not finite.

    Args:
        experiment: The experiment file.
        described: What it says, with the overrides.
        overrides: Fields over the file's own.
        folder: The run's folder.
        to: The folder that the command named, if it did.
        processes: Processes that train together.
    """
    from taskaware.training.checkpoint import checkpoints

    optimiser = described.optimiser
    lower = f"{_RATE}={min(optimiser.learning_rate / 10, _SAFE_RATES[optimiser.schedule]):g}"
    slower = [*(one for one in overrides if one.partition("=")[0].strip() != _RATE), lower]
    found = checkpoints(folder / "checkpoints")
    lines = [
        "Nothing of it was saved. A lower `optimiser.learning_rate`, a longer "
        "`optimiser.warmup_updates` or a limit `optimiser.max_gradient_norm` helps most often."
    ]
    command = train_command(experiment, slower, to=to, processes=processes)
    if not found:
        return "\n".join([*lines, f"There is no checkpoint yet. Start again:\n  {command}"])
    lines.append(f"Go on from the newest checkpoint, {found[-1].name}:\n  {command}")
    if len(found) > 1:
        again = [one for one in slower if not one.startswith("start.model=")]
        again.append(f"start.model={found[0]}")
        command = train_command(experiment, again, to=_free(folder), processes=processes)
        names = ", ".join(path.name for path in found[:-1])
        lines.append(f"If that fails too, begin from an older one ({names}):\n  {command}")
    lines.append("Or add --restart to the first to start over, which deletes the checkpoints.")
    return "\n".join(lines)


def _free(folder: Path) -> Path:
    """Return a folder of a similar name that is not there."""
    names = (folder.with_name(f"{folder.name}_{number}") for number in count(2))
    return next(path for path in names if not path.exists())
