"""Changed copies as a manifest: how many of what, what could not be made, and going on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from scripted_models import asr, mt, read_lines, st, write_lines

from taskaware.augment import signals as module
from taskaware.augment.blocks import READ, WRITTEN
from taskaware.augment.signals import NOT_MADE, change_signals
from taskaware.data.sound.settings import AugmentationSettings
from taskaware.errors import AudioError, UnknownTaskError, UserError

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = AugmentationSettings()


def record(path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=4000).astype(np.float32) * 0.1
    soundfile.write(path, noise, 8000)


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    for name in "abcd":
        record(tmp_path / f"{name}.flac")
    return write_lines(
        tmp_path / "talks.jsonl",
        st("a", "A", dataset="x", origin="translation by A, beam 1"),
        st("b", "B", dataset="y"),
        asr("c", "C", dataset="x"),
        mt("m", "text", "Text", dataset="x"),
        st("gone", "missing recording", dataset="x"),
        st("d", "D", dataset="x"),
    )


def ids(path: Path) -> list[str]:
    return [line["id"] for line in read_lines(path)]


def test_each_dataset_gets_its_number_of_copies_and_what_cannot_be_read_is_counted(
    talks: Path, tmp_path: Path
):
    written = change_signals(
        [talks], tmp_path / "o.jsonl", {"x": 2, "y": 1}, SETTINGS, seed=1, kinds=("st",)
    )
    lines = read_lines(written.path)
    assert ids(written.path) == ["a-aug1", "a-aug2", "b-aug1", "d-aug1", "d-aug2"]
    assert len({soundfile.info(line["audio"]).frames for line in lines}) > 1
    assert lines[0]["origin"].startswith("translation by A, beam 1; signal speed ")
    assert {line["task"] for line in lines} == {"st_en_de"}
    assert lines[0]["target_text"] == "A"
    assert (written.of_dataset("x", NOT_MADE), written.of_dataset("y", NOT_MADE)) == (2, 0)
    assert (written.total(READ), written.total(WRITTEN)) == (4, 5)


def test_one_number_of_copies_holds_for_all_speech_tasks(talks: Path, tmp_path: Path):
    change_signals([talks], tmp_path / "o.jsonl", 1, SETTINGS, seed=1)
    assert ids(tmp_path / "o.jsonl") == ["a-aug1", "b-aug1", "c-aug1", "d-aug1"]


def test_copies_that_were_stopped_are_the_same_byte_for_byte(
    talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_BLOCK_SIZE", 2)
    path = tmp_path / "o.jsonl"
    change_signals([talks], path, 1, SETTINGS, seed=1)
    expected = path.read_bytes()
    path.unlink()

    def stop(stage: str, done: int, total: int) -> None:
        if done > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        change_signals([talks], path, 1, SETTINGS, seed=1, progress=stop)
    assert change_signals([talks], path, 1, SETTINGS, seed=1).went_on_from == 2
    assert path.read_bytes() == expected


def test_a_block_of_which_nothing_can_be_read_does_not_stop_the_others(
    talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_BLOCK_SIZE", 1)
    written = change_signals([talks], tmp_path / "o.jsonl", 1, SETTINGS, seed=1)
    assert (written.total(WRITTEN), written.total(NOT_MADE)) == (4, 1)


def test_where_nothing_at_all_can_be_read_it_fails(tmp_path: Path):
    lines = write_lines(tmp_path / "t.jsonl", st("gone", "x"), st("gone too", "y"))
    for _ in range(2):  # the second time it is complete
        with pytest.raises(AudioError, match=r"no copy could be made, of 2 .* left_out\.tsv"):
            change_signals([lines], tmp_path / "o.jsonl", 1, SETTINGS, seed=1)


def test_masks_and_the_share_do_not_matter_to_copies_but_ranges_do(talks: Path, tmp_path: Path):
    path = tmp_path / "o.jsonl"
    change_signals([talks], path, 1, SETTINGS, seed=1)
    other = AugmentationSettings(share=0.5, num_time_masks=2, max_time_mask_frames=40)
    assert change_signals([talks], path, 1, other, seed=1).was_complete
    with pytest.raises(UserError, match=r"settings\.tempo_range was"):
        change_signals([talks], path, 1, AugmentationSettings(tempo_range=(0.9, 1.1)), seed=1)


def test_unknown_datasets_and_tasks_are_refused_with_the_nearest_name(talks: Path, tmp_path: Path):
    path = tmp_path / "o.jsonl"
    with pytest.raises(UserError, match="must be one of x, y, but is 'z'"):
        change_signals([talks], path, {"z": 1}, SETTINGS, seed=1)
    with pytest.raises(UnknownTaskError, match="did you mean 'st_en_de'"):
        change_signals([talks], path, 1, SETTINGS, seed=1, of=["st_en"])
    with pytest.raises(UserError, match="must be tasks with speech"):
        change_signals([talks], path, 1, SETTINGS, seed=1, of=["mt_en_de"])
    with pytest.raises(UserError, match="at least 1 copy"):
        change_signals([talks], path, 0, SETTINGS, seed=1)
