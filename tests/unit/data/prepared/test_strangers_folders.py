"""A prepared folder of a stranger: what it names is inside it, what it links to stays as it is."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from taskaware.data.prepare import PrepareSettings, prepare
from taskaware.data.prepared import PreparedData
from taskaware.data.prepared.files import written_earlier
from taskaware.data.prepared.users import note_run
from taskaware.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = ["task\tsource_text\ttarget_text", "mt\thello\thallo", "mt\tgood\tgut"]
    (tmp_path / "m.tsv").write_text("\n".join(rows))
    settings = PrepareSettings(vocabulary_size=300, num_workers=1)
    return prepare({"train": [tmp_path / "m.tsv"]}, tmp_path / "out", settings).folder


def changed(folder: Path, **shard: object) -> None:
    marker = json.loads((folder / "prepared.json").read_text())
    marker["splits"]["train"]["shards"][0] |= shard
    (folder / "prepared.json").write_text(json.dumps(marker))


@pytest.mark.parametrize("name", ["../../precious", "/etc/passwd", "text-000000.jsonl/../x", "\0"])
def test_a_shard_outside_is_neither_read_nor_taken_for_ours(name: str, folder: Path):
    changed(folder, name=name)
    (folder / ".taskaware-written").unlink()
    with pytest.raises(DataError, match="name must be a file name such as speech-"):
        PreparedData.open(folder)
    assert not any(".." in each or each.startswith("/") for each in written_earlier(folder))


def test_an_example_of_a_task_that_there_is_not_is_refused(folder: Path):
    path = folder / "train" / "text-000000.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"task": "mt"', b'"task": "xx"'))
    changed(folder, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(DataError, match="of a task that there is, but is of 'xx'"):
        PreparedData.open(folder).split("train").example(0)


def test_a_note_of_a_run_is_not_written_through_a_link(folder: Path, tmp_path: Path):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    (folder / ".taskaware-runs").unlink(missing_ok=True)
    (folder / ".taskaware-runs").symlink_to(mine)
    note_run(folder, tmp_path / "run")
    assert mine.read_text() == "mine"
