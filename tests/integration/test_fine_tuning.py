"""Runs that go on from a trained model: what they keep of it, and what keeps its other tasks."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

import taskaware
from taskaware.data.prepare import PrepareSettings, prepare
from taskaware.errors import CheckpointError, DataError, ExperimentError, UserError
from taskaware.run import experiment as experiment_file
from taskaware.run.retention import _memory, create_retention
from taskaware.run.run import set_up
from taskaware.run.train import train_experiment
from taskaware.training.processes import Processes
from taskaware.training.retention.replay import Replay
from tiny_corpus import (
    TASK_NAMES,
    Silent,
    assert_same_models,
    figures,
    interrupt_in,
    prepare_corpus,
    tiny_experiment,
    write_corpus,
)

if TYPE_CHECKING:
    from pathlib import Path

METHODS = ("replay", "distillation", "ewc")
DROPOUT = {"model": {"dropout": 0.2, "attention_dropout": 0.1, "relu_dropout": 0.1}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def vanilla(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "vanilla"
    experiment = tiny_experiment(data, conditioning={"cue": "none"}, **DROPOUT)
    assert train_experiment(experiment, folder, display=Silent())
    return folder


def tune(data: Path, start: Path, folder: Path, **changes) -> Path:
    arguments = {"conditioning": {"cue": "none"}, "tasks": ("st_en_de",)} | DROPOUT | changes
    experiment = tiny_experiment(data, start=start, **arguments)
    assert train_experiment(experiment, folder, display=Silent())
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return taskaware.load(folder).transformer.state_dict()


def test_a_fine_tuned_model_keeps_all_the_tasks_of_its_start(
    data: Path, vanilla: Path, tmp_path: Path
):
    tuned = taskaware.load(tune(data, vanilla, tmp_path / "tuned") / "model")
    assert tuple(task.name for task in tuned.tasks) == TASK_NAMES
    assert tuned.provenance["start"] == vanilla.name


def test_fine_tuning_begins_with_the_weights_of_its_start(
    data: Path, vanilla: Path, tmp_path: Path
):
    start = weights(vanilla / "model")
    folder = tune(data, vanilla, tmp_path / "still", updates=1, optimiser={"learning_rate": 1e-9})
    for name, value in weights(folder / "model").items():
        torch.testing.assert_close(value, start[name], atol=1e-7, rtol=0)


def test_fine_tuning_trains_the_tasks_asked_for_alone(data: Path, vanilla: Path, tmp_path: Path):
    folder = tune(data, vanilla, tmp_path / "text", tasks=("mt_en_de",))
    start = weights(vanilla / "model")
    for name, value in weights(folder / "model").items():
        if name.startswith("frontends.speech"):
            assert torch.equal(value, start[name]), "no text goes through the speech front end"
    assert {name for line in figures(folder) for name in line.get("losses", {})} == {"mt_en_de"}


def test_a_start_whose_task_is_another_in_the_data_is_refused(vanilla: Path, tmp_path: Path):
    manifest = tmp_path / "train.tsv"
    manifest.write_text(
        "task\tsource_text\ttarget_text\tsource_language\ttarget_language\n"
        "mt_en_de\teins zwei\tone two\tde\ten\n"
    )
    settings = PrepareSettings(num_workers=1)
    prepare(
        {"train": [manifest]},
        tmp_path / "data",
        settings,
        vocabulary=vanilla / "model" / "vocabulary.model",
    )
    with pytest.raises(UserError, match=r"from text in 'en' .* from text in 'de' to text in 'en'"):
        tune(tmp_path / "data", vanilla, tmp_path / "tuned", tasks=("mt_en_de",))


@pytest.mark.parametrize("place", ["run", "model", "taskwise", "checkpoint"])
def test_a_run_its_models_and_its_checkpoints_can_be_a_start(
    place: str, data: Path, vanilla: Path, tmp_path: Path
):
    start = {
        "run": vanilla,
        "model": vanilla / "model",
        "taskwise": vanilla / "taskwise" / "asr_en",
        "checkpoint": sorted((vanilla / "checkpoints").iterdir())[-1],
    }[place]
    folder = tune(data, start, tmp_path / "tuned")
    assert tuple(t.name for t in taskaware.load(folder / "model").tasks) == TASK_NAMES


@pytest.mark.parametrize("method", METHODS)
def test_a_retention_that_was_stopped_ends_bitwise_as_one_that_never_was(
    method: str, data: Path, vanilla: Path, tmp_path: Path
):
    experiment = tiny_experiment(
        data,
        start=vanilla,
        tasks=("st_en_de",),
        conditioning={"cue": "none"},
        retention={"method": method, "memory_examples": 6},
        **DROPOUT,
    )
    assert train_experiment(experiment, tmp_path / "whole", display=Silent())
    for last in (2, 4):
        assert not train_experiment(experiment, tmp_path / "parts", display=interrupt_in(last))
    assert train_experiment(experiment, tmp_path / "parts", display=Silent())
    assert_same_models(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cue", ["none", "implicit", "explicit", "target_tag"])
def test_every_method_works_with_every_cue(method: str, cue: str, data: Path, tmp_path: Path):
    conditioning = {"cue": cue}
    start = tmp_path / "start"
    experiment = tiny_experiment(data, conditioning=conditioning, updates=1)
    assert train_experiment(experiment, start, display=Silent())
    retention = {"method": method, "memory_examples": 4}
    changes = {"conditioning": conditioning, "tasks": ("st_en_de",), "updates": 2, "model": None}
    plain = tune(data, start, tmp_path / "plain", **changes)
    kept = tune(data, start, tmp_path / "kept", retention=retention, **changes)
    left, right = weights(plain / "model"), weights(kept / "model")
    assert any(not torch.equal(left[name], right[name]) for name in left)


def test_distillation_from_a_checkpoint_asks_under_the_embeddings_of_its_weights(
    data: Path, tmp_path: Path
):
    conditioning = {"cue": "explicit"}
    first = tiny_experiment(data, conditioning=conditioning, updates=2)
    assert train_experiment(first, tmp_path / "start", display=Silent())
    changes = {"conditioning": conditioning, "retention": {"method": "distillation"}, "model": None}
    checkpoint = sorted((tmp_path / "start" / "checkpoints").iterdir())[-1]
    model = sorted((tmp_path / "start").glob("model"))[0]
    by_checkpoint = tune(data, checkpoint, tmp_path / "checkpoint", **changes)
    by_model = tune(data, model, tmp_path / "model", **changes)
    left, right = weights(by_checkpoint / "model"), weights(by_model / "model")
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_task_without_examples_keeps_the_embedding_of_the_start(tmp_path: Path):
    manifests = write_corpus(tmp_path)
    settings = PrepareSettings(vocabulary_size=300, num_workers=1)
    prepare({split: [path] for split, path in manifests.items()}, tmp_path / "all", settings)
    start = tmp_path / "start"
    assert train_experiment(tiny_experiment(tmp_path / "all"), start, display=Silent())
    for path in manifests.values():
        lines = path.read_text().splitlines()
        path.write_text("\n".join(line for line in lines if not line.startswith("asr")) + "\n")
    prepare(
        {split: [path] for split, path in manifests.items()},
        tmp_path / "less",
        settings,
        vocabulary=tmp_path / "all" / "vocabulary.model",
    )
    experiment = tiny_experiment(tmp_path / "less", start=start, tasks=("st_en_de",))
    assert train_experiment(experiment, tmp_path / "tuned", display=Silent())
    before = taskaware.load(start / "model").task_embeddings
    after = taskaware.load(tmp_path / "tuned" / "model").task_embeddings
    assert torch.equal(before["asr_en"], after["asr_en"])
    assert not torch.equal(before["st_en_de"], after["st_en_de"])
    experiment = tiny_experiment(
        tmp_path / "less", start=start, tasks=("st_en_de",), retention={"method": "replay"}
    )
    with pytest.raises(DataError, match="asr_en"):
        train_experiment(experiment, tmp_path / "replayed", display=Silent())


def write_start(folder: Path, section: dict[str, dict[str, object]]) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps(section))
    return folder


def test_a_field_that_the_experiment_does_not_give_is_the_starts(tmp_path: Path):
    given = {"preset": "multi_modality", "d_ff": 99, "num_heads": 2, "conditioning": {"d_task": 12}}
    section = {"model": given, "decoding": {"beam": 7, "suppressed": [3]}}
    start = write_start(tmp_path / "start", section)
    path = tmp_path / "more.toml"
    path.write_text(
        'name = "more"\n[data]\nfolder = "data"\n[start]\nmodel = "' + str(start) + '"\n'
        "[model]\nnum_heads = 4\n[model.conditioning]\nfilm_scope = 'per_block'\n"
    )
    found = experiment_file.load(path, ["decoding.length_penalty=0.5"], from_start=True)
    assert (found.model.d_ff, found.model.num_heads) == (99, 4)
    conditioning = found.model.conditioning
    assert (conditioning.d_task, conditioning.film_scope) == (12, "per_block")
    decoding = found.decoding
    assert (decoding.beam, decoding.suppressed, decoding.length_penalty) == (7, (3,), 0.5)
    # A preset that the experiment chooses is given too, and wins over the start.
    tiny = experiment_file.load(path, ["model.preset=tiny"], from_start=True)
    assert (tiny.model.d_ff, tiny.model.conditioning.d_task, tiny.model.num_heads) == (512, 64, 4)
    # What was written in full means the same without the start.
    path.write_text(experiment_file.dump(found))
    shutil.rmtree(start)
    assert experiment_file.load(path, from_start=True) == found


@pytest.mark.parametrize("place", ["run", "taskwise", "checkpoint"])
def test_every_kind_of_start_gives_its_model(place: str, vanilla: Path, tmp_path: Path):
    start = {
        "run": vanilla,
        "taskwise": vanilla / "taskwise" / "asr_en",
        "checkpoint": sorted((vanilla / "checkpoints").iterdir())[-1],
    }[place]
    path = tmp_path / "more.toml"
    path.write_text(f'name = "more"\n[data]\nfolder = "data"\n[start]\nmodel = "{start}"\n')
    found = experiment_file.load(path, from_start=True)
    model = taskaware.load(vanilla, device="cpu")
    assert (found.model, found.decoding) == (model.settings, model.decoding)


# --- what is refused ---


def test_a_start_of_other_sizes_or_another_vocabulary_is_refused(
    data: Path, vanilla: Path, tmp_path: Path
):
    larger = {"model": {"d_ff": 64}}
    with pytest.raises(ExperimentError, match=r"`model.d_ff` must be 32, but is 64"):
        tune(data, vanilla, tmp_path / "larger", **larger)
    checkpoint = sorted((vanilla / "checkpoints").iterdir())[-1]
    with pytest.raises(CheckpointError, match="feed_forward"):
        tune(data, checkpoint, tmp_path / "larger", **larger)
    other = tmp_path / "other"
    other.mkdir()
    manifests = {split: [path] for split, path in write_corpus(other).items()}
    prepare(manifests, other / "data", PrepareSettings(vocabulary_size=290, num_workers=1))
    with pytest.raises(DataError, match="vocabulary"):
        tune(other / "data", vanilla, tmp_path / "tuned")


def test_a_start_that_hears_otherwise_is_refused(
    data: Path, vanilla: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from taskaware.data.prepared import PreparedData

    open_data = PreparedData.open

    def open_with_other_features(folder: Path) -> PreparedData:
        opened = open_data(folder)
        opened.feature_settings = replace(opened.feature_settings, window_ms=30.0)
        return opened

    monkeypatch.setattr(PreparedData, "open", open_with_other_features)
    for start in (vanilla, sorted((vanilla / "checkpoints").iterdir())[-1]):
        with pytest.raises(DataError, match=r"must have the features that .* was trained with"):
            tune(data, start, tmp_path / "tuned")


def test_keeping_where_there_is_nothing_to_keep_is_refused(
    data: Path, vanilla: Path, tmp_path: Path
):
    with pytest.raises(UserError, match="none to keep"):
        tune(data, vanilla, tmp_path / "tuned", tasks=(), retention={"method": "ewc"})


def test_a_start_that_is_not_there_or_damaged_is_refused(data: Path, vanilla: Path, tmp_path: Path):
    with pytest.raises(CheckpointError, match="nowhere"):
        tune(data, tmp_path / "nowhere", tmp_path / "tuned")
    # A checkpoint says itself what it is, wherever it lies.
    alone = tmp_path / "alone" / "a"
    shutil.copytree(sorted((vanilla / "checkpoints").iterdir())[-1], alone)
    tune(data, alone, tmp_path / "tuned", updates=1)
    (alone / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        tune(data, alone, tmp_path / "again")


def test_replay_remembers_so_many_examples_of_each_old_task_and_sees_one_task_an_update(
    data: Path, vanilla: Path, tmp_path: Path
):
    experiment = tiny_experiment(
        data,
        start=vanilla,
        tasks=("st_en_de",),
        conditioning={"cue": "none"},
        retention={"method": "replay", "memory_examples": 3},
        **DROPOUT,
    )
    alone = Processes(rank=0, num_ranks=1, device=torch.device("cpu"))
    run = set_up(experiment, tmp_path, alone)
    replay = create_retention(run)
    assert isinstance(replay, Replay)
    seen: dict[str, set[str]] = {}
    for _ in range(40):
        (batch,) = replay._remembered(torch.device("cpu"))
        seen.setdefault(batch.task.name, set()).update(batch.example_ids)
    assert seen.keys() == {"asr_en", "mt_en_de"}
    assert {len(ids) for ids in seen.values()} == {3}


@pytest.mark.parametrize("method", ["replay", "ewc"])
def test_what_is_remembered_is_within_the_limits_of_length(
    method: str, data: Path, vanilla: Path, tmp_path: Path
):
    def tuned(max_source: int):
        return tiny_experiment(
            data,
            start=vanilla,
            tasks=("mt_en_de",),
            conditioning={"cue": "none"},
            retention={"method": method, "memory_examples": 5},
            batching={"max_source": max_source},
            **DROPOUT,
        )

    alone = Processes(rank=0, num_ranks=1, device=torch.device("cpu"))
    run = set_up(tuned(60), tmp_path, alone)
    memory = _memory(run, [task for task in run.tasks if task.name != "mt_en_de"])
    for task in ("asr_en", "st_en_de"):
        chosen = memory.indices(task)
        assert len(chosen)
        assert max(memory.source_lengths[chosen]) <= 60
    with pytest.raises(DataError, match=r"asr_en.*to be remembered.*batching\.max_source"):
        train_experiment(tuned(20), tmp_path / "short", display=Silent())
    assert not (tmp_path / "short").exists()
