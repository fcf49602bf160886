"""Probabilities of prefixes by CTC, beside sums over every alignment."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from taskaware.decoding.ctc import CtcPrefixes

BLANK, END = 0, 3
S, V = 5, 4


@pytest.fixture
def logits() -> torch.Tensor:
    drawn = torch.randn(2, S, V, generator=torch.Generator().manual_seed(3))
    drawn[..., END] = -1e9  # CTC puts out no end
    return drawn


def collapsed(alignment: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(piece for piece, _ in itertools.groupby(alignment) if piece != BLANK)


def texts(logits_SV: torch.Tensor) -> dict[tuple[int, ...], float]:
    """The probability of every text: the sum over its alignments."""
    probs = logits_SV.double().softmax(dim=-1)
    found: dict[tuple[int, ...], float] = {}
    for alignment in itertools.product(range(V), repeat=len(probs)):
        p = math.prod(float(probs[t, piece]) for t, piece in enumerate(alignment))
        text = collapsed(alignment)
        found[text] = found.get(text, 0.0) + p
    return found


def prefixes(logits_BSV: torch.Tensor, lengths: list[int], pieces: tuple[int, ...]) -> CtcPrefixes:
    """One hypothesis an example, grown piece by piece."""
    ctc = CtcPrefixes(logits_BSV, torch.tensor(lengths), width=1, blank=BLANK, end=END)
    rows = torch.arange(len(lengths))
    for piece in pieces:
        ctc.extend(
            rows, torch.zeros(len(rows), 1, dtype=torch.int64), torch.full((len(rows), 1), piece)
        )
    return ctc


@pytest.mark.parametrize("pieces", [(), (1,), (1, 2), (1, 1), (2, 2, 1)])
def test_a_prefix_has_the_probability_of_all_texts_that_begin_so(
    pieces: tuple[int, ...], logits: torch.Tensor
):
    lengths = [S, S - 1]  # the second is padded
    continued_BWV = prefixes(logits, lengths, pieces).continued()
    for row, length in enumerate(lengths):
        all_texts = texts(logits[row, :length])
        for piece in (1, 2):
            begins = (*pieces, piece)
            wanted = sum(p for text, p in all_texts.items() if text[: len(begins)] == begins)
            got = float(continued_BWV[row, 0, piece].exp())
            assert got == pytest.approx(wanted, rel=1e-5, abs=1e-12)
        whole = float(continued_BWV[row, 0, END].exp())
        assert whole == pytest.approx(all_texts.get(pieces, 0.0), rel=1e-5, abs=1e-12)


def test_what_was_promised_of_a_continuation_is_what_it_has(logits: torch.Tensor):
    before = prefixes(logits, [S, S], (1,)).continued()
    after = prefixes(logits, [S, S], (1, 2)).log_prob_BW
    torch.testing.assert_close(before[..., 2], after, rtol=1e-5, atol=1e-5)


def test_hypotheses_continue_those_that_they_come_from(logits: torch.Tensor):
    ctc = CtcPrefixes(logits, torch.tensor([S, S]), width=2, blank=BLANK, end=END)
    everyone = torch.tensor([0, 1])
    ctc.extend(everyone, torch.tensor([[0, 0], [0, 0]]), torch.tensor([[1, 2], [2, 1]]))
    ctc.extend(torch.tensor([1]), torch.tensor([[1, 0]]), torch.tensor([[2, 1]]))
    alone = prefixes(logits[1:], [S], (1, 2)).continued()
    torch.testing.assert_close(ctc.continued()[:, :1], alone)


def test_a_long_source_loses_no_precision():
    logits = 8 * torch.randn(1, 600, V, generator=torch.Generator().manual_seed(4))
    ctc = prefixes(logits, [600], tuple([1, 2] * 40))
    total = torch.nn.functional.ctc_loss(
        logits.double().log_softmax(-1).transpose(0, 1),
        torch.tensor([[1, 2] * 40]),
        torch.tensor([600]),
        torch.tensor([80]),
        reduction="sum",
    )
    assert float(-ctc.continued()[0, 0, END]) == pytest.approx(float(total), rel=1e-6)
