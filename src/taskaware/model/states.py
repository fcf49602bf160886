"""What passes between the steps of the Transformer: preprocessed, encoded, and while decoding.

Shape legend: B batch, S source positions, T target positions, W hypotheses an example (width),
D d_model, H heads, E size of a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskaware.model.attention import KeyValues

if TYPE_CHECKING:
    from torch import Tensor

    from taskaware.model.modulation import Modulation


@dataclass(frozen=True)
class Preprocessed:
    """What the preprocessing layers give, before any modulation: the task network reads the same.

    Attributes:
        source_BSD: The source sequence.
        source_lengths: int64 ``[B]``.
        target_BTD: The embedded target (it begins with the begin-of-sequence piece).
        target_lengths: int64 ``[B]``.
        is_encoded: Whether the source is what the encoder put out earlier (``Batch.is_encoded``).
    """

    source_BSD: Tensor
    source_lengths: Tensor
    target_BTD: Tensor
    target_lengths: Tensor
    is_encoded: bool = False


@dataclass(frozen=True)
class Encoded:
    """The encoder's output and what modulates the decoder that looks at it.

    Attributes:
        memory_BSD: The encoder's output.
        mask_BS: Its valid positions.
        modulation: Scales and shifts, where t_e acts by FiLM.
        vector_BD: t_e itself, where it is prepended; it then stands first in ``memory_BSD`` too.
    """

    memory_BSD: Tensor
    mask_BS: Tensor
    modulation: Modulation | None
    vector_BD: Tensor | None


@dataclass
class DecodingState:
    """What decoding keeps: the encoder's output for an example, the past for a hypothesis.

    Attributes:
        memory: Keys and values of the encoder's output for each decoder block, ``[B, H, S, E]``.
        memory_mask_BS: Its valid positions.
        memory_BSD: The encoder's output itself, of all examples that the decoding began with.
        past: Keys and values of the pieces so far for each decoder block, ``[B * W, H, T, E]``.
        position: Positions decoded so far.
        modulation: Scales and shifts, where t_e acts by FiLM.
    """

    memory: list[KeyValues]
    memory_mask_BS: Tensor
    memory_BSD: Tensor
    past: list[KeyValues | None]
    position: int
    modulation: Modulation | None

    def reorder(self, rows: Tensor) -> None:
        """Keep for hypothesis i the past of hypothesis ``rows[i]``, int64 ``[B * W]``."""
        self.past = [kept and KeyValues(kept.keys[rows], kept.values[rows]) for kept in self.past]

    def keep_examples(self, rows: Tensor) -> None:
        """Drop all examples but ``rows``, int64; the past is reordered apart (``reorder``)."""
        self.memory = [KeyValues(kept.keys[rows], kept.values[rows]) for kept in self.memory]
        self.memory_mask_BS = self.memory_mask_BS[rows]
        if self.modulation is not None:
            self.modulation = self.modulation.rows(rows)
