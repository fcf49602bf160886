"""Where a model is: a folder of its own, or one of a run's.

A run is told by its ``experiment.toml``, a model by its ``model.json``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

_RUN_FILE = "experiment.toml"
_MODEL_FILE = "model.json"


def find_model(folder: Path, which: str = "model") -> Path:
    """Return the folder of one of a run's models, or a model's folder itself.

    Args:
        folder: A run's folder, a model's, or the place of one of a run's models (``RUN/best``).
        which: Which of a run's models; ``"model"`` for a model's folder.

    Raises:
        CheckpointError: There is none; the message says what there is.
    """
    found = folder / which
    if (found / _MODEL_FILE).is_file():
        return found
    if which == "model" and (folder / _MODEL_FILE).is_file():
        return folder
    if (folder / _RUN_FILE).is_file():
        return _of_a_run(folder, which)
    for run in (folder.parent, folder.parent.parent):
        if which == "model" and (run / _RUN_FILE).is_file() and run != folder:
            return find_model(run, str(folder.relative_to(run)))
    if not folder.exists():
        raise CheckpointError(f"{folder} must be a run's folder or a model's, but does not exist")
    return found if which != "model" else folder  # what is missing there is told by who reads it


def _of_a_run(run: Path, which: str) -> Path:
    there = _models(run)
    if not there:
        newest = max((run / "checkpoints").glob("update-*"), default=None)
        how_far = f"; its newest checkpoint is {newest.name}" if newest else ""
        raise CheckpointError(
            f"{run} must be a finished run, but has no model yet{how_far}. Wait for its training, "
            "or go on with it by the command that began it"
        )
    raise CheckpointError(
        f"{run} must have a model '{which}', but has {', '.join(there)}"
        + ("; `training.average_last` makes it" if which == "average" else "")
        + ("; a run without dev examples has no best" if which == "best" else "")
    )


def _models(run: Path) -> list[str]:
    places = [run / name for name in ("model", "best", "average")]
    places += sorted((run / "taskwise").glob("*"))
    return [str(p.relative_to(run)) for p in places if (p / _MODEL_FILE).is_file()]
