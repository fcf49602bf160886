"""Where and how FiLM acts around the blocks of other people's modules, untrained and trained."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from foreign_modules import (
    BLOCKS,
    LAYOUTS,
    NETWORKS,
    SMALL,
    TASKS,
    Block,
    D,
    Stack,
    Translator,
    acts,
    drawn,
    lengths,
    padded_examples,
    set_pairs,
    stack_of,
    translator_of,
)
from torch import Tensor, nn

from taskaware.model.modulate import modulate

# nn.Transformer says so of every layout that it has no fused path for.
pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning")


@pytest.mark.parametrize("by_name", [True, False], ids=["by name", "by position"])
@pytest.mark.parametrize("form", ["tensor", "tuple", "list", "named tuple", "mapping"])
def test_gamma_and_beta_act_on_what_enters_and_on_what_every_block_puts_out(
    form: str, by_name: bool
):
    stack = Stack(form, by_name=by_name)
    aware = modulate(stack, blocks={"stack": "blocks"}, d_model=D, tasks=TASKS)
    set_pairs(aware, "st", (3.0, 0.5))
    x = torch.randn(2, 5, D)
    with aware.task("st"):
        out = stack(x)
    entered = 3 * (x + 1) + 0.5
    expected = 3 * (2 * (3 * (2 * entered) + 0.5)) + 0.5
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(stack(x), 4 * (x + 1))


def test_places_are_counted_over_all_groups_with_the_entrance_of_each_first():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.ModuleList([Block()]), nn.ModuleList([Block()])

        def forward(self, x: Tensor) -> Tensor:
            return self.second[0](self.first[0](x))

    two = Two()
    groups = {"first": "first", "second": [two.second[0]]}
    aware: Any = modulate(two, blocks=groups, d_model=D, tasks=TASKS, scope="per_block")
    assert aware.network.bias.numel() == 4 * 2 * D
    set_pairs(aware, "asr", (2.0, 1.0), (3.0, -1.0), (5.0, 2.0), (7.0, 4.0))
    x = torch.randn(2, 3, D)
    with aware.task("asr"):
        out = two(x)
    expected = 7 * (2 * (5 * (3 * (2 * (2 * x + 1)) - 1) + 2)) + 4
    torch.testing.assert_close(out, expected)


def test_every_example_may_have_a_task_of_its_own():
    stack, aware = stack_of()
    set_pairs(aware, "st", (3.0, 0.5))
    x = torch.randn(3, 5, D)
    with aware.task("st"):
        translated = stack(x)
    with aware.task(["st", "asr", "st"]):
        out = stack(x)
    torch.testing.assert_close(out[[0, 2]], translated[[0, 2]])
    torch.testing.assert_close(out[1], 4 * (x[1] + 1))


def test_a_with_inside_a_with_acts_alone_and_an_error_ends_both():
    stack, aware = stack_of()
    set_pairs(aware, "st", (3.0, 0.5))
    x = torch.randn(1, 2, D)
    with aware.task("st"):
        outside = stack(x)
        with aware.task("asr"):
            assert torch.equal(stack(x), 4 * (x + 1))
        assert torch.equal(stack(x), outside)
    with pytest.raises(RuntimeError, match="on purpose"), aware.task("st"), aware.task("asr"):
        raise RuntimeError("on purpose")
    assert torch.equal(stack(x), 4 * (x + 1))


@pytest.mark.parametrize("shape", [(2, D), (2, 3, D), (2, 3, 4, D)], ids=str)
def test_rows_of_any_number_of_axes_are_modulated(shape: tuple[int, ...]):
    stack, aware = stack_of()
    set_pairs(aware, "st", (3.0, 0.5))
    x = torch.randn(shape)
    with aware.task(["asr", "st"]):
        out = stack(x)
    torch.testing.assert_close(out[0], 4 * (x[0] + 1))
    entered = 3 * (x[1] + 1) + 0.5
    torch.testing.assert_close(out[1], 3 * (2 * (3 * (2 * entered) + 0.5)) + 0.5)


@LAYOUTS
def test_beams_of_an_example_follow_one_another_and_share_its_embedding(batch_first: bool):
    translator, aware = translator_of(batch_first=batch_first, network="implicit")
    drawn(aware)
    examples = padded_examples()
    embedding = aware.embed_examples(examples, **lengths(examples)).detach()
    beams = {name: ids.repeat_interleave(2, dim=0) for name, ids in examples.items()}
    with aware.embedding(embedding):
        out = translator(**beams)
    with aware.embedding(embedding.repeat_interleave(2, dim=0)):
        torch.testing.assert_close(out, translator(**beams))
    with aware.embedding(embedding.repeat(2, 1)):
        assert not torch.allclose(out, translator(**beams))


def test_gamma_and_beta_take_the_type_of_what_a_block_puts_out():
    stack, aware = stack_of()
    set_pairs(aware, "st", (3.0, 0.5))
    for dtype in (torch.bfloat16, torch.float64):
        x = torch.ones(1, 2, D, dtype=dtype)
        with aware.task("st"):
            assert stack(x).dtype == dtype


# At the start


@LAYOUTS
@NETWORKS
@pytest.mark.parametrize("scope", ["shared", "per_block"])
@pytest.mark.parametrize("train", ["everything", "task_network"])
def test_outputs_are_bitwise_those_of_the_unmodulated_module_at_initialisation(
    network: str, scope: str, train: str, batch_first: bool
):
    plain = Translator(batch_first=batch_first)
    translator = copy.deepcopy(plain)
    choices: dict[str, Any] = {"network": network, "scope": scope, "train": train}
    aware = modulate(
        translator,
        blocks=BLOCKS,
        tasks=TASKS,
        d_model=D,
        batch_first=batch_first,
        sizes=SMALL,
        **choices,
    )
    examples = padded_examples()
    if train == "task_network":  # PyTorch's products round otherwise where a weight is frozen
        plain.requires_grad_(False)
    with torch.set_grad_enabled(train == "everything"):
        expected = plain(**examples)
        assert torch.equal(translator(**examples), expected)
        with acts(aware, network, examples):
            assert torch.equal(translator(**examples), expected)


@LAYOUTS
@torch.inference_mode()
def test_inference_gives_the_same_where_pytorch_would_take_its_fused_path(batch_first: bool):
    plain = Translator(batch_first=batch_first).eval()
    translator = copy.deepcopy(plain)
    aware = modulate(translator, blocks=BLOCKS, tasks=TASKS, d_model=D, batch_first=batch_first)
    examples = padded_examples()
    with aware.task("st"):
        torch.testing.assert_close(translator(**examples), plain(**examples))


@NETWORKS
def test_the_gradient_reaches_the_last_layer_of_an_untrained_task_network(network: str):
    translator, aware = translator_of(network=network)
    examples = padded_examples()
    with acts(aware, network, examples):
        translator(**examples).square().mean().backward()
    explicit = network == "explicit"
    last = aware.network.rows[1] if explicit else aware.network.output.weight
    gradient = aware.network.rows.grad[1] if explicit else aware.network.output.weight.grad
    assert not last.any()
    assert gradient.abs().sum() > 0
    if explicit:
        assert not aware.network.rows.grad[0].any()  # the other task's


# What trains


@NETWORKS
def test_the_task_network_alone_is_trained_unless_everything_is_asked_for(network: str):
    translator, aware = translator_of(network=network)
    drawn(aware)
    names = {name for name, p in translator.named_parameters() if p.requires_grad}
    assert names == {f"task_aware.{name}" for name, _ in aware.named_parameters()}
    examples = padded_examples()
    with acts(aware, network, examples):
        translator(**examples).logsumexp(-1).mean().backward()
    assert {name for name, p in translator.named_parameters() if p.grad is not None} == names
    everything, _ = translator_of(network=network, train="everything")
    assert all(p.requires_grad for p in everything.parameters())


def test_one_with_may_hold_many_updates():
    stack, aware = stack_of()
    optimiser = torch.optim.SGD(aware.parameters(), lr=1e-3)
    x = torch.randn(2, 3, D)
    losses = []
    with aware.task("st"):
        for _ in range(5):
            loss = stack(x).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def test_it_follows_its_module_to_another_type_and_mode():
    translator, aware = translator_of(network="implicit")
    translator.double().train()
    assert aware.network.output.weight.dtype == torch.float64
    assert aware.network.training


# Saving, loading, copying, taking away
