"""The same folder prepared again: nothing to do, resumed, or made again."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from three_tasks import LENIENT, SETTINGS, three_tasks

from taskaware.data.prepare import PrepareReport, PrepareSettings, prepare
from taskaware.data.prepared import PreparedData
from taskaware.data.prepared.settings import ShardLimits
from taskaware.data.prepared.users import note_run
from taskaware.data.quality.settings import OverlapSettings
from taskaware.errors import DataError, OutputError
from taskaware.output_folder import RECORD_NAME

if TYPE_CHECKING:
    from pathlib import Path


def test_the_same_again_is_left_as_it_is_and_any_change_starts_over(tmp_path: Path):
    path = three_tasks(tmp_path)

    def run(settings: PrepareSettings = SETTINGS, **options: object) -> PrepareReport:
        return prepare({"train": [path]}, tmp_path / "out", settings, **options)  # type: ignore[arg-type]

    first = run()
    assert not first.reused
    again = run(PrepareSettings(vocabulary_size=400, num_workers=1))
    assert again.reused
    assert again.splits == first.splits
    assert not run(PrepareSettings(vocabulary_size=350)).reused
    os.utime(tmp_path / "train0.flac", ns=(0, 0))
    assert not run(PrepareSettings(vocabulary_size=350)).reused
    path.write_text(path.read_text() + "\n")
    assert not run(PrepareSettings(vocabulary_size=350)).reused
    (tmp_path / "out/prepared.json").write_text("{}")
    assert not run(PrepareSettings(vocabulary_size=350)).reused


@pytest.mark.parametrize("damage", ["missing", "flipped"])
def test_a_damaged_folder_is_made_anew_by_the_same_command(tmp_path: Path, damage: str):
    path = three_tasks(tmp_path)
    prepare({"train": [path]}, tmp_path / "out", SETTINGS)
    shard = tmp_path / "out/train/speech-000000.tar"
    whole = shard.read_bytes()
    if damage == "missing":
        shard.unlink()
    else:
        shard.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    assert not prepare({"train": [path]}, tmp_path / "out", SETTINGS).reused
    assert shard.read_bytes() == whole
    assert prepare({"train": [path]}, tmp_path / "out", SETTINGS).reused


def test_splits_of_an_earlier_preparation_do_not_stay(tmp_path: Path):
    manifests = {
        "train": [three_tasks(tmp_path)],
        "more": [three_tasks(tmp_path, "more", range(3))],
    }
    settings = replace(SETTINGS, overlap=OverlapSettings(action="allow"))
    prepare(manifests, tmp_path / "out", settings)
    prepare({"train": manifests["train"]}, tmp_path / "out", settings)
    assert not (tmp_path / "out/more").exists()


def test_a_folder_of_a_version_without_a_record_is_made_anew(tmp_path: Path):
    path = three_tasks(tmp_path)
    prepare({"train": [path]}, tmp_path / "out", SETTINGS)
    (tmp_path / "out" / RECORD_NAME).unlink()
    assert prepare({"train": [path]}, tmp_path / "out", SETTINGS).reused
    (tmp_path / "out" / RECORD_NAME).unlink()
    (tmp_path / "out/train/mine.wav").write_text("mine")
    more = [path, three_tasks(tmp_path, "more", range(2))]
    assert not prepare({"train": more}, tmp_path / "out", SETTINGS).reused
    assert (tmp_path / "out/train/mine.wav").read_text() == "mine"


def test_preparing_anew_names_the_runs_that_stand_on_what_was_there(tmp_path: Path):
    path = three_tasks(tmp_path)
    prepare({"train": [path]}, tmp_path / "out", SETTINGS)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/experiment.toml").write_text("")
    note_run(tmp_path / "out", tmp_path / "run")
    note_run(tmp_path / "out", tmp_path / "deleted")
    os.utime(tmp_path / "train0.flac", (1, 1))  # made again, and comes to the same
    same = prepare({"train": [path]}, tmp_path / "out", SETTINGS)
    assert not same.reused
    assert same.warnings == ()
    more = [path, three_tasks(tmp_path, "more", range(2))]
    copy = shutil.copytree(tmp_path / "out", tmp_path / "copy")
    assert prepare({"train": more}, copy, SETTINGS).warnings == ()  # the run stands on the other
    (warning,) = prepare({"train": more}, tmp_path / "out", SETTINGS).warnings
    assert f"but runs were trained on what it held: {tmp_path}/run. They cannot" in warning


def run_on(data: Path, run: Path) -> Path:
    """A run's folder that stands on a prepared one."""
    run.mkdir(parents=True)
    (run / "experiment.toml").write_text("")
    note_run(data, run)
    return run


def warnings_of_other_data(data: Path, manifests: list[Path]) -> tuple[str, ...]:
    return prepare({"train": manifests}, data, SETTINGS).warnings


