"""Which pieces come next: the likeliest, and those that would repeat what was said.

Shape legend: B examples, W hypotheses of each, V vocabulary, T pieces so far, N windows of them,
K likeliest pieces.
"""

from __future__ import annotations

import torch
from torch import Tensor

_GROUP = 32  # pieces looked at together


def best_pieces(x_BWV: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Return the ``number`` largest values of each row, or all, and their places, ``[B, W, K]``.

    As ``topk`` does, but several times as fast over a large vocabulary: the ``number`` largest
    values are in the ``number`` groups whose largest are largest.
    """
    V = x_BWV.shape[2]
    num_groups = V // _GROUP
    if num_groups <= 2 * number:
        values, places = x_BWV.topk(min(number, V), dim=2)
        return values, places
    grouped = x_BWV[..., : num_groups * _GROUP].unflatten(2, (num_groups, _GROUP))
    group_BWK = grouped.amax(dim=3).topk(number, dim=2).indices
    inside = torch.arange(_GROUP, device=x_BWV.device)
    places = (group_BWK[..., None] * _GROUP + inside).flatten(2)
    rest = torch.arange(num_groups * _GROUP, V, device=x_BWV.device)
    places = torch.cat([places, rest.expand(*places.shape[:2], -1)], dim=2)
    values, chosen = x_BWV.gather(2, places).topk(number, dim=2)
    return values, places.gather(2, chosen)


def repeating(pieces_BWT: Tensor, size: int) -> list[tuple[int, int, int]]:
    """Return (row, column, piece) of what would make the last ``size`` pieces a repetition."""
    T = pieces_BWT.shape[2]
    if size > T:
        return []
    same_BWN = torch.ones_like(pieces_BWT[..., size - 1 :], dtype=torch.bool)
    for back in range(1, size):  # the piece so far before the end of each of the N windows
        same_BWN &= pieces_BWT[..., size - 1 - back : T - back] == pieces_BWT[..., T - back, None]
    return [
        (row, column, int(pieces_BWT[row, column, size - 1 + window]))
        for row, column, window in same_BWN.nonzero().tolist()
    ]
