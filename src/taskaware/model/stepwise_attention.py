"""Attention step by step, for training on a CPU: torch's fused one has no dropout there.

Nor is its gradient fast in bfloat16.

Of what grows with the square of the length, dropout's mask of one byte a weight alone is kept for
the gradient. The weights are computed again, as in FlashAttention (Dao et al. 2022,
arXiv:2205.14135, section 3.1): a seventh product beside six, for a fifth of the memory in float32.
Second-order meta-learning goes through the same attention step by step.

Shape legend: B batch, H heads, N = B * H, Q query positions, K key positions, E head size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from taskaware.model.dropout import draw, factor

if TYPE_CHECKING:
    from torch import Tensor


def attend_stepwise(
    query_BHQE: Tensor,
    key_BHKE: Tensor,
    value_BHKE: Tensor,
    *,
    mask: Tensor | None,
    dropout: float,
    causal: bool,
) -> Tensor:
    """Return attention ``[B, H, Q, E]``; products in the type given, softmax in float32 or wider.

    Args:
        query_BHQE: The queries.
        key_BHKE: The keys.
        value_BHKE: The values.
        mask: bool, True where a query sees a key, as it broadcasts to ``[B, H, Q, K]``.
        dropout: Probability of a weight to be set to 0.
        causal: Whether a query sees no key behind its own position.
    """
    B, H, Q, E = query_BHQE.shape
    K = key_BHKE.shape[2]
    hidden = _hidden(mask, query_BHQE, num_keys=K, causal=causal)
    kept_NQK, scale = draw(torch.Size((B * H, Q, K)), dropout) if dropout else (None, 1.0)
    attended_NQE = _Attention.apply(
        query_BHQE.reshape(B * H, Q, E),
        key_BHKE.reshape(B * H, K, E),
        value_BHKE.reshape(B * H, K, E),
        hidden,
        kept_NQK,
        scale,
    )
    return attended_NQE.view(B, H, Q, E)  # type: ignore[union-attr]


def _hidden(
    mask: Tensor | None, query_BHQE: Tensor, *, num_keys: int, causal: bool
) -> Tensor | None:
    """Return what is added to the scores, as it broadcasts to ``[N, Q, K]``.

    A hidden position gets a number so low that its weight is 0, and not minus infinity: torch's own
    looks through all weights for rows in which nothing is visible, which no row here is.
    """
    B, H, Q, _ = query_BHQE.shape
    lowest = torch.finfo(query_BHQE.dtype).min / 2
    added = None
    if causal:
        added = query_BHQE.new_full((1, Q, num_keys), lowest).triu_(1)
    if mask is not None:
        of_examples = mask.expand(B, H, *mask.shape[2:]).reshape(B * H, *mask.shape[2:])
        shown = query_BHQE.new_zeros(of_examples.shape).masked_fill_(~of_examples, lowest)
        added = shown if added is None else torch.minimum(added, shown)
    return added


def _weights(query_NQE: Tensor, key_NKE: Tensor, hidden: Tensor | None) -> Tensor:
    """Return the weights before dropout, ``[N, Q, K]``, in the type of the queries."""
    scale = query_NQE.shape[-1] ** -0.5
    if hidden is None:
        scores_NQK = torch.bmm(query_NQE * scale, key_NKE.mT)
    else:
        scores_NQK = torch.baddbmm(hidden, query_NQE, key_NKE.mT, alpha=scale)
    wide = torch.promote_types(scores_NQK.dtype, torch.float32)
    return scores_NQK.to(wide).softmax(dim=-1).to(query_NQE.dtype)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query_NQE: Tensor,
        key_NKE: Tensor,
        value_NKE: Tensor,
        hidden: Tensor | None,
        kept_NQK: Tensor | None,
        scale: float,
    ) -> Tensor:
        weights_NQK = _weights(query_NQE, key_NKE, hidden)
        ctx.save_for_backward(query_NQE, key_NKE, value_NKE, hidden, kept_NQK)
        ctx.scale = scale
        if kept_NQK is not None:
            weights_NQK = factor(kept_NQK, scale, weights_NQK).mul_(weights_NQK)
        return torch.bmm(weights_NQK, value_NKE)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient_NQE: Tensor
    ) -> tuple[Tensor | None, ...]:
        query_NQE, key_NKE, value_NKE, hidden, kept_NQK = ctx.saved_tensors
        weights_NQK = _weights(query_NQE, key_NKE, hidden)
        dropped_NQK, factor_NQK = weights_NQK, None
        if kept_NQK is not None:
            factor_NQK = factor(kept_NQK, ctx.scale, weights_NQK)
            dropped_NQK = weights_NQK * factor_NQK
        if torch.is_grad_enabled():  # a gradient of this gradient will be asked for
            attended_NQE = torch.bmm(dropped_NQK, value_NKE)
            inputs = (query_NQE, key_NKE, value_NKE)
            wanted = [one for one in inputs if one.requires_grad]
            found = torch.autograd.grad(attended_NQE, wanted, gradient_NQE, create_graph=True)
            gradients = iter(found)
            each = (next(gradients) if one.requires_grad else None for one in inputs)
            return (*each, None, None, None)
        value_gradient_NKE = torch.bmm(dropped_NQK.mT, gradient_NQE)
        weight_gradient_NQK = torch.bmm(gradient_NQE, value_NKE.mT)
        if factor_NQK is not None:
            weight_gradient_NQK.mul_(factor_NQK)
        score_gradient_NQK = torch.ops.aten._softmax_backward_data(
            weight_gradient_NQK, weights_NQK, -1, weights_NQK.dtype
        )
        size = query_NQE.shape[-1] ** -0.5
        query_gradient_NQE = torch.bmm(score_gradient_NQK, key_NKE).mul_(size)
        key_gradient_NKE = torch.bmm(score_gradient_NQK.mT, query_NQE).mul_(size)
        return query_gradient_NQE, key_gradient_NKE, value_gradient_NKE, None, None, None
