"""A model's weights as decoding reads them: laid out for it, or in fewer bits.

A step of decoding reads every weight for a few rows alone, so that it takes as long as reading the
weights: half the bytes in bfloat16, a quarter in int8. What is reduced are the products; norms,
the convolutions of Conformers, the sums between the parts of blocks and FiLM stay in float32. A
reduced model is for inference.

Shape legend: M rows, D inputs, N outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from taskaware.errors import UserError

if TYPE_CHECKING:
    from taskaware.model.transformer import TaskAwareTransformer

Weights = Literal["float32", "bfloat16", "int8"]


class Bfloat16Linear(nn.Module):
    """A linear layer that computes and answers in bfloat16."""

    weight_ND: Tensor
    bias_N: Tensor | None

    def __init__(self, weight_ND: Tensor, bias_N: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight_ND", weight_ND.detach().bfloat16())
        self.register_buffer("bias_N", None if bias_N is None else bias_N.detach().bfloat16())

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[..., N]``."""
        return F.linear(x.bfloat16(), self.weight_ND, self.bias_N)


class Int8Linear(nn.Module):
    """A linear layer whose weights are whole numbers from -127 to 127, scaled by output.

    Inputs are rounded in the same way, row by row as they come (Dettmers et al. 2022, section 2:
    vector-wise quantisation); the product of whole numbers is exact.
    """

    weight_DN: Tensor
    scale_N: Tensor
    bias_N: Tensor | None

    def __init__(self, weight_ND: Tensor, bias_N: Tensor | None) -> None:
        super().__init__()
        whole_ND, scale_N1 = _rounded(weight_ND.detach().float())
        self.register_buffer("weight_DN", whole_ND.t())
        self.register_buffer("scale_N", scale_N1[:, 0])
        self.register_buffer("bias_N", None if bias_N is None else bias_N.detach().float())

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 ``[..., N]``."""
        whole_MD, scale_M1 = _rounded(x.reshape(-1, x.shape[-1]).float())
        out_MN = torch.ops.aten._int_mm(whole_MD, self.weight_DN).float().mul_(scale_M1)
        out_MN = (
            out_MN.mul_(self.scale_N)
            if self.bias_N is None
            else torch.addcmul(self.bias_N, out_MN, self.scale_N)
        )
        return out_MN.view(*x.shape[:-1], -1)


class OfFloat32(nn.Module):
    """A layer that stays in float32, behind one that may answer in bfloat16."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer puts out."""
        return self.layer(x.float())


def _rounded(x_MD: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 ``[M, D]`` and float32 ``[M, 1]``, whose product is nearly ``x``."""
    scale_M1 = x_MD.abs().amax(dim=1, keepdim=True).clamp_(min=1e-30).div_(127)
    return (x_MD / scale_M1).round_().to(torch.int8), scale_M1


def prepare_weights(model: TaskAwareTransformer, weights: Weights) -> None:
    """Make a model's weights what decoding shall read.

    Args:
        model: In evaluation mode; changed in place.
        weights: ``"float32"``: as they are, those of the decoder laid out column by column, which
            is a quarter faster for 4 to 64 rows on a CPU. ``"bfloat16"`` and ``"int8"``: reduced,
            in the blocks of encoder and decoder and in the output layer.

    Raises:
        UserError: A model with adapters is to be reduced, or one on a GPU to int8; or there is no
            such word.
    """
    known = get_args(Weights)
    if weights not in known:
        raise UserError(f"`weights` must be one of {', '.join(known)}, but is {weights!r}")
    embedding = model.token_embedding
    is_on_cpu = embedding.weight.device.type == "cpu"
    if weights == "float32":
        if is_on_cpu:
            linear = [layer for layer in model.decoder.modules() if isinstance(layer, nn.Linear)]
            for weight in [*(layer.weight for layer in linear), embedding.output_layer_weight]:
                weight.data = weight.data.t().contiguous().t()
        return
    if weights == "int8" and not is_on_cpu:
        raise UserError("`weights` must be 'float32' or 'bfloat16' on a GPU, but is 'int8'")
    if model.adapters.tasks:
        raise UserError(
            f"`weights` must be 'float32' for a model with adapters, but is '{weights}': "
            "`taskaware export --as plain --task NAME` merges those of a task (all but "
            "bottlenecks), and that model can have fewer bits"
        )
    kind = Bfloat16Linear if weights == "bfloat16" else Int8Linear
    for stack in filter(None, (model.encoder, model.text_encoder, model.decoder)):
        for name, module in list(stack.named_modules()):
            if isinstance(module, nn.Linear):
                stack.set_submodule(name, kind(module.weight, module.bias))
            elif isinstance(module, nn.Conv2d):  # a Conformer's, of one weight a position
                stack.set_submodule(name, OfFloat32(module))
    embedding.reduced_output = kind(embedding.output_layer_weight, embedding.output_bias)


def is_reduced(model: TaskAwareTransformer) -> bool:
    """Return whether ``prepare_weights`` has reduced a model."""
    return model.token_embedding.reduced_output is not None