def test_a_note_of_a_run_says_nothing_of_the_folders_above_both(tmp_path: Path):
    data = tmp_path / "secret" / "project" / "data"
    prepare({"train": [three_tasks(tmp_path)]}, data, SETTINGS)
    run_on(data, tmp_path / "secret" / "project" / "runs" / "mine")
    noted = (data / ".taskaware-runs").read_text()
    assert '"../runs/mine"' in noted
    assert "secret" not in noted
    assert "project" not in noted


def test_runs_are_named_where_data_and_runs_were_moved_together(tmp_path: Path):
    path = three_tasks(tmp_path)
    prepare({"train": [path]}, tmp_path / "old" / "data", SETTINGS)
    run_on(tmp_path / "old" / "data", tmp_path / "old" / "run")
    moved = (tmp_path / "old").rename(tmp_path / "new")
    more = [path, three_tasks(tmp_path, "more", range(2))]
    (warning,) = warnings_of_other_data(moved / "data", more)
    assert f"on what it held: {moved}/run. They cannot" in warning


def test_notes_of_absolute_paths_as_they_were_before_are_read(tmp_path: Path):
    path = three_tasks(tmp_path)
    data = tmp_path / "data"
    prepare({"train": [path]}, data, SETTINGS)
    run = run_on(data, tmp_path / "run")
    notes = data / ".taskaware-runs"
    entry = json.loads(notes.read_text()) | {"run": str(run), "data": str(data)}
    notes.write_text(json.dumps(entry) + "\n")
    more = [path, three_tasks(tmp_path, "more", range(2))]
    copy = shutil.copytree(data, tmp_path / "copy")
    assert warnings_of_other_data(copy, more) == ()
    assert len(warnings_of_other_data(data, more)) == 1


def test_runs_are_named_where_the_data_alone_have_another_name_now(tmp_path: Path):
    path = three_tasks(tmp_path)
    prepare({"train": [path]}, tmp_path / "data", SETTINGS)
    run_on(tmp_path / "data", tmp_path / "run")
    renamed = (tmp_path / "data").rename(tmp_path / "renamed")
    more = [path, three_tasks(tmp_path, "more", range(2))]
    (warning,) = warnings_of_other_data(renamed, more)
    assert f"on what it held: {tmp_path}/run. They cannot" in warning


def test_a_preparation_that_was_broken_off_goes_on_and_ends_with_the_same_bytes(tmp_path: Path):
    class StoppedError(Exception):
        pass

    calls: list[str] = []

    def stop(stage: str, done: int, total: int) -> None:
        calls.append(stage)
        if stage == "features of train" and done >= 2 and stops[-1]:
            raise StoppedError

    path = three_tasks(tmp_path)
    settings = replace(SETTINGS, shards=ShardLimits(examples=2))
    stops = [False]
    prepare({"train": [path]}, tmp_path / "whole", settings, progress=stop)
    stops.append(True)
    with pytest.raises(StoppedError):
        prepare({"train": [path]}, tmp_path / "parts", settings, progress=stop)
    written = tmp_path / "parts/train/text-000000.jsonl"
    before = written.stat().st_mtime_ns
    stops.append(False)
    prepare({"train": [path]}, tmp_path / "parts", settings, progress=stop)
    assert written.stat().st_mtime_ns == before  # what was complete is not written again
    names = sorted(p.name for p in (tmp_path / "whole/train").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "parts/train").iterdir())
    for name in (*(f"train/{n}" for n in names), "prepared.json", "report.tsv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    assert not (tmp_path / "parts/.work").exists()


def test_two_preparations_of_one_folder_do_not_meet(tmp_path: Path):
    path = three_tasks(tmp_path)
    refused: list[str] = []

    def again(stage: str, done: int, total: int) -> None:
        if not refused:
            with pytest.raises(OutputError, match="another one is writing this one") as error:
                prepare({"train": [path]}, tmp_path / "out", LENIENT)
            refused.append(str(error.value))

    prepare({"train": [path]}, tmp_path / "out", SETTINGS, progress=again)
    assert refused
    assert prepare({"train": [path]}, tmp_path / "out", SETTINGS).reused


def test_progress_counts_to_the_end_of_every_stage(tmp_path: Path):
    last: dict[str, tuple[int, int]] = {}

    def note(stage: str, done: int, total: int) -> None:
        last[stage] = (done, total)

    path = three_tasks(tmp_path)
    prepare({"train": [path]}, tmp_path / "out", SETTINGS, progress=note)
    size = path.stat().st_size
    assert last == {
        "read manifests": (size, size),
        "vocabulary": (1, 1),
        "texts of train": (5, 5),
        "features of train": (10, 10),
    }


def test_an_interruption_leaves_the_folder_incomplete_and_torch_as_it_was(tmp_path: Path):
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "features of train":
            raise KeyboardInterrupt

    path = three_tasks(tmp_path)
    other = PrepareSettings(vocabulary_size=350)
    prepare({"train": [path]}, tmp_path / "out", other)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyboardInterrupt):
            prepare({"train": [path]}, tmp_path / "out", SETTINGS, progress=interrupt)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    with pytest.raises(DataError, match="is not complete"):
        PreparedData.open(tmp_path / "out")
    assert not prepare({"train": [path]}, tmp_path / "out", SETTINGS).reused
