"""The commands that a command tells its user to type next."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taskaware.cli import augment, demo, train
from taskaware.cli.own_name import own_name
from taskaware.errors import DataError
from taskaware.run.start import require_prepared_for

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in an environment that is not activated."""
    program = tmp_path / "my checkout" / ".venv" / "bin" / "taskaware"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.chdir(tmp_path)
    return program


def test_a_program_that_the_shell_does_not_find_is_named_by_its_path(
    installed: Path, monkeypatch: pytest.MonkeyPatch
):
    for folder in (installed.parents[3], installed.parents[2], installed.parent, Path("/usr")):
        monkeypatch.chdir(folder)
        command = f"{own_name()} serve"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
        assert done.stdout == "serve\n"


def test_a_program_that_the_shell_finds_is_named_by_its_name(
    installed: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(installed.parent))
    assert own_name() == "taskaware"


def test_the_extra_that_the_demo_installs_has_what_its_last_line_needs():
    extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (demo,) = [line for line in extras.splitlines() if line.startswith("demo = ")]
    assert "serve" in demo


ODD = Path("my runs/Übung (1)")


def test_commands_that_demo_and_training_name_at_their_end_can_be_typed_as_they_stand():
    shown = demo.next_steps(ODD, ODD / "a 1.flac") + "\n" + train.next_steps(ODD, ODD / "data")
    lines = [line.partition("taskaware ")[2] for line in shown.splitlines()]
    assert [shlex.split(line, comments=True) for line in lines if line] == [
        ["predict", str(ODD), str(ODD / "a 1.flac")],
        ["predict", str(ODD), "--text", "The teacher reads a red book."],
        ["serve", str(ODD)],
        ["evaluate", str(ODD), "--data", str(ODD / "data"), "--split", "test"],
        ["predict", str(ODD), "FILE", "..."],
    ]


def test_the_command_that_augmentation_names_at_its_end_can_be_typed_as_it_stands(capsys):
    written: Any = SimpleNamespace(
        path=ODD / "made.jsonl",
        was_complete=True,
        counts={},
        num_bad_lines=0,
        total=lambda _: 1,
    )
    augment._show_step(written)
    command = capsys.readouterr().out.partition("Train on it: ")[2]
    assert shlex.split(command)[1:4] == ["prepare", "--train", str(ODD / "made.jsonl")]


@pytest.mark.parametrize("encoder", [None, "of another model"])
def test_the_command_that_prepares_data_for_a_model_can_be_typed_as_it_stands(
    encoder: str | None, tmp_path: Path
):
    model = tmp_path / ODD
    model.mkdir(parents=True)
    (model / "vocabulary.model").touch()
    start: Any = SimpleNamespace(tasks=(), vocabulary_sha256="one")
    other = SimpleNamespace(sha256="another")
    data: Any = SimpleNamespace(folder="data", vocabulary=other, encoder=encoder)
    with pytest.raises(DataError) as refused:
        require_prepared_for(start, model, data)
    _, command, _ = str(refused.value).split("`")
    wanted = {None: ["--vocabulary", str(model / "vocabulary.model")]}
    assert shlex.split(command)[2:] == wanted.get(encoder, ["--encoder", str(model)])
