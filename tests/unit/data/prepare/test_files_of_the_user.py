"""What prepare did not write is never deleted or written over."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from three_tasks import SETTINGS, everything, overlapping, three_tasks

from taskaware.data.prepare import prepare
from taskaware.data.prepared import PreparedData
from taskaware.data.quality.settings import OverlapSettings
from taskaware.errors import DataError, OutputError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_refused_preparation_leaves_an_earlier_folder_as_it_was(tmp_path: Path):
    manifests = overlapping(tmp_path)
    prepare({"train": manifests["train"]}, tmp_path / "out", SETTINGS)
    before = PreparedData.open(tmp_path / "out").fingerprint
    with pytest.raises(DataError, match="must not have examples of another split"):
        prepare(manifests, tmp_path / "out", SETTINGS)
    data = PreparedData.open(tmp_path / "out")
    assert data.fingerprint == before
    data.split("train").open_shards([0, 1])


@pytest.mark.parametrize(
    "there",
    ["train/0.flac", "manifests/train.jsonl", ".work/notes", "report.tsv", "prepared.json", "x"],
)
def test_a_folder_with_files_of_the_user_is_refused_and_stays_as_it_is(tmp_path: Path, there: str):
    path = three_tasks(tmp_path)
    (tmp_path / "out" / there).parent.mkdir(parents=True)
    (tmp_path / "out" / there).write_text("mine")
    with pytest.raises(OutputError, match=f"but holds {there.partition('/')[0]}"):
        prepare({"train": [path]}, tmp_path / "out", SETTINGS)
    assert everything(tmp_path / "out") == {there: b"mine"}


def test_the_folder_of_the_recordings_is_refused_with_all_of_them_there(tmp_path: Path):
    path = three_tasks(tmp_path)
    before = everything(tmp_path)
    with pytest.raises(OutputError, match=r"holds train\.jsonl, train0\.flac.* and 1 more"):
        prepare({"train": [path]}, tmp_path, SETTINGS)
    assert everything(tmp_path) == before


def test_what_the_user_adds_to_a_prepared_folder_stays_when_it_is_prepared_anew(tmp_path: Path):
    manifests = {
        "train": [three_tasks(tmp_path)],
        "more": [three_tasks(tmp_path, "more", range(3))],
    }
    settings = replace(SETTINGS, overlap=OverlapSettings(action="allow"))
    prepare(manifests, tmp_path / "out", settings)
    for name in ("notes.txt", "train/mine.wav", "more/mine.wav"):
        (tmp_path / "out" / name).write_text("mine")
    prepare({"train": manifests["train"]}, tmp_path / "out", settings)
    there = everything(tmp_path / "out")
    assert [name for name in there if name.startswith("more/")] == ["more/mine.wav"]
    assert {name for name, data in there.items() if data == b"mine"} == {
        *("notes.txt", "train/mine.wav", "more/mine.wav")
    }


def test_a_report_that_the_user_wrote_into_is_not_written_over(tmp_path: Path):
    path = three_tasks(tmp_path)
    report = prepare({"train": [path]}, tmp_path / "out", SETTINGS).report_path
    report.write_text("what I still have to look at")
    with pytest.raises(OutputError, match=r"report\.tsv must be as taskaware wrote it"):
        prepare({"train": [path]}, tmp_path / "out", replace(SETTINGS, vocabulary_size=390))
    assert report.read_text() == "what I still have to look at"
    assert PreparedData.open(tmp_path / "out").vocabulary.size > 0  # and the folder is whole
