"""Sets of adapter weights: what they change, which one acts, and how many numbers they are."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import pytest
import torch
from torch import nn

from conftest import ASR, MT, NUM_PIECES, ST, TASKS, random_batch, tiny_settings
from taskaware.model.adapter_settings import AdapterMethod, AdapterSettings
from taskaware.model.adapters import adapted_layers, set_of, tasks_with_sets
from taskaware.model.create_model import create_model
from taskaware.model.parameters import (
    adapter_parameters,
    parameters_by_part,
    parameters_of_one_task,
)
from taskaware.training.optimiser import create_optimiser
from taskaware.training.settings import OptimiserSettings

if TYPE_CHECKING:
    from torch import Tensor

    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Task

pytest.importorskip("peft", reason="the extra `adapters` is not installed")

METHODS = tuple(method for method in get_args(AdapterMethod) if method != "none")
WHERE = ("decoder", "everything")
# Of the tiny model: width, inner width, rank, blocks of the encoder and of the decoder.
D, F, R, N = 16, 32, 2, 2


def network(
    method: AdapterMethod, *, sets: tuple[str, ...] = ("st_en_de",), **changes: Any
) -> TaskAwareTransformer:
    """A model of three tasks, some of which have sets; without these always the same weights."""
    torch.manual_seed(0)
    fields = {"rank": R, "where": "everything"} | changes.pop("adapters", {})
    settings = replace(
        tiny_settings(conditioning={"cue": "none"}, **changes),
        adapters=AdapterSettings(method=method, **fields),
    )
    return create_model(
        settings, vocabulary_size=NUM_PIECES, tasks=TASKS, adapter_tasks=sets
    ).eval()


def change(model: nn.Module, task_index: int) -> None:
    """Move a task's set as a training would."""
    generator = torch.Generator().manual_seed(task_index)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if set_of(name) == task_index:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def asked(task: Task, *, of: Task = ST) -> Any:
    """The same examples as another task's."""
    return replace(random_batch(of), task=task)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_untrained_sets_change_nothing_bit_for_bit(method: AdapterMethod, where: str, norm: str):
    plain = network("none", sets=(), norm=norm)
    adapted = network(method, adapters={"where": where}, sets=("st_en_de", "asr_en"), norm=norm)
    for task in (ASR, ST, MT):
        batch = random_batch(task)
        assert torch.equal(adapted(batch, None), plain(batch, None))


@pytest.mark.parametrize("method", METHODS)
def test_the_set_of_the_batchs_task_acts_and_no_other(method: AdapterMethod):
    model = network(method, sets=("st_en_de", "asr_en"))
    before = model(asked(ST), None)
    change(model, 1)
    moved = model(asked(ST), None)
    assert not torch.allclose(moved, before)
    assert torch.equal(model(asked(ASR), None), before)  # its own set is as it was
    change(model, 0)
    assert torch.equal(model(asked(ST), None), moved)
    assert not torch.equal(model(asked(ASR), None), moved)
    assert not torch.equal(model(asked(ASR), None), before)
    without = replace(ST, name="another")
    assert torch.equal(model(asked(without), None), before)


@pytest.mark.parametrize("method", METHODS)
def test_outside_of_its_use_no_set_acts(method: AdapterMethod):
    model, batch = network(method), asked(ST)
    preprocessed = model.preprocess(batch)
    plain = model.transform(preprocessed, None)
    change(model, 1)
    with model.adapters.use("st_en_de"):
        with model.adapters.use("asr_en"):
            assert torch.equal(model.transform(preprocessed, None), plain)
        assert not torch.equal(model.transform(preprocessed, None), plain)
    assert torch.equal(model.transform(preprocessed, None), plain)
    with pytest.raises(RuntimeError, match="stop"), model.adapters.use("st_en_de"):
        raise RuntimeError("stop")
    assert torch.equal(model.transform(preprocessed, None), plain)


@pytest.mark.parametrize("method", METHODS)
def test_a_step_by_step_decoder_has_the_set_that_is_used(method: AdapterMethod):
    model, batch = network(method), asked(ST)
    change(model, 1)
    wanted = model(batch, None)
    with model.adapters.use("st_en_de"):
        state = model.start_decoding(batch.source, batch.source_lengths, "speech", None)
        found = [model.step(pieces[:, None], state) for pieces in batch.target_input.unbind(1)]
    longest = batch.target_lengths.argmax()
    torch.testing.assert_close(torch.cat(found, dim=1)[longest], wanted[longest])


