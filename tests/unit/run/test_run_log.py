"""The log of a run: read past what is broken, cut where the run resumes."""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime, timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

import taskaware
from taskaware.errors import WriteError
from taskaware.run.log import RunLog, read_log

if TYPE_CHECKING:
    from pathlib import Path


def line(update: int) -> str:
    return json.dumps({"kind": "progress", "update": update, "losses": {"mt": 1.0}})


BROKEN = [
    *("", '{"kind": "prog', '"losses": {"mt": 1.0}}', "[1]", '{"update": 3}', "\x00\x00}", "{}"),
    *('{"kind": 1, "update": 3}', '{"kind": "progress", "update": "x", "losses": {}}'),
    *('{"kind": "validation", "update": null}', '{"kind": "progress", "update": 3}'),
    '{"kind": "progress", "update": 3, "losses": {"mt": "x"}}',
    '{"kind": "progress", "update": 3, "losses": {}, "seconds": "x"}',
]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_broken_line_is_read_past_wherever_it_is(broken: str, place: str, tmp_path: Path):
    lines = [line(1), line(2)]
    lines.insert({"first": 0, "middle": 1, "last": 2}[place], broken)
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    assert [found["update"] for found in read_log(tmp_path)] == [1, 2]


def test_bytes_that_are_no_text_are_read_past(tmp_path: Path):
    (tmp_path / "log.jsonl").write_bytes(line(1).encode() + b"\n\xff\xfe{\n" + line(2).encode())
    assert [found["update"] for found in read_log(tmp_path)] == [1, 2]


def test_a_run_that_goes_on_cuts_the_broken_line_and_what_comes_twice(tmp_path: Path):
    (tmp_path / "log.jsonl").write_text("\n".join([line(1), line(2), line(3), '{"kind": "pr']))
    with RunLog(tmp_path, first_update=2, on=True) as log:
        log.write({"kind": "progress", "update": 3, "losses": {}})
    lines = [json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [found["update"] for found in lines] == [1, 2, 3]
    assert lines[-1]["losses"] == {}


def test_a_log_says_when_its_run_went_on_and_with_which_version(tmp_path: Path):
    (tmp_path / "log.jsonl").write_text("\n".join([line(1), line(2)]) + "\n")
    for _ in range(2):  # killed again before anything else was written
        with RunLog(tmp_path, first_update=2, on=True) as log:
            log.write_resumed()
    first, second = (found for found in read_log(tmp_path) if found["kind"] == "resumed")
    assert set(first) == {"kind", "update", "time", "version"}
    assert (first["update"], first["version"]) == (2, taskaware.__version__)
    began, again = (datetime.fromisoformat(found["time"]) for found in (first, second))
    assert timedelta(0) <= again - began < timedelta(minutes=5)
    assert began.utcoffset() == timedelta(0)


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_a_folder_that_is_moved_away_is_named_without_a_traceback_of_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    printed: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", printed.append)
    (tmp_path / "run").mkdir()

    def log_for_a_while() -> None:
        with RunLog(tmp_path / "run", first_update=0, on=True) as log:
            (tmp_path / "run" / "tensorboard").rename(tmp_path / "moved")
            for _ in range(200):
                log.write(json.loads(line(1)))
                time.sleep(0.01)

    with pytest.raises(WriteError, match=r"run/tensorboard must be writable.*moved or deleted"):
        log_for_a_while()
    assert not printed
    assert threading.excepthook == printed.append
