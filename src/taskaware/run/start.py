"""What a run starts from: a trained model, or a checkpoint, to fine-tune."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taskaware.data.manifest.tasks import require_good_names, require_same_tasks
from taskaware.errors import CheckpointError, DataError
from taskaware.inference.model import load
from taskaware.run.data import features_digest
from taskaware.training.checkpoint import read_content
from taskaware.training.tensors import check_file, load_tensors, weights
from taskaware.types import Task

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from taskaware.data.prepared.folder import PreparedData


@dataclass(frozen=True, kw_only=True)
class Start:
    """A trained model to start from.

    Attributes:
        tasks: Its tasks.
        tensors: Its weights.
        vocabulary_sha256: Of its vocabulary.
        features: What stands for how it hears a recording (``run.data.features_digest``).
        task_embeddings: The mean t_e of its tasks, float32 ``[1, O]``; empty where it has none.
    """

    tasks: tuple[Task, ...]
    tensors: Mapping[str, Tensor]
    vocabulary_sha256: str
    features: str
    task_embeddings: Mapping[str, Tensor] = field(default_factory=dict)


def open_start(path: Path, data: PreparedData) -> Start:
    """Read what a run starts from: a run, one of its models, or one of its checkpoints.

    Raises:
        CheckpointError: There is no such thing there.
        UserError: A task of the data has its name and is another.
    """
    start = _open_checkpoint(path) if _is_checkpoint(path) else _open_model(path)
    require_good_names((task.name for task in start.tasks), path)
    require_same_tasks(start.tasks, data.tasks, where=path, others_where=data.folder)
    if not all(bool(value.isfinite().all()) for value in start.tensors.values()):
        raise CheckpointError(
            f"{path} must have finite weights to start from, but does not; start from an older "
            "checkpoint or another model"
        )
    return start


def require_prepared_for(start: Start, path: Path, data: PreparedData) -> None:
    """Check that the data's pieces and features are those that the start was trained with.

    Raises:
        DataError: They are not; the message says how data with its vocabulary is prepared.
    """
    hears = any(task.modality.is_recording for task in start.tasks)
    if hears and start.features != features_digest(data.feature_settings):
        raise DataError(
            f"{data.folder} must have the features that {path} was trained with, but has others "
            f"({data.feature_settings}); prepare it with the settings of that run's data"
        )
    if start.vocabulary_sha256 == data.vocabulary.sha256:
        return
    run = path.parent.parent if _is_checkpoint(path) else path
    found = [p for p in (run / "model", run) if (p / "vocabulary.model").is_file()]
    how = (
        f"; prepare it with `taskaware prepare --vocabulary {found[0] / 'vocabulary.model'}`"
        if found
        else ""
    )
    raise DataError(f"{data.folder} must have the vocabulary of {path}, but has another{how}")


def _open_model(path: Path) -> Start:
    model = load(path, device="cpu")
    return Start(
        tasks=model.tasks,
        tensors=weights(model.transformer),
        vocabulary_sha256=model.vocabulary.sha256,
        features=features_digest(model.feature_settings),
        task_embeddings=model.task_embeddings,
    )


def _is_checkpoint(path: Path) -> bool:
    is_named = path.parent.name == "checkpoints" and path.name.startswith("update-")
    return is_named or (path / "state.json").is_file()


def _open_checkpoint(path: Path) -> Start:
    """A checkpoint holds weights, and says of what tasks and vocabulary they are."""
    content = read_content(path)
    data = content.get("data", {})
    if not data:
        raise CheckpointError(
            f"{path} must say of which tasks and vocabulary its weights are, but does not: an "
            "earlier version of taskaware wrote it; name its run, or one of its models, instead"
        )
    weights_path = path / "model.safetensors"
    check_file(weights_path, content.get("sha256", {}).get(weights_path.name))
    return Start(
        tasks=tuple(Task(**task) for task in data["tasks"]),
        tensors=load_tensors(weights_path),
        vocabulary_sha256=data["vocabulary"],
        features=data["features"],
    )
