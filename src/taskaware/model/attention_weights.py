"""Where the decoder looks: the weights of its attention over the encoder's output.

Attention itself is computed in one fused step that never holds its weights; whoever wants them
computes them again from the same queries and keys.

Shape legend: B batch, T target positions, S positions of the encoder's output, L decoder blocks,
H heads, E size of a head, D d_model.
"""

from __future__ import annotations

import math
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch

from taskaware.model.attention import CrossAttention

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from taskaware.model.attention import KeyValues


class CrossWeights:
    """The weights of one run of the decoder, block by block."""

    def __init__(self) -> None:
        self.blocks: list[Tensor] = []

    def stacked(self) -> Tensor:
        """Return the weights as float32 ``[B, L * H, T, S]``, the heads of the first block first.

        Over the valid positions of a source they sum to 1 for every position of the target.
        """
        return torch.cat(self.blocks, dim=1)


@contextmanager
def cross_attention_weights(decoder: nn.Module) -> Iterator[CrossWeights]:
    """Note the weights of cross-attention while a decoder runs over whole targets, without grads.

    Args:
        decoder: What holds the blocks.
    """
    found = CrossWeights()

    def note(module: nn.Module, arguments: tuple, keywords: dict[str, Tensor]) -> None:
        assert isinstance(module, CrossAttention)
        x_BTD, memory = arguments
        found.blocks.append(_weights(module, x_BTD, memory, keywords["mask_BS"]))

    with ExitStack() as stack:
        for module in decoder.modules():
            if isinstance(module, CrossAttention):
                handle = module.register_forward_pre_hook(note, with_kwargs=True)
                stack.callback(handle.remove)
        yield found


@torch.inference_mode()
def _weights(module: CrossAttention, x_BTD: Tensor, memory: KeyValues, mask_BS: Tensor) -> Tensor:
    """Return softmax(Q K^T / sqrt(E)), float32 ``[B, H, T, S]``."""
    B, T, D = x_BTD.shape
    E = D // module.num_heads
    query_BHTE = module.query(x_BTD).view(B, T, module.num_heads, E).transpose(1, 2)
    scores_BHTS = query_BHTE.float() @ memory.keys.float().transpose(-1, -2) / math.sqrt(E)
    scores_BHTS = scores_BHTS.masked_fill(~mask_BS[:, None, None, :], float("-inf"))
    return scores_BHTS.softmax(dim=-1)
