"""What a run says before it trains: what is left out of training and validation, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from taskaware.data.prepare import PrepareSettings, prepare
from taskaware.errors import DataError, ExperimentError, TaskawareError
from taskaware.run.log import read_log
from taskaware.run.train import train_experiment
from tiny_corpus import Silent, interrupt_in, prepare_corpus, tiny_experiment, write_corpus

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.run.experiment import Experiment
    from tiny_corpus import ModelChanges


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data whose dev split lacks one task, and without a second split to validate on."""
    folder = tmp_path_factory.mktemp("uneven")
    manifests = write_corpus(folder)
    lines = manifests["dev"].read_text().splitlines()
    kept = [line for line in lines if not line.startswith("asr")]
    manifests["dev"].write_text("\n".join(kept) + "\n")
    settings = PrepareSettings(vocabulary_size=300, num_workers=1)
    prepare({name: [manifests[name]] for name in ("train", "dev")}, folder / "data", settings)
    return folder / "data"


def remarks(experiment: Experiment, folder: Path) -> dict[str, list[dict]]:
    """Train; return the remarks of the log by what they are about."""
    assert train_experiment(experiment, folder, display=Silent())
    found: dict[str, list[dict]] = {}
    for line in read_log(folder):
        if line["kind"] == "remark":
            found.setdefault(line["about"], []).append(line)
    return found


def test_a_run_that_leaves_nothing_out_has_nothing_to_say(data: Path, tmp_path: Path):
    assert remarks(tiny_experiment(data, updates=1), tmp_path) == {}


def test_recordings_and_texts_that_are_too_long_are_counted_by_task(data: Path, tmp_path: Path):
    experiment = tiny_experiment(data, updates=1, batching={"max_source": 60, "max_target": 2})
    found = remarks(experiment, tmp_path)
    speech = {line["task"]: line["figures"] for line in found["batching.max_source"]}
    assert speech.keys() == {"asr_en", "st_en_de"}
    for figures in speech.values():
        assert 0 < figures["left_out"] < figures["examples"] == 16
        assert 0 < figures["hours_left_out"] < figures["hours"]
    targets = {line["task"]: line["text"] for line in found["batching.max_target"]}
    assert all("of 16 training examples" in text for text in targets.values())
    assert all("batching.max_target=" in text for text in targets.values())


def test_what_a_remark_advises_trains_on_all(data: Path, tmp_path: Path):
    found = remarks(tiny_experiment(data, updates=1, batching={"max_source": 60}), tmp_path / "a")
    longest = max(line["figures"]["longest"] for line in found["batching.max_source"])
    advised = tiny_experiment(data, updates=1, batching={"max_source": longest})
    assert remarks(advised, tmp_path / "b") == {}


def test_a_task_of_which_the_limits_leave_nothing_is_refused_before_the_folder_is_taken(
    data: Path, tmp_path: Path
):
    experiment = tiny_experiment(data, batching={"max_source": 10})
    with pytest.raises(DataError, match=r"asr_en.*all 16 are longer.*batching\.max_source"):
        train_experiment(experiment, tmp_path / "run", display=Silent())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ({"source_positions": "learnt", "num_source_positions": 3}, r"max_source.*at most 24"),
        ({"target_positions": "learnt", "num_target_positions": 6}, r"max_target.*at most 2"),
    ],
)
def test_examples_beyond_the_positions_that_a_model_has_learnt_are_refused_before_the_first_update(
    model: ModelChanges, named: str, data: Path, tmp_path: Path
):
    experiment = tiny_experiment(data, tasks=("asr_en",), model=model)
    with pytest.raises(DataError, match=named):
        train_experiment(experiment, tmp_path / "run", display=Silent())
    assert not (tmp_path / "run").exists()


def test_a_task_without_training_examples_is_refused_with_those_that_have_some(
    uneven: Path, tmp_path: Path
):
    experiment = tiny_experiment(uneven, tasks=("asr_en", "mt_en_de"))
    swapped = _with_splits(experiment, train_split="dev", dev_split="train")
    with pytest.raises(DataError, match=r"asr_en.*mt_en_de have some.*data\.tasks"):
        train_experiment(swapped, tmp_path / "run", display=Silent())
    assert not (tmp_path / "run").exists()


def _with_splits(experiment: Experiment, **splits: str) -> Experiment:
    from dataclasses import replace

    return replace(experiment, data=replace(experiment.data, **splits))


def test_a_dev_split_that_does_not_exist_is_refused_and_the_nearest_named(
    data: Path, tmp_path: Path
):
    experiment = _with_splits(tiny_experiment(data), dev_split="dew")
    with pytest.raises(ExperimentError, match=r"train, dev, test.*'dew' \(did you mean 'dev'"):
        train_experiment(experiment, tmp_path / "run", display=Silent())
    with pytest.raises(TaskawareError, match="did you mean 'train'"):
        train_experiment(
            _with_splits(tiny_experiment(data), train_split="trian"),
            tmp_path / "run",
            display=Silent(),
        )
    assert not (tmp_path / "run").exists()


def test_data_without_a_dev_split_is_trained_on_with_a_remark(tmp_path: Path):
    manifests = write_corpus(tmp_path)
    settings = PrepareSettings(vocabulary_size=300, num_workers=1)
    prepare({"train": [manifests["train"]]}, tmp_path / "data", settings)
    found = remarks(tiny_experiment(tmp_path / "data", updates=1), tmp_path / "run")
    assert "nothing is validated" in found["data.dev_split"][0]["text"]


def test_tasks_without_dev_examples_are_named(uneven: Path, tmp_path: Path):
    found = remarks(tiny_experiment(uneven, updates=1), tmp_path / "all")
    assert "asr_en" in found["data.dev_split"][0]["text"]
    found = remarks(tiny_experiment(uneven, updates=1, tasks=("asr_en",)), tmp_path / "one")
    assert "nothing is validated" in found["data.dev_split"][0]["text"]


def test_a_validation_on_the_training_split_or_on_a_part_is_remarked_on(data: Path, tmp_path: Path):
    experiment = tiny_experiment(data, updates=1, validation_examples=2)
    found = remarks(_with_splits(experiment, dev_split="train"), tmp_path)
    assert "is trained on" in found["data.dev_split"][0]["text"]
    assert found["training.validation_examples"][0]["figures"] == {"validated": 6, "examples": 48}


def test_weights_that_draw_no_batch_of_a_task_are_remarked_on(data: Path, tmp_path: Path):
    batching = {"mix": "sampled", "task_weights": {"asr_en": 1.0, "mt_en_de": 0.0}}
    found = remarks(tiny_experiment(data, updates=1, batching=batching), tmp_path)
    named = {line["task"] for line in found["batching.task_weights"]}
    assert named == {"st_en_de", "mt_en_de"}


def test_weights_of_an_unknown_task_are_refused_before_the_folder_is_taken(
    data: Path, tmp_path: Path
):
    batching = {"mix": "sampled", "task_weights": {"asr_de": 1.0}}
    with pytest.raises(ExperimentError, match=r"asr_de.*did you mean 'asr_en'"):
        train_experiment(
            tiny_experiment(data, batching=batching), tmp_path / "run", display=Silent()
        )
    assert not (tmp_path / "run").exists()


def test_a_run_that_goes_on_says_it_again_but_logs_it_once(data: Path, tmp_path: Path):
    experiment = tiny_experiment(data, batching={"max_source": 60})
    assert not train_experiment(experiment, tmp_path, display=interrupt_in(2))
    found = remarks(experiment, tmp_path)
    assert [line["task"] for line in found["batching.max_source"]] == ["asr_en", "st_en_de"]
