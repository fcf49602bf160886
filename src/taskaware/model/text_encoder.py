"""An encoder of texts beside that of speech, before one decoder.

An encoder that was trained on speech (Whisper's) reads no pieces, and one that stays frozen, or
whose outputs were computed before, never learns to. Texts then get blocks of their own before the
decoder that both share (as in the multi-task training of Bérard et al. 2018, arXiv:1802.04200): new
ones, or those that a pretrained decoder was trained with (Marian's, NLLB's).

Shape legend: B batch, S source positions, D d_model of the decoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.model.attention import Positions
    from taskaware.model.layers import EncoderLayer


class TextEncoder(nn.Module):
    """Positions, blocks and last norm; the embedded text enters as it enters any encoder.

    ``TaskAwareTransformer.run_encoder`` runs it.

    Args:
        positions: What is added to the embedded text ``[B, S, D]``.
        blocks: Of the decoder's width.
        norm: After the last block.
    """

    def __init__(
        self, positions: Positions, blocks: Sequence[EncoderLayer], norm: nn.Module
    ) -> None:
        super().__init__()
        self.positions = positions
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
