"""Probabilities of prefixes by CTC, to search with beside the decoder's.

The forward variables of Graves (2008, "Supervised sequence labelling with recurrent neural
networks", section 7.5.1): of a prefix h and a position t, the probability that the first t
positions have put out h and the last was a blank, or was not. Joint decoding adds the logarithms:
Watanabe et al. (2017), "Hybrid CTC/attention architecture for end-to-end speech recognition",
equations 37 and 38. Here both recursions over t are cumulative sums, so that no loop runs over the
positions. Sums are float64, since over hundreds of positions the logarithms get large.

Shape legend: B examples, W hypotheses an example, S source positions, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

_NEVER = -1e30  # the logarithm of 0
_AFTER_END = -100.0  # of every piece but the blank, at positions of padding
_LEAST = 1e-37  # float32 has nothing smaller of full precision


class CtcPrefixes:
    """What CTC says of W prefixes of each example, all empty at first.

    Args:
        logits_BSV: Scores of the encoder's positions before the softmax.
        lengths_B: int64: how many of them are valid.
        width: W.
        blank: The piece that stands for none.
        end: The piece after which nothing comes.
    """

    def __init__(
        self, logits_BSV: Tensor, lengths_B: Tensor, *, width: int, blank: int, end: int
    ) -> None:
        log_probs = logits_BSV.float().log_softmax(dim=-1)
        is_padding_BS = (
            torch.arange(log_probs.shape[1], device=log_probs.device)[None] >= lengths_B[:, None]
        )
        nothing_V = log_probs.new_full((log_probs.shape[2],), _AFTER_END)
        nothing_V[blank] = 0.0
        self._log_probs_BSV = torch.where(is_padding_BS[..., None], nothing_V, log_probs)
        self._probs_BSV = self._log_probs_BSV.exp()
        self._blank, self._end = blank, end
        # Forward variables at 0 .. S; the empty prefix: nothing but blanks so far.
        blanks_BS = self._log_probs_BSV[..., blank].double().cumsum(dim=1)
        blanks_BS1 = torch.nn.functional.pad(blanks_BS, (1, 0))
        self._by_blank_BWS1 = blanks_BS1[:, None].expand(-1, width, -1)
        self._by_piece_BWS1 = torch.full_like(self._by_blank_BWS1, _NEVER)
        self._last_BW = torch.full(
            (len(lengths_B), width), blank, dtype=torch.int64, device=log_probs.device
        )
        self.log_prob_BW = self._by_blank_BWS1.new_zeros((len(lengths_B), width))

    def continued(self) -> Tensor:
        """Return the log-probability of each prefix with each piece added, float64 ``[B, W, V]``.

        That of any text that begins so; with the end added, that of the prefix as a whole text.
        """
        before_BWS = torch.logaddexp(self._by_blank_BWS1, self._by_piece_BWS1)[..., :-1]
        highest_BW1 = before_BWS.amax(dim=-1, keepdim=True)
        # A sum over positions of products of probabilities: in that form a matrix product.
        sums_BWV = (before_BWS - highest_BW1).exp().float() @ self._probs_BSV
        total_BWV = sums_BWV.clamp_min(_LEAST).log() + highest_BW1
        # The last piece once more needs a blank between.
        again_BWS = self._by_blank_BWS1[..., :-1] + self._of_piece(self._last_BW)
        total_BWV.scatter_(2, self._last_BW[..., None], again_BWS.logsumexp(dim=-1, keepdim=True))
        whole_BW = torch.logaddexp(self._by_blank_BWS1[..., -1], self._by_piece_BWS1[..., -1])
        total_BWV[..., self._blank] = _NEVER
        total_BWV[..., self._end] = whole_BW
        return total_BWV

    def extend(self, rows: Tensor, origin_BW: Tensor, piece_BW: Tensor) -> None:
        """Keep some examples; their hypotheses continue those at ``origin`` by ``piece``.

        Args:
            rows: int64, the examples that stay.
            origin_BW: Of these, which hypothesis each one continues.
            piece_BW: And by which piece, neither the blank nor the end.
        """
        if len(rows) < len(self._log_probs_BSV):
            self._log_probs_BSV = self._log_probs_BSV[rows]
            self._probs_BSV = self._probs_BSV[rows]
        index_BWS1 = origin_BW[..., None].expand(-1, -1, self._by_blank_BWS1.shape[2])
        by_blank_BWS1 = self._by_blank_BWS1[rows].gather(1, index_BWS1)
        by_piece_BWS1 = self._by_piece_BWS1[rows].gather(1, index_BWS1)
        last_BW = self._last_BW[rows].gather(1, origin_BW)
        before_BWS1 = torch.where(
            (piece_BW == last_BW)[..., None],
            by_blank_BWS1,
            torch.logaddexp(by_blank_BWS1, by_piece_BWS1),
        )
        piece_BWS = self._of_piece(piece_BW)
        blank_BWS = self._log_probs_BSV[:, None, :, self._blank].double().expand_as(piece_BWS)
        self.log_prob_BW = (before_BWS1[..., :-1] + piece_BWS).logsumexp(dim=-1)
        self._by_piece_BWS1 = _filtered(before_BWS1[..., :-1], piece_BWS)
        self._by_blank_BWS1 = _filtered(self._by_piece_BWS1[..., :-1], blank_BWS)
        self._last_BW = piece_BW

    def _of_piece(self, piece_BW: Tensor) -> Tensor:
        """Return the log-probability of a piece of each hypothesis at every position."""
        S = self._log_probs_BSV.shape[1]
        index_BSW = piece_BW[:, None].expand(-1, S, -1)
        return self._log_probs_BSV.gather(2, index_BSW).transpose(1, 2).double()


def _filtered(enters_BWS: Tensor, stays_BWS: Tensor) -> Tensor:
    """Return ``x`` at 0 .. S, where ``x_0 = 0`` and ``x_t = (x_(t-1) + enters_t) stays_t``.

    All are logarithms. Written out, ``x_t`` is the sum over s of ``enters_s`` times all ``stays``
    from s to t.
    """
    until_BWS = stays_BWS.cumsum(dim=-1)
    before_BWS = until_BWS - stays_BWS
    x_BWS = until_BWS + (enters_BWS - before_BWS).logcumsumexp(dim=-1)
    return torch.nn.functional.pad(x_BWS, (1, 0), value=_NEVER)
