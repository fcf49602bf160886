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
from tiny_service import random_model, wav

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


def test_no_bytes_are_said_to_be_empty_and_a_file_at_its_end_to_be_read_already(
    model: TaskAwareModel,
):
    speech = next(task.name for task in model.tasks if task.source_modality == "speech")
    for use in (model.run, lambda task, source: model.transcript(source, task)):
        for nothing in (b"", bytearray(), io.BytesIO()):
            with pytest.raises(AudioError, match="but is empty"):
                use(speech, nothing)
        read = io.BytesIO(wav())
        read.read()
        with pytest.raises(AudioError, match=r"`seek\(0\)` begins again"):
            use(speech, read)


def test_bytes_of_every_type_are_one_recording(model: TaskAwareModel):
    expected = model.translate(wav(), to="de")
    for same in (bytearray(wav()), memoryview(wav())):
        assert model.translate(same, to="de") == expected
        with pytest.raises(UserError, match="several sources must be a list"):
            model.run_many("st_en_de", same)  # type: ignore[arg-type]


class Unreadable(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: object) -> int:
        raise OSError(5, "Input/output error")


class Reader:
    """Anybody's object that has nothing but a `read`."""

    def __init__(self, content: object) -> None:
        self._content = content

    def read(self, _most: int = -1) -> object:
        content, self._content = self._content, b""
        return content


UNUSABLE: dict[str, Any] = {
    "a name that is too long": "a" * 100_000 + ".wav",
    "a path that is too long": Path("a" * 100_000 + ".wav"),
    "a name of half a character": "\ud800.wav",
    "a stretch of such a name": Speech(path=Path("\ud800.wav")),
    "a name with a zero byte": "a\0.wav",
    "a file that cannot be read": Unreadable,
    "a reader of texts": lambda: Reader("a text"),
    "a reader of nothing": lambda: Reader(None),
    "a nested tensor": lambda: torch.nested.nested_tensor([torch.zeros(3), torch.zeros(5)]),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("make", UNUSABLE.values(), ids=list(UNUSABLE))
def test_what_cannot_be_read_is_refused_by_name(make: Any, model: TaskAwareModel):
    speech = next(task.name for task in model.tasks if task.source_modality == "speech")
    for use in (
        lambda source: model.run(speech, source),
        lambda source: model.transcript(source, speech),
        lambda source: model.embed_task([(source, "a")], task=speech),
    ):
        with pytest.raises((AudioError, UserError)):
            use(make() if callable(make) else make)


def test_an_object_that_has_a_read_alone_is_a_recording(model: TaskAwareModel):
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(0).normal(size=16_000) / 9, 16_000, format="WAV")
    speech = next(task.name for task in model.tasks if task.source_modality == "speech")
    wanted = model.embed_task([(file.getvalue(), "a")], task=speech)
    found = model.embed_task([(Reader(file.getvalue()), "a")], task=speech)  # type: ignore[list-item]
    assert torch.equal(found, wanted)
    assert model.transcript(Reader(file.getvalue()), speech).duration_seconds == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["x" * 1_000_000, "\ud800", "a\0b"])
def test_a_folder_that_can_have_no_such_name_is_refused(
    name: str, model: TaskAwareModel, tmp_path: Path
):
    model.save(tmp_path / "model")
    for use in (
        lambda: load(name),
        lambda: load(tmp_path / "model", which=name),
        lambda: model.save(name),
    ):
        with pytest.raises(UserError, match="the name cannot be used"):
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


@pytest.mark.parametrize("way", ["run", "transcript"])
def test_a_path_that_is_empty_is_not_taken_for_the_folder_in_which_python_runs(
    model: TaskAwareModel, way: str
):
    with pytest.raises(UserError, match="the path of a source must not be empty"):
        getattr(model, way)(*(("asr_en", "") if way == "run" else ("", "asr_en")))
