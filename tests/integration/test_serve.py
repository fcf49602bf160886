"""The service: OpenAI's audio API, any task, tasks from examples, and what is refused how."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import TASKS
from taskaware.inference.recordings.settings import LongRecordingSettings
from taskaware.types import Text
from tiny_service import random_model, serving, silence, wav

MODEL = random_model()
TRANSCRIPTIONS = "/v1/audio/transcriptions"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def client():
    with serving(MODEL) as (made, _):
        yield made


def transcribe(client, content: bytes | None = None, path: str = TRANSCRIPTIONS, **fields):
    data = {"model": "whisper-1", **fields}
    return client.post(path, data=data, files={"file": ("a.wav", content or wav())})


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def error_of(answer, status: int) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_a_transcription_is_what_the_model_writes(client):
    expected = MODEL.transcribe(wav())
    answer = transcribe(client)
    assert answer.json()["text"] == expected
    assert 0 < answer.json()["confidence"] <= 1
    assert transcribe(client, response_format="text").text == f"{expected}\n"


def test_the_task_is_told_by_name_as_model_or_by_languages(client):
    expected = MODEL.run("st_en_de", wav())
    told = [{"task": "st_en_de"}, {"model": "st_en_de"}, {"target_language": "de"}]
    assert [transcribe(client, **fields).json()["text"] for fields in told] == [expected] * 3
    translated = transcribe(client, path="/v1/audio/translations", target_language="de")
    assert translated.json()["text"] == expected
    assert transcribe(client, model="tiny", language="en").json()["text"] == MODEL.transcribe(wav())


def test_times_come_in_the_forms_of_openais_api(client):
    verbose = transcribe(
        client,
        response_format="verbose_json",
        **{"timestamp_granularities[]": ["word", "segment"]},
    ).json()
    assert verbose["duration"] == pytest.approx(0.8)
    assert verbose["language"] == "en"
    for segment in verbose["segments"]:
        assert {"id", "start", "end", "text", "avg_logprob"} <= set(segment)
    assert [word["word"] for word in verbose["words"]] == verbose["text"].split()
    srt = transcribe(client, response_format="srt")
    assert srt.headers["content-type"].startswith("application/x-subrip")
    assert not srt.text or re.match(r"1\n00:00:0\d,\d{3} --> ", srt.text)
    assert transcribe(client, response_format="vtt").text.startswith("WEBVTT\n")


def events_of(answer) -> list[dict[str, str]]:
    return [json.loads(line[6:]) for line in answer.text.split("\n\n") if line]


def test_a_streamed_answer_is_the_events_of_openais_api(client):
    answer = transcribe(client, stream="true")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer)
    assert "".join(e["delta"] for e in events[:-1]) == MODEL.transcribe(wav())
    assert events[-1] == {"type": "transcript.text.done", "text": MODEL.transcribe(wav())}


def test_a_recording_longer_than_the_model_hears_is_decoded_in_parts(
    monkeypatch: pytest.MonkeyPatch,
):
    # Made-up sounds are no speech to the detector that knows speech.
    by_level = partial(LongRecordingSettings, detector="level")
    monkeypatch.setattr("taskaware.serve.service.LongRecordingSettings", by_level)
    model = replace(MODEL, longest_sources={"asr_en": 100})
    long = wav("one two six ten " * 4)
    with serving(model) as (client, _):
        answer = transcribe(client, long, response_format="verbose_json").json()
        assert answer["duration"] == pytest.approx(6.4)
        assert len(answer["segments"]) > 1
        assert transcribe(client, long).json()["text"] == answer["text"]
        events = events_of(transcribe(client, long, stream="true"))
        assert len(events) == len(answer["segments"]) + 1
        assert "".join(one["delta"] for one in events[:-1]) == answer["text"]
        assert events[-1]["text"] == answer["text"]


def test_the_list_of_models_has_an_entry_a_task(client):
    found = client.get("/v1/models").json()
    assert found["object"] == "list"
    assert [one["id"] for one in found["data"]] == [task.name for task in TASKS]
    assert {one["object"] for one in found["data"]} == {"model"}
    assert client.get("/v1/models/asr_en").json() == found["data"][0]
    assert error_of(client.get("/v1/models/nothing"), 404)["code"] == "model_not_found"


@pytest.mark.parametrize("name", ["whisper-1", "gpt-4o-transcribe", "tiny", "asr_en"])
def test_every_name_that_a_recording_may_be_sent_with_is_a_model_that_can_be_asked_for(
    client, name: str
):
    assert transcribe(client, wav(), model=name).status_code == 200
    found = client.get(f"/v1/models/{name}").json()
    assert (found["id"], found["object"], found["owned_by"]) == (name, "model", "tiny")
    assert found["kind"] == ("asr" if name == "asr_en" else None)


def test_a_name_of_no_model_is_refused_in_the_same_words_however_it_is_sent(client):
    sent, asked = transcribe(client, wav(), model="asr_e"), client.get("/v1/models/asr_e")
    assert error_of(sent, 404) == error_of(asked, 404)
    assert "(did you mean 'asr_en'?)" in error_of(asked, 404)["message"]


def test_run_takes_sources_of_several_kinds_to_every_task_that_fits(client):
    body = {"sources": [{"text": "one two"}, {"audio": encoded(wav())}], "num_best": 2}
    outputs = client.post("/v1/run", json=body).json()["outputs"]
    assert [(o["source"], o["task"]) for o in outputs] == [
        (0, "mt_en_de"),
        (1, "asr_en"),
        (1, "st_en_de"),
    ]
    decoding = replace(MODEL.decoding, num_best=2)
    (best, second), *_ = MODEL.run_many("mt_en_de", [Text("one two")], decoding=decoding)
    found = outputs[0]["alternatives"]
    assert [one["text"] for one in found] == [best.text, second.text]
    assert found[0]["log_prob"] == pytest.approx(best.log_prob, abs=1e-4)


def test_run_gives_words_and_subtitles_where_they_are_wanted(client):
    body = {"sources": [{"audio": encoded(wav())}], "tasks": ["asr_en"], "times": True}
    (output,) = client.post("/v1/run", json=body).json()["outputs"]
    words = [word for segment in output["segments"] for word in segment["words"]]
    assert [word["text"] for word in words] == output["text"].split()
    assert output["subtitles"]["vtt"].startswith("WEBVTT")


def test_a_name_of_a_file_is_a_text_and_never_opened(client, tmp_path: Path):
    path = tmp_path / "secret.wav"
    path.write_bytes(wav())
    answer = client.post("/v1/run", json={"sources": [{"text": str(path)}]}).json()
    assert answer["outputs"][0]["text"] == MODEL.run("mt_en_de", Text(str(path)))
    error_of(client.post("/v1/run", json={"sources": [{"audio": str(path)}]}), 400)


def test_a_blank_text_has_a_blank_output(client):
    answer = client.post("/v1/run", json={"sources": [{"text": " \n"}]}).json()
    assert answer["outputs"][0]["text"] == ""


def test_a_mixture_of_one_task_alone_is_that_task(client):
    source = [{"audio": encoded(wav())}]
    asked = {"sources": source, "mix": {"asr_en": 0.0, "st_en_de": 1.0}, "map": True}
    answer = client.post("/v1/run", json=asked).json()
    assert answer["outputs"][0]["text"] == MODEL.run("st_en_de", wav())
    places = {(one["name"], one["kind"]): (one["x"], one["y"]) for one in answer["map"]}
    mixed = next(place for (_, kind), place in places.items() if kind == "mix")
    assert mixed == pytest.approx(places["st_en_de", "task"], abs=1e-4)
    assert any(kind == "example" for _, kind in places)


def test_a_task_of_examples_is_kept_and_used_by_its_name():
    with serving(MODEL) as (client, _):
        pairs = [("one two", "eins zwei"), ("three", "drei")]
        examples = [{"source": {"text": s}, "target": t} for s, t in pairs]
        made = client.post("/v1/task-embeddings", json={"name": "mine", "examples": examples})
        assert made.status_code == 201
        assert made.json()["is_stored"]
        asked = {"sources": [{"text": "four"}], "tasks": ["mine", "mt_en_de"]}
        outputs = client.post("/v1/run", json=asked).json()["outputs"]
        embedding = MODEL.embed_task([(Text(s), t) for s, t in pairs])
        expected = MODEL.run("mt_en_de", Text("four"), task_embedding=embedding)
        assert [one["text"] for one in outputs] == [expected, MODEL.run("mt_en_de", Text("four"))]
        again = client.post("/v1/task-embeddings", json={"name": "mine", "examples": examples})
        assert error_of(again, 409)["code"] == "name_taken"
        assert "mine" in [one["id"] for one in client.get("/v1/models").json()["data"]]


def test_a_model_without_an_implicit_network_makes_no_tasks_but_runs():
    with serving(random_model("none")) as (client, _):
        examples = [{"source": {"text": "one"}, "target": "eins"}]
        asked = {"name": "mine", "examples": examples}
        assert error_of(client.post("/v1/task-embeddings", json=asked), 400)["code"] == (
            "no_task_network"
        )
        assert client.get("/v1/task-embeddings").json() == {"data": [], "can_be_made": False}
        assert client.post("/v1/run", json={"sources": [{"text": "one"}]}).status_code == 200
        mix = {"sources": [{"text": "one"}], "mix": {"mt_en_de": 1}}
        assert "no task network" in error_of(client.post("/v1/run", json=mix), 400)["message"]


def test_many_clients_are_answered_together_and_as_they_would_be_alone():
    texts = [f"one {word} {number}" for number in range(8) for word in ("two", "five", "eins")]
    with serving(MODEL) as (client, service):

        def ask(text: str) -> str:
            answer = client.post("/v1/run", json={"sources": [{"text": text}]})
            return answer.json()["outputs"][0]["text"]

        with ThreadPoolExecutor(12) as threads:
            found = list(threads.map(ask, texts))
        counted = service.metrics.text().decode()
    assert found == MODEL.run("mt_en_de", [Text(text) for text in texts])
    batches = re.search(r"taskaware_batch_size_count (\d+)", counted)
    assert batches is not None
    assert int(batches[1]) < len(texts)
    assert 'taskaware_outputs_total{task="mt_en_de"} 24.0' in counted


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


ODD_FILES = {
    "empty": b"",
    "text": b"nothing that sounds",
    "header alone": wav()[:44],
    "half of the samples": wav()[:6000],
    "no samples": wav()[:40] + struct.pack("<I", 0),
    "a declared size of everything": wav()[:40] + b"\xff\xff\xff\x7f" + wav()[44:60],
    "rate 0": wav()[:24] + struct.pack("<I", 0) + wav()[28:],
    "rate 1": wav()[:24] + struct.pack("<I", 1) + wav()[28:],
    "rate 2^32 - 1": wav()[:24] + b"\xff\xff\xff\xff" + wav()[28:],
    "no channel": wav()[:22] + struct.pack("<H", 0) + wav()[24:],
    "65535 channels": wav()[:22] + b"\xff\xff" + wav()[24:],
    "a zip": b"PK\x03\x04" + bytes(100),
    "an mp3 header and no more": b"\xff\xfb\x90\x00" + bytes(10),
    "an ogg page and no more": b"OggS" + bytes(30),
    "a flac header and no more": wav(format="FLAC")[:60],
}


@pytest.mark.parametrize("name", ODD_FILES)
def test_an_odd_file_is_a_clients_mistake_with_a_name(client, name: str):
    error = error_of(transcribe(client, ODD_FILES[name] or b""), 400) if ODD_FILES[name] else None
    if error is None:
        answer = client.post(
            TRANSCRIPTIONS, data={"model": "whisper-1"}, files={"file": ("a.wav", b"")}
        )
        error = error_of(answer, 400)
    assert error["code"] == "invalid_audio"
    assert error["param"] == "file"


def test_an_empty_upload_is_told_what_it_must_be(client):
    form = {"data": {"model": "whisper-1"}, "files": {"file": ("a.wav", b"")}}
    message = error_of(client.post(TRANSCRIPTIONS, **form), 400)["message"]
    assert message == "the file must be a recording, but is empty (0 bytes)"


def test_a_waveform_that_is_not_finite_is_refused(client):
    broken = bytearray(wav(subtype="FLOAT"))
    broken[-400:-396] = struct.pack("<f", float("nan"))
    assert "finite" in error_of(transcribe(client, bytes(broken)), 400)["message"]


def test_a_small_file_that_would_become_large_is_refused_before_it_does():
    with serving(MODEL, max_seconds=5.0) as (client, _):
        bomb = silence(3_000)
        assert len(bomb) < 200_000
        assert error_of(transcribe(client, bomb), 413)["code"] == "too_large"
        hidden = bytearray(bomb)  # the header does not say how long it is
        hidden[21] &= 0xF0
        hidden[22:26] = bytes(4)
        assert error_of(transcribe(client, bytes(hidden)), 413)["code"] == "too_large"
        assert transcribe(client, silence(4)).status_code == 200


def test_features_that_declare_more_than_they_hold_are_refused(client):
    whole = npy(np.zeros((3, 4), dtype=np.float32))
    lying = whole.replace(b"(3, 4)", b"(3, 9)")
    from taskaware.serve import intake
    from taskaware.serve.failures import ServiceError
    from taskaware.serve.settings import ServeSettings

    with pytest.raises(ServiceError, match="its header says 108 bytes and it holds 48"):
        intake.read_features(MODEL, lying, ServeSettings())
    with pytest.raises(ServiceError, match="NumPy file"):
        intake.read_features(MODEL, b"\x93NUMPY" + bytes(50), ServeSettings())
    with pytest.raises(ServiceError):
        intake.read_features(MODEL, npy(np.array([{}, 1], dtype=object)), ServeSettings())


WRONG = [
    ("/v1/run", b"{", 422),
    ("/v1/run", b"[" * 100_000, 400),
    ("/v1/run", b'{"sources": []}', 422),
    ("/v1/run", b'{"sources": [{}]}', 400),
    ("/v1/run", b'{"sources": [{"text": "a", "audio": "b"}]}', 400),
    ("/v1/run", b'{"sources": [{"text": "\\ud800"}]}', 400),
    ("/v1/run", b'{"sources": [{"text": "a"}], "tasks": ["\\ud800"]}', 404),
    ("/v1/run", b'{"sources": [{"text": "a"}], "tasks": ["asr_en"]}', 400),
    ("/v1/run", b'{"sources": [{"text": "a"}], "mix": {"mt_en_de": NaN}}', 422),
    ("/v1/run", b'{"sources": [{"text": "a"}], "beam": 99}', 422),
    ("/v1/run", b'{"sources": [{"text": "a"}], "num_best": 4, "beam": 2}', 400),
    ("/v1/run", b'{"sources": [{"text": "a"}], "nothing": 1}', 422),
    ("/v1/run", b'{"sources": [{"audio": "?"}]}', 400),
    ("/v1/run", b'{"sources": [{"features": "AAAA"}]}', 400),
    ("/v1/run", json.dumps({"sources": [{"text": "a" * 5000}]}).encode(), 413),
    ("/v1/run", json.dumps({"sources": [{"text": "a"}] * 65}).encode(), 413),
    ("/v1/task-embeddings", b'{"name": "../x", "examples": []}', 422),
    (
        "/v1/task-embeddings",
        b'{"name": "x", "examples": [{"source": {"text": "a"}, "target": "\\udc00"}]}',
        400,
    ),
    (
        "/v1/task-embeddings",
        b'{"name": "asr_en", "examples": [{"source": {"text": "a"}, "target": "b"}]}',
        409,
    ),
    ("/v1/nothing", b"", 404),
    ("/v1/models", b"", 405),
]


@pytest.mark.parametrize(("path", "body", "status"), WRONG)
def test_a_wrong_request_is_told_what_is_wrong(client, path: str, body: bytes, status: int):
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert error_of(answer, status)["message"]


def test_a_method_that_a_path_lacks_is_told_with_those_that_it_has(client):
    answer = client.put("/v1/task-embeddings")
    assert error_of(answer, 405)["message"] == (
        "/v1/task-embeddings must be asked by GET or POST, but was by PUT"
    )
    assert answer.headers["allow"] == "GET, HEAD, POST"
    assert "by POST, but was by GET" in error_of(client.get("/v1/run"), 405)["message"]


def test_the_head_alone_is_answered_wherever_a_page_can_be_read(client):
    for path in ("/", "/health", "/v1/models", "/page/index.html"):
        head, whole = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]
        assert head.headers["content-length"] == str(len(whole.content))
    answer = client.head("/v1/run")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("headers", "what"),
    [
        ({"Content-Type": "application/json"}, "but is application/json"),
        ({"Content-Type": "audio/wav"}, "but is audio/wav"),
        ({}, "but is of no type"),
        ({"Content-Type": "multipart/form-data"}, "cannot be read as one (Missing boundary"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, "cannot be read as one (Invalid"),
        (
            {"Content-Type": "multipart/form-data; boundary=x", "Content-Encoding": "gzip"},
            "but is compressed (gzip)",
        ),
    ],
)
def test_what_is_no_form_where_one_is_wanted_is_told_so(client, headers: dict, what: str):
    for path in (TRANSCRIPTIONS, "/v1/log-mel"):
        answer = client.post(path, content=wav(), headers=headers)
        message = error_of(answer, answer.status_code)["message"]
        assert answer.status_code in (400, 422)
        assert message.startswith("the body must be a form, multipart/form-data with `file`")
        assert what in message


@pytest.mark.parametrize("language", ["en", "EN", "en-US", "en_gb"])
def test_a_language_is_known_in_the_forms_in_which_clients_write_it(client, language: str):
    assert transcribe(client, language=language).status_code == 200
    form = {"language": language, "target_language": "DE"}
    assert transcribe(client, path="/v1/audio/translations", **form).status_code == 200
    regional = {"language": language, "target_language": "de-AT"}
    error_of(transcribe(client, path="/v1/audio/translations", **regional), 404)


def test_a_page_that_is_not_there_is_told_by_its_name(client):
    assert (
        "there is no page /v1/modles: /docs" in error_of(client.get("/v1/modles"), 404)["message"]
    )


def test_what_is_wrong_with_a_field_is_told_in_plain_words(client):
    told = error_of(client.post(TRANSCRIPTIONS, data={"model": "whisper-1"}), 422)
    assert (told["message"], told["param"]) == ("file: must be given, but is not there", "file")
    form = {"model": (None, "whisper-1"), "file": (None, "hello.wav")}  # -F file=hello.wav
    told = error_of(client.post(TRANSCRIPTIONS, files=form), 422)
    assert told["message"].startswith("file: must be a file, but is a text (curl")
    told = error_of(client.post("/v1/run", json={"sources": [{"text": "a"}], "task": "x"}), 422)
    assert told["message"] == "task: there is no such field: /docs has those that there are"
    told = error_of(transcribe(client, path="/v1/audio/translations"), 404)
    assert "translation of speech into 'en', but its tasks are" in told["message"]


def test_a_file_that_leads_its_reader_before_its_beginning_says_nothing_on_standard_error():
    from taskaware.serve.intake import _Content

    content = _Content(b"abc")
    assert content.seek(1) == 1
    assert content.seek(-1) == 1
    assert content.seek(-9, 2) == 0


def test_wrong_forms_are_told_what_is_wrong(client):
    assert error_of(transcribe(client, model="asr_enn"), 404)["param"] == "model"
    assert "did you mean 'asr_en'" in transcribe(client, model="asr_enn").json()["error"]["message"]
    error_of(transcribe(client, task="mt_en_de"), 400)
    error_of(transcribe(client, language="fr"), 404)
    error_of(transcribe(client, path="/v1/audio/translations"), 404)
    error_of(transcribe(client, response_format="xml"), 422)
    error_of(client.post(TRANSCRIPTIONS, data={"model": "whisper-1"}), 422)
    wrong = {"Content-Type": "multipart/form-data; boundary=x"}
    error_of(client.post(TRANSCRIPTIONS, content=b"--x\r\nnothing", headers=wrong), 422)


def test_a_recording_of_too_many_bytes_is_refused(client):
    with serving(MODEL, max_upload_bytes=1000) as (small, _):
        assert error_of(transcribe(small), 413)["code"] == "too_large"
        huge = {"Content-Type": "application/json"}
        error_of(small.post("/v1/run", content=b" " * 1_100_000, headers=huge), 413)

        def pieces():
            for _ in range(12):
                yield b" " * 100_000

        error_of(small.post("/v1/run", content=pieces(), headers=huge), 413)


def test_the_key_is_asked_for_where_there_is_one():
    with serving(MODEL, api_key="right") as (client, _):
        for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic right"}):
            answer = client.get("/v1/models", headers=header)
            assert error_of(answer, 401)["type"] == "authentication_error"
            assert answer.headers["www-authenticate"] == "Bearer"
        right = {"Authorization": "Bearer right"}
        assert client.get("/v1/models", headers=right).status_code == 200
        assert client.get("/metrics").status_code == 401
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/").status_code == 200


def test_a_page_of_a_stranger_cannot_use_the_service():
    with serving(MODEL, hosts=("localhost",)) as (client, _):
        rebound = client.get("/v1/models", headers={"Host": "evil.example:8000"})
        assert error_of(rebound, 403)["code"] == "unknown_host"
        posted = client.post("/v1/run", json={}, headers={"Origin": "http://evil.example"})
        assert error_of(posted, 403)["code"] == "other_origin"
        own = {"Origin": "http://localhost"}
        sources = {"sources": [{"text": "one"}]}
        assert client.post("/v1/run", json=sources, headers=own).status_code == 200


def test_the_page_loads_from_the_service_alone(client):
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    names = re.findall(r'(?:src|href)="(/page/[\w.]+)"', page.text)
    assert {"/page/app.js", "/page/style.css"} <= set(names)
    folder = ROOT / "src" / "taskaware" / "serve" / "page"
    for path in folder.iterdir():
        assert client.get(f"/page/{path.name}").status_code == 200
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|\beval\(|innerHTML", text), path.name
    for outside in ("/page/../app.py", "/page/%2e%2e/app.py", "/page//etc/passwd"):
        assert client.get(outside).status_code == 404


def test_the_pages_modules_import_one_another_by_names_that_are_there():
    folder = ROOT / "src" / "taskaware" / "serve" / "page"
    ids = set(re.findall(r'\bid="([\w-]+)"', (folder / "index.html").read_text()))
    for path in folder.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r'from "\./([\w.]+)"', text):
            assert (folder / name).is_file()
        asked = re.findall(r'(?:getElementById|\$)\("([\w-]+)"\)', text)
        assert set(asked) <= ids, path.name


def test_the_picture_of_a_sound_has_the_models_bands(client):
    answer = client.post("/v1/log-mel", files={"file": ("a", wav())}).json()
    assert answer["num_bins"] == MODEL.feature_settings.num_mel_bins
    values = base64.b64decode(answer["values"])
    assert len(values) == answer["num_frames"] * answer["num_bins"]
    assert max(values) == 255
    error_of(client.post("/v1/log-mel", files={"file": ("a", b"x")}), 400)


def test_the_description_of_the_api_and_its_page_need_no_network(client):
    described = client.get("/openapi.json").json()
    assert TRANSCRIPTIONS in described["paths"]
    page = client.get("/docs")
    assert page.status_code == 200
    assert not re.search(r'(?:src|href)="https?://', page.text)


def test_the_counters_are_as_prometheus_reads_them(client):
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "# TYPE taskaware_requests_total counter" in answer.text


def test_torch_is_not_asked_for_gradients(client):
    assert transcribe(client).status_code == 200
    assert all(parameter.grad is None for parameter in MODEL.transformer.parameters())
    assert torch.is_grad_enabled()
