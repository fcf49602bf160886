"""Dropout on a CPU: the right share, the right gradient, the same numbers from the same seed."""

from __future__ import annotations

import pytest
import torch

from taskaware.model.attention import attend
from taskaware.model.dropout import dropout, rectified_dropout


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_the_asked_share_is_dropped_and_the_mean_stays(probability: float):
    torch.manual_seed(3)
    dropped = dropout(torch.ones(300, 401), probability, True)
    zeros = float((dropped == 0).float().mean())
    assert zeros == pytest.approx(probability, abs=0.005)
    # Every byte of a draw alike, the uppermost among them.
    of_column = (dropped.view(-1)[: 300 * 400].view(-1, 8) == 0).float().mean(dim=0)
    torch.testing.assert_close(of_column, torch.full((8,), probability), atol=0.01, rtol=0)
    kept = dropped[dropped != 0]
    torch.testing.assert_close(
        kept, torch.full_like(kept, 1 / (1 - probability)), rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("probability", [0.002, 0.1, 0.995, 0.998])
def test_over_masks_the_share_is_the_asked_one_though_a_byte_cannot_say_it(probability: float):
    torch.manual_seed(5)
    ones = torch.ones(2000)
    dropped = torch.stack([dropout(ones, probability, True) for _ in range(2000)])
    share = float((dropped == 0).double().mean())
    assert share == pytest.approx(probability, abs=0.0007)  # four standard deviations at 0.1


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_nothing_or_everything_is_dropped_at_the_ends(probability: float):
    x = torch.randn(5, 7)
    torch.testing.assert_close(dropout(x, probability, True), x * (1 - probability))
    torch.testing.assert_close(dropout(x, probability, False), x)


def test_the_same_seed_drops_the_same_and_the_next_draw_another():
    x = torch.ones(50)
    torch.manual_seed(1)
    first, second = dropout(x, 0.5, True), dropout(x, 0.5, True)
    torch.manual_seed(1)
    assert torch.equal(dropout(x, 0.5, True), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("function", [dropout, rectified_dropout])
def test_first_and_second_gradients_are_those_of_what_was_computed(function):
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)

    def seeded(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(2)
        return function(x, 0.4, True) * x

    assert torch.autograd.gradcheck(seeded, (x,))
    assert torch.autograd.gradgradcheck(seeded, (x,))


def test_rectified_dropout_is_dropout_of_what_is_above_zero():
    x = torch.randn(30, 40, requires_grad=True)
    outputs, gradients = [], []
    for function in (lambda: rectified_dropout(x, 0.3, True), lambda: dropout(x.relu(), 0.3, True)):
        torch.manual_seed(4)
        outputs.append(function())
        gradients.append(torch.autograd.grad(outputs[-1].square().sum(), x)[0])
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("causal", [False, True])
def test_attention_with_a_dropout_that_drops_nothing_is_the_fused_one(causal: bool):
    query, key, value = (torch.randn(2, 3, 5, 4, requires_grad=True) for _ in range(3))
    mask = (
        None if causal else torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:, None, None, :]
    )
    found, gradients = [], []
    for probability in (0.0, 1e-9):  # hardly ever a mask that drops
        out = attend(query, key, value, mask=mask, dropout=probability, causal=causal)
        found.append(out)
        gradients.append(torch.autograd.grad(out.square().sum(), (query, key, value)))
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(gradients[0], gradients[1])
