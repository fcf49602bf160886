"""From manifests to a prepared folder: what is good arrives whole."""

from __future__ import annotations

import os
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from three_tasks import (
    ENGLISH,
    GERMAN,
    LENIENT,
    RATE_HZ,
    SETTINGS,
    noise,
    read_report,
    three_tasks,
    write_manifest,
)

from taskaware.data.manifest.read import read_manifest
from taskaware.data.manifest.write import to_line
from taskaware.data.prepare import PrepareReport, PrepareSettings, prepare
from taskaware.data.prepare.results import SplitReport
from taskaware.data.prepared import PreparedData
from taskaware.data.sound import audio
from taskaware.data.sound.features import log_mel
from taskaware.data.sound.settings import FeatureSettings
from taskaware.data.vocabulary import Vocabulary


def test_three_tasks_arrive_with_their_sources_and_targets(tmp_path: Path):
    report = prepare({"train": [three_tasks(tmp_path)]}, tmp_path / "out", SETTINGS)
    data = PreparedData.open(tmp_path / "out")
    split = data.split("train")
    assert [task.name for task in data.tasks] == ["asr", "st", "mt"]
    assert [task.kind for task in data.tasks] == ["asr", "st", "mt"]
    assert report.splits["train"].examples == {"asr": 5, "st": 5, "mt": 5}
    assert len(split) == len(split.examples) == 15
    rows = {example.id: row for row, example in enumerate(split.examples)}  # texts come first
    for i in range(5):
        asr, st, mt = (rows[f"train-{3 * i + k}"] for k in (1, 2, 3))
        waveform = audio.read(tmp_path / f"train{i}.flac", sample_rate_hz=RATE_HZ)
        expected = log_mel(torch.from_numpy(waveform), FeatureSettings()).numpy()
        for row in (asr, st):
            source = split.source(row)
            assert source.dtype == np.float32
            np.testing.assert_allclose(source, expected, atol=2e-3, rtol=1e-3)
            assert split.source_lengths[row] == len(expected)
        text_source = split.source(mt)
        assert text_source.dtype == np.int64
        assert data.vocabulary.decode(text_source) == ENGLISH[i]
        for row, text in ((asr, ENGLISH[i]), (st, GERMAN[i]), (mt, GERMAN[i])):
            target = split.target(row)
            assert target.dtype == np.int64
            assert data.vocabulary.decode(target) == text
            assert split.target_lengths[row] == len(target)
    assert [split.example(i).id for i in split.indices("st")] == [
        f"train-{i}" for i in (2, 5, 8, 11, 14)
    ]
    assert split.indices("st").dtype == split.source_lengths.dtype == np.int64
    assert len(split.indices("other")) == 0


def test_examples_on_the_same_segment_share_their_features(tmp_path: Path):
    report = prepare({"train": [three_tasks(tmp_path)]}, tmp_path / "out", SETTINGS)
    split = PreparedData.open(tmp_path / "out").split("train")
    with tarfile.open(tmp_path / "out/train/speech-000000.tar") as archive:
        assert len([name for name in archive.getnames() if name.endswith(".npy")]) == 5
    for asr, st in zip(split.indices("asr"), split.indices("st"), strict=True):
        np.testing.assert_array_equal(split.source(asr), split.source(st))
        assert split.example(asr).utterance == split.example(st).utterance
    num_frames = int(split.source_lengths[split.indices("asr")].sum())
    assert report.splits["train"].num_frames == num_frames
    assert report.splits["train"].hours == pytest.approx(num_frames * 0.01 / 3600)


