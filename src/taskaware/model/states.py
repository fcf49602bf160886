"""What passes between the steps of the Transformer: preprocessed, encoded, and while decoding.

Shape legend: B batch, S source positions, T target positions, W hypotheses an example (width),
D d_model, H heads, E size of a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from taskaware.model.attention import KeyValues, Past, keep_rows

if TYPE_CHECKING:
    from taskaware.model.modulation import Modulation
    from taskaware.types import Modality


@dataclass(frozen=True, kw_only=True)
class Preprocessed:
    """What the preprocessing layers give, before any modulation: the task network reads the same.

    Attributes:
        source_BSD: The source sequence.
        source_lengths: int64 ``[B]``.
        target_BTD: The embedded target (it begins with the begin-of-sequence piece).
        target_lengths: int64 ``[B]``.
        modality: Of the source.
        is_encoded: Whether the source is what the encoder put out earlier (``Batch.is_encoded``).
    """

    source_BSD: Tensor
    source_lengths: Tensor
    target_BTD: Tensor
    target_lengths: Tensor
    modality: Modality
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
    """What decoding keeps: the encoder's output for an example, the past for its hypotheses.

    Attributes:
        memory: Keys and values of the encoder's output for each decoder block, ``[B, H, S, E]``.
        memory_mask_BS: Its valid positions.
        memory_BSD: The encoder's output itself, of all examples that the decoding began with.
        past: Keys and values of the pieces so far, for each decoder block.
        slots_BWT: In which slot of the past each position of a hypothesis lies, int64.
        num_slots: W, the most hypotheses of an example.
        modulation: Scales and shifts, where t_e acts by FiLM.
    """

    memory: list[KeyValues]
    memory_mask_BS: Tensor
    memory_BSD: Tensor
    past: list[Past]
    slots_BWT: Tensor
    num_slots: int
    modulation: Modulation | None

    @property
    def position(self) -> int:
        """Positions decoded so far."""
        return self.slots_BWT.shape[2]

    def begin_position(self, width: int) -> Tensor | None:
        """Give each of ``width`` hypotheses a slot for one more position.

        Returns:
            Which entries of the past a hypothesis comes from, bool ``[B, W, T * num_slots]``, the
            new position among them; ``None`` where that is all of them.
        """
        B, before, T = self.slots_BWT.shape
        own_W = torch.arange(width, device=self.slots_BWT.device)
        past_BWT = self.slots_BWT.expand(B, width, T) if before == 1 else self.slots_BWT
        self.slots_BWT = torch.cat([past_BWT, own_W[None, :, None].expand(B, width, 1)], dim=2)
        if self.num_slots == 1:
            return None
        every = torch.arange(self.num_slots, device=own_W.device)
        return (self.slots_BWT[..., None] == every).flatten(2)

    def reorder(self, origin_BW: Tensor) -> None:
        """Let hypothesis w of an example go on from its hypothesis ``origin_BW[:, w]``, int64."""
        index = origin_BW[..., None].expand(-1, -1, self.position)
        self.slots_BWT = self.slots_BWT.gather(1, index)

    def keep_examples(self, rows: Tensor) -> None:
        """Keep these examples alone, int64, in this order; only those that change places move."""
        self.memory = [kept.keep_rows(rows) for kept in self.memory]
        for past in self.past:
            past.keep_rows(rows)
        self.memory_mask_BS = keep_rows(self.memory_mask_BS, rows)
        self.slots_BWT = self.slots_BWT[rows]
        if self.modulation is not None:
            self.modulation = self.modulation.rows(rows)
