"""``taskaware serve`` as it is started: the commands of docs/serve.md, clients that go, its end."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import hypothesis
import pytest

from documented import ROOT, Page
from taskaware.cli.main import run
from tiny_service import random_model, wav

if TYPE_CHECKING:
    from pathlib import Path

httpx = pytest.importorskip("httpx", reason="the extra `test` is not there")

PAGE = Page("serve.md")
ADDRESS = "http://127.0.0.1:8000"
SECONDS = 120
# Not that all which fits the page is taken: the code refuses, for example, a source of no part.
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_schema_conformance", "negative_data_rejection", "unsupported_method"),
)


class Started:
    """A service in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-m", "taskaware", "serve", *options, "--port", "0"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        self.first = self.process.stderr.readline()
        found = re.search(r"http://\S+:(\d+)", self.first)
        assert found is not None, self.first + self.process.stderr.read()
        self.address, self.port = found[0], int(found[1])

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal, and return the exit code and what was said after the first line."""
        self.process.send_signal(number)
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            said = stream.read()
        return self.process.wait(SECONDS), said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with a model in `runs/mine` and a recording."""
    made = tmp_path_factory.mktemp("user")
    random_model().save(made / "runs" / "mine")
    slow = random_model()
    slow = replace(slow, decoding=replace(slow.decoding, beam=16, max_pieces=400))
    slow.save(made / "runs" / "slow")
    (made / "audio").mkdir()
    (made / "audio" / "001.flac").write_bytes(wav(format="FLAC"))
    return made


@pytest.fixture(scope="module")
def started(folder: Path):
    ((_, *command),) = PAGE.commands("taskaware")
    assert command == ["serve", "runs/mine"]
    made = Started(folder, *command[1:])
    yield made
    assert made.end() == (0, "taskaware: stopped\n")


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_every_request_of_the_document_is_answered(started: Started, folder: Path):
    asked = PAGE.commands("curl")
    assert len(asked) >= 8
    for words in asked:
        local = [word.replace(ADDRESS, started.address) for word in words]
        answer = subprocess.run(
            [local[0], "--silent", "--show-error", "--fail-with-body", *local[1:]],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert answer.returncode == 0, f"{shlex.join(words)}: {answer.stdout}{answer.stderr}"
        if "response_format=srt" not in words:  # which is empty where nothing is said
            json.loads(answer.stdout)


def test_openais_client_works_as_the_document_says(
    started: Started, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    pytest.importorskip("openai", reason="OpenAI's client is not there")
    monkeypatch.chdir(folder)
    (code,) = PAGE.blocks("python")
    exec(compile(code.replace(ADDRESS, started.address), "docs/serve.md", "exec"), {})
    model = random_model()
    recording = wav(format="FLAC")
    expected = [model.transcribe(recording), model.run("st_en_de", recording)]
    assert capsys.readouterr().out == "".join(f"{text}\n" for text in expected)


def test_every_route_answers_as_its_openapi_page_says(started: Started):
    """Whatever the page allows, and what it does not: no failure, no answer of another form."""
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not there")
    checks = schemathesis.checks
    schema = schemathesis.openapi.from_url(f"{started.address}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 8
    for operation in operations:

        @hypothesis.settings(
            max_examples=15, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        @hypothesis.given(case=operation.as_strategy())
        def answers(case) -> None:
            chosen = [getattr(checks, name) for name in CHECKS]
            case.call_and_validate(checks=chosen, timeout=SECONDS)

        answers()


def test_the_extra_that_the_document_names_is_there():
    extras = (ROOT / "pyproject.toml").read_text()
    assert PAGE.commands("pip") == [["pip", "install", "taskaware[serve]"]]
    assert "\nserve = [" in extras


def test_clients_that_hang_up_at_any_moment_harm_nobody(started: Started):
    body = b'{"sources": [{"text": "one two"}]}'
    head = (
        b"POST /v1/run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    whole = head + body
    for length in (0, 5, len(head) - 1, len(head), len(whole) - 3, len(whole)):
        with socket.create_connection(("127.0.0.1", started.port), timeout=SECONDS) as client:
            client.sendall(whole[:length])
    for rubbish in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 100):
        with socket.create_connection(("127.0.0.1", started.port), timeout=SECONDS) as client:
            client.sendall(rubbish)
    answer = httpx.get(f"{started.address}/health", timeout=SECONDS)
    assert answer.json() == {"status": "ok"}


@pytest.mark.parametrize(
    "target", ["/health", "http://localhost/health", "HTTP://LOCALHOST/health"]
)
def test_a_target_may_be_a_whole_address(started: Started, target: str):
    with socket.create_connection(("127.0.0.1", started.port), timeout=SECONDS) as client:
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert client.recv(1_000).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_end_waits_for_what_was_taken(folder: Path, number: int):
    started = Started(folder, "runs/slow")
    found: list = []

    def ask() -> None:
        body = {"sources": [{"text": "one two " * 100}]}
        found.append(httpx.post(f"{started.address}/v1/run", json=body, timeout=SECONDS))

    client = threading.Thread(target=ask)
    client.start()
    metrics = ""
    while "taskaware_waiting 1.0" not in metrics and not found:
        metrics = httpx.get(f"{started.address}/metrics", timeout=SECONDS).text
        time.sleep(0.01)
    assert not found, "the request is still being answered"
    code, said = started.end(number)
    client.join()
    assert (code, said) == (0, "taskaware: stopped\n")
    assert found[0].status_code == 200


def test_the_end_does_not_wait_for_a_body_that_is_still_coming(folder: Path):
    started = Started(folder, "runs/mine")
    head = (
        b"POST /v1/run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", started.port), timeout=SECONDS) as client:
        client.sendall(head + b'{"sources"')
        httpx.get(f"{started.address}/health", timeout=SECONDS)  # so that the other has begun
        assert started.end() == (0, "taskaware: stopped\n")
        answer = client.recv(1_000)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"the service is stopping" in answer


def test_a_port_that_is_taken_is_said(started: Started, folder: Path, capsys):
    arguments = ["serve", str(folder / "runs" / "mine"), "--port", str(started.port)]
    assert run(arguments) == 2
    assert f"127.0.0.1:{started.port} must be a free address" in capsys.readouterr().err


def test_a_key_file_without_a_key_is_refused(folder: Path, capsys):
    (folder / "key").write_text("\n")
    arguments = ["serve", str(folder / "runs" / "mine"), "--api-key-file", str(folder / "key")]
    assert run(arguments) == 2
    assert "must have a key" in capsys.readouterr().err


def test_without_the_extra_the_command_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert run(["serve", str(folder / "runs" / "mine")]) == 2
    assert "pip install 'taskaware[serve]'" in capsys.readouterr().err
