"""A prepared folder of a stranger: what it names is inside it, what it links to stays as it is."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from taskaware.cli.data import verify
from taskaware.data.prepare import PrepareSettings, prepare
from taskaware.data.prepared import PreparedData
from taskaware.data.prepared.files import written_earlier
from taskaware.data.prepared.users import note_run
from taskaware.errors import DataError
from taskaware.run.train import train_experiment
from tiny_corpus import Silent, prepare_corpus, tiny_experiment, write_corpus

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


# --- forged: every checksum is right, and what is in the files cannot be ---


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def forged(spoken: Path, tmp_path: Path) -> Path:
    return shutil.copytree(spoken, tmp_path / "data")


def with_right_checksums(folder: Path) -> None:
    marker = json.loads((folder / "prepared.json").read_text())
    for split, said in marker["splits"].items():
        for shard in said["shards"]:
            path = folder / split / shard["name"]
            index = path.with_name(path.name.partition(".")[0] + ".index.npy")
            shard["num_bytes"] = path.stat().st_size
            shard["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
            shard["index_sha256"] = hashlib.sha256(index.read_bytes()).hexdigest()
    (folder / "prepared.json").write_text(json.dumps(marker))


def assert_refused(folder: Path, said: str, tmp_path: Path) -> None:
    """Training refuses the folder, and `taskaware data verify` says the same before it."""
    for use in (
        lambda: train_experiment(tiny_experiment(folder), tmp_path / "run", display=Silent()),
        lambda: verify(str(folder)),
    ):
        with pytest.raises(DataError, match=said) as caught:
            use()
        assert "prepare" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "field", "value", "said"),
    [
        ("speech", "task", 7, "not of a task that there is"),
        ("text", "task", 0, "number of examples of '.*' is not that of prepared.json"),
        ("speech", "source_bytes", 0, "a source is a text where its task's are not"),
        ("text", "source_bytes", 1, "a source is a text where its task's are not"),
        ("speech", "source_length", 1, "another size than its length says"),
        ("speech", "source_length", -1, "a length is below 0"),
        ("text", "target_length", -1, "a length is below 0"),
        ("speech", "source_offset", 2**32 - 1, "beyond the end of the shard"),
        ("text", "example_bytes", 2**32 - 1, "beyond the end of the shard"),
        ("text", "source_length", 2, "must be of 2 pieces in its source, .* but has"),
        ("text", "target_length", 200, "must be of 200 pieces in its target, .* but has"),
    ],
)
def test_an_index_that_cannot_be_is_refused(
    kind: str, field: str, value: int, said: str, forged: Path, tmp_path: Path
):
    path = forged / "train" / f"{kind}-000000.index.npy"
    index = np.load(path)
    index[field] = value
    np.save(path, index)
    with_right_checksums(forged)
    assert_refused(forged, said, tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("target_text", ["eins"], "`target_text` is of type list in place of str"),
        ("target_text", "\ud800", "surrogates not allowed"),
        ("id", 3, "`id` is of type int"),
        ("task", "asr_en", "must be of 'mt_en_de', as its index says, but is of 'asr_en'"),
        ("speech", {"path": 1}, "`path` is of type int"),
        ("speech", {"path": "a.wav", "start_seconds": float("nan")}, "times from 0 up"),
        ("features_path", 1, "`features_path` is of type int"),
        ("other", "x", "unexpected keyword argument 'other'"),
    ],
)
def test_an_example_that_cannot_be_is_refused(
    field: str, value: object, said: str, forged: Path, tmp_path: Path
):
    path = forged / "train" / "text-000000.jsonl"
    index_path = path.with_name("text-000000.index.npy")
    index, content = np.load(index_path), b""
    for row, line in enumerate(path.read_text().splitlines()):
        changed_line = json.dumps(json.loads(line) | {field: value}).encode()
        index[row]["example_offset"], index[row]["example_bytes"] = len(content), len(changed_line)
        content += changed_line + b"\n"
    path.write_bytes(content)
    np.save(index_path, index)
    with_right_checksums(forged)
    assert_refused(forged, said, tmp_path)


def test_speech_that_says_it_is_a_text_is_refused(forged: Path, tmp_path: Path):
    path = forged / "train" / "speech-000000.tar"
    before = path.read_bytes()
    path.write_bytes(before.replace(b'"utterance": "train', b'"source_text":"rain'))
    assert path.stat().st_size == len(before)
    with_right_checksums(forged)
    assert_refused(forged, "whose sources are speech, but is not", tmp_path)


def test_features_that_are_not_finite_are_found_before_training(forged: Path):
    path = forged / "train" / "speech-000000.tar"
    content = bytearray(path.read_bytes())
    place = np.load(path.with_name("speech-000000.index.npy"))[0]["source_offset"] + 128
    content[place : place + 2] = np.float16("nan").tobytes()
    path.write_bytes(content)
    with_right_checksums(forged)
    with pytest.raises(DataError, match="must be of finite numbers, but has others"):
        verify(str(forged))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("encoder", {}, "sha256"),
        ("encoder", False, "`encoder` is of type bool"),
        ("num_feature_columns", -1, "`num_feature_columns` must be a number of columns"),
        ("splits", {}, "`splits` must have one at least, but has none"),
        ("tasks", [], "`tasks` must have one at least, but has none"),
    ],
)
def test_a_marker_that_cannot_be_is_refused(name: str, value: object, said: str, forged: Path):
    path = forged / "prepared.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(DataError, match=said):
        PreparedData.open(forged)


def test_a_kind_of_store_that_there_is_not_is_no_features(forged: Path):
    path = forged / "prepared.json"
    path.write_text(path.read_text().replace('"store": "features"', '"store": "sound"'))
    with pytest.raises(DataError, match="`store` must be 'features' or 'audio', but is 'sound'"):
        PreparedData.open(forged)


def test_another_kind_of_source_than_the_shards_hold_is_refused(forged: Path, tmp_path: Path):
    path = forged / "prepared.json"
    marker = json.loads(path.read_text())
    for task in marker["tasks"]:
        task["source_modality"] = "text"
    path.write_text(json.dumps(marker))
    assert_refused(forged, "a source is a text where its task's are not", tmp_path)


def test_a_recording_of_another_length_than_its_index_says_is_refused(tmp_path: Path):
    manifests = {split: [path] for split, path in write_corpus(tmp_path).items()}
    settings = PrepareSettings(vocabulary_size=300, num_workers=1, store="audio")
    folder = prepare(manifests, tmp_path / "data", settings).folder
    verify(str(folder))
    path = folder / "train" / "speech-000000.index.npy"
    index = np.load(path)
    index["source_length"] += 1_000
    np.save(path, index)
    with_right_checksums(folder)
    assert_refused(folder, r"frames, as its index says, but of", tmp_path)
