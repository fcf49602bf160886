"""Attention with and without dropout equals the same steps one by one, to its second gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from taskaware.model.dropout import dropout
from taskaware.model.stepwise_attention import attend_each, attend_stepwise

MASK_BK = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
WAYS = [(None, False), (None, True), (MASK_BK[:, None, None, :], False)]
WAYS.append((MASK_BK[:, None, None, :], True))
PROBABILITY = 0.3
each_dropout = pytest.mark.parametrize("probability", [PROBABILITY, 0.0])


def tensors(dtype: torch.dtype, *, wanted: tuple[bool, bool, bool] = (True, True, True)):
    torch.manual_seed(1)
    return [torch.randn(2, 3, 5, 4, dtype=dtype, requires_grad=one) for one in wanted]


def ours(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    causal: bool,
    probability: float,
) -> Tensor:
    torch.manual_seed(2)
    return attend_stepwise(query, key, value, mask=mask, dropout=probability, causal=causal)


def step_by_step(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    causal: bool,
    probability: float,
) -> Tensor:
    torch.manual_seed(2)
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    if causal:
        scores = scores.masked_fill(~torch.ones(5, 5, dtype=torch.bool).tril(), -math.inf)
    return dropout(scores.softmax(dim=-1), probability, True) @ value


@each_dropout
@pytest.mark.parametrize(("mask", "causal"), WAYS)
def test_output_and_gradients_are_those_of_the_steps(
    mask: Tensor | None, causal: bool, probability: float
):
    inputs = tensors(torch.float32)
    found, gradients = [], []
    for attention in (ours, step_by_step):
        found.append(attention(*inputs, mask, causal, probability))
        gradients.append(torch.autograd.grad(found[-1].square().sum(), inputs))
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(gradients[0], gradients[1])


@each_dropout
@pytest.mark.parametrize(("mask", "causal"), WAYS)
def test_first_and_second_gradient_are_the_numerical_ones(
    mask: Tensor | None, causal: bool, probability: float
):
    inputs = tensors(torch.float64)

    def attention(*given: Tensor) -> Tensor:
        return ours(*given, mask, causal, probability)

    assert torch.autograd.gradcheck(attention, inputs)
    assert torch.autograd.gradgradcheck(attention, inputs)


@each_dropout
def test_a_gradient_of_the_gradient_passes_frozen_queries(probability: float):
    inputs = tensors(torch.float64, wanted=(False, True, True))
    out = ours(*inputs, None, False, probability).square().sum()
    first = torch.autograd.grad(out, inputs[1:], create_graph=True)
    second = torch.autograd.grad(sum(one.square().sum() for one in first), inputs[1:])
    assert all(one.abs().sum() > 0 for one in second)


@each_dropout
def test_in_bfloat16_it_is_near_float32(probability: float):
    inputs = tensors(torch.float32)
    wide = ours(*inputs, None, True, probability)
    narrow_inputs = [one.detach().bfloat16().requires_grad_() for one in inputs]
    narrow = ours(*narrow_inputs, None, True, probability)
    gradients = torch.autograd.grad(narrow.float().square().sum(), narrow_inputs)
    wanted = torch.autograd.grad(wide.square().sum(), inputs)
    torch.testing.assert_close(narrow.float(), wide, rtol=0.05, atol=0.05)
    for found, right in zip(gradients, wanted, strict=True):
        assert (found.float() - right).norm() < 0.05 * right.norm()


@pytest.mark.parametrize(("probability", "masks"), [(PROBABILITY, [torch.int8]), (0.0, [])])
def test_of_what_grows_with_the_square_of_the_length_the_mask_alone_is_kept_for_the_gradient(
    probability: float, masks: list[torch.dtype]
):
    kept = []
    inputs = tensors(torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        ours(*inputs, None, False, probability)
    assert [one.dtype for one in kept if one.shape == (6, 5, 5)] == masks


LENGTHS = (5, 2, 3)


def example_by_example(joined: Tensor, probability: float) -> Tensor:
    torch.manual_seed(2)
    return attend_each(joined, LENGTHS, num_heads=3, dropout=probability)


def each_alone(joined: Tensor, probability: float) -> Tensor:
    torch.manual_seed(2)
    found = []
    for rows in joined.split(LENGTHS):
        query, key, value = rows.unflatten(1, (3, 3, 4)).permute(1, 2, 0, 3)
        weights = (query @ key.mT / 2).softmax(dim=-1)
        found.append((dropout(weights, probability, True) @ value).transpose(0, 1).flatten(1))
    return torch.cat(found)


@each_dropout
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batch_without_padding_is_attended_to_as_each_example_alone(
    probability: float, dtype: torch.dtype
):
    torch.manual_seed(1)
    joined = torch.randn(sum(LENGTHS), 36, dtype=dtype, requires_grad=True)
    found, gradients = [], []
    for attention in (example_by_example, each_alone):
        found.append(attention(joined, probability))
        gradients.append(torch.autograd.grad(found[-1].square().sum(), joined))
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(gradients[0], gradients[1])


@each_dropout
def test_example_by_example_first_and_second_gradient_are_the_numerical_ones(probability: float):
    torch.manual_seed(1)
    joined = torch.randn(sum(LENGTHS), 36, dtype=torch.float64, requires_grad=True)

    def attention(given: Tensor) -> Tensor:
        return example_by_example(given, probability)

    assert torch.autograd.gradcheck(attention, [joined])
    assert torch.autograd.gradgradcheck(attention, [joined])
