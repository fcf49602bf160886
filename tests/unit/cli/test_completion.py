"""Completion as a user of bash meets it: keys are typed, and the line is read."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from taskaware.cli.main import app

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 20
BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="bash is not installed")


def completed(folder: Path, typed: str, expected: str) -> str:
    """Type a line and a tabulator in a folder, and return what bash shows once it is expected."""
    (folder / ".inputrc").write_text("set enable-bracketed-paste off\n")
    (folder / "words").write_text(app.generate_completion(prog_name="taskaware", shell="bash"))
    terminal, inner = pty.openpty()
    inputrc = str(folder / ".inputrc")
    process = subprocess.Popen(
        [str(BASH), "--norc", "--noprofile", "-i"],
        cwd=folder,
        env={**os.environ, "PS1": "ready ", "TERM": "dumb", "INPUTRC": inputrc},
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
    )
    os.close(inner)
    shown = b""
    os.write(terminal, f". ./words; echo go\\on\n{typed}\t".encode())
    end = time.monotonic() + SECONDS
    while expected.encode() not in shown.rpartition(b"goon")[2] and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 4096)
    process.kill()
    process.wait()
    os.close(terminal)
    return shown.rpartition(b"goon")[2].decode()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("taskaware predi", "taskaware predict "),
        ("taskaware predict --segm", "--segmentation "),
        ("taskaware predict ru", "taskaware predict runs/"),
        ("taskaware predict runs ta", "taskaware predict runs talk.flac "),
        ("taskaware evaluate runs --data ru", "--data runs/"),
        ("taskaware train runs/mi", "taskaware train runs/mine.toml "),
    ],
)
def test_words_folders_and_files_are_completed(tmp_path: Path, typed: str, expected: str):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine.toml").touch()
    (tmp_path / "talk.flac").touch()
    assert expected in completed(tmp_path, typed, expected)
