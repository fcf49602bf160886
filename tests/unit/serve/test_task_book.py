"""Tasks by name: kept on the disk, of this model alone, never written over."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import torch

from conftest import ASR, MT
from taskaware.errors import CheckpointError, OutputError, UnknownTaskError
from taskaware.files import atomic_file
from taskaware.serve.app import create_app
from taskaware.serve.failures import ServiceError
from taskaware.serve.service import Service
from taskaware.serve.settings import ServeSettings
from taskaware.serve.task_book import TaskBook
from taskaware.training.tensors import read_metadata, write_tensors
from tiny_service import TestClient, random_model

if TYPE_CHECKING:
    from pathlib import Path

MODEL = random_model()
SIZE = MODEL.task_embeddings["asr_en"].shape[1]


def book(folder: Path | None = None, sha256: str = "a" * 64, most: int = 10) -> TaskBook:
    return TaskBook(MODEL, most=most, folder=folder, model_sha256=sha256)


def test_a_kept_task_is_there_again_after_a_restart(tmp_path: Path):
    embedding = torch.randn(1, SIZE)
    book(tmp_path / "tasks").add("mine", MT, embedding)
    found = book(tmp_path / "tasks").get("mine")
    assert found.embedding is not None
    assert torch.equal(found.embedding, embedding)
    assert found.is_stored
    assert (found.task.source_modality, found.task.target_language) == ("text", "de")


def test_what_a_killed_service_left_of_a_task_is_deleted_at_the_next_start(tmp_path: Path):
    for name in (".mine.safetensors.7-7.partial", ".notes.txt.7-7.partial", "mine.partial"):
        (tmp_path / name).write_text("half")
    with atomic_file(tmp_path / "coming.safetensors") as partial:  # another service is writing it
        assert [known.is_stored for known in book(tmp_path).all()] == [False] * len(MODEL.tasks)
        assert partial.exists()
    (tmp_path / "coming.safetensors").unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".notes.txt.7-7.partial",
        "mine.partial",
    ]


def test_a_kept_task_of_another_model_is_refused(tmp_path: Path):
    book(tmp_path).add("mine", MT, torch.randn(1, SIZE))
    with pytest.raises(CheckpointError, match="was made with other weights"):
        book(tmp_path, sha256="b" * 64)


def test_a_damaged_file_of_a_task_is_named(tmp_path: Path):
    (tmp_path / "mine.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"mine\.safetensors"):
        book(tmp_path)


@pytest.mark.parametrize(
    "embedding",
    [
        torch.full((1, SIZE), float("nan")),
        torch.ones(1, SIZE, dtype=torch.float64),
        torch.ones(1, SIZE + 1),
        torch.ones(SIZE),
    ],
)
def test_a_file_of_another_kind_of_embedding_is_named(embedding: torch.Tensor, tmp_path: Path):
    book(tmp_path).add("mine", MT, torch.ones(1, SIZE))
    path = tmp_path / "mine.safetensors"
    write_tensors(path, {"task_embedding": embedding}, read_metadata(path))
    with pytest.raises(CheckpointError, match=r"mine\.safetensors must hold a task embedding"):
        book(tmp_path)


def test_what_is_not_finite_is_neither_kept_nor_mixed(tmp_path: Path):
    made = book(tmp_path)
    with pytest.raises(ServiceError, match="must be finite"):
        made.add("mine", MT, torch.full((1, SIZE), float("inf")))
    assert not list(tmp_path.iterdir())
    made.add("large", MT, torch.full((1, SIZE), 3e38))
    with pytest.raises(ServiceError, match="must be finite"):
        made.mixed({"large": 2.0})


def test_a_reserved_name_is_taken_also_by_a_file(tmp_path: Path):
    made = TaskBook(MODEL, most=10, reserved=["whisper-1"])
    with pytest.raises(ServiceError) as caught:
        made.add("whisper-1", MT, torch.ones(1, SIZE))
    assert caught.value.status == 409
    book(tmp_path).add("whisper-1", MT, torch.ones(1, SIZE))
    with pytest.raises(CheckpointError, match="rename it"):
        TaskBook(MODEL, most=10, folder=tmp_path, model_sha256="a" * 64, reserved=["whisper-1"])


def test_a_folder_that_is_none_is_refused_at_once(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="must be a folder that can be written"):
        book(tmp_path / "file")


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "-x", "x" * 65, "é", "a\n", "a.b"])
def test_a_name_that_is_no_word_is_refused(name: str, tmp_path: Path):
    with pytest.raises(ServiceError, match="letters, digits"):
        book(tmp_path).add(name, MT, torch.randn(1, SIZE))
    assert not list(tmp_path.iterdir())


def test_a_task_is_never_written_over(tmp_path: Path):
    made = book(tmp_path)
    made.add("mine", MT, torch.ones(1, SIZE))
    for name in ("mine", "asr_en"):
        with pytest.raises(ServiceError, match="never written over"):
            made.add(name, MT, torch.zeros(1, SIZE))
    assert bool((made.get("mine").embedding == 1).all())


def test_a_slow_disk_holds_up_nobody_but_who_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    is_writing, may_go_on = threading.Event(), threading.Event()

    def write(*_: object) -> None:
        is_writing.set()
        assert may_go_on.wait(10)

    monkeypatch.setattr(TaskBook, "_write", write)
    examples = [{"source": {"text": "one"}, "target": "eins"}]
    asked = {"name": "mine", "examples": examples}
    service = Service(
        MODEL, name="tiny", settings=ServeSettings(), tasks_folder=tmp_path, model_sha256="a" * 64
    )
    with (
        TestClient(create_app(service), base_url="http://localhost") as client,
        ThreadPoolExecutor(2) as threads,
    ):
        first = threads.submit(client.post, "/v1/task-embeddings", json=asked)
        assert is_writing.wait(10)
        answers = threads.submit(client.get, "/v1/models")
        try:
            names = [one["id"] for one in answers.result(5).json()["data"]]
            assert "mine" not in names  # not before it is written
            again = client.post("/v1/task-embeddings", json={**asked, "name": "Mine"})
            assert again.status_code == 409
        finally:
            may_go_on.set()
        assert first.result(10).status_code == 201
        assert service.book.get("mine").is_stored


def test_what_could_not_be_written_leaves_its_name_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = book(tmp_path, most=1)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ServiceError, match="could not be kept"):
        made.add("mine", MT, torch.ones(1, SIZE))
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())
    assert made.add("mine", MT, torch.ones(1, SIZE)).is_stored


def test_there_are_at_most_so_many():
    made = book(most=1)
    made.add("one", MT, torch.ones(1, SIZE))
    with pytest.raises(ServiceError, match="at most 1 tasks are kept"):
        made.add("two", MT, torch.ones(1, SIZE))


def test_a_mixture_is_the_weighted_sum_and_of_one_kind_of_source():
    made = book()
    mixed = made.mixed({"asr_en": 0.25, "st_en_de": 0.75})
    parts = MODEL.task_embeddings
    torch.testing.assert_close(mixed.embedding, 0.25 * parts["asr_en"] + 0.75 * parts["st_en_de"])
    assert mixed.task.source_modality == ASR.source_modality
    with pytest.raises(ServiceError, match="one kind of source"):
        made.mixed({"asr_en": 0.5, "mt_en_de": 0.5})
    with pytest.raises(UnknownTaskError, match="did you mean 'asr_en'"):
        made.mixed({"asr_enn": 1.0})
