"""Pipes are read like files where somebody writes to them, and refused where nobody does."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from taskaware import pipes
from taskaware.cli.main import run
from taskaware.cli.predict_inputs import open_inputs
from taskaware.cli.serve import _api_key
from taskaware.data.sound.audio import read
from taskaware.errors import AudioError
from taskaware.pipes import read_given

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")


@pytest.fixture
def pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pipes, "_SECONDS_TO_WAIT", 0.05)
    os.mkfifo(tmp_path / "pipe.toml")
    return tmp_path / "pipe.toml"


@pytest.mark.parametrize(
    "command",
    ["train PIPE", "study PIPE", "augment PIPE", "score PIPE PIPE"],
)
def test_a_command_refuses_a_pipe_that_nobody_writes_to(
    command: str, pipe: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(command.replace("PIPE", str(pipe)).split()) in (1, 2)
    said = capsys.readouterr().err
    assert "pipe.toml" in said
    assert "it is a pipe that nobody writes to" in said


def test_sources_and_keys_are_not_waited_for_either(pipe: Path):
    with pytest.raises(OSError, match="nobody writes to"):
        open_inputs((pipe,), (), "auto")
    with pytest.raises(OSError, match="nobody writes to"):
        _api_key(pipe)
    with pytest.raises(AudioError, match=r"cannot be read \(it is a pipe that nobody writes to"):
        read(pipe, sample_rate_hz=16_000)


@pytest.mark.parametrize("command", ["prepare --train", "augment signal --manifest"])
def test_a_manifest_is_read_several_times_and_so_no_pipe(
    command: str, pipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    to = str(tmp_path / "new.jsonl")
    assert run([*command.split(), str(pipe), "--to", to]) == 2
    assert "the manifest cannot be read (it is no file, but a pipe" in capsys.readouterr().err


def test_what_somebody_writes_into_a_pipe_is_read_however_slowly(
    pipe: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pipes, "_SECONDS_TO_WAIT", 1.0)
    may_write = threading.Event()

    def write() -> None:
        with pipe.open("wb") as stream:
            assert may_write.wait(10)
            stream.write(b"a = 1")

    writer = threading.Thread(target=write)
    writer.start()
    threading.Timer(1.5, may_write.set).start()
    assert read_given(pipe, most_bytes=10) == b"a = 1"
    writer.join()


def test_a_pipe_that_brings_too_much_is_refused(pipe: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipes, "_SECONDS_TO_WAIT", 10.0)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"a = 1",))
    writer.start()
    with pytest.raises(OSError, match="at most 4 bytes, but has more"):
        read_given(pipe, most_bytes=4)
    writer.join()
