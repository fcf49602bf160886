"""Label-smoothed cross-entropy against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from taskaware.training.loss import smoothed_cross_entropy


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
