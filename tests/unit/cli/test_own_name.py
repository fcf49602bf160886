"""The commands that a command tells its user to type next."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskaware.cli.own_name import own_name

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
