"""A run goes on where its data, its start or its own folder were moved, and only with the same."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from taskaware.data.prepare import PrepareSettings, prepare
from taskaware.errors import DataError, ExperimentError
from taskaware.run.train import train_experiment
from tiny_corpus import Silent, assert_same_models, interrupt_in, prepare_corpus, tiny_experiment

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.run.experiment import Experiment


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def starts(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models of different weights to start from."""
    folders = tuple(tmp_path_factory.mktemp("start") / name for name in ("one", "other"))
    for seed, folder in enumerate(folders):
        experiment = tiny_experiment(data, updates=2, seed=seed)
        assert train_experiment(experiment, folder, display=Silent())
    return folders


def train(experiment: Experiment, folder: Path) -> None:
    assert train_experiment(experiment, folder, display=Silent())


def test_all_folders_may_move_while_a_run_is_stopped(
    data: Path, starts: tuple[Path, Path], tmp_path: Path
):
    never_stopped = tiny_experiment(data, start=starts[0])
    train(never_stopped, tmp_path / "never_stopped")
    assert not train_experiment(never_stopped, tmp_path / "run", display=interrupt_in(4))
    moved = tmp_path / "elsewhere"
    shutil.copytree(data, moved / "data")
    shutil.copytree(starts[0], moved / "start")
    (tmp_path / "run").rename(moved / "run")
    train(tiny_experiment(moved / "data", start=moved / "start"), moved / "run")
    assert_same_models(tmp_path / "never_stopped", moved / "run")


def test_a_run_may_start_from_a_checkpoint_that_was_moved(
    data: Path, starts: tuple[Path, Path], tmp_path: Path
):
    checkpoint = starts[0] / "checkpoints" / "update-00000002"
    experiment = tiny_experiment(data, start=checkpoint, trains="task_embedding", updates=4)
    assert not train_experiment(experiment, tmp_path / "run", display=interrupt_in(2))
    shutil.copytree(checkpoint, tmp_path / "moved")
    moved = tiny_experiment(data, start=tmp_path / "moved", trains="task_embedding", updates=4)
    train(moved, tmp_path / "run")


def test_other_data_in_another_folder_are_told_from_those_that_were_moved(
    data: Path, tmp_path: Path
):
    train(tiny_experiment(data, updates=2), tmp_path / "run")
    manifest = (data.parent / "train.tsv").read_text().splitlines()
    other = tmp_path / "other"
    other.mkdir()
    shutil.copytree(data.parent, other, dirs_exist_ok=True, ignore=shutil.ignore_patterns("data"))
    (other / "train.tsv").write_text("\n".join(manifest[:-6]) + "\n")
    splits = {split: [other / f"{split}.tsv"] for split in ("train", "dev", "test")}
    prepare(splits, other / "data", PrepareSettings(vocabulary_size=300, num_workers=1))
    with pytest.raises(DataError, match=f"{other / 'data'} holds other data than {data} did"):
        train(tiny_experiment(other / "data", updates=4), tmp_path / "run")


@pytest.mark.parametrize("updates", [2, 4])
def test_a_run_does_not_go_on_from_another_start(
    updates: int, data: Path, starts: tuple[Path, Path], tmp_path: Path
):
    train(tiny_experiment(data, start=starts[0], updates=2), tmp_path / "run")
    with pytest.raises(DataError, match="must resume with the model that it began from"):
        train(tiny_experiment(data, start=starts[1], updates=updates), tmp_path / "run")


def test_a_start_that_changed_where_it_lies_is_another(
    data: Path, starts: tuple[Path, Path], tmp_path: Path
):
    shutil.copytree(starts[0], tmp_path / "start")
    experiment = tiny_experiment(data, start=tmp_path / "start", updates=2)
    train(experiment, tmp_path / "run")
    shutil.rmtree(tmp_path / "start")
    shutil.copytree(starts[1], tmp_path / "start")
    with pytest.raises(DataError, match="must resume with the model that it began from"):
        train(experiment, tmp_path / "run")


def test_a_run_with_a_start_is_not_one_without(
    data: Path, starts: tuple[Path, Path], tmp_path: Path
):
    train(tiny_experiment(data, updates=2), tmp_path / "run")
    with pytest.raises(ExperimentError, match="holds another"):
        train(tiny_experiment(data, start=starts[0], updates=2), tmp_path / "run")
