"""One command at a time in a run's folder."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from taskaware.errors import OutputError, RunInUseError
from taskaware.run.lock import lock

if TYPE_CHECKING:
    from pathlib import Path


def test_a_second_command_is_refused_until_the_first_has_ended(tmp_path: Path):
    code = f"""
from pathlib import Path
from taskaware.errors import RunInUseError
from taskaware.run.lock import lock
try:
    with lock(Path({str(tmp_path)!r})):
        print("free")
except RunInUseError as error:
    print("refused")
"""

    def another() -> str:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    with lock(tmp_path):
        assert another() == "refused"
    assert another() == "free"


def test_the_message_says_what_to_do(tmp_path: Path):
    with lock(tmp_path):
        for _ in range(2):  # the first refusal does not end the lock
            with pytest.raises(RunInUseError, match=r"another command trains in it; .*--to"):
                lock(tmp_path).__enter__()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match=r"file/run: .* cannot be made"),
        lock(tmp_path / "file/run"),
    ):
        pass
    with pytest.raises(OutputError, match="file: must be a folder, but is a file"):
        lock(tmp_path / "file").__enter__()
