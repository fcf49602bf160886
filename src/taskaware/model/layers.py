"""Encoder and decoder blocks (Vaswani et al. 2017), with the norm before or after each part.

Shape legend: B batch, S source positions, T target positions, W hypotheses an example, D d_model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from taskaware.model.attention import CrossAttention, KeyValues, Past, SelfAttention
from taskaware.model.dropout import dropout, rectified_dropout
from taskaware.model.modulation import Bottleneck
from taskaware.model.packing import AS_IT_IS, Packing, valid_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from taskaware.model.modulation import PartModulation

NormPlace = Literal["pre", "post"]
Activation = Literal["relu", "gelu", "swish"]


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Return ReLU, exact GELU or swish (also called SiLU) of ``x``."""
    match activation:
        case "relu":
            return F.relu(x)
        case "gelu":
            return F.gelu(x)
        case "swish":
            return F.silu(x)


class FeedForward(nn.Module):
    """Two linear layers with a nonlinearity between, position by position."""

    def __init__(
        self, d_model: int, d_ff: int, *, relu_dropout: float, activation: Activation = "relu"
    ) -> None:
        super().__init__()
        self.activation: Activation = activation
        self.expand = nn.Linear(d_model, d_ff)
        self.contract = nn.Linear(d_ff, d_model)
        self.relu_dropout = relu_dropout

    def forward(self, x_BSD: Tensor) -> Tensor:
        """Return ``[B, S, D]``."""
        hidden = self.expand(x_BSD)
        if self.activation == "relu":
            hidden = rectified_dropout(hidden, self.relu_dropout, self.training)
        else:
            hidden = dropout(activate(hidden, self.activation), self.relu_dropout, self.training)
        return self.contract(hidden)


