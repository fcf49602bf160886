"""Manifests written in blocks: stopped anywhere, gone on with, and never mixed with another."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from taskaware.augment.blocks import (
    Made,
    Written,
    claim_recordings,
    complete_manifest,
    write_in_blocks,
)
from taskaware.errors import DataError, OutputError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

INPUTS = [f"line {i} 文" for i in range(10)]
MADE_FROM = {"step": "test", "settings": {"beams": 4, "of": ["a", "b"]}, "models": [{"name": "A"}]}


class Stopped(BaseException):
    """As Ctrl-C."""


def write(
    path: Path,
    *,
    stop_at: int | None = None,
    inputs: Iterable[str] = INPUTS,
    made_from: dict[str, Any] = MADE_FROM,
) -> Written:
    """Write two lines for each input, in blocks of three; stop before the block of an input."""

    def make(block: Sequence[str], first: int) -> Made:
        if stop_at is not None and first <= stop_at < first + len(block):
            raise Stopped
        lines = [f"{first + i} {text} {n}\n" for i, text in enumerate(block) for n in "ab"]
        return Made(lines=lines, counts=Counter({("data", "written"): len(lines)}))

    return write_in_blocks(path, made_from, iter(inputs), make, block_size=3)


@pytest.fixture
def expected(tmp_path: Path) -> bytes:
    write(tmp_path / "whole" / "out.jsonl")
    return (tmp_path / "whole" / "out.jsonl").read_bytes()


@pytest.mark.parametrize("stop_at", range(10))
def test_a_manifest_that_was_stopped_is_the_same_byte_for_byte(
    stop_at: int, tmp_path: Path, expected: bytes
):
    path = tmp_path / "out.jsonl"
    with pytest.raises(Stopped):
        write(path, stop_at=stop_at)
    assert not path.exists()
    written = write(path)
    assert path.read_bytes() == expected
    assert written.went_on_from == stop_at // 3 * 3
    assert written.counts == {("data", "written"): 20}
    assert len(expected.splitlines()) == 20


def test_what_the_journal_does_not_vouch_for_is_cut_off(tmp_path: Path, expected: bytes):
    path = tmp_path / "out.jsonl"
    with pytest.raises(Stopped):
        write(path, stop_at=6)
    with (tmp_path / "out.jsonl.unfinished").open("ab") as file:
        file.write(b"6 line 6")
    write(path)
    assert path.read_bytes() == expected


def test_killed_before_the_last_rename_it_is_still_completed(tmp_path: Path, expected: bytes):
    path = tmp_path / "out.jsonl"
    write(path)
    path.rename(tmp_path / "out.jsonl.unfinished")
    assert write(path, stop_at=0).was_complete
    assert path.read_bytes() == expected


def test_a_complete_manifest_is_not_made_again(tmp_path: Path):
    write(tmp_path / "out.jsonl")
    written = write(tmp_path / "out.jsonl", stop_at=0)
    assert written.was_complete
    assert written.total("written") == written.of_dataset("data", "written") == 20


def test_a_deleted_manifest_is_made_again_from_anything(tmp_path: Path, expected: bytes):
    path = tmp_path / "out.jsonl"
    write(path)
    path.unlink()
    assert not write(path, made_from={"step": "other"}).was_complete
    assert path.read_bytes() == expected


def test_stopped_at_once_after_a_deleted_one_it_still_goes_on(tmp_path: Path, expected: bytes):
    path = tmp_path / "out.jsonl"
    write(path)
    path.unlink()
    with pytest.raises(Stopped):
        write(path, stop_at=0)
    write(path)
    assert path.read_bytes() == expected


@pytest.mark.parametrize("stop_at", [4, None])
def test_other_inputs_models_or_settings_are_refused_by_name(stop_at: int | None, tmp_path: Path):
    path = tmp_path / "out.jsonl"
    if stop_at is None:
        write(path)
    else:
        with pytest.raises(Stopped):
            write(path, stop_at=stop_at)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    other = {**MADE_FROM, "settings": {"beams": 8, "of": ["a", "b"]}, "models": [{"name": "B"}]}
    with pytest.raises(UserError) as error:
        write(path, made_from=other)
    assert "settings.beams was 4 and is 8" in str(error.value)
    assert 'models[1].name was "A" and is "B"' in str(error.value)
    assert "settings.of" not in str(error.value)
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}


def test_a_file_of_another_origin_is_not_overwritten(tmp_path: Path):
    path = tmp_path / "out.jsonl"
    path.write_text("mine")
    with pytest.raises(UserError, match="or one that this command wrote"):
        write(path)
    assert path.read_text() == "mine"


def test_an_unfinished_file_of_somebody_is_not_gone_on_with(tmp_path: Path):
    (tmp_path / "out.jsonl.unfinished").write_text("mine")
    with pytest.raises(UserError, match="or one that this command wrote"):
        write(tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl.unfinished").read_text() == "mine"


def test_a_folder_of_somebody_takes_no_recordings(tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.flac").write_text("mine")
    with pytest.raises(OutputError, match=r"holds a\.flac, which taskaware did not write"):
        claim_recordings(tmp_path / "out.jsonl", tmp_path / "out")
    claim_recordings(tmp_path / "new.jsonl", tmp_path / "new")
    (tmp_path / "new/a.flac").write_text("ours")
    claim_recordings(tmp_path / "new.jsonl", tmp_path / "new")


def test_a_manifest_that_somebody_changed_is_refused(tmp_path: Path):
    path = tmp_path / "out.jsonl"
    write(path)
    path.write_text("less")
    with pytest.raises(DataError, match="was changed by something else"):
        write(path)
    path.unlink()
    with pytest.raises(Stopped):
        write(path, stop_at=6)
    (tmp_path / "out.jsonl.unfinished").write_text("less")
    with pytest.raises(DataError, match="or more, but has 4"):
        write(path)


def test_a_broken_journal_is_named(tmp_path: Path):
    with pytest.raises(Stopped):
        write(tmp_path / "out.jsonl", stop_at=6)
    (tmp_path / "out.journal.json").write_text(json.dumps({"counts": 3}))
    with pytest.raises(DataError, match=r"out\.journal\.json must be the journal"):
        complete_manifest(tmp_path / "out.jsonl", MADE_FROM)


def test_two_commands_cannot_write_the_same_manifest(tmp_path: Path):
    with (
        FileLock(tmp_path / ".out.jsonl.lock"),
        pytest.raises(UserError, match="another one is writing it"),
    ):
        write(tmp_path / "out.jsonl")


def test_inputs_are_read_a_block_at_a_time(tmp_path: Path):
    num_read, most = 0, 0

    def inputs():
        nonlocal num_read
        for text in INPUTS:
            num_read += 1
            yield text

    def make(block: Sequence[str], first: int) -> Made:
        nonlocal most
        most = max(most, num_read - first)
        return Made(lines=[], counts=Counter())

    write_in_blocks(tmp_path / "out.jsonl", MADE_FROM, inputs(), make, block_size=3)
    assert (num_read, most) == (10, 3)
