"""Whether a model and prepared data fit: the same tasks, features and, where it counts, pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.data.manifest.tasks import require_same_tasks
from taskaware.errors import DataError, UserError

if TYPE_CHECKING:
    from taskaware.data.prepared.folder import PreparedData
    from taskaware.inference.model import TaskAwareModel
    from taskaware.types import Task


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
            "prepared again after the model was trained, or for another model"
        )