def test_two_runs_write_equal_bytes_whatever_the_number_of_workers(tmp_path: Path):
    path = three_tasks(tmp_path)
    for name, num_workers in (("one", 1), ("two", 3)):
        settings = PrepareSettings(vocabulary_size=400, num_workers=num_workers)
        prepare({"train": [path]}, tmp_path / name, settings)
    files = sorted(path.name for path in (tmp_path / "one/train").iterdir())
    assert len(files) == 4
    for file in ("vocabulary.model", "report.tsv", *(f"train/{name}" for name in files)):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_an_existing_vocabulary_serves_a_test_split_alone(tmp_path: Path):
    prepare({"train": [three_tasks(tmp_path)]}, tmp_path / "a", SETTINGS)
    report = prepare(
        {"test_other": [three_tasks(tmp_path, "test", range(3))]},
        tmp_path / "b",
        SETTINGS,
        vocabulary=tmp_path / "a/vocabulary.model",
    )
    assert report.splits["test_other"].examples == {"asr": 3, "st": 3, "mt": 3}
    assert report.warnings == ()
    one, two = PreparedData.open(tmp_path / "a"), PreparedData.open(tmp_path / "b")
    assert one.vocabulary.sha256 == two.vocabulary.sha256
    assert one.fingerprint != two.fingerprint


def test_each_task_is_a_piece(tmp_path: Path):
    prepare({"train": [three_tasks(tmp_path)]}, tmp_path / "out", SETTINGS)
    vocabulary = PreparedData.open(tmp_path / "out").vocabulary
    assert all(vocabulary.has_tag(f"<task:{name}>") for name in ("asr", "st", "mt"))


def test_a_vocabulary_without_the_tasks_is_accepted_with_a_warning(tmp_path: Path):
    Vocabulary.train(ENGLISH, size=320).save(tmp_path / "v.model")
    path = three_tasks(tmp_path)
    vocabulary = tmp_path / "v.model"
    report = prepare({"train": [path]}, tmp_path / "out", LENIENT, vocabulary=vocabulary)
    assert "no piece for the task 'asr'" in report.warnings[0]


def test_recordings_are_kept_compressed_and_give_the_same_features(tmp_path: Path):
    records = []
    for i, suffix in enumerate(("flac", "mp3", "ogg", "wav")):
        soundfile.write(tmp_path / f"{i}.{suffix}", noise(1.0, seed=i), RATE_HZ)
        records.append({"task": "asr", "audio": f"{i}.{suffix}", "target_text": ENGLISH[i]})
    records.append({**records[0], "start_seconds": 0.25, "duration_seconds": 0.5})
    path = write_manifest(tmp_path / "m.jsonl", records)
    splits = []
    for store in ("features", "audio"):
        settings = PrepareSettings(vocabulary_size=400, store=store)
        prepare({"train": [path]}, tmp_path / store, settings)
        splits.append(PreparedData.open(tmp_path / store).split("train"))
    with tarfile.open(tmp_path / "audio/train/speech-000000.tar") as archive:
        sounds = [name for name in archive.getnames() if not name.endswith("json")]
        assert [name.partition(".")[2] for name in sounds] == ["flac", "mp3", "ogg", "flac", "flac"]
        kept = archive.extractfile(sounds[1])
        assert kept is not None
        assert kept.read() == (tmp_path / "1.mp3").read_bytes()
    np.testing.assert_array_equal(splits[0].source_lengths, splits[1].source_lengths)
    for i in range(5):
        np.testing.assert_allclose(splits[0].source(i), splits[1].source(i), atol=2e-2)
        assert splits[1].waveform(i) is not None
        assert splits[0].waveform(i) is None


