"""The state of a modulated module: saved, loaded, copied, removed."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from foreign_modules import (
    BLOCKS,
    NETWORKS,
    TASKS,
    D,
    Translator,
    drawn,
    lengths,
    padded_examples,
    set_pairs,
    stack_of,
    translator_of,
)

from taskaware.errors import CheckpointError, UserError
from taskaware.model.modulate import modulate

# nn.Transformer says so of every layout that it has no fused path for.
pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning")


@NETWORKS
@torch.no_grad()
def test_the_state_without_our_keys_is_that_of_the_untouched_module(network: str):
    translator, aware = translator_of(network=network)
    drawn(aware)
    state = translator.state_dict()
    theirs = {k: v for k, v in state.items() if not k.startswith("task_aware.")}
    assert {k for k in state if k not in theirs} == {f"task_aware.{k}" for k in aware.state_dict()}
    untouched = Translator().requires_grad_(False)  # frozen weights round otherwise
    untouched.load_state_dict(theirs)
    examples = padded_examples()
    assert torch.equal(untouched(**examples), translator.train()(**examples))


@NETWORKS
def test_a_state_loads_into_a_freshly_modulated_module(network: str, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    translator, aware = translator_of(network=network)
    drawn(aware)
    examples = padded_examples()
    if network == "implicit":
        aware.remember("st", aware.embed_examples(examples, **lengths(examples)))
    safetensors.save_file(translator.state_dict(), tmp_path / "model.safetensors")
    fresh, fresh_aware = translator_of(network=network)
    fresh.load_state_dict(safetensors.load_file(tmp_path / "model.safetensors"))
    with aware.task("st"), fresh_aware.task("st"):
        modulated = translator(**examples)
        assert torch.equal(fresh(**examples), modulated)
    assert not torch.allclose(modulated, translator(**examples))


def test_the_state_of_other_tasks_or_of_another_order_is_refused():
    _, aware = translator_of()
    _, swapped = translator_of(tasks=TASKS[::-1])
    with pytest.raises(CheckpointError, match=r"\['st', 'asr'\] in this order, but is of"):
        swapped.load_state_dict(aware.state_dict())


@torch.no_grad()
@pytest.mark.parametrize("make", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_has_a_task_network_of_its_own_and_hooks_that_use_it(make):
    translator, aware = translator_of()
    copied = make(translator)
    drawn(copied.task_aware)
    examples = padded_examples()
    plain = translator(**examples)
    with aware.task("st"):
        assert torch.equal(translator(**examples), plain)
        assert torch.equal(copied(**examples), plain)
    with copied.task_aware.task("st"):
        assert torch.equal(translator(**examples), plain)
        assert not torch.allclose(copied(**examples), plain)


def test_removing_gives_the_untouched_module_back():
    plain = Translator()
    plain.output.bias.requires_grad_(False)  # frozen by its owner
    translator = copy.deepcopy(plain)
    aware = modulate(translator, blocks=BLOCKS, tasks=TASKS, d_model=D)
    drawn(aware)
    with aware.task("st"), pytest.raises(UserError, match="outside of every `with`"):
        aware.remove()
    aware.remove()
    assert list(translator.state_dict()) == list(plain.state_dict())
    for (name, a), (_, b) in zip(translator.named_modules(), plain.named_modules(), strict=True):
        assert not a._forward_hooks, name
        assert not a._forward_pre_hooks, name
        assert getattr(a, "use_nested_tensor", None) == getattr(b, "use_nested_tensor", None)
    assert [p.requires_grad for p in translator.parameters()] == [
        p.requires_grad for p in plain.parameters()
    ]
    examples = padded_examples()
    assert torch.equal(translator(**examples), plain(**examples))
    with pytest.raises(UserError, match="was removed"), aware.task("st"):
        pass
    modulate(translator, blocks=BLOCKS, tasks=TASKS, d_model=D)


def test_a_compiled_module_sees_every_change_of_task():
    stack, aware = stack_of()
    set_pairs(aware, "st", (3.0, 0.5))
    set_pairs(aware, "asr", (2.0, 0.0))
    compiled = torch.compile(stack, backend="eager")
    x = torch.randn(2, 3, D)
    torch.testing.assert_close(compiled(x), stack(x))
    for task in ("st", "asr", "st"):
        with aware.task(task):
            torch.testing.assert_close(compiled(x), stack(x))
    torch.testing.assert_close(compiled(x), 4 * (x + 1))


# The implicit network
