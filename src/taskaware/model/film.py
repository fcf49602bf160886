"""Feature-wise linear modulation: how a task embedding acts on every block (paper, section 2.2.2).

Shape legend: B batch, S positions, D d_model, L modulated places (blocks and preprocessing layers).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

FilmScope = Literal["shared", "per_block"]


@dataclass(frozen=True)
class Film:
    """Scales and shifts: ``gamma`` and ``beta``, each ``[B, 1, D]`` (shared) or ``[B, L, D]``."""

    gamma_BLD: Tensor
    beta_BLD: Tensor

    @classmethod
    def from_task_embedding(cls, task_embedding: Tensor, d_model: int) -> Film:
        """Equation 6: gamma is the first d numbers of t_e, beta the last d.

        Args:
            task_embedding: ``[B, 2 D]`` (shared: one pair for all places, as in the paper) or
                ``[B, L * 2 D]`` (a pair for each place).
            d_model: D.

        Raises:
            ValueError: The width is no multiple of 2 D.
        """
        width = task_embedding.shape[-1]
        if width % (2 * d_model):
            raise ValueError(
                f"`task_embedding` must have a multiple of {2 * d_model} numbers, but has {width}"
            )
        pairs = task_embedding.view(-1, width // (2 * d_model), 2 * d_model)
        return cls(pairs[..., :d_model], pairs[..., d_model:])

    def __call__(self, x_BSD: Tensor, place: int) -> Tensor:
        """Modulate the output of one place, counted from 0 (see ``film`` for the equation)."""
        return film(x_BSD, *self.of_place(place))

    def of_place(self, place: int) -> tuple[Tensor, Tensor]:
        """Return the scale and the shift of one place, ``[B, D]`` each."""
        index = 0 if self.gamma_BLD.shape[1] == 1 else place
        return self.gamma_BLD[:, index], self.beta_BLD[:, index]


def film(x_BSD: Tensor, gamma_BD: Tensor, beta_BD: Tensor) -> Tensor:
    """Equation 7: ``O_l = gamma * f_l(v_l) + beta``, the same scale and shift at every position.

    Computed in the wider type of the two, and rounded once to that of ``x``.
    """
    wide = torch.promote_types(x_BSD.dtype, gamma_BD.dtype)
    beta_B1D, gamma_B1D = beta_BD[:, None, :].to(wide), gamma_BD[:, None, :].to(wide)
    return torch.addcmul(beta_B1D, gamma_B1D, x_BSD.to(wide)).to(x_BSD.dtype)


class ConstantFilm(nn.Module):
    """Equation 7 with one scale and shift for all: of a model that was exported for one task.

    It is also the entrance of an encoder of texts (``TextEncoder``).
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(d_model))
        self.beta = nn.Parameter(torch.zeros(d_model))

    def forward(self, x_BSD: Tensor) -> Tensor:
        """Return ``[B, S, D]``."""
        return film(x_BSD, self.gamma[None], self.beta[None])


def film_penalty(task_embedding: Tensor, d_model: int) -> Tensor:
    """Mean square of ``(gamma - 1, beta)``, a scalar: how far from the identity it is."""
    modulation = Film.from_task_embedding(task_embedding, d_model)
    return ((modulation.gamma_BLD - 1).square().mean() + modulation.beta_BLD.square().mean()) / 2
