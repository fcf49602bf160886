"""Adapters of tasks on a frozen base: trained, kept, resumed, saved, used and added to."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import pytest
import torch

import taskaware
from taskaware.cli.main import run
from taskaware.data.batches.batching import batches_of
from taskaware.data.prepared import PreparedData
from taskaware.errors import CheckpointError, ExperimentError, MissingDependencyError
from taskaware.model.adapter_settings import AdapterMethod, AdapterSettings
from taskaware.model.adapters import set_of
from taskaware.run.run import set_up
from taskaware.run.train import train_experiment
from taskaware.settings.typed import require_valid
from taskaware.training.optimiser import create_optimiser
from taskaware.training.processes import Processes
from tiny_corpus import (
    TASK_NAMES,
    Silent,
    assert_same_models,
    interrupt_in,
    prepare_corpus,
    tiny_experiment,
)

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.inference.model import TaskAwareModel
    from taskaware.run.experiment import Experiment

METHODS = tuple(method for method in get_args(AdapterMethod) if method != "none")
ALONE = Processes(rank=0, num_ranks=1, device=torch.device("cpu"))
TRAINED = ("st_en_de", "mt_en_de")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def start(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model of the three tasks, which nothing tells apart."""
    folder = tmp_path_factory.mktemp("start") / "run"
    experiment = tiny_experiment(data, conditioning={"cue": "none"}, updates=4)
    assert train_experiment(experiment, folder, display=Silent())
    return folder


def adapted(
    data: Path,
    start: Path,
    method: AdapterMethod = "lora",
    *,
    sets: dict[str, Any] | None = None,
    tasks: tuple[str, ...] = TRAINED,
    **changes: Any,
) -> Experiment:
    changed = {"method": method, "rank": 2, "where": "everything"} | (sets or {})
    settings = AdapterSettings(**changed)
    conditioning = changes.pop("conditioning", {"cue": "none"})
    return tiny_experiment(
        data,
        start=start,
        trains=changes.pop("trains", "adapters"),
        tasks=tasks,
        conditioning=conditioning,
        model={"adapters": settings, **changes.pop("model", {})},
        **changes,
    )


def train(experiment: Experiment, folder: Path) -> TaskAwareModel:
    assert train_experiment(experiment, folder, display=Silent())
    return taskaware.load(folder, device="cpu")