@pytest.mark.parametrize("method", METHODS)
def test_who_is_trained_does_not_depend_on_the_set_that_acts(method: AdapterMethod):
    model = network(method, sets=("st_en_de", "asr_en"))
    assert all(parameter.requires_grad for parameter in model.parameters())
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(set_of(name) == 0)
    with model.adapters.use("st_en_de"):
        assert [n for n, p in model.named_parameters() if p.requires_grad != (set_of(n) == 0)] == []
    model(asked(ASR), None).sum().backward()
    assert {set_of(n) for n, p in model.named_parameters() if p.grad is not None} == {0}


@pytest.mark.parametrize("method", METHODS)
def test_a_copy_of_a_model_switches_its_own_layers(method: AdapterMethod):
    model, batch = network(method), asked(ST)
    before = model(batch, None)
    copied = copy.deepcopy(model)
    change(copied, 1)
    assert not torch.equal(copied(batch, None), before)
    assert torch.equal(model(batch, None), before)


def test_a_merged_lora_is_the_sum_of_the_weight_and_the_scaled_product():
    model, batch = network("lora", adapters={"scale": 3}), asked(ST)
    change(model, 1)
    plain = network("none", sets=())
    merged = plain.state_dict()
    own = model.state_dict()
    for name in adapted_layers(model, AdapterSettings(method="lora", where="everything")):
        down = own[f"{name}.lora_A.adapters_of_task_1.weight"]
        up = own[f"{name}.lora_B.adapters_of_task_1.weight"]
        merged[f"{name}.weight"] = merged[f"{name}.weight"] + 3 * up @ down
    plain.load_state_dict(merged)
    torch.testing.assert_close(model(batch, None), plain(batch, None), atol=1e-5, rtol=1e-5)


def test_ia3_scales_keys_and_values_and_what_is_inside_the_feed_forward():
    model, batch = network("ia3"), asked(ST)
    change(model, 1)
    plain = network("none", sets=())
    merged = plain.state_dict()
    own = model.state_dict()
    for name in adapted_layers(model, AdapterSettings(method="ia3", where="everything")):
        factor = own[f"{name}.ia3_l.adapters_of_task_1"]
        assert factor.shape[0 if name.endswith("contract") else 1] == 1
        merged[f"{name}.weight"] = merged[f"{name}.weight"] * factor
    plain.load_state_dict(merged)
    torch.testing.assert_close(model(batch, None), plain(batch, None), atol=1e-5, rtol=1e-5)


def test_tuned_norms_are_those_of_a_model_that_has_them_as_its_own():
    model, batch = network("layer_norms"), asked(ST)
    change(model, 1)
    plain = network("none", sets=())
    merged = plain.state_dict()
    own = model.state_dict()
    for name in adapted_layers(model, AdapterSettings(method="layer_norms", where="everything")):
        for part in ("weight", "bias"):
            key = f"{name}.{part}"
            merged[key] = own[f"{name}.ln_tuning_layers.adapters_of_task_1.{part}"]
    plain.load_state_dict(merged)
    assert torch.equal(model(batch, None), plain(batch, None))


def test_a_bottleneck_adds_what_two_thin_layers_make_of_a_parts_output():
    model = network("bottleneck", sets=("asr_en", "st_en_de"))
    change(model, 1)
    layer = model.get_submodule("decoder.0.feed_forward.contract")
    own = layer.state_dict()

    def linear(name: str, x: Tensor) -> Tensor:
        return nn.functional.linear(x, own[f"{name}.weight"], own[f"{name}.bias"])

    x = torch.randn(3, F)
    plain = linear("base_layer", x)
    hidden = linear("down.adapters_of_task_1", plain).clamp(min=0)
    with model.adapters.use("st_en_de"):
        found = layer(x)
    torch.testing.assert_close(found, plain + linear("up.adapters_of_task_1", hidden))
    assert torch.equal(layer(x), plain)


