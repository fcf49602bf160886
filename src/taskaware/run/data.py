"""What a run's data was, so that it resumes with the same: by contents, not by the folder's name.

A folder may be prepared again with other lines, and a vocabulary of the same size may have another
meaning. Splits that a run does not read may change as they like.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from taskaware.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from taskaware.data.prepared.folder import PreparedData
    from taskaware.data.sound.settings import FeatureSettings
    from taskaware.run.experiment import Experiment
    from taskaware.types import Task


def describe(data: PreparedData, experiment: Experiment, tasks: Sequence[Task]) -> dict[str, Any]:
    """Return what a run reads of its data, as JSON can hold it: hashes, and the model's tasks."""
    train, dev = experiment.data.train_split, experiment.data.dev_split
    return {
        "folder": str(data.folder),
        "vocabulary": data.vocabulary.sha256,
        "features": features_digest(data.feature_settings),
        "encoder": "" if data.encoder is None else data.encoder.sha256,
        "train": _split_digest(data, train),
        "dev": _split_digest(data, dev) if dev in data.split_names else "",
        "tasks": [asdict(task) for task in tasks],
    }


def require_same(
    before: Mapping[str, Any], now: Mapping[str, Any], *, folder: Path, checkpoint: Path
) -> None:
    """Check that a run resumes with the data that it began with.

    Args:
        before: What a checkpoint says of it (``describe``).
        now: What it is.
        folder: The run's folder.
        checkpoint: The checkpoint.

    Raises:
        DataError: It is other data; the message says what differs and what can be done.
    """
    names = {
        "vocabulary": "the vocabulary",
        "features": "the features",
        "encoder": "the encoder whose outputs it holds",
        "train": "the training examples",
        "dev": "the dev examples",
        "tasks": "the tasks",
    }
    others = [name for name in names if name in before and before[name] != now[name]]
    if not others:
        return
    changed = ", ".join(names[name] for name in others)
    raise DataError(
        f"{folder} must resume with the data that it began with, but {now['folder']} has been "
        f"prepared again since {checkpoint.name} was written: {changed} changed. The run is left "
        "as it is. To train on the new data choose another folder with --to"
        f"{_from_its_weights(folder, others)}. To give up this run and start over, add "
        "--restart"
    )


def _from_its_weights(folder: Path, others: Sequence[str]) -> str:
    """Return how the run's weights can be started from, where that is possible."""
    if not (folder / "model" / "model.json").is_file() or "tasks" in others:
        return ""
    if "vocabulary" not in others:
        return f"; start.model={folder} starts from this run's weights"
    vocabulary = folder / "model" / "vocabulary.model"
    return (
        "; to start from this run's weights there, prepare the data with "
        f"`--vocabulary {vocabulary}` and add start.model={folder}"
    )


def features_digest(settings: FeatureSettings) -> str:
    """Return what stands for the way in which recordings become features."""
    return _digest(asdict(settings))


def _split_digest(data: PreparedData, name: str) -> str:
    records = data.split(name).records
    return _digest([[record.sha256, record.index_sha256] for record in records])


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
