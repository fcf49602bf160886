"""Label-smoothed cross-entropy against torch's own."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from taskaware.training import loss as loss_module
from taskaware.training.loss import ctc_loss, output_loss


@pytest.mark.parametrize("twice", [False, True], ids=["chunks", "twice"])
@pytest.mark.parametrize("has_bias", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_loss_and_gradients_are_those_of_torch_and_of_an_output_layer(
    smoothing: float, has_bias: bool, twice: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loss_module, "_CHUNK_NUMBERS", 3 * 11)  # three positions at a time
    states, weight = torch.randn(7, 5, requires_grad=True), torch.randn(11, 5, requires_grad=True)
    bias = torch.randn(11, requires_grad=True) if has_bias else None
    target = torch.randint(0, 11, (7,))
    ours = output_loss(
        states, weight, bias, target, smoothing=smoothing, twice_differentiable=twice
    )
    leaves = [states, weight] if bias is None else [states, weight, bias]
    gradients = torch.autograd.grad(ours.mean * 3, leaves)
    logits = F.linear(states, weight, bias)
    theirs = F.cross_entropy(logits, target, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(ours.each_N, theirs.detach())
    torch.testing.assert_close(ours.mean, theirs.mean())
    torch.testing.assert_close(gradients, torch.autograd.grad(theirs.mean() * 3, leaves))


def test_the_loss_is_exact_for_scores_that_are_far_apart():
    states = torch.tensor([[500.0], [-500.0]])
    weight = torch.tensor([[1.0], [-1.0]])
    found = output_loss(states, weight, None, torch.tensor([0, 0]), smoothing=0.0)
    torch.testing.assert_close(found.each_N, torch.tensor([0.0, 1000.0]))


def test_the_products_follow_autocast_and_the_sums_are_float32():
    states, weight = torch.randn(40, 16), torch.randn(30, 16, requires_grad=True)
    target = torch.randint(0, 30, (40,))
    with torch.autocast("cpu", torch.bfloat16):
        found = output_loss(states.bfloat16(), weight, None, target, smoothing=0.1)
    found.mean.backward()
    logits = (states.bfloat16() @ weight.detach().bfloat16().T).float()
    assert found.each_N.dtype == torch.float32
    wanted = F.cross_entropy(logits, target, label_smoothing=0.1, reduction="none")
    torch.testing.assert_close(found.each_N, wanted, rtol=0.02, atol=0.02)
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32


def test_what_is_frozen_and_what_needs_no_gradient_gets_none():
    states, weight = torch.randn(4, 3, requires_grad=True), torch.randn(6, 3)
    output_loss(states, weight, None, torch.arange(4), smoothing=0.1).mean.backward()
    assert states.grad is not None
    assert weight.grad is None
    with torch.no_grad():
        found = output_loss(states, weight, None, torch.arange(4), smoothing=0.1)
    assert not found.mean.requires_grad


def test_the_gradient_is_given_away_and_can_be_asked_for_once():
    states, weight = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4)
    loss = output_loss(states, weight, None, torch.tensor([1, 2, 3]), smoothing=0.1).mean
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        loss.backward()


def test_ctc_is_the_sum_over_all_alignments():
    logits = torch.randn(1, 4, 3)
    table = logits[0].log_softmax(dim=-1)
    total = 0.0
    for path in itertools.product(range(3), repeat=4):
        collapsed = [piece for piece, _ in itertools.groupby(path) if piece != 0]
        if collapsed == [2, 1]:
            total += float(sum(table[s, piece] for s, piece in enumerate(path)).exp())
    found = ctc_loss(logits, torch.tensor([4]), torch.tensor([[2, 1]]), torch.tensor([2]))
    assert float(found) == pytest.approx(-math.log(total) / 2, abs=1e-5)


def test_ctc_ignores_padding_and_a_target_that_does_not_fit():
    logits = torch.randn(2, 5, 4)
    lengths, target = torch.tensor([5, 3]), torch.tensor([[1, 2, 3], [1, 1, 3]])
    together = ctc_loss(logits, lengths, target, torch.tensor([2, 3]))
    alone = ctc_loss(logits[:1], lengths[:1], target[:1, :2], torch.tensor([2]))
    # The second target needs a blank between its equal pieces: four positions, and there are three.
    assert float(together) == pytest.approx(float(alone) / 2)
