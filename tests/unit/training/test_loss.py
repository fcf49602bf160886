"""Label-smoothed cross-entropy against torch's own."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from taskaware.training.loss import ctc_loss, smoothed_cross_entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_loss_and_gradient_are_those_of_torch(smoothing: float):
    logits = torch.randn(7, 11, requires_grad=True)
    target = torch.randint(0, 11, (7,))
    weight = torch.rand(7)
    ours = smoothed_cross_entropy(logits, target, smoothing=smoothing)
    (ours * weight).sum().backward()
    gradient, logits.grad = logits.grad, None
    theirs = F.cross_entropy(logits, target, label_smoothing=smoothing, reduction="none")
    (theirs * weight).sum().backward()
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradient, logits.grad)


def test_the_gradient_is_exact_in_bfloat16_inputs_too():
    logits = torch.randn(5, 9).bfloat16().requires_grad_()
    loss = smoothed_cross_entropy(logits, torch.arange(5), smoothing=0.1).mean()
    loss.backward()
    assert loss.dtype == torch.float32
    assert logits.grad is not None
    assert logits.grad.dtype == torch.bfloat16


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
