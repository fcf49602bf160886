"""Dynamic time warping, heads, and CTC's best path, beside exhaustive search."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from taskaware.inference.recordings.alignment import (
    attention_cost,
    best_heads,
    ctc_places,
    head_scores,
    warp,
)


def paths(T: int, S: int, t: int = 0, s: int = 0):
    """Every path from the first piece and position to the last."""
    if (t, s) == (T - 1, S - 1):
        yield [(t, s)]
        return
    for a, b in ((1, 1), (1, 0), (0, 1)):
        if t + a < T and s + b < S:
            for rest in paths(T, S, t + a, s + b):
                yield [(t, s), *rest]


@pytest.mark.parametrize(("T", "S"), [(1, 1), (1, 4), (3, 1), (3, 5), (4, 4), (5, 3)])
def test_the_warped_path_is_the_cheapest_of_all(T: int, S: int):
    cost = np.random.default_rng(T * 10 + S).standard_normal((T, S))
    best = min(paths(T, S), key=lambda path: sum(cost[place] for place in path))
    assert warp(cost).tolist() == [min(s for t, s in best if t == piece) for piece in range(T)]


def diagonal(T: int, S: int, sharpness: float) -> torch.Tensor:
    """Weights ``[T, S]`` of a head that follows the speech."""
    places = torch.linspace(2, S - 3, T)[:, None]
    return (-sharpness * (torch.arange(S)[None] - places).abs()).softmax(dim=-1)


def test_heads_that_follow_the_speech_are_told_from_those_that_do_not():
    T, S = 8, 60
    first = torch.zeros(T, S)
    first[:, 0] = 1.0  # looks at the beginning
    back = diagonal(T, S, 1.0).flip(0)
    weights = torch.stack([first, torch.full((T, S), 1 / S), diagonal(T, S, 1.0), back])
    scores = head_scores(weights)
    assert best_heads(scores)[0] == 2
    assert float(scores[2]) > 0.8
    assert float(max(scores[0], scores[1], scores[3])) < 0.1
    assert head_scores(weights[:, :2]).tolist() == [0, 0, 0, 0]  # too short to tell


def test_attention_puts_each_piece_where_the_head_looks():
    T, S = 6, 90
    weights = 0.9 * diagonal(T, S, 1.0) + 0.1 * torch.rand(T, S).softmax(-1)
    starts = warp(attention_cost(weights[None]))
    middles = np.linspace(2, S - 3, T)
    # A piece begins between the place of the one before and its own.
    assert all(a <= s <= b + 1 for a, s, b in zip(middles, starts[1:], middles[1:], strict=False))


def written(path: tuple[int, ...]) -> list[int]:
    return [piece for piece, _ in itertools.groupby(path) if piece]


@pytest.mark.parametrize("pieces", [[1], [1, 2], [1, 1], [2, 1, 2]])
def test_the_best_path_of_ctc_is_that_of_exhaustive_search(pieces: list[int]):
    S, V = 6, 3
    logits = torch.randn(S, V, generator=torch.Generator().manual_seed(len(pieces)))
    log_probs = logits.log_softmax(-1).numpy()
    fitting = [p for p in itertools.product(range(V), repeat=S) if written(p) == pieces]
    best = max(fitting, key=lambda path: sum(log_probs[s, v] for s, v in enumerate(path)))
    runs, place = [], 0
    for piece, run in itertools.groupby(best):
        size = len(list(run))
        if piece:
            runs.append([place, place + size - 1])
        place += size
    found = ctc_places(log_probs, pieces)
    assert found is not None
    assert found.tolist() == runs


def test_what_does_not_fit_its_positions_has_no_path():
    log_probs = np.log(np.full((2, 3), 1 / 3))
    assert ctc_places(log_probs, [1, 2, 1]) is None
    assert ctc_places(log_probs, [1, 1]) is None  # a blank must lie between
    assert ctc_places(log_probs, []) is None
