"""A prepared folder: refused where it is not whole, and its examples come back exactly."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from taskaware.data.prepare import PrepareSettings, prepare
from taskaware.data.prepared import PreparedData, example_from_json, example_to_json
from taskaware.data.vocabulary import Vocabulary
from taskaware.errors import DataError, UnknownTaskError
from taskaware.types import Example, FeatureRows, Speech


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A prepared folder of one recording with two tasks."""
    waveform = np.random.default_rng(0).normal(0, 0.1, 16_000)
    soundfile.write(tmp_path / "a.wav", waveform, 16_000)
    rows = ["task\taudio\tsource_text\ttarget_text", "asr\ta.wav\t\thello", "mt\t\thello\thallo"]
    (tmp_path / "m.tsv").write_text("\n".join(rows))
    settings = PrepareSettings(vocabulary_size=300, num_workers=1)
    return prepare({"train": [tmp_path / "m.tsv"]}, tmp_path / "out", settings).folder


def test_a_folder_that_is_missing_or_incomplete_says_what_makes_it(folder: Path):
    (folder / "prepared.json").unlink()
    for path, what in ((folder, "is not complete"), (folder / "other", "does not exist")):
        with pytest.raises(DataError, match=rf"{what} .*`taskaware prepare`"):
            PreparedData.open(path)


def test_a_folder_of_another_format_is_refused(folder: Path):
    marker = folder / "prepared.json"
    marker.write_text(marker.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(DataError, match="the format must be 1, but is 99"):
        PreparedData.open(folder)
    marker.write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        PreparedData.open(folder)


def test_unknown_tasks_and_splits_are_refused_with_the_nearest(folder: Path):
    data = PreparedData.open(folder)
    assert data.task("mt").source_modality == "text"
    with pytest.raises(UnknownTaskError, match=r"but is 'asd' \(did you mean 'asr'\?\)"):
        data.task("asd")
    with pytest.raises(DataError, match=r"but is 'trian' \(did you mean 'train'\?\)"):
        data.split("trian")


def test_a_split_whose_files_changed_is_refused(folder: Path):
    path = folder / "train.jsonl"
    path.write_text(path.read_text().splitlines(keepends=True)[0])
    with pytest.raises(DataError, match=r"must have 2 examples and 98 frames, but has 1 and 98"):
        PreparedData.open(folder).split("train")
    (folder / "train.features.npy").unlink()
    with pytest.raises(DataError, match="missing or damaged"):
        PreparedData.open(folder).split("train")


def test_another_vocabulary_is_refused(folder: Path):
    Vocabulary.train(["other texts"], size=280).save(folder / "vocabulary.model")
    with pytest.raises(DataError, match="but is another"):
        PreparedData.open(folder)


def test_a_source_is_a_copy_that_may_be_changed(folder: Path):
    split = PreparedData.open(folder).split("train")
    before = split.source(0)
    split.source(0)[:] = 7
    np.testing.assert_array_equal(split.source(0), before)


def test_examples_come_back_from_their_lines_exactly():
    speech = Speech(path=Path("/a b/c.wav"), start_seconds=0.1, duration_seconds=0.2)
    rows = FeatureRows(first_row=3, num_rows=7)
    examples = [
        Example(id="1", task="t", dataset="d", target_text="a\n\u2028\t😀", source_text="\r"),
        Example(id="2", task="t", dataset="d", target_text="x", speech=speech, feature_rows=rows),
        Example(id="3", task="t", dataset="d", target_text="x", features_path=Path("/x.npy")),
    ]
    for example in examples:
        line = example_to_json(example)
        assert "\n" not in line
        assert example_from_json(line) == example


def test_real_recordings_are_prepared(tmp_path: Path):
    folder = Path(__file__).resolve().parents[4] / "shared/data/librispeech_mini"
    if not (folder / "manifest.tsv").is_file():
        pytest.skip("the LibriSpeech recordings are not here")
    with (folder / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[:6]
    records = [
        {
            "id": row["id"],
            "task": "asr",
            "audio": str(folder / row["audio"]),
            "target_text": row["en"],
            "speaker": row["speaker"],
        }
        for row in rows
    ]
    path = tmp_path / "libri.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    report = prepare({"train": [path]}, tmp_path / "out", PrepareSettings(vocabulary_size=400))
    assert report.splits["train"].examples == {"asr": 6}
    split = PreparedData.open(tmp_path / "out").split("train")
    for i, row in enumerate(rows):
        seconds = float(row["duration_seconds"])
        assert abs(split.source_lengths[i] * 0.01 - seconds) < 0.1