LINEAR = {
    "encoder": [(D, 3 * D), (D, D), (D, F), (F, D)],
    "decoder": [(D, 3 * D), (D, D), (D, D), (D, 2 * D), (D, D), (D, F), (F, D)],
}


def of_lora(stack: str) -> int:
    return N * sum(R * (inside + outside) for inside, outside in LINEAR[stack])


SIZES = {  # of a set in the encoder and in the decoder
    "lora": (of_lora("encoder"), of_lora("decoder")),
    "ia3": (N * (3 * D + F), N * (3 * D + 2 * D + F)),
    "layer_norms": ((2 * N + 1) * 2 * D, (3 * N + 1) * 2 * D),
    "bottleneck": (N * 2 * (2 * D * R + R + D), N * 3 * (2 * D * R + R + D)),
}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("method", METHODS)
def test_a_set_has_as_many_parameters_as_the_formula_says(method: AdapterMethod, where: str):
    model = network(method, sets=("asr_en", "mt_en_de"), adapters={"where": where})
    in_encoder, in_decoder = SIZES[method]
    wanted = in_decoder + (in_encoder if where == "everything" else 0)
    assert adapter_parameters(model, TASKS) == {"asr_en": wanted, "mt_en_de": wanted}
    assert parameters_of_one_task(model, TASKS) == wanted
    plain, adapted = parameters_by_part(network("none", sets=())), parameters_by_part(model)
    assert adapted == {**plain, "adapters": 2 * wanted}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("method", METHODS)
def test_an_encoder_of_texts_has_adapters_where_the_other_encoder_has_them(
    method: AdapterMethod, where: str
):
    kept = {"where": where}
    model = network(method, sets=("mt_en_de",), num_text_encoder_layers=N, adapters=kept)
    change(model, 2)
    batch = random_batch(MT)
    source, lengths = model.preprocess_source(batch.source, batch.source_lengths, "text")
    memories = []
    for task in (MT, ST):
        with model.adapters.use(task.name):
            memories.append(model.encode(source, lengths, None, modality="text").memory_BSD)
    assert torch.equal(*memories) == (where == "decoder")


@pytest.mark.parametrize("method", METHODS)
def test_a_conformer_has_adapters_too(method: AdapterMethod):
    plain = network("none", sets=(), encoder_block="conformer", conformer_kernel=3)
    model = network(method, encoder_block="conformer", conformer_kernel=3)
    batch = asked(ST)
    before = plain(batch, None)
    assert torch.equal(model(batch, None), before)
    change(model, 1)
    assert not torch.equal(model(batch, None), before)


def test_neither_the_task_network_nor_its_bottlenecks_get_a_set():
    settings = replace(
        tiny_settings(conditioning={"cue": "implicit", "film_scope": "per_block", "bottleneck": 3}),
        adapters=AdapterSettings(method="lora", where="everything"),
    )
    model = create_model(settings, vocabulary_size=NUM_PIECES, tasks=TASKS, adapter_tasks=[MT.name])
    names = [name for name, _ in model.named_parameters() if set_of(name) is not None]
    assert any("bottleneck" in name for name, _ in model.named_parameters())
    assert {name.split(".")[0] for name in names} == {"encoder", "decoder"}
    assert not any("bottleneck" in name for name in names)


def test_the_names_of_weights_tell_who_has_a_set():
    model = network("lora", sets=("mt_en_de", "asr_en"))
    assert model.adapters.tasks == ("asr_en", "mt_en_de")
    assert tasks_with_sets(model.state_dict(), TASKS) == ("asr_en", "mt_en_de")
    assert set_of("decoder.0.feed_forward.expand.lora_A.adapters_of_task_12.weight") == 12
    assert set_of("decoder.0.feed_forward.contract.ia3_l.adapters_of_task_3") == 3
    assert set_of("decoder.0.feed_forward.expand.base_layer.weight") is None


def test_the_factors_of_ia3_are_not_decayed_towards_zero():
    model = network("ia3")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(set_of(name) is not None)
    optimiser = create_optimiser(OptimiserSettings(weight_decay=0.1), model)
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.0]


def test_a_set_of_no_kind_is_an_error():
    with pytest.raises(ValueError, match="must not be 'none'"):
        network("none", sets=("asr_en",))
