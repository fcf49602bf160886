"""What one client sends costs and harms no other: embeddings, names, tasks, lengths."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch

from conftest import MT
from taskaware.serve import task_routes
from tiny_corpus import RATE_HZ
from tiny_service import random_model, serving, wav

if TYPE_CHECKING:
    from pathlib import Path

MODEL = random_model()
SIZE = MODEL.task_embeddings["asr_en"].shape[1]
EXAMPLES = [{"source": {"text": "one two"}, "target": "eins zwei"}]


def error_of(answer, status: int) -> dict:
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


def huge() -> bytes:
    """Return a recording of finite samples whose power is not finite."""
    stream = io.BytesIO()
    samples = np.tile(np.array([1e20, -1e20], dtype=np.float32), RATE_HZ // 2)
    soundfile.write(stream, samples, RATE_HZ, format="WAV", subtype="FLOAT")
    return stream.getvalue()


def make(client, name: str, examples: object = EXAMPLES):
    return client.post("/v1/task-embeddings", json={"name": name, "examples": examples})


def test_a_recording_whose_power_is_not_finite_is_its_clients_mistake():
    content = huge()
    with serving(MODEL) as (client, service):
        file = {"file": ("a.wav", content)}
        heard = client.post("/v1/audio/transcriptions", data={"model": "whisper-1"}, files=file)
        assert error_of(heard, 400)["code"] == "invalid_audio"
        assert error_of(client.post("/v1/log-mel", files=file), 400)["code"] == "invalid_audio"
        audio = {"audio": base64.b64encode(content).decode()}
        made = make(client, "mine", [{"source": audio, "target": "one"}])
        assert error_of(made, 400)["code"] == "invalid_audio"
        assert service.book.all() == service.book.own()


def test_an_embedding_that_is_not_finite_is_never_kept(monkeypatch: pytest.MonkeyPatch):
    broken = torch.full((1, SIZE), float("nan"))
    monkeypatch.setattr(task_routes, "embedding_of_examples", lambda *_: broken)
    with serving(MODEL) as (client, _):
        error = error_of(make(client, "mine"), 400)
        assert "finite" in error["message"]
        assert error["param"] == "examples"
        assert client.get("/v1/task-embeddings").status_code == 200


def test_an_example_without_a_finite_embedding_has_no_place_on_the_map():
    with serving(MODEL) as (_, service):
        more = [("a", "example", torch.full((1, SIZE), value)) for value in (1.0, float("inf"))]
        shown = task_routes.places_of(service, more)
        assert [one["kind"] for one in shown] == [*["task"] * len(MODEL.tasks), "example"]


@pytest.mark.parametrize("name", ["whisper-1", "gpt-4o-transcribe", "tiny"])
def test_a_name_of_the_model_cannot_be_that_of_a_clients_task(name: str):
    with serving(MODEL) as (client, service):
        if "." not in name:
            assert error_of(make(client, name), 409)["code"] == "name_taken"
        # Even where such a task is there, the name stands for the model.
        service.book._known[name] = replace(service.book.get("st_en_de"), is_stored=True)
        answer = client.post(
            "/v1/audio/transcriptions", data={"model": name}, files={"file": ("a.wav", wav())}
        )
        assert answer.json()["text"] == MODEL.transcribe(wav())


def test_without_names_the_models_own_tasks_alone_are_run():
    with serving(MODEL) as (client, service):
        for number in range(70):
            service.book.add(f"of-others-{number}", MT, torch.ones(1, SIZE))
        body: dict = {"sources": [{"text": "one"}]}
        outputs = client.post("/v1/run", json=body).json()["outputs"]
        assert [one["task"] for one in outputs] == ["mt_en_de"]
        body["tasks"] = ["of-others-3"]
        outputs = client.post("/v1/run", json=body).json()["outputs"]
        assert [one["task"] for one in outputs] == ["of-others-3"]


def test_a_text_of_too_many_pieces_is_refused_before_the_model_sees_it(
    monkeypatch: pytest.MonkeyPatch,
):
    long = "漢" * 400  # three bytes each, which are pieces of their own
    with serving(MODEL) as (client, service):
        monkeypatch.setattr(service.batcher, "submit", lambda _: pytest.fail("it was queued"))
        monkeypatch.setattr(service.batcher, "call", lambda _: pytest.fail("it was queued"))
        error = error_of(client.post("/v1/run", json={"sources": [{"text": long}]}), 413)
        assert "at most 1,024 pieces" in error["message"]
        as_source = [{"source": {"text": long}, "target": "a"}]
        as_target = [{"source": {"text": "a"}, "target": long}]
        for examples in (as_source, as_target):
            assert "at most 1,024 pieces" in error_of(make(client, "m", examples), 413)["message"]


def test_the_texts_of_a_request_have_a_bound_together(monkeypatch: pytest.MonkeyPatch):
    with serving(MODEL, max_pieces_a_request=100) as (client, service):
        monkeypatch.setattr(service.batcher, "submit", lambda _: pytest.fail("it was queued"))
        monkeypatch.setattr(service.batcher, "call", lambda _: pytest.fail("it was queued"))
        texts = [{"text": "one " * 20}] * 10
        error = error_of(client.post("/v1/run", json={"sources": texts}), 413)
        assert "at most 100 pieces" in error["message"]
        examples = [{"source": one, "target": "one"} for one in texts]
        assert "at most 100 pieces" in error_of(make(client, "m", examples), 413)["message"]


@pytest.mark.parametrize("field", ["language", "target_language", "task", "model"])
def test_what_a_form_names_comes_back_shortened(field: str):
    with serving(MODEL) as (client, _):
        answer = client.post(
            "/v1/audio/transcriptions",
            data={"model": "whisper-1", field: "x" * 100_000},
            files={"file": ("a.wav", wav())},
        )
        assert error_of(answer, 404 if field in ("task", "model") else 422)
        assert len(answer.content) < 2_000


def test_a_task_that_cannot_be_written_does_not_tell_where(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    with serving(MODEL) as (client, service):
        (tmp_path / "secret").write_text("no folder any more")
        service.book._folder = tmp_path / "secret" / "tasks"
        error = error_of(make(client, "mine"), 500)
        assert error["code"] == "not_kept"
        assert "secret" not in error["message"]
        assert "secret" in capsys.readouterr().err
        assert error_of(client.get("/v1/models/mine"), 404)
