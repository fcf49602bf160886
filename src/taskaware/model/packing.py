"""Batches without their padding: what is computed position by position sees valid ones alone.

A batch of sequences is padded to its longest, for the sake of attention. Everything else in a block
(products, norms, dropout, FiLM) looks at one position at a time, and need not be computed where
there is none. On a CPU the time of a block is that of its products, so that padding left out is
time saved (``benchmarks/training.py --padded``).

Shape legend: B batch, S positions, N valid positions, D any width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

_LEAST_PADDING = 1 / 64  # of all positions; about what gathering costs, an estimate


def valid_mask(lengths: Tensor, num_positions: int) -> Tensor:
    """Return bool ``[B, num_positions]``, True where a position is valid, from int64 ``[B]``.

    The only place where a mask is made: True means valid everywhere.
    """
    return torch.arange(num_positions, device=lengths.device)[None, :] < lengths[:, None]


class Packing:
    """A batch as it is, with its padding: nothing is moved.

    Attributes:
        lengths: Of the examples, where they stand one after the other without padding; else none.
    """

    lengths: tuple[int, ...] = ()

    def pack(self, x_BSD: Tensor) -> Tensor:
        """Return what is computed position by position."""
        return x_BSD

    def unpack(self, x: Tensor) -> Tensor:
        """Return ``[B, S, D]`` for what ``pack`` returned."""
        return x

    def spread(self, x: Tensor) -> Tensor:
        """Return, for what ``pack`` returned, what its examples have: ``[B, ...]``, ``[1, ...]``.

        One row that all examples share stays one row.
        """
        return x


class WithoutPadding(Packing):
    """A batch without its padding.

    Args:
        lengths_B: int64, the valid positions of each example.
        num_positions: S.
    """

    def __init__(self, lengths_B: Tensor, num_positions: int) -> None:
        self.lengths = tuple(lengths_B.tolist())
        valid_M = valid_mask(lengths_B, num_positions).flatten()
        self._shape = len(lengths_B), num_positions
        self._places_N = valid_M.nonzero()[:, 0]
        self._rows_N = self._places_N // num_positions
        # In padding, a copy of the valid position before it: what attention hides must be finite.
        self._origins_M = (valid_M.cumsum(0) - 1).clamp_(min=0)

    def pack(self, x_BSD: Tensor) -> Tensor:
        """Return the valid positions, ``[N, 1, D]``: each like an example of one position."""
        return x_BSD.flatten(0, 1).index_select(0, self._places_N)[:, None]

    def unpack(self, x: Tensor) -> Tensor:
        """Return ``[B, S, D]``, with copies of valid positions in the padding."""
        return x.flatten(0, 1).index_select(0, self._origins_M).unflatten(0, self._shape)

    def spread(self, x: Tensor) -> Tensor:
        """Return what the example of each valid position has, ``[N, ...]`` (or ``[1, ...]``)."""
        return x if x.shape[0] == 1 else x.index_select(0, self._rows_N)


AS_IT_IS = Packing()


def packing_that_pays(lengths_B: Tensor, num_positions: int) -> Packing:
    """Return how a batch is computed fastest: packed, unless it is full or not on a CPU."""
    if lengths_B.device.type != "cpu":
        return AS_IT_IS
    num_places = len(lengths_B) * num_positions
    if num_places - int(lengths_B.sum()) < _LEAST_PADDING * num_places:
        return AS_IT_IS
    return WithoutPadding(lengths_B, num_positions)
