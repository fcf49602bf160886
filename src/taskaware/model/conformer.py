"""The Conformer encoder block (Gulati et al. 2020, arXiv:2005.08100): attention beside convolution.

Shape legend: B batch, S positions, D d_model, K kernel.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from taskaware.model.attention import SelfAttention
from taskaware.model.layers import FeedForward, Sublayer
from taskaware.model.packing import AS_IT_IS, Packing


class ConvolutionModule(nn.Module):
    """A gated pointwise convolution, a depthwise one over K positions, norm, swish, pointwise.

    A layer norm stands where the paper has a batch norm: it looks at one position at a time, so
    that neither padding nor the other examples of a batch change an output.
    """

    def __init__(self, d_model: int, *, kernel: int, eps: float) -> None:
        super().__init__()
        self.gate = nn.Linear(d_model, 2 * d_model)
        # Two-dimensional of width 1: three times as fast as Conv1d on a CPU, as the channels of
        # [B, S, D] already lie last.
        self.depthwise = nn.Conv2d(
            d_model, d_model, (kernel, 1), padding=(kernel // 2, 0), groups=d_model
        )
        self.norm = nn.LayerNorm(d_model, eps=eps)
        self.output = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, *, mask_BS: Tensor, packing: Packing = AS_IT_IS) -> Tensor:
        """Return ``[B, S, D]``, or as ``packing`` has it; zeros enter where the mask is False."""
        gated_BSD = packing.unpack(F.glu(self.gate(x), dim=-1)) * mask_BS[:, :, None]
        mixed_BDS1 = self.depthwise(gated_BSD[:, :, None].permute(0, 3, 1, 2))
        mixed = packing.pack(mixed_BDS1[..., 0].transpose(1, 2))
        return self.output(F.silu(self.norm(mixed)))


class ConformerLayer(nn.Module):
    """Half a feed-forward, self-attention, convolution, half a feed-forward, a last norm.

    "Half": the feed-forward's output counts half in its residual sum. Relative positions come from
    rotating queries and keys (Su et al. 2021), where the paper has those of Transformer-XL: the
    same property, at the speed of plain attention.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_ff: int,
        *,
        kernel: int,
        dropout: float,
        attention_dropout: float,
        relu_dropout: float,
        eps: float,
        attention_bias: bool = False,
    ) -> None:
        super().__init__()
        self.first_feed_forward = FeedForward(
            d_model, d_ff, relu_dropout=relu_dropout, activation="swish"
        )
        self.self_attention = SelfAttention(
            d_model, num_heads, dropout=attention_dropout, bias=attention_bias, rotary=True
        )
        self.convolution = ConvolutionModule(d_model, kernel=kernel, eps=eps)
        self.last_feed_forward = FeedForward(
            d_model, d_ff, relu_dropout=relu_dropout, activation="swish"
        )
        self.around_first = Sublayer(d_model, dropout=dropout, norm="pre", eps=eps)
        self.around_attention = Sublayer(d_model, dropout=dropout, norm="pre", eps=eps)
        self.around_convolution = Sublayer(d_model, dropout=dropout, norm="pre", eps=eps)
        self.around_last = Sublayer(d_model, dropout=dropout, norm="pre", eps=eps)
        self.norm = nn.LayerNorm(d_model, eps=eps)

    def forward(self, x: Tensor, *, mask_BS: Tensor, packing: Packing = AS_IT_IS) -> Tensor:
        """Return ``[B, S, D]``, or as ``packing`` has it, as the sequence comes."""
        x = self.around_first(x, lambda x: 0.5 * self.first_feed_forward(x))
        x = self.around_attention(
            x,
            lambda x: self.self_attention(x, mask_BK=mask_BS, causal=False, packing=packing),
        )
        x = self.around_convolution(
            x, lambda x: self.convolution(x, mask_BS=mask_BS, packing=packing)
        )
        x = self.around_last(x, lambda x: 0.5 * self.last_feed_forward(x))
        return self.norm(x)
