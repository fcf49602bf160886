"""The loss of a batch: cross-entropy with label smoothing.

Shape legend: N valid target positions, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _SmoothedCrossEntropy(torch.autograd.Function):
    """Makes the gradient on the way forward, in place of the logits: one pass instead of three."""

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

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient_NV,) = ctx.saved_tensors
        return gradient_NV * gradients[0][:, None], None, None


def smoothed_cross_entropy(logits_NV: Tensor, target_N: Tensor, *, smoothing: float) -> Tensor:
    """Return the cross-entropy (nats) of each position, float32 ``[N]``.

    The wanted distribution has ``1 - smoothing`` on the target and ``smoothing`` spread evenly over the
    whole vocabulary (Szegedy et al. 2016, section 7), as in ``torch.nn.functional.cross_entropy``. Not
    twice differentiable.

    Args:
        logits_NV: Scores before the softmax.
        target_N: int64 pieces.
        smoothing: Share that is spread, 0 to 1.
    """
    loss: Tensor = _SmoothedCrossEntropy.apply(logits_NV, target_N, smoothing)  # type: ignore[assignment]
    return loss
