"""Dropout (Srivastava et al. 2014) that is cheap on a CPU.

torch draws a mask there number by number (some 10 ns each, a sixth of a training step) and keeps it
at the width of the activations. Here sixteen random bits decide a number, four numbers for each
draw of a fast generator, which torch's own gives its seed: for each mask one, so that nothing but
torch's state has to be stored. One byte of each number is kept. On other devices torch's dropout is
fused already and is what is used.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor

_LEVELS = 1 << 16  # of sixteen bits: the share that is dropped is a multiple of its inverse
_NUMBERS_PER_DRAW = 4


def dropout(x: Tensor, probability: float, training: bool) -> Tensor:
    """Return ``x`` with each number set to 0 at this probability, the rest scaled up; any shape."""
    if not training or not probability:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, probability)
    mask, scale = draw(x.shape, probability)
    return _Masked.apply(x, mask, scale)  # type: ignore[return-value]


def rectified_dropout(x: Tensor, probability: float, training: bool) -> Tensor:
    """Return the dropout of ``relu(x)``, which keeps one tensor for its gradient instead of three.

    What is above 0 in the output is what was both above 0 and kept.
    """
    if not training or not probability or x.device.type != "cpu":
        return dropout(F.relu(x), probability, training)
    mask, scale = draw(x.shape, probability)
    return _Rectified.apply(x, mask, scale)  # type: ignore[return-value]


def draw(shape: torch.Size, probability: float) -> tuple[Tensor, float]:
    """Return a mask, int8 with 1 where a number is kept, and what scales the kept ones."""
    num_dropped = round(probability * _LEVELS)
    count = math.prod(shape)
    num_draws = -(-count // _NUMBERS_PER_DRAW)
    if torch.compiler.is_compiling():  # what is not torch's would be traced as a constant
        # From the least number on, because without arguments the sign would never be drawn.
        draws = torch.empty(num_draws, dtype=torch.int64).random_(-(2**63), None)
        bits = draws.view(torch.int16)[:count].view(shape)
    else:
        seed = int(torch.empty((), dtype=torch.int64).random_())
        draws = np.random.SFC64(seed).random_raw(num_draws)
        bits = torch.from_numpy(draws.view(np.int16))[:count].view(shape)
    kept = bits.ge_(num_dropped - _LEVELS // 2) if num_dropped < _LEVELS else bits.zero_()
    return kept.to(torch.int8), _LEVELS / max(_LEVELS - num_dropped, 1)


def _kept(x: Tensor, mask: Tensor, scale: float) -> Tensor:
    """Return the numbers that are kept, times the scale; 0 in the place of the others."""
    mask = mask.to(x.dtype)
    if torch.is_grad_enabled():  # a gradient of this one will be asked for
        return x * mask * scale
    return torch.addcmul(x.new_zeros(()), x, mask, value=scale, out=mask)


# Neither backward is marked as differentiable once: both consist of operations that torch can
# differentiate, which second-order meta-learning needs.


class _Masked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return _kept(x, mask, scale)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        return _kept(gradient, mask, ctx.scale), None, None


class _Rectified(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        out = _kept(x.clamp_min(0), mask, scale)
        ctx.save_for_backward(out)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, None, None]:
        (out,) = ctx.saved_tensors
        passed = torch.ops.aten.threshold_backward(gradient, out.detach(), 0.0)
        return passed.mul_(ctx.scale), None, None