class Sublayer(nn.Module):
    """Norm, dropout and residual connection around one part of a block.

    Args:
        d_model: D.
        dropout: Of the part's output.
        norm: Before the part, or after the sum.
        eps: Of the norm.
        bottleneck: Size of the bottleneck beside the part; 0: none.
        scaled: Whether what enters the sum counts times a constant vector (``FoldedSettings``).
    """

    def __init__(
        self,
        d_model: int,
        *,
        dropout: float,
        norm: NormPlace,
        eps: float,
        bottleneck: int = 0,
        scaled: bool = False,
    ) -> None:
        super().__init__()
        self.bottleneck = Bottleneck(d_model, bottleneck) if bottleneck else None
        self.norm = nn.LayerNorm(d_model, eps=eps)
        self.dropout = dropout
        self.norm_first = norm == "pre"
        self.residual_scale = nn.Parameter(torch.ones(d_model)) if scaled else None

    def given(self, x: Tensor) -> Tensor:
        """Return what the part is given."""
        return self.norm(x) if self.norm_first else x

    def forward(
        self, x: Tensor, part: Callable[[Tensor], Tensor], modulate: PartModulation | None = None
    ) -> Tensor:
        """Return ``x + part(norm(x))`` (pre) or ``norm(x + part(x))`` (post), part modulated."""
        given = self.given(x)
        out = part(given)
        if modulate is not None:
            out = modulate(out, given, self.bottleneck)
        out = dropout(out, self.dropout, self.training)
        # Of one type, the wider: torch adds two types number by number on a CPU.
        wide = torch.promote_types(x.dtype, out.dtype)
        x, out = x.to(wide), out.to(wide)
        scale = self.residual_scale
        total = x + out if scale is None else torch.addcmul(out, scale, x)
        return total if self.norm_first else self.norm(total)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward; causal where it is a block of the task network (eq. 2)."""

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_ff: int,
        *,
        dropout: float,
        attention_dropout: float,
        relu_dropout: float,
        norm: NormPlace,
        eps: float,
        activation: Activation = "relu",
        attention_bias: bool = False,
        bottleneck: int = 0,
        scaled: bool = False,
    ) -> None:
        super().__init__()
        around = {"dropout": dropout, "norm": norm, "eps": eps, "bottleneck": bottleneck}
        self.self_attention = SelfAttention(
            d_model, num_heads, dropout=attention_dropout, bias=attention_bias
        )
        self.feed_forward = FeedForward(
            d_model, d_ff, relu_dropout=relu_dropout, activation=activation
        )
        self.around_attention = Sublayer(d_model, **around)
        self.around_feed_forward = Sublayer(d_model, **around, scaled=scaled)

    def forward(
        self,
        x_BSD: Tensor,
        *,
        mask_BS: Tensor | None,
        causal: bool = False,
        inside: Sequence[PartModulation] | None = None,
        packing: Packing = AS_IT_IS,
    ) -> Tensor:
        """Return ``[B, S, D]``, its two parts modulated where ``inside`` says how.

        The sequence comes and goes as ``packing`` has it; the mask is of the batch as it is.
        """
        attention, feed_forward = inside or (None, None)
        x_BSD = self.around_attention(
            x_BSD,
            lambda x: self.self_attention(x, mask_BK=mask_BS, causal=causal, packing=packing),
            attention,
        )
        return self.around_feed_forward(x_BSD, self.feed_forward, feed_forward)

    def last(self, x_BSD: Tensor, lengths: Tensor) -> Tensor:
        """Return ``[B, D]``: the last valid position of ``forward``, causal or not.

        It sees the whole sequence. What the other positions would put out is not computed.
        """
        B, S, _ = x_BSD.shape
        lengths = lengths.clamp(min=1)
        last_B1D = x_BSD[torch.arange(B, device=x_BSD.device), lengths - 1][:, None]
        given_BSD, mask_BS = self.around_attention.given(x_BSD), valid_mask(lengths, S)
        last_B1D = self.around_attention(
            last_B1D, lambda x_B1D: self.self_attention.at(x_B1D, given_BSD, mask_BK=mask_BS)
        )
        return self.around_feed_forward(last_B1D, self.feed_forward)[:, 0]


class DecoderLayer(nn.Module):
    """Causal self-attention, attention over the encoder's output, feed-forward."""

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_ff: int,
        *,
        dropout: float,
        attention_dropout: float,
        relu_dropout: float,
        norm: NormPlace,
        eps: float,
        activation: Activation = "relu",
        attention_bias: bool = False,
        bottleneck: int = 0,
        scaled: bool = False,
    ) -> None:
        super().__init__()
        around = {"dropout": dropout, "norm": norm, "eps": eps, "bottleneck": bottleneck}
        self.self_attention = SelfAttention(
            d_model, num_heads, dropout=attention_dropout, bias=attention_bias
        )
        self.cross_attention = CrossAttention(
            d_model, num_heads, dropout=attention_dropout, bias=attention_bias
        )
        self.feed_forward = FeedForward(
            d_model, d_ff, relu_dropout=relu_dropout, activation=activation
        )
        self.around_self = Sublayer(d_model, **around)
        self.around_cross = Sublayer(d_model, **around)
        self.around_feed_forward = Sublayer(d_model, **around, scaled=scaled)

    def forward(
        self,
        x_BTD: Tensor,
        memory_BSD: Tensor,
        *,
        memory_mask_BS: Tensor,
        inside: Sequence[PartModulation] | None = None,
        packing: Packing = AS_IT_IS,
        memory_packing: Packing = AS_IT_IS,
    ) -> Tensor:
        """Return ``[B, T, D]``. Packing targets stand at the end, so the causal rule hides them.

        Targets and memory come as their packings have them, and the targets return so.
        """
        own, cross, feed_forward = inside or (None, None, None)
        memory = self.cross_attention.look_at(memory_BSD, memory_packing)
        x_BTD = self.around_self(
            x_BTD,
            lambda x: self.self_attention(x, mask_BK=None, causal=True, packing=packing),
            own,
        )
        x_BTD = self.around_cross(
            x_BTD,
            lambda x: self.cross_attention(x, memory, mask_BS=memory_mask_BS, packing=packing),
            cross,
        )
        return self.around_feed_forward(x_BTD, self.feed_forward, feed_forward)

    def step(
        self,
        x_BWD: Tensor,
        past: Past,
        memory: KeyValues,
        *,
        position: int,
        mask_BWK: Tensor | None,
        memory_mask_BS: Tensor,
        inside: Sequence[PartModulation] | None = None,
    ) -> Tensor:
        """Return the newest position of W hypotheses each, ``[B, W, D]``; the past gets it too."""
        own, cross, feed_forward = inside or (None, None, None)
        x_BWD = self.around_self(
            x_BWD,
            lambda x: self.self_attention.step(x, past, position=position, mask_BWK=mask_BWK),
            own,
        )
        x_BWD = self.around_cross(
            x_BWD, lambda x: self.cross_attention(x, memory, mask_BS=memory_mask_BS), cross
        )
        return self.around_feed_forward(x_BWD, self.feed_forward, feed_forward)
