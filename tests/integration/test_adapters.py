"""Adapters of the peft library, one set a task, beside a task embedding."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from conftest import ASR, NUM_PIECES, ST, TASKS, random_batch, tiny_settings
from taskaware.errors import ExperimentError
from taskaware.inference.model import load
from taskaware.model.adapters import is_adapter
from taskaware.model.settings import AdapterSettings
from taskaware.model.transformer import create_model
from taskaware.run.train import train_experiment
from taskaware.settings import typed
from tiny_corpus import Silent, prepare_corpus, tiny_experiment

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("peft", reason="the extra `adapters` is not there")

METHODS = ["lora", "ia3", "layer_norms"]


def network(method: str, where: str = "decoder", *, seed: int = 0):
    settings = tiny_settings(conditioning={"cue": "none"})
    adapters = AdapterSettings(method=method, rank=2, where=where)  # type: ignore[arg-type]
    torch.manual_seed(seed)
    settings = replace(settings, adapters=adapters)
    return create_model(settings, vocabulary_size=NUM_PIECES, tasks=TASKS).eval()


@pytest.mark.parametrize("where", ["decoder", "everything"])
@pytest.mark.parametrize("method", METHODS)
def test_untrained_adapters_change_nothing_bit_for_bit(method: str, where: str):
    plain, batch = network("none"), random_batch(ASR)
    adapted = network(method, where)
    for index in range(len(TASKS)):
        adapted.use_task(index)
        assert torch.equal(adapted(batch, None), plain(batch, None))


@pytest.mark.parametrize("method", METHODS)
def test_the_set_of_the_task_that_is_used_acts_and_no_other(method: str):
    model, batch = network(method), random_batch(ST)
    before = model(batch, None)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if is_adapter(name, task_index=1):
                parameter.add_(torch.randn_like(parameter))
    outputs = []
    for index in range(3):
        model.use_task(index)
        outputs.append(model(batch, None))
    assert torch.equal(outputs[0], before)
    assert torch.equal(outputs[2], before)
    assert not torch.allclose(outputs[1], before)


def test_lora_is_a_product_of_two_small_matrices_added_to_the_weight():
    model = network("lora")
    wrapped = model.get_submodule("decoder.0.feed_forward.expand")
    assert not isinstance(wrapped, nn.Linear)
    down = model.get_parameter("decoder.0.feed_forward.expand.lora_A.adapters_of_task_0.weight")
    up = model.get_parameter("decoder.0.feed_forward.expand.lora_B.adapters_of_task_0.weight")
    weight = model.get_parameter("decoder.0.feed_forward.expand.base_layer.weight")
    bias = model.get_parameter("decoder.0.feed_forward.expand.base_layer.bias")
    with torch.no_grad():
        up.normal_()
    x = torch.randn(3, 16)
    merged = nn.functional.linear(x, weight + 2 * up @ down, bias)  # scale 2: the default
    torch.testing.assert_close(wrapped(x), merged, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_set_has_as_many_parameters_as_the_formula_says(method: str):
    model = network(method)
    number = sum(p.numel() for n, p in model.named_parameters() if is_adapter(n, task_index=0))
    d, f, r = 16, 32, 2
    sizes = [(d, 3 * d), (d, d), (d, d), (d, 2 * d), (d, d), (d, f), (f, d)]
    expected = {
        "lora": 2 * sum(r * (i + o) for i, o in sizes),
        "ia3": 2 * (3 * d + 2 * d + f),
        "layer_norms": (2 * 3 + 1) * 2 * d,
    }
    assert number == expected[method]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"))


def trained(experiment, folder: Path):
    assert train_experiment(experiment, folder, display=Silent())
    return load(folder, device="cpu")


def experiment_of(data: Path, tasks, *, start: Path | None = None, method: str = "none", rank=2):
    found = tiny_experiment(
        data,
        conditioning={"cue": "none"},
        start=start,
        trains="everything" if start is None else "adapters",
        tasks=tuple(tasks),
    )
    adapters = AdapterSettings(method=method, rank=rank)  # type: ignore[arg-type]
    return replace(found, model=replace(found.model, adapters=adapters))


@pytest.mark.parametrize("method", METHODS)
def test_a_task_is_added_by_its_own_set_and_nothing_else_changes(
    method: str, data: Path, tmp_path: Path
):
    base = trained(experiment_of(data, ["asr_en"]), tmp_path / "base")
    first = trained(
        experiment_of(data, ["st_en_de"], start=tmp_path / "base", method=method),
        tmp_path / "first",
    )
    assert [task.name for task in first.tasks] == ["asr_en", "st_en_de"]
    second = trained(
        experiment_of(data, ["mt_en_de"], start=tmp_path / "first", method=method),
        tmp_path / "second",
    )
    recording = torch.sin(torch.arange(12_000) / 20).numpy()
    outputs = [m.run_many("asr_en", [recording])[0][0] for m in (base, first, second)]
    assert outputs[0] == outputs[1] == outputs[2]
    german = [m.run_many("st_en_de", [recording])[0][0] for m in (first, second)]
    assert german[0] == german[1]
    before, after = first.transformer.state_dict(), second.transformer.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    changed = [n for n in after if is_adapter(n, task_index=2)]
    assert changed
    assert any(n not in before for n in changed)


def test_adapters_of_another_kind_than_those_of_the_start_are_refused(data: Path, tmp_path: Path):
    trained(experiment_of(data, ["asr_en"]), tmp_path / "base")
    trained(
        experiment_of(data, ["st_en_de"], start=tmp_path / "base", method="lora"), tmp_path / "lora"
    )
    for method, rank in (("ia3", 2), ("lora", 3)):
        other = experiment_of(data, ["mt_en_de"], start=tmp_path / "lora", method=method, rank=rank)
        with pytest.raises(ExperimentError, match=r"model\.adapters\.(method|rank)"):
            train_experiment(other, tmp_path / "other", display=Silent())
    assert not (tmp_path / "other").exists()


def test_what_does_not_fit_adapters_is_refused(data: Path, tmp_path: Path):
    plain = experiment_of(data, ["asr_en"], start=tmp_path)
    with pytest.raises(ExperimentError, match=r"'adapters' where `model\.adapters\.method`"):
        typed.require_valid(plain, where="x")
    mixed = experiment_of(data, ["asr_en"], start=tmp_path, method="lora")
    mixed = replace(mixed, batching=replace(mixed.batching, mix="within_batches"))
    with pytest.raises(ExperimentError, match="those of one task"):
        typed.require_valid(mixed, where="x")
