"""The models of a finished run, in use: found, counted, and matched with data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.data.manifest.tasks import require_same_tasks
from taskaware.errors import DataError, UserError
from taskaware.inference.model import TaskAwareModel, load

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.data.prepared.folder import PreparedData
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Task


def run_model(folder: Path, which: str = "model", *, device: str = "auto") -> TaskAwareModel:
    """Load one of a run's models, or a model folder itself (see ``inference.load``)."""
    return load(folder, which=which, device=device)


def parameters_by_part(model: TaskAwareTransformer) -> dict[str, int]:
    """Return the number of parameters of each part of a model, in the order of the data's way."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        words = name.split(".")
        part = ".".join(words[:2]) if words[0] == "frontends" else words[0].removesuffix("_norm")
        counts[part.replace("_", " ")] = counts.get(part.replace("_", " "), 0) + parameter.numel()
    return counts


def require_tasks(
    model: TaskAwareModel, data: PreparedData, names: tuple[str, ...] = ()
) -> list[Task]:
    """Return the model's tasks of these names, or without names all that the data has as well.

    The data's vocabulary may be another than the model's, which encodes texts itself.

    Raises:
        UnknownTaskError: The model or the data has no task of a name.
        UserError: Model and data share no task, or a name means another task in the data.
        DataError: The data was prepared with other features than the model hears.
    """
    shared = [task for task in model.tasks if task.name in {other.name for other in data.tasks}]
    if names:
        shared = [model.task(data.task(name).name) for name in names]
    if not shared:
        raise UserError(
            f"the data must have tasks of the model ({', '.join(t.name for t in model.tasks)}), "
            f"but has {', '.join(t.name for t in data.tasks)}"
        )
    require_same_tasks(shared, data.tasks, where="the model", others_where=data.folder)
    if data.feature_settings != model.feature_settings:
        raise DataError(
            f"{data.folder} must have the model's features ({model.feature_settings}), but has "
            f"{data.feature_settings}"
        )
    return shared


def require_vocabulary(model: TaskAwareModel, data: PreparedData) -> None:
    """Check that the pieces of prepared texts mean to the model what they mean to the data.

    Raises:
        DataError: The data was prepared with another vocabulary.
    """
    if model.vocabulary.sha256 != data.vocabulary.sha256:
        raise DataError(
            f"{data.folder} must have the model's vocabulary here, but has another: it was "
            "prepared anew since the model was trained, or for another model"
        )
