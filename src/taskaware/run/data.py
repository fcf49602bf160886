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


def describe(
    data: PreparedData, experiment: Experiment, tasks: Sequence[Task], *, start: str = ""
) -> dict[str, Any]:
    """Return what a run reads, as JSON can hold it: hashes, and the model's tasks.

    Args:
        data: The data.
        experiment: What is trained.
        tasks: Those of the model.
        start: What stands for the model that it starts from; empty where there is none.
    """
    train, dev = experiment.data.train_split, experiment.data.dev_split
    return {
        "folder": str(data.folder),
        "vocabulary": data.vocabulary.sha256,
        "features": features_digest(data.feature_settings),
        "encoder": "" if data.encoder is None else data.encoder.sha256,
        "train": _split_digest(data, train),
        "dev": _split_digest(data, dev) if dev in data.split_names else "",
        "tasks": [asdict(task) for task in tasks],
        "start": start,
    }


def records_contents(before: Mapping[str, Any], name: str) -> bool:
    """Return whether a checkpoint says what the ``data`` or the ``start`` of its run held.

    If so, ``require_same`` knows them again wherever they lie.
    """
    return {"data": "train", "start": "start"}[name] in before


def require_same(
    before: Mapping[str, Any], now: Mapping[str, Any], *, folder: Path, checkpoint: Path
) -> None:
    """Check that a run resumes with the data and the start that it began with, wherever they lie.

    Args:
        before: What a checkpoint says of it (``describe``).
        now: What it is.
        folder: The run's folder.
        checkpoint: The checkpoint.

    Raises:
        DataError: They are others; the message says what differs and what can be done.
    """
    if before.get("start", now.get("start")) != now.get("start"):
        raise DataError(
            f"{folder} must resume with the model that it began from, but `start.model` is another "
            f"now than when {checkpoint.name} was written: its weights, tasks or task embeddings "
            "differ. The run is left as it is. Name the model that it began from, choose another "
            "folder with --to, or add --restart to give up this run and start over"
        )
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
    is_elsewhere = before.get("folder", now["folder"]) != now["folder"]
    what = (
        f"{now['folder']} holds other data than {before['folder']} did when {checkpoint.name} was "
        f"written: {changed} differ"
        if is_elsewhere
        else f"{now['folder']} has been prepared again since {checkpoint.name} was written: "
        f"{changed} changed"
    )
    raise DataError(
        f"{folder} must resume with the data that it began with, but {what}. The run is left as it "
        "is. To train on the new data choose another folder with --to"
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