def test_numpy_features_and_speech_lie_in_one_array(tmp_path: Path):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(4 + i, 80)).astype(np.float32) for i in range(2)]
    for i, array in enumerate(arrays):
        np.save(tmp_path / f"{i}.npy", array)
    np.save(tmp_path / "narrow.npy", np.zeros((4, 12)))
    names = ["0.npy", "1.npy", "narrow.npy", "missing.npy"]
    records: list[dict[str, object]] = [
        {"task": "signs", "features": name, "target_text": "hello"} for name in names
    ]
    signs = write_manifest(tmp_path / "signs.jsonl", records)
    report = prepare({"train": [three_tasks(tmp_path), signs]}, tmp_path / "out", LENIENT)
    data = PreparedData.open(tmp_path / "out")
    split = data.split("train")
    assert data.num_feature_columns == 80
    for i, row in enumerate(split.indices("signs")):
        np.testing.assert_allclose(split.source(int(row)), arrays[i], atol=2e-3)
    narrow, missing = read_report(report)
    assert (narrow["line"], narrow["field"]) == ("3", "features")
    assert "must have 80 columns, as all others here, but has 12" in narrow["reason"]
    assert "missing.npy: the file does not exist" in missing["reason"]


def test_numpy_features_alone_may_have_any_number_of_columns(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.zeros((4, 12)))
    record: dict[str, object] = {"task": "signs", "features": "a.npy", "target_text": "hello"}
    path = write_manifest(tmp_path / "signs.jsonl", [record])
    report = prepare({"train": [path]}, tmp_path / "out", SETTINGS)
    assert PreparedData.open(tmp_path / "out").split("train").source(0).shape == (4, 12)
    assert (report.splits["train"].num_frames, report.splits["train"].hours) == (4, 0)


def test_texts_alone_need_no_features(tmp_path: Path):
    record: dict[str, object] = {"task": "mt", "source_text": "hello", "target_text": "hallo"}
    path = write_manifest(tmp_path / "mt.jsonl", [record])
    prepare({"train": [path]}, tmp_path / "out", SETTINGS)
    data = PreparedData.open(tmp_path / "out")
    assert data.num_feature_columns == 0
    assert data.vocabulary.decode(data.split("train").source(0)) == "hello"


def test_files_and_folders_may_have_names_that_are_no_utf_8(tmp_path: Path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    np.save(folder / "f.npy", np.ones((40, 80), dtype=np.float32))
    records: list[dict[str, object]] = [
        {"task": "other", "features": name, "target_text": "a red house"} for name in ("f.npy", "g")
    ]
    records.append({"task": "mt", "source_text": "a house", "target_text": "ein Haus"})
    manifest = write_manifest(folder / os.fsdecode(b"m\xff.jsonl"), records)
    report = prepare({"train": [manifest]}, folder / "out", LENIENT)
    (row,) = read_report(report)
    assert row["id"] == r"m\xff-2"
    assert r"caf\udce9" in row["file"]
    split = PreparedData.open(folder / "out").split("train")
    example = next(each for each in split.examples if each.task == "other")
    assert example.features_path == folder / "f.npy"
    assert example.dataset == r"m\xff"
    again = write_manifest(tmp_path / "again.jsonl", [])
    again.write_text(to_line(example, PreparedData.open(folder / "out").task("other")))
    assert next(iter(read_manifest(again).examples)).features_path == folder / "f.npy"


def test_the_summary_is_a_table_that_lines_up_and_says_where_the_left_out_lines_are():
    splits = {
        "train": SplitReport(
            examples={"asr_en": 12_345, "st_en_de": 7},
            num_left_out=1_002,
            num_frames=9,
            hours=10.254,
        ),
        "dev": SplitReport(examples={"asr_en": 50}, num_left_out=0, num_frames=9, hours=0.1),
    }
    report = PrepareReport(
        folder=Path("out"), splits=splits, warnings=(), vocabulary_size=8_000, reused=False
    )
    assert report.summary_lines() == [
        "split  task      examples  hours of speech  lines left out",
        "train  all         12,352            10.25           1,002",
        "       asr_en      12,345",
        "       st_en_de         7",
        "dev    all             50             0.10               0",
        "       asr_en          50",
        "vocabulary: 8,000 pieces",
        f"left-out lines, each with its reason: {Path('out/report.tsv')}",
    ]
    clean = replace(report, splits={"dev": splits["dev"]}).summary_lines()
    assert clean[-1] == "vocabulary: 8,000 pieces"
