"""An encoder of texts beside that of speech, before one decoder.

An encoder that was trained on speech (Whisper's) reads no pieces, and one that stays frozen, or
whose outputs were computed before, never learns to. Texts then get blocks of their own before the
decoder that both share (as in the multi-task training of Bérard et al. 2018, arXiv:1802.04200): new
ones, or those that a pretrained decoder was trained with (Marian's, NLLB's).

Shape legend: B batch, S source positions, D d_model of the decoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.model.attention import Positions
    from taskaware.model.film import ConstantFilm
    from taskaware.model.layers import EncoderLayer


class TextEncoder(nn.Module):
    """Entrance, positions, blocks and last norm; ``TaskAwareTransformer.run_encoder`` runs it.

    Args:
        positions: What is added to the embedded text ``[B, S, D]``.
        blocks: Of the decoder's width.
        norm: After the last block.
        entrance: Scales and shifts the embedded text first, where embeddings are not multiplied by
            sqrt(D). A Whisper's are mostly one vector that all pieces share, and so small beside
            what new blocks add that behind the first block hardly a piece differs from another.
    """

    def __init__(
        self,
        positions: Positions,
        blocks: Sequence[EncoderLayer],
        norm: nn.Module,
        entrance: ConstantFilm | None = None,
    ) -> None:
        super().__init__()
        self.entrance = entrance
        self.positions = positions
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm


def entrance_for(embedding_VD: Tensor) -> dict[str, Tensor]:
    """Return the weights of an entrance that gives these embedded pieces mean 0 and variance 1.

    The mean is each number's over the pieces, and the variance all numbers' together.
    """
    wide_VD = embedding_VD.float()
    common_D = wide_VD.mean(dim=0)
    scale = 1 / (wide_VD - common_D).square().mean().sqrt().clamp(min=torch.finfo().eps)
    gamma_D = scale.expand(common_D.shape)
    return {"gamma": gamma_D.clone(), "beta": -scale * common_D}
