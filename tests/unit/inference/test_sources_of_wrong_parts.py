"""Sources from Python whose parts are of wrong types: a named error, and none from deep inside."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
import torch

from taskaware.errors import AudioError, UserError
from taskaware.inference.model import load
from taskaware.types import Speech, Text
from tiny_service import random_model

if TYPE_CHECKING:
    from taskaware.inference import TaskAwareModel


@pytest.fixture(scope="module")
def model() -> TaskAwareModel:
    return random_model("explicit")


def closed() -> io.BytesIO:
    file = io.BytesIO(b"x")
    file.close()
    return file


WRONG: dict[str, Any] = {
    "a text that is none": Text(None),  # type: ignore[arg-type]
    "speech without a path": Speech(path=None),  # type: ignore[arg-type]
    "a time that is a text": Speech(path=Path("a.wav"), start_seconds="1"),  # type: ignore[arg-type]
    "a channel that is none": Speech(path=Path("a.wav"), channel=1.5),  # type: ignore[arg-type]
    "a closed file": closed(),
    "a masked array": np.ma.array(np.zeros(16_000, np.float32), mask=True),
    "a tensor without numbers": torch.zeros(16_000, device="meta"),
    "a sparse tensor": torch.zeros(16_000).to_sparse(),
}


@pytest.mark.parametrize("source", WRONG.values(), ids=list(WRONG))
def test_a_source_of_wrong_parts_is_refused_by_name(source: Any, model: TaskAwareModel):
    speech = next(task.name for task in model.tasks if task.source_modality == "speech")
    for use in (
        lambda: model.run(speech, source),
        lambda: model.transcript(source, speech),
        lambda: model.embed_task([(source, "a")], task=speech),
    ):
        with pytest.raises(UserError):
            use()


def test_a_stretch_without_a_sample_is_refused(model: TaskAwareModel, tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000), 16_000)
    speech = next(task.name for task in model.tasks if task.source_modality == "speech")
    with pytest.raises(AudioError, match="must last a sample or more, but lasts 0"):
        model.run(speech, Speech(path=tmp_path / "a.wav", duration_seconds=0))


@pytest.mark.parametrize("folder", [None, 3, b"model", []])
def test_a_folder_that_is_no_path_is_refused(folder: Any, model: TaskAwareModel):
    for use in (lambda: load(folder), lambda: model.save(folder)):
        with pytest.raises(UserError, match="a folder must be a path, but is of type"):
            use()


def test_a_model_is_saved_where_a_string_says(model: TaskAwareModel, tmp_path: Path):
    model.save(str(tmp_path / "model"))
    assert load(str(tmp_path / "model")).tasks == model.tasks
