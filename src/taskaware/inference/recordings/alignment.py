"""Which position of the encoder each piece of an output belongs to: pure mathematics.

Two ways: by the weights of cross-attention and dynamic time warping, as Whisper finds the times of
words (https://github.com/openai/whisper, ``timing.py``; its paper does not describe it), and by the
probabilities of connectionist temporal classification (Graves et al. 2006), where the encoder was
trained with it.

Shape legend: H heads, T pieces and the end, S positions of the encoder's output, V vocabulary.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor

_MEDIAN_WIDTH = 7  # positions over which weights are smoothed; Whisper's
_HEADS = 6  # as many heads as Whisper's authors chose by hand: 6 to 10 a model


def head_scores(weights_HTS: Tensor) -> Tensor:
    """Return how well each head follows the speech, ``[H]``: 0 not at all, 1 as well as can be.

    A head follows where each piece looks at few positions, and later pieces at later ones: the
    mean over the pieces of the largest weight (over 5 positions), times the correlation of the
    place of that weight with the place of the piece.
    """
    T, S = weights_HTS.shape[1:]
    if T < 3 or S < 3:
        return torch.zeros(len(weights_HTS))
    near_HTS = F.avg_pool1d(weights_HTS, 5, stride=1, padding=2) * 5
    peak_HT, place_HT = near_HTS.max(dim=-1)
    order_T = torch.arange(T, dtype=torch.float32, device=weights_HTS.device)
    order_T = order_T - order_T.mean()
    place_HT = place_HT.float() - place_HT.float().mean(dim=1, keepdim=True)
    scale_H = place_HT.norm(dim=1) * order_T.norm()
    correlation_H = (place_HT * order_T).sum(dim=1) / scale_H.clamp_min(1e-6)
    return (peak_HT.clamp(max=1.0).mean(dim=1) * correlation_H.clamp_min(0.0)).cpu()


def best_heads(scores_H: Tensor) -> list[int]:
    """Return the heads to align with, the best first."""
    return scores_H.argsort(descending=True)[: min(_HEADS, len(scores_H))].tolist()


def attention_cost(weights_HTS: Tensor) -> np.ndarray:
    """Return what it costs to put each piece at each position, float64 ``[T, S]``.

    Each position's weights are compared over the pieces (mean 0, variance 1), so that positions at
    which every piece looks a little count for nothing; a median over 7 positions takes away peaks
    that stand alone; the heads are averaged.
    """
    std_H1S, mean_H1S = torch.std_mean(weights_HTS, dim=1, keepdim=True, unbiased=False)
    normal_HTS = (weights_HTS - mean_H1S) / std_H1S.clamp_min(1e-9)
    half = _MEDIAN_WIDTH // 2
    if normal_HTS.shape[-1] > half:
        padded = F.pad(normal_HTS, (half, half), mode="reflect")
        normal_HTS = padded.unfold(-1, _MEDIAN_WIDTH, 1).median(dim=-1).values
    return -normal_HTS.mean(dim=0).double().cpu().numpy()


def warp(cost_TS: np.ndarray) -> np.ndarray:
    """Return the first position of each piece on the cheapest path, int64 ``[T]``.

    The path begins with the first piece at the first position, ends with the last at the last, and
    goes on by one piece, one position or both at each step (dynamic time warping; Sakoe and Chiba
    1978). Diagonals are computed as a whole, as no cell of one depends on another of it.
    """
    T, S = cost_TS.shape
    total = np.full((T + 1, S + 1), np.inf)
    came = np.zeros((T + 1, S + 1), dtype=np.int8)  # 0: both, 1: one piece on, 2: one position on
    total[0, 0] = 0.0
    for diagonal in range(2, T + S + 1):
        t = np.arange(max(1, diagonal - S), min(T, diagonal - 1) + 1)
        s = diagonal - t
        ways = np.stack([total[t - 1, s - 1], total[t - 1, s], total[t, s - 1]])
        came[t, s] = ways.argmin(axis=0)
        total[t, s] = cost_TS[t - 1, s - 1] + ways.min(axis=0)
    first = np.zeros(T, dtype=np.int64)
    t, s = T, S
    while t > 0 and s > 0:
        first[t - 1] = s - 1
        step = came[t, s]
        t, s = (t - (step != 2), s - (step != 1))
    return first


def ctc_places(log_probs_SV: np.ndarray, pieces: list[int]) -> np.ndarray | None:
    """Return the first and the last position of each piece, int64 ``[T, 2]``, T without an end.

    The most likely path through blanks (piece 0) and pieces in their order (Viterbi). ``None``
    where there are too few positions.

    Args:
        log_probs_SV: Natural logarithms of the probabilities of each position.
        pieces: What was said.
    """
    S = len(log_probs_SV)
    labels = np.zeros(2 * len(pieces) + 1, dtype=np.int64)
    labels[1::2] = pieces
    repeats = sum(a == b for a, b in itertools.pairwise(pieces))
    if not pieces or len(pieces) + repeats > S:
        return None
    emit = log_probs_SV[:, labels]  # [S, states]
    may_skip = np.zeros(len(labels), dtype=bool)  # over a blank, between pieces that differ
    may_skip[3::2] = labels[3::2] != labels[1:-2:2]
    score = np.full(len(labels), -np.inf)
    score[:2] = emit[0, :2]
    came = np.zeros((S, len(labels)), dtype=np.int8)
    for place in range(1, S):
        one = np.concatenate([[-np.inf], score[:-1]])
        two = np.where(may_skip, np.concatenate([[-np.inf] * 2, score[:-2]]), -np.inf)
        ways = np.stack([score, one, two])
        came[place] = ways.argmax(axis=0)
        score = ways.max(axis=0) + emit[place]
    state = len(labels) - 1 - int(score[-2] > score[-1])
    if not np.isfinite(score[state]):
        return None
    found = np.zeros((len(pieces), 2), dtype=np.int64)
    found[:, 1] = -1
    for place in range(S - 1, -1, -1):
        if state % 2:
            piece = state // 2
            found[piece, 0] = place
            found[piece, 1] = max(found[piece, 1], place)
        state -= int(came[place, state])
    return found
