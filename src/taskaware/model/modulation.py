"""What a task embedding changes in a model: which numbers of t_e act where.

FiLM at the places of the paper (``film``) comes first in t_e. Two more ways, which are not in the
paper, reach into the blocks: FiLM of every part of a block (attention, feed-forward) before it is
added, and a bottleneck beside every part, whose weights all tasks share and whose hidden numbers
t_e scales. A bottleneck beside each part is the parallel adapter of He et al. (2022, "Towards a
unified view of parameter-efficient transfer learning"); that a task scales shared low-rank
directions instead of having its own is what keeps t_e short.

Shape legend: B batch, S positions, D d_model, L modulated places, P parts of blocks, R bottleneck
size, O size of t_e: ``2 D L + 2 D P + R P``, as far as each is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from taskaware.model.film import Film, film, film_penalty
from taskaware.model.packing import AS_IT_IS, Packing

ENCODER_PARTS = 2  # self-attention, feed-forward
DECODER_PARTS = 3  # self-attention, cross-attention, feed-forward


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which numbers of t_e act where.

    Attributes:
        d_model: D.
        num_pairs: Pairs of gamma and beta for places: 1 (shared by all) or L.
        first_place: The first place that is modulated: 0, or that of the target's embedding.
        num_parts: P, parts of blocks that are modulated inside; 0: none.
        num_encoder_parts: How many of these are the encoder's.
        parts_have_film: Whether the parts have gamma and beta.
        bottleneck: R, 0: none.
    """

    d_model: int
    num_pairs: int = 1
    first_place: int = 0
    num_parts: int = 0
    num_encoder_parts: int = 0
    parts_have_film: bool = False
    bottleneck: int = 0

    @property
    def film_width(self) -> int:
        """Numbers of t_e that are gammas and betas."""
        pairs = self.num_pairs + (self.num_parts if self.parts_have_film else 0)
        return 2 * self.d_model * pairs

    @property
    def width(self) -> int:
        """O."""
        return self.film_width + self.bottleneck * self.num_parts

    def neutral(self) -> Tensor:
        """Return the t_e ``[O]`` that changes nothing: gamma 1, beta 0, bottlenecks closed."""
        pair = torch.cat([torch.ones(self.d_model), torch.zeros(self.d_model)])
        closed = torch.zeros(self.bottleneck * self.num_parts)
        return torch.cat([pair.repeat(self.film_width // (2 * self.d_model)), closed])

    def initial(self) -> Tensor:
        """Return t_e ``[O]`` before training: as ``neutral``, with the bottlenecks open.

        Their last layer is 0 at first, so that nothing changes either; were both 0, neither would
        get a gradient.
        """
        embedding = self.neutral()
        embedding[self.film_width :] = 1.0
        return embedding


@dataclass(frozen=True)
class Modulation:
    """A task embedding, divided into what acts at each place and in each part of a block.

    Attributes:
        layout: Where its numbers act.
        film: gamma and beta of the places.
        parts: gamma and beta of the parts of blocks, ``[B, P, D]`` each, where they have some.
        gates_BPR: What scales the bottleneck beside each part, where there is one.
        packing: How what is modulated comes.
    """

    layout: Layout
    film: Film
    parts: Film | None = None
    gates_BPR: Tensor | None = None
    packing: Packing = AS_IT_IS

    @classmethod
    def from_task_embedding(cls, task_embedding: Tensor, layout: Layout) -> Modulation:
        """Divide t_e, ``[B, O]``.

        Raises:
            ValueError: It has another width.
        """
        if not layout.num_parts:
            return cls(layout, Film.from_task_embedding(task_embedding, layout.d_model))
        if task_embedding.shape[-1] != layout.width:
            raise ValueError(
                f"`task_embedding` must have {layout.width} numbers, but has "
                f"{task_embedding.shape[-1]}"
            )
        D, P = layout.d_model, layout.num_parts
        places, rest = task_embedding.split(
            [2 * D * layout.num_pairs, layout.width - 2 * D * layout.num_pairs], dim=-1
        )
        parts, gates = None, None
        if layout.parts_have_film:
            of_parts, rest = rest.split([2 * D * P, layout.bottleneck * P], dim=-1)
            parts = Film.from_task_embedding(of_parts, D)
        if layout.bottleneck:
            gates = rest.reshape(-1, P, layout.bottleneck)
        return cls(layout, Film.from_task_embedding(places, D), parts, gates)

    def at(self, x_BSD: Tensor, place: int) -> Tensor:
        """Return the output of a place, modulated where t_e acts there."""
        place -= self.layout.first_place
        if place < 0:
            return x_BSD
        gamma_BD, beta_BD = self.film.of_place(place)
        return film(x_BSD, self.packing.spread(gamma_BD), self.packing.spread(beta_BD))

    def packed(self, packing: Packing) -> Modulation:
        """Return what modulates the same examples where they come in this packing."""
        return replace(self, packing=packing)

    def inside_encoder(self, block: int) -> list[PartModulation] | None:
        """Return what acts on the parts of a block of the encoder, counted from 0."""
        if not self.layout.num_encoder_parts:
            return None
        return self._inside(ENCODER_PARTS * block, ENCODER_PARTS)

    def inside_decoder(self, block: int) -> list[PartModulation] | None:
        """Return what acts on the parts of a block of the decoder, counted from 0."""
        if not self.layout.num_parts:
            return None
        return self._inside(self.layout.num_encoder_parts + DECODER_PARTS * block, DECODER_PARTS)

    def _inside(self, first: int, number: int) -> list[PartModulation]:
        return [
            PartModulation(
                None if self.parts is None else self.packing.spread(self.parts.gamma_BLD[:, part]),
                None if self.parts is None else self.packing.spread(self.parts.beta_BLD[:, part]),
                None if self.gates_BPR is None else self.packing.spread(self.gates_BPR[:, part]),
            )
            for part in range(first, first + number)
        ]

    def rows(self, rows: Tensor) -> Modulation:
        """Return the modulation of some examples, int64; one that is shared by all stays."""
        if self.film.gamma_BLD.shape[0] == 1:
            return self
        parts = self.parts and Film(self.parts.gamma_BLD[rows], self.parts.beta_BLD[rows])
        gates = None if self.gates_BPR is None else self.gates_BPR[rows]
        places = Film(self.film.gamma_BLD[rows], self.film.beta_BLD[rows])
        return Modulation(self.layout, places, parts, gates)


@dataclass(frozen=True)
class PartModulation:
    """What acts on one part of a block: gamma and beta ``[B, D]``, and gates ``[B, R]``."""

    gamma_BD: Tensor | None
    beta_BD: Tensor | None
    gates_BR: Tensor | None

    def __call__(self, out_BSD: Tensor, input_BSD: Tensor, bottleneck: Bottleneck | None) -> Tensor:
        """Return the part's output, ``[B, S, D]``, before it is added.

        Args:
            out_BSD: The output.
            input_BSD: What the part was given, which the bottleneck reads too.
            bottleneck: What stands beside the part.
        """
        if self.gamma_BD is not None and self.beta_BD is not None:
            out_BSD = film(out_BSD, self.gamma_BD, self.beta_BD)
        if bottleneck is not None and self.gates_BR is not None:
            out_BSD = out_BSD + bottleneck(input_BSD, self.gates_BR)
        return out_BSD


class Bottleneck(nn.Module):
    """D to R numbers, ReLU, scaled by the task's gates, and back to D; nothing before training."""

    def __init__(self, d_model: int, size: int) -> None:
        super().__init__()
        self.down = nn.Linear(d_model, size)
        self.up = nn.Linear(size, d_model, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x_BSD: Tensor, gates_BR: Tensor) -> Tensor:
        """Return ``[B, S, D]``."""
        return self.up(torch.relu(self.down(x_BSD)) * gates_BR[:, None, :])


def modulation_penalty(task_embedding: Tensor, layout: Layout) -> Tensor:
    """Return the FiLM penalty of all gammas and betas of t_e ``[B, O]``, a scalar."""
    return film_penalty(task_embedding[..., : layout.film_width], layout.d_model)
