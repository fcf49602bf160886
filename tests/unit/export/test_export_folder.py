"""An earlier export survives until the new one is complete, whatever happens on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskaware.errors import OutputError, TerminatedInterrupt, WriteError
from taskaware.export.folder import UNFINISHED, write_into

EARLIER = {"model.json": "1", "model.safetensors": "1", "vocabulary.model": "1"}
NEW = {"decode.py": "2", "decoder.onnx": "2", "export.json": "2"}

# Exports again and again, each time killed one operation later, then looks what is there.
KILLED = """
import os, sys
from pathlib import Path
from taskaware.export.folder import write_into
from test_export_folder import EARLIER, NEW, export, found

replace, killed_at = Path.replace, 0
def counted(self, target):
    global killed_at
    killed_at -= 1
    if killed_at == 0:
        os._exit(9)
    return replace(self, target)
Path.replace = counted

for number in range(1, 20):
    folder = Path(sys.argv[1]) / str(number)
    export(folder, EARLIER)
    child = os.fork()
    if not child:
        killed_at = number
        export(folder, NEW)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code)
    try:
        export(folder, {})
    except ValueError:
        pass
    else:
        raise AssertionError("an export of nothing")
    there = found(folder)
    assert there == NEW or (code and EARLIER.items() <= there.items()), (number, there)
    export(folder, NEW)
    assert found(folder) == NEW, (number, found(folder))
    if not code:
        break
"""


def export(folder: Path, files: dict[str, str]) -> None:
    def make(place: Path) -> None:
        if not files:
            raise ValueError("cannot be exported")
        for name, text in files.items():
            (place / name).write_text(text)

    last = next((name for name in files if name.endswith(".json")), "")
    write_into(folder, last, make)


def found(folder: Path) -> dict[str, str]:
    """Return all that is there, but for the record and the lock."""
    ours = (".taskaware-written", ".taskaware-lock")
    names = [path.name for path in folder.iterdir() if path.name not in ours]
    return {name: (folder / name).read_text() for name in names}


def test_an_export_that_was_killed_leaves_the_earlier_one_to_the_next(tmp_path: Path):
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    codes = done.stdout.split()
    assert codes == ["9"] * (len(codes) - 1) + ["0"]
    assert len(codes) > 6


def test_an_export_is_made_inside_its_folder_which_may_be_a_file_system_of_its_own(tmp_path: Path):
    def make(place: Path) -> None:
        assert place.is_relative_to(tmp_path / "out")
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        (place / "model.json").write_text("1")

    write_into(tmp_path / "out", "model.json", make)
    assert found(tmp_path / "out") == {"model.json": "1"}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), TerminatedInterrupt()])
@pytest.mark.parametrize("number", range(1, 7))
def test_an_exchange_that_fails_puts_the_earlier_export_back(
    number: int, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    export(tmp_path / "out", EARLIER)
    replace, calls = Path.replace, []

    def fails(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == number:
            raise error
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises((WriteError, TerminatedInterrupt)):
        export(tmp_path / "out", NEW)
    assert found(tmp_path / "out") == EARLIER
    export(tmp_path / "out", NEW)
    assert found(tmp_path / "out") == NEW


def test_a_file_of_an_export_that_somebody_changed_stops_the_next_before_anything(tmp_path: Path):
    export(tmp_path / "out", NEW)
    (tmp_path / "out" / "decode.py").write_text("mine")
    with pytest.raises(OutputError, match=r"decode.py must be as taskaware wrote it"):
        export(tmp_path / "out", EARLIER)
    assert found(tmp_path / "out") == {**NEW, "decode.py": "mine"}


def test_somebodys_folder_of_the_name_of_the_unfinished_one_is_refused(tmp_path: Path):
    export(tmp_path / "out", NEW)
    (tmp_path / "out" / UNFINISHED).mkdir()
    (tmp_path / "out" / UNFINISHED / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=f"holds {UNFINISHED}/, which taskaware did not write"):
        export(tmp_path / "out", EARLIER)
    assert (tmp_path / "out" / UNFINISHED / "notes.txt").read_text() == "mine"
    assert (tmp_path / "out" / "export.json").read_text() == "2"
