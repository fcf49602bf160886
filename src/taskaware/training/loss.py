"""The losses of a batch: cross-entropy with label smoothing, and CTC.

Shape legend: B batch, S source positions, T target positions, N valid target positions, C of them
in a chunk, V vocabulary, D width of the states.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from taskaware.types import CTC_BLANK

_CHUNK_NUMBERS = 1 << 23  # logits that are held at a time, 32 MiB


class OutputLoss(NamedTuple):
    """The cross-entropy of output positions.

    Attributes:
        mean: Over the positions, a scalar (nats); what has a gradient.
        each_N: Of each position, ``[N]``, float32 or wider; without a gradient.
    """

    mean: Tensor
    each_N: Tensor


def output_loss(
    states_ND: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    target_N: Tensor,
    *,
    smoothing: float,
    twice_differentiable: bool = False,
) -> OutputLoss:
    """Return the label-smoothed cross-entropy of an output layer, without holding all its logits.

    The wanted distribution has ``1 - smoothing`` on the target and ``smoothing`` spread evenly over
    the whole vocabulary (Szegedy et al. 2016, section 7), as in
    ``torch.nn.functional.cross_entropy``. The gradient is made on the way forward, a chunk of
    positions after the other, so that neither logits nor their gradient are kept (as in Hsu et al.
    2024, Liger Kernel, arXiv:2410.10989, section 3.2). It can be asked for once.

    Args:
        states_ND: What the output layer reads.
        weight_VD: Its weight.
        bias_V: Its bias.
        target_N: int64 pieces.
        smoothing: Share that is spread, 0 to 1.
        twice_differentiable: Whether the gradient itself must have a gradient; slower, and all
            logits are held.
    """
    if twice_differentiable:
        logits_NV = F.linear(states_ND, weight_VD, bias_V)
        wide = torch.promote_types(logits_NV.dtype, torch.float32)
        loss_N = F.cross_entropy(
            logits_NV.to(wide), target_N, label_smoothing=smoothing, reduction="none"
        )
        return OutputLoss(loss_N.mean(), loss_N.detach())
    kind = states_ND.device.type
    precision = states_ND.dtype
    if torch.is_autocast_enabled(kind):
        precision = torch.get_autocast_dtype(kind)
    with torch.autocast(kind, enabled=False):
        mean, each_N = _OutputLoss.apply(  # type: ignore[misc]
            states_ND, weight_VD, bias_V, target_N, smoothing, precision, torch.is_grad_enabled()
        )
    return OutputLoss(mean, each_N)


class _OutputLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        target_N: Tensor,
        smoothing: float,
        precision: torch.dtype,
        has_gradient: bool,
    ) -> tuple[Tensor, Tensor]:
        read_ND, read_VD = states_ND.to(precision), weight_VD.to(precision)
        read_V = None if bias_V is None else bias_V.to(precision)
        N, V = len(states_ND), len(weight_VD)
        asked = [has_gradient and needed for needed in ctx.needs_input_grad[:3]]
        given = (states_ND, weight_VD, bias_V)
        wide = torch.promote_types(precision, torch.float32)  # what sums are made in
        of_states, of_weight, of_bias = None, None, None
        if asked[0]:
            of_states = torch.empty_like(states_ND, dtype=wide)
        losses: list[Tensor] = []
        size = max(1, _CHUNK_NUMBERS // V)
        for first in range(0, N, size):
            chunk = slice(first, first + size)
            logits_CV = F.linear(read_ND[chunk], read_VD, read_V).to(wide)
            loss_C, gradient_CV = _smoothed(logits_CV, target_N[chunk], smoothing)
            losses.append(loss_C)
            if not any(asked):
                continue
            narrow_CV = gradient_CV.div_(N).to(precision)
            if of_states is not None:
                of_states[chunk] = narrow_CV @ read_VD
            if asked[1]:
                of_weight = _sum(of_weight, (narrow_CV.T @ read_ND[chunk]).to(wide))
            if asked[2] and bias_V is not None:
                of_bias = _sum(of_bias, gradient_CV.sum(dim=0))
        each_N = torch.cat(losses)
        ctx.mark_non_differentiable(each_N)
        ctx.gradients = [
            None if gradient is None or tensor is None else gradient.to(tensor.dtype)
            for gradient, tensor in zip((of_states, of_weight, of_bias), given, strict=True)
        ]
        return each_N.mean(), each_N

    # The types of `once_differentiable` make ctx positional, as torch itself always passes it.
    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *outer: Tensor
    ) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the gradient of `output_loss` can be asked for once")
        # Scaled where they are, and given away: that of the weights is as large as the embedding.
        # The factor stays on its device: reading it would make a GPU wait for each update.
        gradients = [None if g is None else g.mul_(outer[0].to(g.dtype)) for g in ctx.gradients]
        ctx.gradients = None
        return (*gradients, None, None, None, None)


def _sum(total: Tensor | None, more: Tensor) -> Tensor:
    """Return the sum in the place of the total: no weights' worth of zeros to begin with."""
    return more if total is None else total.add_(more)


def _smoothed(logits_CV: Tensor, target_C: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Return the loss of each position and its gradient, which takes the place of the logits."""
    target_C1 = target_C[:, None]
    shifted_CV = logits_CV.sub_(logits_CV.amax(dim=1, keepdim=True))
    at_target_C1 = shifted_CV.gather(1, target_C1)
    mean_C1 = shifted_CV.mean(dim=1, keepdim=True)
    exponential_CV = shifted_CV.exp_()
    total_C1 = exponential_CV.sum(dim=1, keepdim=True)
    loss_C1 = total_C1.log() - (1 - smoothing) * at_target_C1 - smoothing * mean_C1
    gradient_CV = exponential_CV.div_(total_C1).sub_(smoothing / logits_CV.shape[1])
    gradient_CV.scatter_add_(
        1, target_C1, torch.full_like(target_C1, smoothing - 1, dtype=gradient_CV.dtype)
    )
    return loss_C1[:, 0], gradient_CV


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
    loss_B = F.ctc_loss(
        log_probs_SBV,
        target_BT,
        source_lengths,
        target_lengths,
        blank=CTC_BLANK,
        reduction="none",
        zero_infinity=True,
    )
    return (loss_B / target_lengths.clamp(min=1)).mean()
