"""Attention step by step, for training on a CPU: torch's fused one has no dropout there.

Nor is its gradient fast in bfloat16.

Of what grows with the square of the length, dropout's mask of one byte a weight alone is kept for
the gradient. The weights are computed again, as in FlashAttention (Dao et al. 2022,
arXiv:2205.14135, section 3.1): a seventh product beside six, for a fifth of the memory in float32.
Second-order meta-learning goes through the same attention step by step.

Shape legend: B batch, H heads, N = B * H, Q query positions, K key positions, E head size; and of
one example after the other: S positions of one, V of all, D = H * E.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from taskaware.model.dropout import draw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

# Weights are computed in parts that a processor's own cache holds: measured in float32 and bfloat16
# (docs/results/performance.md).
_PART_BYTES = 2**20


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


def _attended(
    query_NQE: Tensor,
    key_NKE: Tensor,
    value_NKE: Tensor,
    hidden: Tensor | None,
    kept_NQK: Tensor | None,
    scale: float,
) -> Tensor:
    """Return the sums of values, ``[N, Q, E]``, of weights that dropout has kept and scaled."""
    attended = []
    for query, key, value, added, kept in _parts(query_NQE, key_NKE, value_NKE, hidden, kept_NQK):
        weights = _weights(query, key, added)
        if kept is not None:
            weights = weights * kept.to(weights.dtype)
        attended.append(torch.bmm(weights, value))
    # The sums are scaled, which are fewer than the weights.
    return _joined(attended) if kept_NQK is None else _joined(attended) * scale


def _gradients(
    inputs: tuple[Tensor, Tensor, Tensor],
    hidden: Tensor | None,
    kept_NQK: Tensor | None,
    scale: float,
    gradient_NQE: Tensor,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of queries, keys and values from that of what attention returned."""
    if torch.is_grad_enabled():  # a gradient of this gradient will be asked for
        attended_NQE = _attended(*inputs, hidden, kept_NQK, scale)
        wanted = [one for one in inputs if one.requires_grad]
        given = iter(torch.autograd.grad(attended_NQE, wanted, gradient_NQE, create_graph=True))
        query, key, value = (next(given) if one.requires_grad else None for one in inputs)
        return query, key, value
    size = inputs[0].shape[-1] ** -0.5
    found = []
    for query, key, value, added, kept, gradient in _parts(*inputs, hidden, kept_NQK, gradient_NQE):
        weights = dropped = _weights(query, key, added)
        if kept is not None:
            kept = kept.to(weights.dtype)
            dropped, gradient = weights * kept, gradient * scale
        value_gradient = torch.bmm(dropped.mT, gradient)
        weight_gradient = torch.bmm(gradient, value.mT)
        if kept is not None:
            weight_gradient.mul_(kept)
        score_gradient = torch.ops.aten._softmax_backward_data(
            weight_gradient, weights, -1, weights.dtype
        )
        query_gradient = torch.bmm(score_gradient, key).mul_(size)
        key_gradient = torch.bmm(score_gradient.mT, query).mul_(size)
        found.append((query_gradient, key_gradient, value_gradient))
    query, key, value = (_joined(parts) for parts in zip(*found, strict=True))
    return query, key, value


def _parts(query_NQE: Tensor, key_NKE: Tensor, *others: Tensor | None) -> Iterator[list[Any]]:
    """Yield queries, keys and what belongs to them in parts of whole rows.

    What has one row, or is none, belongs to every part.
    """
    N, Q, _ = query_NQE.shape
    bytes_of_row = Q * key_NKE.shape[1] * query_NQE.element_size()
    size = max(1, _PART_BYTES // max(1, bytes_of_row))
    for first in range(0, N, size):
        rows = slice(first, first + size)
        each = (query_NQE, key_NKE, *others)
        yield [x if x is None or len(x) == 1 else x[rows] for x in each]


def _joined(parts: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class _Attention(torch.autograd.Function):
    """``_attended`` of the same arguments, which keeps them and no weights."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        *tensors, ctx.scale = given
        ctx.save_for_backward(*tensors)
        return _attended(*given)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient_NQE: Tensor
    ) -> tuple[Tensor | None, ...]:
        query_NQE, key_NKE, value_NKE, hidden, kept_NQK = ctx.saved_tensors
        inputs = query_NQE, key_NKE, value_NKE
        return (*_gradients(inputs, hidden, kept_NQK, ctx.scale, gradient_NQE), None, None, None)


def attend_each(
    joined_VX: Tensor, lengths: Sequence[int], *, num_heads: int, dropout: float
) -> Tensor:
    """Return self-attention ``[V, D]`` of a batch without padding, example by example.

    No weight of a padded position is computed, and nothing is copied to lie together: in float32
    the products read the heads where the projection has put them.

    Args:
        joined_VX: Queries, keys and values of all valid positions, ``[V, 3 D]``.
        lengths: Positions of each example; V in all.
        num_heads: H.
        dropout: Probability of a weight to be set to 0.
    """
    return _EachAttention.apply(joined_VX, lengths, num_heads, dropout)  # type: ignore[return-value]


class _EachAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, joined_VX: Tensor, lengths: Sequence[int], num_heads: int, dropout: float
    ) -> Tensor:
        V, X = joined_VX.shape
        attended_VD = joined_VX.new_empty(V, X // 3)
        each_kept, scale = [], 1.0
        for rows in _rows_of_examples(lengths):
            query_HSE, key_HSE, value_HSE = _of_heads(joined_VX[rows], 3, num_heads)
            kept_HSS = None
            if dropout:
                S = query_HSE.shape[1]
                kept_HSS, scale = draw(torch.Size((num_heads, S, S)), dropout)
                each_kept.append(kept_HSS)
            (attended_HSE,) = _of_heads(attended_VD[rows], 1, num_heads)
            attended_HSE.copy_(_attended(query_HSE, key_HSE, value_HSE, None, kept_HSS, scale))
        ctx.save_for_backward(joined_VX, *each_kept)
        ctx.lengths, ctx.num_heads, ctx.scale = lengths, num_heads, scale
        return attended_VD

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient_VD: Tensor
    ) -> tuple[Tensor | None, ...]:
        joined_VX, *each_kept = ctx.saved_tensors
        gradients = []
        for index, rows in enumerate(_rows_of_examples(ctx.lengths)):
            query, key, value = _of_heads(joined_VX[rows], 3, ctx.num_heads)
            (gradient_HSE,) = _of_heads(gradient_VD[rows], 1, ctx.num_heads)
            kept_HSS = each_kept[index] if each_kept else None
            found = _gradients((query, key, value), None, kept_HSS, ctx.scale, gradient_HSE)
            of_positions = [one.transpose(0, 1) for one in found if one is not None]
            gradients.append(torch.stack(of_positions, dim=1).flatten(1))
        return torch.cat(gradients), None, None, None


def _rows_of_examples(lengths: Sequence[int]) -> Iterator[slice]:
    first = 0
    for length in lengths:
        yield slice(first, first + length)
        first += length


def _of_heads(x_SX: Tensor, num_parts: int, num_heads: int) -> tuple[Tensor, ...]:
    """Return the parts that lie beside one another, each as a view ``[H, S, E]``."""
    return x_SX.unflatten(1, (num_parts, num_heads, -1)).permute(1, 2, 0, 3).unbind(0)
