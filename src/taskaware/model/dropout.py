"""Dropout (Srivastava et al. 2014) that is cheap on a CPU.

torch draws a mask there number by number (some 10 ns each, a sixth of a training step) and keeps it
at the width of the activations. Here a random byte decides a number, eight numbers for each draw of
a fast generator, which torch's own gives its seed: for each mask one, so that nothing but torch's
state has to be stored. That byte is what is kept of each number. On other devices torch's dropout
is fused already and is what is used.

A share that is no multiple of 1/256 lies between two that are: each mask takes one of these, the
nearer one the more often, so that every number is dropped at exactly the probability that is asked
for. (Numbers of one mask then depend on each other a little: it drops 9.8 or 10.2 % of them for
a probability of 0.1.)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor

_LEVELS = 1 << 8  # of a byte
_NUMBERS_PER_DRAW = 8


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
    scale = 1 / (1 - probability) if probability < 1 else 1.0
    if probability * _LEVELS > _LEVELS - 1:  # no byte is above all bytes
        return (torch.rand(shape) >= probability).to(torch.int8), scale
    count = math.prod(shape)
    num_draws = -(-count // _NUMBERS_PER_DRAW)
    below = math.floor(probability * _LEVELS)
    more = torch.rand(()) < probability * _LEVELS - below
    bound = (below + more - _LEVELS // 2).to(torch.int8)
    if torch.compiler.is_compiling():  # what is not torch's would be traced as a constant
        # From the least number on, because without arguments the sign would never be drawn.
        draws = torch.empty(num_draws, dtype=torch.int64).random_(-(2**63), None)
        bits = draws.view(torch.int8)[:count].view(shape)
    else:
        seed = int(torch.empty((), dtype=torch.int64).random_())
        draws = np.random.SFC64(seed).random_raw(num_draws)
        bits = torch.from_numpy(draws.view(np.int8))[:count].view(shape)
    return bits.ge_(bound), scale


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
