"""A prepared folder: refused where it is not whole, and its examples come back exactly."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile

from taskaware.data.prepare import PrepareSettings, prepare
from taskaware.data.prepared import PreparedData
from taskaware.data.prepared.folder import read_marker
from taskaware.data.prepared.shards import example_from_record, example_to_json
from taskaware.data.prepared.storage import LocalStore
from taskaware.data.sound.settings import FeatureSettings
from taskaware.data.vocabulary import Vocabulary
from taskaware.errors import DataError, UnknownTaskError
from taskaware.types import Example, Speech


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
    for path in (folder, folder / "other"):
        with pytest.raises(DataError, match=r"is not complete .*`taskaware prepare`"):
            PreparedData.open(path)


def test_a_folder_of_another_format_is_refused(folder: Path):
    marker = folder / "prepared.json"
    content = marker.read_text()
    for version in ("99", "'2'", "2.0", "True"):
        in_json = version.replace("'", '"').lower()
        marker.write_text(content.replace('"format": 2', f'"format": {in_json}'))
        with pytest.raises(DataError, match=f"the format must be 2, but is {version}:"):
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


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    match how:
        case "missing":
            path.unlink()
        case "truncated":
            path.write_bytes(data[:-1])
        case "flipped":
            data[len(data) // 2] ^= 1
            path.write_bytes(data)


@pytest.mark.parametrize("how", ["missing", "truncated", "flipped"])
@pytest.mark.parametrize("name", ["speech-000000.tar", "text-000000.jsonl"])
def test_a_damaged_shard_is_named_and_nothing_of_it_is_read(folder: Path, name: str, how: str):
    damage(folder / "train" / name, how)
    split = PreparedData.open(folder).split("train")
    number = [record.name for record in split.records].index(name)
    with pytest.raises(DataError, match=rf"train/{name}: the (shard|file) .*prepare the folder"):
        split.open_shards([number])
    for read in (split.example, split.source, split.target):
        with pytest.raises(DataError, match=name):
            read(number)  # there is one example a shard


def test_a_damaged_index_is_named(folder: Path):
    damage(folder / "train/speech-000000.index.npy", "flipped")
    split = PreparedData.open(folder).split("train")
    with pytest.raises(DataError, match=r"speech-000000.index.npy: the shard has other bytes"):
        split.indices("asr")


def test_a_shard_that_is_damaged_after_it_was_read_is_found_at_the_next_look(folder: Path):
    split = PreparedData.open(folder).split("train")
    split.open_shards([0, 1])
    damage(folder / "train/text-000000.jsonl", "flipped")
    with pytest.raises(DataError, match=r"text-000000\.jsonl: the shard has other bytes"):
        split.open_shards([0, 1])


def test_other_programs_read_the_shards(folder: Path):
    with tarfile.open(folder / "train/speech-000000.tar") as archive:
        names = archive.getnames()
        assert names == ["00000000.json", "00000000.npy"]
        (record,) = json.load(archive.extractfile(names[0]))  # type: ignore[arg-type]
        features = np.load(io.BytesIO(archive.extractfile(names[1]).read()))  # type: ignore[union-attr]
    assert record["target_text"] == "hello"
    assert features.dtype == np.float16
    assert features.shape == (98, 80)
    (line,) = (folder / "train/text-000000.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["source_text"] == "hello"


def test_object_storage_is_read_like_a_folder(folder: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TASKAWARE_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/bucket/data", recursive=True)
    here, there = PreparedData.open(folder), PreparedData.open("memory://bucket/data")
    for i in range(2):
        assert there.split("train").example(i) == here.split("train").example(i)
        np.testing.assert_array_equal(there.split("train").source(i), here.split("train").source(i))
    through_path = PreparedData.open(Path("memory://bucket/data"))  # makes one slash of two
    assert through_path.fingerprint == here.fingerprint
    for file in (tmp_path / "cache").glob("??/*"):
        file.write_bytes(b"damaged here")  # what is there is whole, and is fetched again
    again = PreparedData.open("memory://bucket/data").split("train")
    assert again.example(0) == here.split("train").example(0)
    memory.pipe("/bucket/data/train/text-000000.jsonl", b"other")
    for file in (tmp_path / "cache").glob("??/*"):
        file.write_bytes(b"damaged here")  # fetched again, and what comes is damaged too
    with pytest.raises(DataError, match="has 5 bytes and must have"):
        PreparedData.open("memory://bucket/data").split("train").example(0)


def test_another_vocabulary_is_refused(folder: Path):
    Vocabulary.train(["other texts"], size=280).save(folder / "vocabulary.model")
    with pytest.raises(DataError, match="but is another"):
        PreparedData.open(folder)


def test_a_source_is_a_copy_that_may_be_changed(folder: Path):
    split = PreparedData.open(folder).split("train")
    before = split.source(0)
    split.source(0)[:] = 7
    np.testing.assert_array_equal(split.source(0), before)


def test_a_file_url_is_a_folder(folder: Path):
    here = PreparedData.open(folder).fingerprint
    assert PreparedData.open(f"file://{folder}").fingerprint == here
    assert PreparedData.open(Path(f"file://{folder}")).fingerprint == here


def test_the_fingerprint_is_of_the_contents_wherever_and_whenever_they_were_made(tmp_path: Path):
    def prepared(manifest: str, to: str, bins: int = 80) -> PreparedData:
        features = FeatureSettings(num_mel_bins=bins)
        settings = PrepareSettings(vocabulary_size=300, features=features, num_workers=1)
        return PreparedData.open(
            prepare({"train": [tmp_path / manifest]}, tmp_path / to, settings).folder
        )

    header = "task\tsource_text\ttarget_text\tutterance"
    (tmp_path / "m.tsv").write_text(f"{header}\nmt\thello\thallo\tu")
    first = prepared("m.tsv", "out").fingerprint
    (tmp_path / "out").rename(tmp_path / "moved")
    assert PreparedData.open(tmp_path / "moved").fingerprint == first
    (tmp_path / "m.tsv").touch()
    assert prepared("m.tsv", "again").fingerprint == first
    assert prepared("m.tsv", "other_features", 40).fingerprint != first
    (tmp_path / "m.tsv").write_text(f"{header}\nmt\thello\thallo\tu\nmt\tone\teins\tu2")
    assert prepared("m.tsv", "more").fingerprint != first


def test_examples_come_back_from_their_lines_exactly():
    speech = Speech(path=Path("/a b/c.wav"), start_seconds=0.1, duration_seconds=0.2)
    examples = [
        Example(id="1", task="t", dataset="d", target_text="a\n\u2028\t😀", source_text="\r"),
        Example(id="2", task="t", dataset="d", target_text="x", speech=speech),
        Example(id="3", task="t", dataset="d", target_text="x", features_path=Path("/x.npy")),
    ]
    for example in examples:
        line = example_to_json(example).decode()
        assert "\n" not in line
        assert example_from_record(json.loads(line)) == example


def test_real_recordings_are_prepared(tmp_path: Path):
    folder = Path(__file__).resolve().parents[5] / "shared/data/librispeech_mini"
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


def test_a_folder_that_may_not_be_read_is_not_to_be_deleted(tmp_path: Path):
    class Refused(LocalStore):
        def read(self, name: str) -> bytes | None:
            raise PermissionError(13, "Permission denied", name)

    with pytest.raises(DataError, match="must be readable for you, but is not: ask for permission"):
        read_marker(Refused(tmp_path))
