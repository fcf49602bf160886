"""A disk that is full: a named error, nothing half written, and the same command goes on.

The disk is full for every file beyond some size: a limit of the operating system's that a process
sets itself (``RLIMIT_FSIZE``).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from taskaware.augment.signals import change_signals
from taskaware.data.prepare import PrepareSettings, prepare
from taskaware.data.prepared import PreparedData
from taskaware.data.sound.settings import AugmentationSettings
from taskaware.errors import DataError, TaskawareError, WriteError
from taskaware.inference.model import load
from taskaware.output_folder import claimed
from taskaware.run.train import train_experiment
from tiny_corpus import Silent, assert_same_models, prepare_corpus, tiny_experiment, write_corpus
from tiny_models import random_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from taskaware.run.experiment import Experiment

resource = pytest.importorskip("resource", reason="limits on files are POSIX's")


@contextlib.contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    data = prepare_corpus(tmp_path_factory.mktemp("corpus"))
    return tiny_experiment(data, updates=4, validate_every=2, save_every=2)


@pytest.fixture(scope="module")
def whole(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert train_experiment(experiment, folder, display=Silent())
    return folder


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def size(folder: Path, pattern: str) -> int:
    return max(path.stat().st_size for path in folder.rglob(pattern))


@pytest.mark.parametrize("file", ["model.safetensors", "optimiser.safetensors"])
def test_a_checkpoint_that_has_no_room_is_not_there_and_training_goes_on_once_there_is(
    file: str, experiment: Experiment, whole: Path, tmp_path: Path
):
    folder = tmp_path / "run"
    # What is to be written is said, and where.
    said = r"run/.*File too large.*MB are to be written.*Make room"
    with files_of_at_most(size(whole, file) - 1), pytest.raises(WriteError, match=said):
        train_experiment(experiment, folder, display=Silent())
    there = names(folder)
    assert not [name for name in there if "partial" in name or name.startswith("checkpoints")]
    assert train_experiment(experiment, folder, display=Silent())
    assert_same_models(folder, whole)


def test_a_full_disk_later_on_leaves_the_checkpoint_of_before(
    experiment: Experiment, whole: Path, tmp_path: Path
):
    folder = tmp_path / "run"
    with contextlib.ExitStack() as limit:

        def fill(update: int) -> None:
            if update == 3:
                limit.enter_context(files_of_at_most(10_000))

        with pytest.raises(WriteError, match="Make room"):
            train_experiment(experiment, folder, display=Silent(fill))
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["update-00000002"]
    display = Silent()
    assert train_experiment(experiment, folder, display=display)
    assert display.first_update == 2
    assert_same_models(folder, whole)


def test_prepared_data_that_has_no_room_is_not_complete_and_is_made_once_there_is(tmp_path: Path):
    manifests = {split: [path] for split, path in write_corpus(tmp_path).items()}
    settings = PrepareSettings(vocabulary_size=300, num_workers=1)
    made = prepare(manifests, tmp_path / "whole", settings).folder
    folder = tmp_path / "data"
    with (
        files_of_at_most(size(made, "*.tar") - 1),
        pytest.raises(TaskawareError, match="too large"),
    ):
        prepare(manifests, folder, settings)
    with pytest.raises(DataError, match="is not complete"):
        PreparedData.open(folder)
    prepare(manifests, folder, settings)
    assert PreparedData.open(folder).fingerprint == PreparedData.open(made).fingerprint
    shards = [name for name in names(made) if name.endswith((".tar", ".jsonl", ".npy"))]
    assert all((folder / name).read_bytes() == (made / name).read_bytes() for name in shards)


def test_a_model_that_has_no_room_leaves_the_one_that_was_there(tmp_path: Path):
    model = random_model()
    folder = tmp_path / "model"
    with files_of_at_most(10_000), pytest.raises(WriteError, match=r"model\.safetensors"):
        model.save(folder)
    assert list(tmp_path.iterdir()) == []
    model.save(folder)
    before = {name: (folder / name).read_bytes() for name in names(folder)}
    with files_of_at_most(10_000), pytest.raises(WriteError, match=r"model\.safetensors"):
        random_model(d_ff=64).save(folder)
    assert {name: (folder / name).read_bytes() for name in names(tmp_path / "model")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    load(folder)


def test_the_record_of_what_was_written_is_named_where_it_has_no_room(tmp_path: Path):
    with (
        files_of_at_most(10),
        pytest.raises(WriteError, match=r"out/\.taskaware-written must be writable"),
        claimed(tmp_path / "out") as output,
    ):
        output.write("a.txt", b"ours")
    assert not (tmp_path / "out" / "a.txt").exists()
    with claimed(tmp_path / "out") as output:
        output.write("a.txt", b"ours")


def test_a_changed_recording_never_lacks_its_end(tmp_path: Path):
    manifest = write_corpus(tmp_path)["test"]

    def change(folder: Path) -> list[bytes]:
        settings = AugmentationSettings()
        change_signals([manifest], folder / "x.jsonl", 1, settings, seed=1, num_workers=1)
        return [path.read_bytes() for path in sorted(folder.rglob("*.flac"))]

    wanted = change(tmp_path / "whole")
    longest = max(len(content) for content in wanted)
    said = r"\.flac must be writable, but: File too large"
    with files_of_at_most(longest - 1), pytest.raises(WriteError, match=said):
        change(tmp_path / "full")
    assert not (tmp_path / "full/x.jsonl").exists()
    assert change(tmp_path / "full") == wanted
