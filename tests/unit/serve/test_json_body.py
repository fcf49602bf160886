"""The JSON of a request: what bounds it, and what is said of one that cannot be read."""

from __future__ import annotations

import gzip
import json
import threading
from dataclasses import replace

import pytest

from taskaware.serve import json_body
from taskaware.serve.failures import ServiceError
from tiny_service import ServeSettings, random_model, serving

MODEL = random_model()
SETTINGS = ServeSettings()


@pytest.fixture(scope="module")
def client():
    with serving(MODEL) as (made, _):
        yield made


def refused(content: bytes, **limits) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        json_body.parse(content, replace(SETTINGS, **limits))
    return caught.value


def error_of(client, content: bytes, kind: str = "application/json", **headers: str) -> dict:
    headers = {"Content-Type": kind, **headers}
    answer = client.post("/v1/run", content=content, headers=headers)
    assert len(answer.content) < 2_000
    return {"status": answer.status_code, **answer.json()["error"]}


@pytest.mark.parametrize("part", [b"[]", b"{}", b'"",1'])
def test_a_body_full_of_brackets_is_refused_before_it_is_parsed(
    part: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(json_body, "parse_json", lambda _: pytest.fail("it was parsed"))
    content = b'{"sources":[' + b",".join([part] * 600_000) + b"]}"
    assert refused(content).status == 413


@pytest.mark.parametrize("part", [[], {}, 1, [[[]]]])
def test_values_of_json_are_counted_before_they_are_compared(part: object):
    assert refused(json.dumps([part] * 10_000).encode()).status == 413
    assert json_body.parse(json.dumps([part] * 3_000).encode(), SETTINGS)


def test_many_unknown_names_are_refused_with_a_short_answer(client):
    names = {str(number): 1 for number in range(9_000)}
    error = error_of(client, json.dumps({"sources": [{"text": "a"}], **names}).encode())
    assert error["status"] == 422
    assert error["message"].endswith("(and 8,999 more)")


def test_a_long_name_comes_back_shortened(client):
    error = error_of(client, b'{"sources": [{"text": "a"}], "%s": 1}' % (b"x" * 1_000_000))
    assert error["status"] == 422
    assert len(error["param"]) < 300


def test_texts_may_have_as_many_commas_as_they_have_characters():
    texts = [{"text": "," * SETTINGS.max_characters}] * SETTINGS.max_outputs_a_request
    assert json_body.parse(json.dumps({"sources": texts}).encode(), SETTINGS)["sources"] == texts


def test_a_large_body_is_parsed_in_another_thread_than_the_event_loops(
    client, monkeypatch: pytest.MonkeyPatch
):
    threads: list[str] = []
    parse = json_body.parse

    def noting(content: bytes, settings):
        threads.append(threading.current_thread().name)
        return parse(content, settings)

    monkeypatch.setattr(json_body, "parse", noting)
    for size in (10, 100_000):
        error_of(client, b'{"sources": [{"text": "a"}], "tasks": ["%s"]}' % (b"x" * size))
    small, large = threads
    assert small != large


@pytest.mark.parametrize(
    ("content", "said", "status"),
    [
        ('{"sources": [{"text": "é"}]}'.encode("latin-1"), "byte 23 is 0xe9", 400),
        (b'{"sources": [}', "line 1, column 14: Expecting value", 422),
        (b"[" * 100_000, "nested too deeply", 400),
        (b'{"beam": ' + b"1" * 5_000 + b"}", "5000 digits", 400),
        (gzip.compress(b"{}", mtime=0), "byte 1 is 0x8b", 400),
        ("{}".encode("utf-16"), "byte 0 is 0xff", 400),
    ],
)
def test_what_is_no_json_is_told_what_is_wrong_with_it(client, content, said: str, status: int):
    error = error_of(client, content)
    assert error["status"] == status
    assert "must be JSON in UTF-8" in error["message"]
    assert said in error["message"]


def test_what_is_said_to_be_no_json_is_told_so(client):
    compressed = error_of(client, gzip.compress(b"{}"), **{"Content-Encoding": "gzip"})
    assert "not compressed, but is 'gzip'" in compressed["message"]
    form = error_of(client, b"sources=a", "application/x-www-form-urlencoded")
    assert "its type is 'application/x-www-form-urlencoded'" in form["message"]
    assert (compressed["status"], form["status"]) == (400, 400)


def test_json_with_a_mark_of_its_order_of_bytes_is_json():
    assert json_body.parse(b'\xef\xbb\xbf{"a": [1]}', SETTINGS) == {"a": [1]}
