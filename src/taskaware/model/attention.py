"""Masks, positions and multi-head attention.

Shape legend: B batch, Q query positions, K key positions, S source positions, T target positions,
W width (hypotheses of one example while decoding), H heads, E head size, D d_model = H * E.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from taskaware.errors import UserError
from taskaware.model.packing import AS_IT_IS, Packing
from taskaware.model.stepwise_attention import attend_each, attend_stepwise

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIRST_POSITIONS = 32  # that a cache has room for at first
_LEAST_POSITIONS = 24  # of an example, in the mean; below, many small products take longer
_MOST_SCORES = 2**20  # of a head; of more, bfloat16 is hardly faster (docs/results/performance.md)

Wavelengths = Literal["official", "vaswani"]


def sinusoidal_positions(
    num_positions: int, d_model: int, *, first: int = 0, wavelengths: Wavelengths = "official"
) -> Tensor:
    """Return the fixed position signal, float32 ``[num_positions, D]``.

    Sines in the first half, cosines in the second. ``"official"``: wavelengths from 2 pi to
    20,000 pi in a geometric progression, the form of the TensorFlow official Transformer, whose
    hyperparameters Table 8 has. ``"vaswani"``: the formula of Vaswani et al. (2017), whose
    progression ends one step earlier; in float64, as the models that have it were made so.
    """
    half = d_model // 2
    if wavelengths == "vaswani":
        exponent = torch.arange(half, dtype=torch.float64) * 2 / d_model
        angle = torch.arange(first, first + num_positions)[:, None] / 10_000.0**exponent
    else:
        rate = torch.exp(torch.arange(half) * (-math.log(10_000.0) / max(half - 1, 1)))
        angle = torch.arange(first, first + num_positions)[:, None] * rate[None, :]
    signal = torch.cat([angle.sin(), angle.cos()], dim=1).float()
    return F.pad(signal, (0, d_model - 2 * half))


class PositionSignal(nn.Module):
    """Adds the sinusoidal positions to a sequence; grows its table when a longer one comes.

    Args:
        d_model: D.
        offset: The number of the first position.
        wavelengths: See ``sinusoidal_positions``.

    Attributes:
        limit: The longest sequence: any.
    """

    limit: int | None = None

    def __init__(
        self, d_model: int, *, offset: int = 0, wavelengths: Wavelengths = "official"
    ) -> None:
        super().__init__()
        self.offset = offset
        self.wavelengths: Wavelengths = wavelengths
        self.d_model = d_model
        self.register_buffer("table", self._signal(512), persistent=False)

    def forward(self, x_BSD: Tensor, *, first: int = 0) -> Tensor:
        """Return ``x [B, S, D]`` plus the signal of positions ``first .. first + S``."""
        needed = first + x_BSD.shape[1]
        if needed > self.table.shape[0]:
            self.table = self._signal(2 * needed).to(self.table)
        return x_BSD + self.table[first:needed].to(x_BSD.dtype)

    def _signal(self, num_positions: int) -> Tensor:
        return sinusoidal_positions(
            num_positions, self.d_model, first=self.offset, wavelengths=self.wavelengths
        )


class LearntPositions(nn.Module):
    """Adds a learnt vector to each of at most P positions.

    Attributes:
        limit: P, the longest sequence.
    """

    def __init__(self, num_positions: int, d_model: int) -> None:
        super().__init__()
        self.limit: int | None = num_positions
        self.weight = nn.Parameter(torch.empty(num_positions, d_model))
        nn.init.normal_(self.weight, std=0.02)  # as in GPT-2

    def forward(self, x_BSD: Tensor, *, first: int = 0) -> Tensor:
        """Return ``x [B, S, D]`` plus the vectors of positions ``first .. first + S``.

        Raises:
            UserError: The sequence is longer than P.
        """
        needed = first + x_BSD.shape[1]
        if needed > self.weight.shape[0]:
            raise UserError(
                f"a sequence must have at most {self.weight.shape[0]} positions, as the model has "
                f"learnt no more, but has {needed}: cut it into parts"
            )
        return x_BSD + self.weight[first:needed].to(x_BSD.dtype)


Positions = PositionSignal | LearntPositions


def rotate_positions(x_BHSE: Tensor) -> Tensor:
    """Return queries or keys turned by their position (Su et al. 2021, RoFormer, equation 34).

    The product of a query and a key then depends on the distance between them, not on where they
    stand. Number i turns together with number i + E / 2.
    """
    S, E = x_BHSE.shape[-2:]
    rate = torch.exp(torch.arange(E // 2, device=x_BHSE.device) * (-2 * math.log(10_000.0) / E))
    angle_SE = torch.arange(S, device=x_BHSE.device)[:, None] * rate[None, :]
    cosine, sine = angle_SE.cos().to(x_BHSE.dtype), angle_SE.sin().to(x_BHSE.dtype)
    first, second = x_BHSE.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


@dataclass
class KeyValues:
    """Keys and values that attention looks at, each ``[B, H, K, E]``."""

    keys: Tensor
    values: Tensor

    def contiguous(self) -> KeyValues:
        """Return them so laid out that what is read often lies together."""
        return KeyValues(self.keys.contiguous(), self.values.contiguous())

    def keep_rows(self, rows: Tensor) -> KeyValues:
        """Return those of some examples, int64, in the same memory (``keep_rows`` below)."""
        return KeyValues(keep_rows(self.keys, rows), keep_rows(self.values, rows))


class Past:
    """Keys and values of all positions that the hypotheses of each example have had.

    Each is written once, at its position and in its hypothesis's slot, and is never moved: which
    entries a hypothesis comes from, a mask says (``DecodingState``). So hypotheses change places
    without a copy, and what they share is read once for all of them.

    Args:
        memory_BHSE: The encoder's keys of the same layer: examples, heads, sizes, type, device.
        num_slots: W, the most hypotheses of an example.
    """

    def __init__(self, memory_BHSE: Tensor, num_slots: int) -> None:
        B, H, _, E = memory_BHSE.shape
        empty = memory_BHSE.new_zeros(B, H, 0, num_slots, E)
        self._kept = KeyValues(empty, empty)

    def write(self, key_BHWE: Tensor, value_BHWE: Tensor, position: int) -> None:
        """Keep the newest position of at most W hypotheses."""
        if position >= self._kept.keys.shape[2]:
            self._grow(2 * position + _FIRST_POSITIONS)
        slots = slice(key_BHWE.shape[2])
        self._kept.keys[:, :, position, slots] = key_BHWE
        self._kept.values[:, :, position, slots] = value_BHWE

    def entries(self, num_positions: int) -> KeyValues:
        """Return what was written, ``[B, H, T * W, E]``; position by position, no copy."""
        written = slice(num_positions)
        return KeyValues(
            self._kept.keys[:, :, written].flatten(2, 3),
            self._kept.values[:, :, written].flatten(2, 3),
        )

    def keep_rows(self, rows: Tensor) -> None:
        """Keep some examples, int64."""
        self._kept = self._kept.keep_rows(rows)

    def _grow(self, num_positions: int) -> None:
        # Filled with zeros: what a mask hides must be finite all the same.
        more = num_positions - self._kept.keys.shape[2]
        space = (0, 0, 0, 0, 0, more)
        self._kept = KeyValues(F.pad(self._kept.keys, space), F.pad(self._kept.values, space))


def keep_rows(x: Tensor, rows: Tensor) -> Tensor:
    """Return ``x[rows]`` in the place of ``x``: only a row that changes its place is copied."""
    moved = (rows != torch.arange(len(rows), device=rows.device)).nonzero()[:, 0]
    if len(moved):
        x[moved] = x[rows[moved]]
    return x[: len(rows)]


def attend(
    query_BHQE: Tensor,
    key_BHKE: Tensor,
    value_BHKE: Tensor,
    *,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    causal: bool = False,
) -> Tensor:
    """Return scaled dot-product attention, ``[B, H, Q, E]``.

    ``mask``: True where a query sees a key, as it broadcasts to ``[B, H, Q, K]``. On a CPU torch's
    fused attention has no dropout. In bfloat16 its gradient is several times slower there; of long
    sequences it is computed in float32, also under autocast.
    """
    is_on_cpu = query_BHQE.device.type == "cpu"
    is_narrow = is_on_cpu and query_BHQE.dtype == torch.bfloat16
    is_slow = is_narrow and not torch.is_inference_mode_enabled()
    num_scores = query_BHQE.shape[2] * key_BHKE.shape[2]
    if (is_on_cpu and dropout) or (is_slow and num_scores <= _MOST_SCORES):
        return attend_stepwise(
            query_BHQE, key_BHKE, value_BHKE, mask=mask, dropout=dropout, causal=causal
        )
    if is_slow:
        with torch.autocast("cpu", enabled=False):
            return F.scaled_dot_product_attention(
                query_BHQE.float(),
                key_BHKE.float(),
                value_BHKE.float(),
                attn_mask=mask,
                is_causal=causal,
            )
    return F.scaled_dot_product_attention(
        query_BHQE, key_BHKE, value_BHKE, attn_mask=mask, dropout_p=dropout, is_causal=causal
    )


def _pays_each(joined: Tensor, lengths: Sequence[int]) -> bool:
    """Whether attention is faster example by example (docs/results/performance.md).

    Not in bfloat16, whose products are compiled for each length, and not of short examples.
    """
    if joined.dtype == torch.bfloat16 or not lengths:
        return False
    return sum(lengths) >= _LEAST_POSITIONS * len(lengths)


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2); Q, K and V in one product.

    Args:
        d_model: D.
        num_heads: H.
        dropout: Of the attention weights.
        bias: Whether the products have biases (a bias of keys changes nothing: it may stay zero).
        rotary: Whether queries and keys are turned by their positions (of whole sequences only).
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        *,
        dropout: float,
        bias: bool = False,
        rotary: bool = False,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.rotary = rotary
        self.dropout = dropout
        self.query_key_value = nn.Linear(d_model, 3 * d_model, bias=bias)
        self.output = nn.Linear(d_model, d_model, bias=bias)

    def forward(
        self,
        x_BQD: Tensor,
        *,
        mask_BK: Tensor | None,
        causal: bool,
        packing: Packing = AS_IT_IS,
    ) -> Tensor:
        """Return ``[B, Q, D]``.

        Args:
            x_BQD: The sequence.
            mask_BK: Valid positions. ``None`` where the causal rule already hides all padding:
                padding stands at the end, so that no valid position can look at it.
            causal: Whether a position sees only itself and what stands before it.
            packing: How the sequence comes, and what is returned.
        """
        joined = self.query_key_value(x_BQD)
        dropout = self.dropout if self.training else 0.0
        if dropout and not causal and not self.rotary and _pays_each(joined, packing.lengths):
            attended = attend_each(
                joined.flatten(0, 1), packing.lengths, num_heads=self.num_heads, dropout=dropout
            )
            return self.output(attended[:, None])
        query, key, value = self._heads(packing.unpack(joined))
        if self.rotary:
            query, key = rotate_positions(query), rotate_positions(key)
        attended = attend(
            query,
            key,
            value,
            mask=None if mask_BK is None else mask_BK[:, None, None, :],
            dropout=dropout,
            causal=causal,
        )
        return self.output(packing.pack(attended.transpose(1, 2).flatten(2)))

    def at(self, x_BQD: Tensor, sequence_BKD: Tensor, *, mask_BK: Tensor) -> Tensor:
        """Return ``[B, Q, D]``: what ``forward`` gives some positions, without the others.

        Args:
            x_BQD: These positions of the sequence.
            sequence_BKD: The whole sequence.
            mask_BK: The positions that they see.
        """
        assert not self.rotary  # which needs to know where they stand
        query, _, _ = self._heads(self.query_key_value(x_BQD))
        _, key, value = self._heads(self.query_key_value(sequence_BKD))
        dropout = self.dropout if self.training else 0.0
        mask_B11K = mask_BK[:, None, None, :]
        attended = attend(query, key, value, mask=mask_B11K, dropout=dropout)
        return self.output(attended.transpose(1, 2).flatten(2))

    def step(self, x_BWD: Tensor, past: Past, *, position: int, mask_BWK: Tensor | None) -> Tensor:
        """Return one more position for every hypothesis, ``[B, W, D]``; the past gets it too.

        Args:
            x_BWD: The newest position of W hypotheses of each example.
            past: Of this layer.
            position: The number of the newest position, from 0.
            mask_BWK: Which of the past's entries, the newest among them, a hypothesis comes from;
                ``None``: all.
        """
        query_BHWE, key_BHWE, value_BHWE = self._heads(self.query_key_value(x_BWD))
        past.write(key_BHWE, value_BHWE, position)
        entries = past.entries(position + 1)
        mask = None if mask_BWK is None else mask_BWK[:, None]
        attended = attend(query_BHWE, entries.keys, entries.values, mask=mask)
        return self.output(attended.transpose(1, 2).flatten(2))

    def _heads(self, joined_BQX: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heads = joined_BQX.unflatten(2, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        return query, key, value


class CrossAttention(nn.Module):
    """Multi-head attention of the decoder over the encoder's output."""

    def __init__(self, d_model: int, num_heads: int, *, dropout: float, bias: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.query = nn.Linear(d_model, d_model, bias=bias)
        self.key_value = nn.Linear(d_model, 2 * d_model, bias=bias)
        self.output = nn.Linear(d_model, d_model, bias=bias)

    def look_at(self, memory_BSD: Tensor, packing: Packing = AS_IT_IS) -> KeyValues:
        """Return the keys and values of the encoder's output, computed once an example."""
        joined = packing.unpack(self.key_value(memory_BSD))
        heads = joined.unflatten(2, (2, self.num_heads, -1))
        keys, values = heads.permute(2, 0, 3, 1, 4).unbind(0)
        return KeyValues(keys, values)

    def forward(
        self, x_BQD: Tensor, memory: KeyValues, *, mask_BS: Tensor, packing: Packing = AS_IT_IS
    ) -> Tensor:
        """Return ``[B, Q, D]``. The positions may be times (training) or hypotheses (decoding).

        ``packing`` says how the positions come, and what is returned.
        """
        query = packing.unpack(self.query(x_BQD)).unflatten(2, (self.num_heads, -1))
        query = query.transpose(1, 2)
        attended = attend(
            query,
            memory.keys,
            memory.values,
            mask=mask_BS[:, None, None, :],
            dropout=self.dropout if self.training else 0.0,
        )
        return self.output(packing.pack(attended.transpose(1, 2).flatten(2)))
