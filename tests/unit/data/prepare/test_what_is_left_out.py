"""What is bad or unwanted is listed with its reason; too much of it is refused."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from three_tasks import (
    LENIENT,
    RATE_HZ,
    SETTINGS,
    noise,
    overlapping,
    read_report,
    three_tasks,
    write_manifest,
)

from taskaware.data.prepare import PrepareSettings, prepare
from taskaware.data.prepared import PreparedData
from taskaware.data.quality.settings import CheckSettings, CleaningSettings, OverlapSettings
from taskaware.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


def test_every_kind_of_bad_line_is_reported_with_split_file_line_and_field(tmp_path: Path):
    def record(path: str, **fields: object) -> dict[str, object]:
        return {"task": "asr", "audio": path, "target_text": "a red house", **fields}

    soundfile.write(tmp_path / "good.wav", noise(2), RATE_HZ)
    soundfile.write(tmp_path / "cut.wav", noise(2), RATE_HZ)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:20_000])
    (tmp_path / "text.wav").write_text("this is no recording")
    soundfile.write(tmp_path / "zero.wav", noise(0), RATE_HZ)
    soundfile.write(tmp_path / "nan.wav", np.full(RATE_HZ, np.nan), RATE_HZ, subtype="FLOAT")
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE_HZ), RATE_HZ)
    soundfile.write(tmp_path / "rate.wav", noise(2), 4_000)
    soundfile.write(tmp_path / "long.wav", noise(3), RATE_HZ)
    soundfile.write(tmp_path / "short.wav", noise(0.05), RATE_HZ)
    expected = [
        (record("good.wav"), None, ""),
        (record("missing.wav"), "audio", "does not exist"),
        (record("cut.wav"), "audio", "truncated"),
        (record("text.wav"), "audio", "must be a recording"),
        (record("zero.wav"), "audio", "0 samples"),
        (record("nan.wav"), "audio", "finite"),
        (record("silent.wav"), "audio", "silent"),
        (record("rate.wav"), "audio", "sample rate"),
        (record("long.wav"), "audio", "lasts 3.000 s"),
        (record("short.wav"), "audio", "lasts 0.050 s"),
        (record("good.wav", start_seconds=3), "start_seconds", "before the end"),
        (record("good.wav", duration_seconds=2.2), "duration_seconds", "ends at 2.200 s"),
        (record("good.wav", duration_seconds="soon"), "duration_seconds", "number of seconds"),
        (record("good.wav", target_text=""), "target_text", "empty"),
        (record("good.wav", target_text="a b c " * 15), "target_text", "frames"),
        (record("good.wav", target_text="a b c " * 40), "target_text", "at most 60 pieces"),
        (record("good.wav", id="asr.train-1"), "id", "unique"),
    ]
    manifest = write_manifest(tmp_path / "asr.train.jsonl", [line for line, _, _ in expected])
    settings = PrepareSettings(
        vocabulary_size=400,
        max_bad_share=1.0,
        checks=CheckSettings(max_seconds=2.5, max_pieces=60, min_frames_per_piece=6),
    )
    report = prepare({"train": [manifest]}, tmp_path / "out", settings)
    rows = {int(row["line"]): row for row in read_report(report)}
    for number, (_, field, reason) in enumerate(expected, start=1):
        if field is None:
            assert number not in rows
            continue
        assert rows[number]["field"] == field, reason
        assert reason in rows[number]["reason"]
        assert (rows[number]["split"], rows[number]["file"]) == ("train", str(manifest))
    assert report.splits["train"].num_left_out == len(rows) == len(expected) - 1
    assert report.splits["train"].num_lines == len(expected)
    split = PreparedData.open(tmp_path / "out").split("train")
    assert [example.id for example in split.examples] == ["asr.train-1"]


def test_more_bad_lines_than_allowed_stop_with_share_reasons_and_report(tmp_path: Path):
    path = three_tasks(tmp_path)
    (tmp_path / "train1.flac").unlink()
    (tmp_path / "train2.flac").unlink()
    soundfile.write(tmp_path / "train3.flac", np.zeros(RATE_HZ), RATE_HZ)
    with pytest.raises(DataError) as caught:
        prepare({"train": [path]}, tmp_path / "out", SETTINGS)
    message = str(caught.value)
    assert "at most 5.0% of the lines of the split 'train'" in message
    assert "6 of 15 are (40.0%)" in message
    assert "4 x audio:" in message
    assert "train1.flac: the file does not exist" in message
    assert "2 x audio:" in message
    assert str(tmp_path / "out/report.tsv") in message
    assert "max_bad_share" in message
    assert len(read_report(tmp_path / "out")) == 6
    with pytest.raises(DataError, match="not complete"):
        PreparedData.open(tmp_path / "out")


def test_what_is_no_recording_is_a_line_of_the_report_and_is_not_opened(tmp_path: Path):
    good = tmp_path / "good.wav"
    soundfile.write(good, noise(1), RATE_HZ)
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "device.wav").symlink_to("/dev/zero")
    (tmp_path / "nothing.wav").symlink_to(tmp_path / "missing")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    (tmp_path / "link.wav").symlink_to(good)
    expected = {
        "folder.wav": "must be a file, but is a folder",
        "pipe.wav": "must be a file, but is a pipe or a device",
        "device.wav": "must be a file, but is a pipe or a device",
        "nothing.wav": "the file is a link to nothing",
        "loop.wav": "the file cannot be read (Too many levels of symbolic links)",
        "good.wav/x.wav": "the file cannot be read (Not a directory)",
        "x" * 300: "the file cannot be read (File name too long)",
    }
    names = [*expected, "link.wav"]
    records: list[dict[str, object]] = [
        {"task": "asr", "audio": name, "target_text": "a red house"} for name in names
    ]
    records += [
        {"task": "other", "features": name, "target_text": "a house"} for name in ("pipe.wav",)
    ]
    records.append({"task": "other", "features": "f.npy", "target_text": "a house"})
    np.save(tmp_path / "f.npy", np.ones((40, 80), dtype=np.float32))
    manifest = write_manifest(tmp_path / "m.jsonl", records)
    report = prepare({"train": [manifest]}, tmp_path / "out", LENIENT)
    assert report.splits["train"].examples == {"asr": 1, "other": 1}
    reasons = {row["id"]: (row["field"], row["reason"]) for row in read_report(report)}
    for number, (name, reason) in enumerate(expected.items(), start=1):
        assert reasons[f"m-{number}"] == ("audio", f"{tmp_path / name}: {reason}")
    assert reasons["m-9"][0] == "features"


def test_an_overlap_of_train_with_another_split_is_refused_and_listed(tmp_path: Path):
    with pytest.raises(
        DataError, match=r"(?s)must not have examples .*has 2; the first: .*line 3:.*drop"
    ):
        prepare(overlapping(tmp_path), tmp_path / "out", SETTINGS)
    assert {(row["id"], row["field"]) for row in read_report(tmp_path / "out")} == {
        ("train-3", "target_text"),
        ("train-6", "target_text"),
    }
    with pytest.raises(DataError, match="not complete"):
        PreparedData.open(tmp_path / "out")


def test_an_overlap_is_dropped_or_trained_on_where_the_user_says_so(tmp_path: Path):
    manifests = overlapping(tmp_path)
    drop = replace(SETTINGS, overlap=OverlapSettings(action="drop"))
    dropped = prepare(manifests, tmp_path / "drop", drop)
    assert dropped.splits["train"].examples == {"asr": 5, "st": 5, "mt": 3}
    assert dropped.splits["train"].removed == {"overlap": 2}
    assert "train: 2 of the lines were left out by overlap" in dropped.summary_lines()
    allow = replace(SETTINGS, overlap=OverlapSettings(action="allow"))
    allowed = prepare(manifests, tmp_path / "allow", allow)
    assert allowed.splits["train"].examples == {"asr": 5, "st": 5, "mt": 5}
    assert any("2 of 2 examples of the task 'mt'" in warning for warning in allowed.warnings)


def test_cleaning_concerns_train_alone_and_is_counted(tmp_path: Path):
    manifests = {
        "train": [three_tasks(tmp_path)],
        "test": [three_tasks(tmp_path, "test", range(5))],
    }
    settings = replace(
        SETTINGS,
        cleaning=CleaningSettings(min_words=3),
        overlap=OverlapSettings(action="allow"),
    )
    report = prepare(manifests, tmp_path / "out", settings)
    assert report.splits["train"].examples == {"asr": 5, "st": 4, "mt": 4}  # "ein Vogel"
    assert report.splits["train"].removed == {"cleaning": 2}
    assert report.splits["test"].examples == {"asr": 5, "st": 5, "mt": 5}


def test_an_id_is_unique_in_all_manifests_of_a_split(tmp_path: Path):
    record: dict[str, object] = {
        "id": "x",
        "task": "mt",
        "source_text": "hello",
        "target_text": "hallo",
    }
    one = write_manifest(tmp_path / "one.jsonl", [record])
    two = write_manifest(tmp_path / "two.jsonl", [record])
    report = prepare({"train": [one, two]}, tmp_path / "out", LENIENT)
    (row,) = read_report(report)
    assert (row["file"], row["line"], row["field"]) == (str(two), "1", "id")
    assert f"{one}, line 1 has it as well" in row["reason"]


def test_a_task_or_split_of_which_nothing_is_left_is_refused(tmp_path: Path):
    records: list[dict[str, object]] = [
        {"task": "mt", "source_text": "hello", "target_text": "hallo"},
        {"task": "asr", "audio": "missing.wav", "target_text": "hello"},
    ]
    path = write_manifest(tmp_path / "m.jsonl", records)
    with pytest.raises(DataError, match="the task 'asr' must have an example in train"):
        prepare({"train": [path]}, tmp_path / "out", LENIENT)
    path = write_manifest(tmp_path / "m.jsonl", records[:1])
    dev = write_manifest(tmp_path / "dev.jsonl", records[1:])
    with pytest.raises(DataError, match="the split 'dev' must have an example"):
        prepare({"train": [path], "dev": [dev]}, tmp_path / "out", LENIENT)
