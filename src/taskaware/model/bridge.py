"""What joins the encoder of one model to the decoder of another: fewer positions, another width.

Shape legend: B batch, R positions of the encoder before and Q after, E its width, D d_model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from taskaware.model.frontend import TimeConvolutions

if TYPE_CHECKING:
    from torch import Tensor


class Bridge(nn.Module):
    """Strided convolutions over time with gates, then a layer norm (Li et al. 2021, section 3.1).

    Args:
        encoder_width: E.
        d_model: D.
        num_layers: Convolutions.
        kernel: Their size, an odd number.
        stride: Of each.
        eps: Added to the variance.
    """

    def __init__(
        self,
        encoder_width: int,
        d_model: int,
        *,
        num_layers: int,
        kernel: int,
        stride: int,
        eps: float,
    ) -> None:
        super().__init__()
        self.adaptor = TimeConvolutions(
            encoder_width,
            d_model,
            channels=d_model,
            kernel=kernel,
            strides=(stride,) * num_layers,
            activation="glu",
        )
        self.norm = nn.LayerNorm(d_model, eps=eps)

    def forward(self, memory_BRE: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the adapted output of the encoder, ``[B, Q, D]``, and its lengths ``[B]``."""
        adapted_BQD, lengths = self.adaptor(memory_BRE, lengths)
        return self.norm(adapted_BQD), lengths