@pytest.fixture(scope="module", params=METHODS)
def first(
    request: pytest.FixtureRequest,
    data: Path,
    start: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A run that has trained sets of two tasks."""
    folder = tmp_path_factory.mktemp("first") / request.param
    train(adapted(data, start, request.param), folder)
    return folder


def logits(model: TaskAwareModel, data: Path, task_name: str) -> torch.Tensor:
    task, split = model.task(task_name), PreparedData.open(data).split("test")
    (batch,) = batches_of(
        split,
        task,
        [split.indices(task_name)],
        vocabulary=model.vocabulary,
        cue=model.settings.conditioning.cue,
    )
    with torch.inference_mode():
        return model.transformer(batch, model.task_embeddings.get(task_name))


def test_only_the_sets_are_trained_and_a_task_without_one_stays_bit_for_bit(
    data: Path, start: Path, first: Path
):
    before, after = taskaware.load(start, device="cpu"), taskaware.load(first, device="cpu")
    assert after.transformer.adapters.tasks == TRAINED
    base = {
        name.replace(".base_layer", ""): value
        for name, value in after.transformer.state_dict().items()
        if set_of(name) is None
    }
    old = before.transformer.state_dict()
    assert base.keys() == old.keys()
    assert all(torch.equal(old[name], base[name]) for name in old)
    assert torch.equal(logits(before, data, "asr_en"), logits(after, data, "asr_en"))
    for name in TRAINED:
        assert not torch.equal(logits(before, data, name), logits(after, data, name))


def test_decoding_uses_the_set_of_the_task_it_is_asked_for(data: Path, start: Path, first: Path):
    base, model = taskaware.load(start, device="cpu"), taskaware.load(first, device="cpu")
    split = PreparedData.open(data).split("test")
    source = [split.source(split.indices("asr_en")[0])]
    scores = {
        name: [each.decode(each.task(name), source)[0][0].score for each in (base, model, model)]
        for name in ("asr_en", "st_en_de")
    }
    assert scores["asr_en"][0] == scores["asr_en"][1]
    assert scores["st_en_de"][0] != scores["st_en_de"][1] == scores["st_en_de"][2]


def test_what_is_frozen_takes_neither_gradient_nor_memory_of_the_optimiser(data: Path, start: Path):
    made = set_up(adapted(data, start), data / "unused", ALONE)
    trained = {name: p for name, p in made.model.named_parameters() if p.requires_grad}
    assert {set_of(name) for name in trained} == {1, 2}
    optimiser = create_optimiser(made.experiment.optimiser, made.model)
    held = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert held == {id(p) for p in trained.values()}


def test_a_run_that_was_stopped_ends_bitwise_as_one_that_never_was(
    data: Path, start: Path, tmp_path: Path
):
    experiment = adapted(data, start, sets={"dropout": 0.2}, model={"dropout": 0.2})
    assert train_experiment(experiment, tmp_path / "whole", display=Silent())
    assert not train_experiment(experiment, tmp_path / "parts", display=interrupt_in(3))
    assert train_experiment(experiment, tmp_path / "parts", display=Silent())
    assert_same_models(tmp_path / "whole", tmp_path / "parts")


def test_a_saved_model_has_the_same_outputs_and_weights(data: Path, first: Path, tmp_path: Path):
    model = taskaware.load(first, device="cpu")
    model.save(tmp_path / "copy")
    again = taskaware.load(tmp_path / "copy", device="cpu")
    assert again.settings == model.settings
    left, right = model.transformer.state_dict(), again.transformer.state_dict()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    for name in TASK_NAMES:
        assert torch.equal(logits(model, data, name), logits(again, data, name))


@pytest.mark.parametrize("kind", ["model", "checkpoint"])
def test_a_second_run_adds_a_set_and_keeps_the_others_bit_for_bit(
    kind: str, data: Path, first: Path, tmp_path: Path
):
    before = taskaware.load(first, which="model", device="cpu")
    place = first
    if kind == "checkpoint":
        place = sorted((first / "checkpoints").iterdir())[-1]
        before = taskaware.load(train_last(first, data, tmp_path), device="cpu")
    method = before.settings.adapters.method
    after = train(adapted(data, place, method, tasks=("asr_en",)), tmp_path / "second")
    assert after.transformer.adapters.tasks == TASK_NAMES
    old, new = before.transformer.state_dict(), after.transformer.state_dict()
    assert all(torch.equal(value, new[name]) for name, value in old.items())
    assert {set_of(name) for name in new if name not in old} == {0}
    for name in TRAINED:
        assert torch.equal(logits(before, data, name), logits(after, data, name))
    assert not torch.equal(logits(before, data, "asr_en"), logits(after, data, "asr_en"))


def train_last(first: Path, data: Path, folder: Path) -> Path:
    """Return a model of a run's newest checkpoint: its last weights."""
    experiment = taskaware_experiment(first)
    changed = replace(experiment, training=replace(experiment.training, final="last"))
    train(changed, folder / "last")
    return folder / "last"


def taskaware_experiment(folder: Path) -> Experiment:
    from taskaware.run.experiment import load

    return load(folder / "experiment.toml")


@pytest.mark.parametrize("cue", ["explicit", "implicit", "target_tag"])
def test_adapters_go_with_every_cue(cue: Any, data: Path, tmp_path: Path):
    began = tiny_experiment(data, conditioning={"cue": cue}, updates=2)
    assert train_experiment(began, tmp_path / "start", display=Silent())
    before = taskaware.load(tmp_path / "start", device="cpu")
    experiment = adapted(data, tmp_path / "start", conditioning={"cue": cue}, updates=2)
    after = train(experiment, tmp_path / "run")
    assert torch.equal(logits(before, data, "asr_en"), logits(after, data, "asr_en"))


def test_meta_learning_adapts_the_sets_alone(data: Path, start: Path, tmp_path: Path):
    before = taskaware.load(start, device="cpu")
    experiment = adapted(data, start, learning={"strategy": "meta"}, updates=2)
    after = train(experiment, tmp_path / "run")
    assert torch.equal(logits(before, data, "asr_en"), logits(after, data, "asr_en"))
    for name in TRAINED:
        assert not torch.equal(logits(before, data, name), logits(after, data, name))


def test_inspect_tells_the_method_and_the_parameters_of_each_task(
    first: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(["inspect", str(first), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    counts = content["adapters"]["parameters"]
    assert content["adapters"]["method"] == first.name
    assert set(counts) == set(TRAINED)
    assert content["parameters"]["adapters"] == sum(counts.values()) > 0
    assert run(["inspect", str(first)]) == 0
    assert f"parameters of st_en_de  {counts['st_en_de']:,}" in capsys.readouterr().out


def test_a_trained_set_is_exported_into_a_plain_model(
    data: Path, first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    command = ["export", str(first), "--as", "plain", "--to", str(tmp_path / "plain")]
    if first.name == "bottleneck":
        assert run([*command, "--task", "st_en_de"]) == 2
        assert "have a ReLU between their layers" in capsys.readouterr().err
        return
    adapted_model = taskaware.load(first, device="cpu")
    for name in TASK_NAMES:  # the last one has no set
        assert run([*command, "--task", name]) == 0
        plain = taskaware.load(tmp_path / "plain", device="cpu")
        torch.testing.assert_close(
            logits(plain, data, name), logits(adapted_model, data, name), rtol=1e-5, atol=1e-5
        )
        assert plain.transformer.adapters.tasks == ()


def test_a_run_starts_from_an_exported_model_with_adapters_of_another_kind(
    data: Path, start: Path, tmp_path: Path
):
    train(adapted(data, start, "lora", updates=1), tmp_path / "lora")
    command = ["export", str(tmp_path / "lora"), "--as", "plain", "--to", str(tmp_path / "plain")]
    assert run([*command, "--task", "mt_en_de"]) == 0
    again = adapted(data, tmp_path / "plain", "ia3", tasks=("mt_en_de",), updates=2)
    after, before = train(again, tmp_path / "run"), taskaware.load(tmp_path / "plain", device="cpu")
    assert after.transformer.adapters.tasks == ("mt_en_de",)
    assert not torch.equal(logits(before, data, "mt_en_de"), logits(after, data, "mt_en_de"))


# --- what is refused ---


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"method": "none"}, "another `trains` than 'adapters' .*'none': set the method"),
        ({"trains": "everything"}, "has 'everything': .* those of another base.*export --as plain"),
        ({"batching": {"mix": "within_batches"}}, "a batch is read with those of one task"),
        ({"retention": {"method": "replay"}}, "must have the method 'none'"),
        ({"sets": {"rank": 0}}, "rank must be at least 1"),
        ({"sets": {"scale": 0}}, "scale must be at least 1"),
        ({"sets": {"dropout": 1.0}}, "dropout must be at least 0 and below 1"),
    ],
    ids=str,
)
def test_settings_that_contradict_one_another_are_refused(
    changes: dict[str, Any], wanted: str, data: Path, start: Path
):
    with pytest.raises(ExperimentError, match=wanted):
        require_valid(adapted(data, start, **changes))


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"rank": 3}, r"`model\.adapters\.rank` must be 2, but is 3"),
        ({"scale": 3}, r"`model\.adapters\.scale` must be 2, but is 3"),
        ({"where": "decoder"}, r"`model\.adapters\.where` must be 'everything', but is 'decoder'"),
        ({"method": "ia3"}, r"`model\.adapters\.method` must be 'lora', but is 'ia3'"),
    ],
    ids=str,
)
def test_adapters_of_another_kind_than_those_of_the_start_are_refused(
    changes: dict[str, Any], wanted: str, data: Path, start: Path, tmp_path: Path
):
    train(adapted(data, start, updates=1), tmp_path / "first")
    other = adapted(data, tmp_path / "first", sets=changes, tasks=("asr_en",))
    with pytest.raises(ExperimentError, match=wanted):
        train(other, tmp_path / "second")
    checkpoint = tmp_path / "first" / "checkpoints" / "update-00000001"
    of_checkpoint = replace(other, start=replace(other.start, model=checkpoint))
    with pytest.raises(ExperimentError, match=wanted.partition(" ")[0]):
        train(of_checkpoint, tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_a_start_with_adapters_is_not_trained_without_them(data: Path, start: Path, tmp_path: Path):
    train(adapted(data, start, updates=1), tmp_path / "first")
    for place in (tmp_path / "first", tmp_path / "first/checkpoints/update-00000001"):
        other = tiny_experiment(data, start=place, conditioning={"cue": "none"})
        with pytest.raises(ExperimentError, match=r"`model\.adapters\.method` must be"):
            train(other, tmp_path / "second")


def test_a_folder_whose_settings_do_not_fit_its_weights_is_refused(first: Path, tmp_path: Path):
    taskaware.load(first, device="cpu").save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    content = json.loads(path.read_text())
    content["model"]["adapters"]["method"] = "none"
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="must describe a model"):
        taskaware.load(tmp_path / "model", device="cpu")


def test_a_missing_library_is_named_with_the_command_that_installs_it(
    data: Path, start: Path, first: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    if first.name == "bottleneck":
        pytest.skip("a bottleneck needs no library")
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    for ask in (
        lambda: train(adapted(data, start), tmp_path / "run"),
        lambda: taskaware.load(first, device="cpu"),
    ):
        with pytest.raises(MissingDependencyError, match=r"pip install 'taskaware\[adapters\]'"):
            ask()
    assert not (tmp_path / "run").exists()
