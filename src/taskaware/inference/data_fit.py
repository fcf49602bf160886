"""Whether a model and prepared data fit: the same tasks, features and, where it counts, pieces."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from taskaware.data.manifest.tasks import require_same_tasks
from taskaware.errors import DataError, UserError
from taskaware.inference.source_encoder import encoder_digest

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.data.prepared.folder import PreparedData
    from taskaware.data.sound.settings import FeatureSettings
    from taskaware.inference.model import TaskAwareModel
    from taskaware.model.settings import ModelSettings
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Task

_WITH_ENCODER = ": prepare the data with `--encoder` and this model"


def require_tasks(
    model: TaskAwareModel, data: PreparedData, names: tuple[str, ...] = ()
) -> list[Task]:
    """Return the model's tasks of these names, or without names all that the data has as well.

    The data's vocabulary may be another than the model's, which encodes texts itself.

    Raises:
        UnknownTaskError: The model or the data has no task of a name.
        UserError: Model and data share no task, or a name means another task in the data.
        DataError: The data was prepared with other features than the model hears, or holds the
            outputs of another encoder.
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
    reads_numbers = any(not task.modality.is_text for task in shared)
    if reads_numbers and data.feature_settings != model.feature_settings:
        raise DataError(
            f"{data.folder} must have the model's features, but has others"
            f"{other_features(model.feature_settings, data)}"
        )
    if data.encoder is not None and any(task.modality.is_recording for task in shared):
        require_encoder(
            data, model.transformer, model.settings, model.feature_settings, where="the model"
        )
    return shared


def other_features(wanted: FeatureSettings, data: PreparedData) -> str:
    """Return which settings of the features differ, and how data get those that are wanted."""
    ours, theirs = asdict(wanted), asdict(data.feature_settings)
    others = [name for name in ours if ours[name] != theirs[name]]
    said = ", ".join(f"{name} {theirs[name]}" for name in others)
    if data.encoder is not None:
        return f" ({said}), as the encoder of {data.encoder.model} has{_WITH_ENCODER}"
    options = " ".join(f"features.{name}={ours[name]}" for name in others)
    return f" ({said}): prepare it with {options}"


def require_encoder(
    data: PreparedData,
    transformer: TaskAwareTransformer,
    settings: ModelSettings,
    features: FeatureSettings,
    *,
    where: Path | str,
) -> None:
    """Check that the stored outputs of an encoder are those of a model's own.

    Args:
        data: What was prepared; where it stores features, all is well.
        transformer: The model's network.
        settings: Its sizes and choices.
        features: How it hears a recording.
        where: What to call the model.

    Raises:
        DataError: They are another encoder's, or the model's depend on the task.
    """
    if data.encoder is None:
        return
    if settings.modulates_encoder:
        raise DataError(
            f"{data.folder} must hold recordings or features for {where}, whose encoder its task "
            f"network modulates, but holds outputs of the encoder of {data.encoder.model}"
        )
    if encoder_digest(transformer, settings, features) != data.encoder.sha256:
        raise DataError(
            f"{data.folder} must hold outputs of the encoder of {where}, but holds those of "
            f"{data.encoder.model}, which has other weights, another front end or other features"
            f"{_WITH_ENCODER}"
        )


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
