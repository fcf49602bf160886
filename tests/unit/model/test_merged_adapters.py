"""Adapters merged into weights: those that the peft library makes of them, and which are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
import torch

from conftest import ASR, MT
from taskaware.model.adapters import adapted_layers, key_of, set_of
from taskaware.model.merged_adapters import can_merge, merged_weights
from tiny_models import adapted, random_model

if TYPE_CHECKING:
    from taskaware.inference.model import TaskAwareModel
    from taskaware.model.adapter_settings import AdapterMethod

pytest.importorskip("peft", reason="the extra `adapters` is not installed")

MERGED: tuple[AdapterMethod, ...] = ("lora", "ia3", "layer_norms")


def model_with(method: AdapterMethod, **fields: Any) -> TaskAwareModel:
    """A model with biases in all layers; tasks 0 and 2 of it have adapters."""
    plain = random_model(conditioning={"cue": "none"}, attention_bias=True, double=True)
    return adapted(plain, method, **fields)


def weights_of(model: TaskAwareModel, index: int) -> dict[str, torch.Tensor]:
    return merged_weights(model.transformer.state_dict(), model.settings.adapters, index)


@pytest.mark.parametrize("where", ["decoder", "everything"])
@pytest.mark.parametrize("method", MERGED)
def test_merged_weights_are_those_that_the_library_merges(method: AdapterMethod, where: str):
    model = model_with(method, where=where, scale=3)
    found = weights_of(model, 2)
    names = adapted_layers(model.transformer, model.settings.adapters)
    assert names
    for name in names:
        layer = cast("Any", model.transformer.get_submodule(name))
        before = layer.get_base_layer().weight.clone()
        layer.merge(adapter_names=[key_of(2)])
        for kind, wanted in layer.get_base_layer().named_parameters():
            torch.testing.assert_close(found[f"{name}.{kind}"], wanted.data, rtol=1e-12, atol=1e-12)
        assert not torch.allclose(found[f"{name}.weight"], before)


@pytest.mark.parametrize("method", MERGED)
def test_what_has_no_adapters_keeps_its_weights_bit_for_bit(method: AdapterMethod):
    model = model_with(method, where="decoder")
    found = weights_of(model, 2)
    changed = set(adapted_layers(model.transformer, model.settings.adapters))
    plain = random_model(conditioning={"cue": "none"}, attention_bias=True, double=True)
    old = plain.transformer.state_dict()
    assert found.keys() == old.keys()
    kept = [name for name in old if name.rpartition(".")[0] not in changed]
    assert any(name.startswith("encoder.") for name in kept)
    assert all(torch.equal(found[name], old[name]) for name in kept)


@pytest.mark.parametrize("method", [*MERGED, "bottleneck"])
def test_a_task_without_adapters_gets_the_base(method: AdapterMethod):
    plain = random_model(conditioning={"cue": "none"}, attention_bias=True, double=True)
    found, old = weights_of(model_with(method), 1), plain.transformer.state_dict()
    assert found.keys() == old.keys()
    assert all(torch.equal(found[name], old[name]) for name in old)


@pytest.mark.parametrize("method", MERGED)
def test_the_adapters_of_one_task_are_merged_and_not_anothers(method: AdapterMethod):
    model = model_with(method)
    before = weights_of(model, 2)
    with torch.no_grad():
        for name, parameter in model.transformer.named_parameters():
            if set_of(name) == 0:
                parameter.add_(1.0)
    after = weights_of(model, 2)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(not torch.equal(before[name], weights_of(model, 0)[name]) for name in before)


def test_what_enters_a_bias_is_scaled_where_factors_are_of_the_output():
    model = model_with("ia3")
    found, own = weights_of(model, 2), model.transformer.state_dict()
    of_keys, inner = "decoder.0.cross_attention.key_value", "decoder.0.feed_forward.contract"
    factor = own[f"{of_keys}.ia3_l.{key_of(2)}"][:, 0]
    assert torch.equal(found[f"{of_keys}.bias"], own[f"{of_keys}.base_layer.bias"] * factor)
    assert torch.equal(found[f"{inner}.bias"], own[f"{inner}.base_layer.bias"])


def test_no_weight_takes_up_a_bottleneck():
    assert not can_merge("bottleneck")
    with pytest.raises(ValueError, match="must be one to merge, but is 'bottleneck'"):
        weights_of(model_with("bottleneck", sets=(ASR.name, MT.name)), 2)
