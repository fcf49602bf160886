"""The losses of a batch: cross-entropy with label smoothing, and CTC.

Shape legend: B batch, S source positions, T target positions, N valid target positions,
V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from taskaware.types import CTC_BLANK


class _SmoothedCrossEntropy(torch.autograd.Function):
    """Makes the gradient on the way forward, instead of the logits: one pass instead of three."""

    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, target_N: Tensor, smoothing: float) -> Tensor:
        num_pieces = logits_NV.shape[1]
        logits_NV = logits_NV.float()
        target_N1 = target_N[:, None]
        log_total_N1 = torch.logsumexp(logits_NV, dim=1, keepdim=True)
        at_target_N1 = logits_NV.gather(1, target_N1)
        mean_N1 = logits_NV.mean(dim=1, keepdim=True)
        loss_N = log_total_N1 - (1 - smoothing) * at_target_N1 - smoothing * mean_N1
        gradient_NV = (logits_NV - log_total_N1).exp_().sub_(smoothing / num_pieces)
        gradient_NV.scatter_add_(
            1, target_N1, torch.full_like(target_N1, smoothing - 1, dtype=gradient_NV.dtype)
        )
        ctx.save_for_backward(gradient_NV)
        return loss_N[:, 0]

    # The types of `once_differentiable` make ctx positional, as torch itself always passes it.
    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, None, None]:
        (gradient_NV,) = ctx.saved_tensors
        return gradient_NV * gradients[0][:, None], None, None


def smoothed_cross_entropy(
    logits_NV: Tensor, target_N: Tensor, *, smoothing: float, twice_differentiable: bool = False
) -> Tensor:
    """Return the cross-entropy (nats) of each position, float32 ``[N]``.

    The wanted distribution has ``1 - smoothing`` on the target and ``smoothing`` spread evenly over
    the whole vocabulary (Szegedy et al. 2016, section 7), as in
    ``torch.nn.functional.cross_entropy``.

    Args:
        logits_NV: Scores before the softmax.
        target_N: int64 pieces.
        smoothing: Share that is spread, 0 to 1.
        twice_differentiable: Whether the gradient itself must have a gradient; slower.
    """
    if twice_differentiable:
        return torch.nn.functional.cross_entropy(
            logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32)),
            target_N,
            label_smoothing=smoothing,
            reduction="none",
        )
    loss: Tensor = _SmoothedCrossEntropy.apply(logits_NV, target_N, smoothing)  # type: ignore[assignment]
    return loss


def ctc_loss(
    logits_BSV: Tensor, source_lengths: Tensor, target_BT: Tensor, target_lengths: Tensor
) -> Tensor:
    """Return the connectionist temporal classification loss (Graves et al. 2006), nats a piece.

    ``CTC_BLANK`` is the blank. A target that does not fit its source positions counts as 0.

    Args:
        logits_BSV: Scores of each source position before the softmax.
        source_lengths: int64 ``[B]``.
        target_BT: int64 pieces, without blanks in the valid part.
        target_lengths: int64 ``[B]``.
    """
    log_probs_SBV = logits_BSV.float().log_softmax(dim=-1).transpose(0, 1)
    loss_B = torch.nn.functional.ctc_loss(
        log_probs_SBV,
        target_BT,
        source_lengths,
        target_lengths,
        blank=CTC_BLANK,
        reduction="none",
        zero_infinity=True,
    )
    return (loss_B / target_lengths.clamp(min=1)).mean()
