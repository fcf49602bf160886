"""Batched beam search.

Shape legend: B examples still searched, W hypotheses of each (1 at first, then the beam's width),
V vocabulary, P pieces of a prompt, T pieces so far, K best pieces of a hypothesis, C candidates of
an example: twice the beam's width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from taskaware.decoding.ctc import CtcPrefixes
from taskaware.decoding.pieces import best_pieces, repeating
from taskaware.decoding.scoring import length_penalty
from taskaware.types import CTC_BLANK, Hypothesis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.data.vocabulary.vocabulary import Vocabulary
    from taskaware.decoding.settings import DecodingSettings
    from taskaware.model.states import DecodingState
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Modality

_NEVER = -1e30


@dataclass
class _Finished:
    """A hypothesis that has reached its end (or the length limit)."""

    score: float
    log_prob: float
    pieces: tuple[int, ...]
    ended: bool


@torch.inference_mode()
def beam_search(
    model: TaskAwareTransformer,
    source: Tensor,
    source_lengths: Tensor,
    *,
    modality: Modality,
    task_embedding: Tensor | None,
    begin: int | Sequence[int] | Sequence[Sequence[int]],
    vocabulary: Vocabulary,
    settings: DecodingSettings,
    is_encoded: bool = False,
    recognised: Sequence[bool] = (),
) -> list[list[Hypothesis]]:
    """Return the best hypotheses of each source, best first, at most ``num_best`` each.

    A hypothesis whose end-of-sequence is among the W best continuations is finished; an example is
    done when it has W finished ones, or when no open one can still get among its ``num_best``.

    Args:
        model: In evaluation mode.
        source: As in ``Batch``.
        source_lengths: int64 ``[B]``.
        modality: Of the sources.
        task_embedding: ``[1, O]`` or ``[B, O]``, or ``None``.
        begin: The decoder's first piece, or the pieces of its prompt; or a prompt for each source,
            all of one length, where they are of several tasks.
        vocabulary: Turns pieces into text.
        settings: Width, penalty, limits.
        is_encoded: As in ``Batch``.
        recognised: Whether each source is recognised, where ``settings.ctc_weight`` counts; empty:
            none is.
    """
    state = model.start_decoding(
        source,
        source_lengths,
        modality,
        task_embedding,
        width=settings.beam,
        is_encoded=is_encoded,
    )
    prompts_BP = torch.tensor(_prompts(begin, len(source)), device=source.device)
    limits_B = _limits(model, state, prompts_BP.shape[1], settings)
    for place in range(prompts_BP.shape[1] - 1):
        model.advance(prompts_BP[:, place, None], state)
    search = _Search(model, state, limits_B, prompts_BP, vocabulary, settings)
    if settings.ctc_weight and any(recognised):
        search.listen(recognised)
    while search.is_open:
        search.advance()
    return [_best(finished, vocabulary, settings.num_best) for finished in search.finished]


def _prompts(
    begin: int | Sequence[int] | Sequence[Sequence[int]], num_examples: int
) -> list[list[int]]:
    """Return the prompt of each source."""
    if isinstance(begin, int):
        return [[begin]] * num_examples
    rows = [list(one) for one in begin if not isinstance(one, int)]
    return rows or [[piece for piece in begin if isinstance(piece, int)]] * num_examples


def _limits(
    model: TaskAwareTransformer, state: DecodingState, prompt: int, settings: DecodingSettings
) -> list[int]:
    """Return the most pieces of a hypothesis, its end counted, for each source."""
    longest = [settings.max_pieces, model.target_positions.limit]
    if longest[1] is not None:
        longest[1] -= state.position + prompt
    known = [limit for limit in longest if limit is not None]
    positions_B = state.memory_mask_BS.sum(dim=1)
    return [
        max(min([positions + settings.extra_pieces, *known]), 1)
        for positions in positions_B.tolist()
    ]


class _Search:
    """The open hypotheses of all examples that are not done."""

    def __init__(
        self,
        model: TaskAwareTransformer,
        state: DecodingState,
        limits_B: list[int],
        prompts_BP: Tensor,
        vocabulary: Vocabulary,
        settings: DecodingSettings,
    ) -> None:
        num_examples = len(limits_B)
        device = state.memory_mask_BS.device
        self.finished: list[list[_Finished]] = [[] for _ in range(num_examples)]
        self._model = model
        self._state = state
        self._limits = limits_B
        self._settings = settings
        self._eos = vocabulary.EOS
        self._never_pieces = torch.tensor(vocabulary.NEVER, dtype=torch.int64, device=device)
        self._suppressed = torch.tensor(settings.suppressed, dtype=torch.int64, device=device)
        first = settings.suppressed_first
        self._suppressed_first = torch.tensor(first, dtype=torch.int64, device=device)
        self._prompts_BP = prompts_BP
        self._examples = list(range(num_examples))
        # At first there is one hypothesis of each example.
        self._newest_BW = prompts_BP[:, -1:]
        self._pieces_BWT = torch.zeros((num_examples, 1, 0), dtype=torch.int64, device=device)
        self._log_probs_BW = torch.zeros((num_examples, 1), device=device)
        self._ctc: CtcPrefixes | None = None
        self._ctc_weight_B = torch.zeros(num_examples, device=device)

    def listen(self, recognised: Sequence[bool]) -> None:
        """Let CTC count, in examples that are recognised."""
        self._ctc = CtcPrefixes(
            self._model.token_embedding.logits(self._state.memory_BSD),
            self._state.memory_mask_BS.sum(dim=1),
            width=1,
            blank=CTC_BLANK,
            end=self._eos,
        )
        weights = [self._settings.ctc_weight * one for one in recognised]
        self._ctc_weight_B = torch.tensor(weights, device=self._ctc_weight_B.device)

    @property
    def is_open(self) -> bool:
        """Whether any example is not done."""
        return bool(self._examples)

    def advance(self) -> None:
        """Add one piece to every open hypothesis, put aside what is finished, drop what is done."""
        width = self._settings.beam
        logits_BWV = self._model.step(self._newest_BW, self._state).float()
        logits_BWV[..., self._never_pieces] = _NEVER
        log_probs_BWV = self._allowed(self._heard(logits_BWV.log_softmax(dim=-1)))
        each_BWK, pieces_BWK = best_pieces(log_probs_BWV, 2 * width)
        each = each_BWK.shape[2]
        totals_BX = (self._log_probs_BW[..., None] + each_BWK).flatten(1)
        best_BC, flat_BC = totals_BX.topk(min(2 * width, totals_BX.shape[1]), dim=1)
        origin_BC = flat_BC // each
        piece_BC = pieces_BWK.flatten(1).gather(1, flat_BC)
        ends_BC = piece_BC == self._eos
        self._put_aside(best_BC, origin_BC, piece_BC)
        # At most W of the 2 W candidates end, so W open ones remain; topk keeps their order.
        open_BC = best_BC.masked_fill(ends_BC, 2 * _NEVER)
        self._log_probs_BW, kept_BW = open_BC.topk(min(width, open_BC.shape[1]), dim=1)
        origin_BW = origin_BC.gather(1, kept_BW)
        self._newest_BW = piece_BC.gather(1, kept_BW)
        gathered = self._pieces_BWT.gather(
            1, origin_BW[..., None].expand(-1, -1, self._pieces_BWT.shape[2])
        )
        self._pieces_BWT = torch.cat([gathered, self._newest_BW[..., None]], dim=2)
        self._keep(self._rows_not_done(), origin_BW)

    def _heard(self, log_probs_BWV: Tensor) -> Tensor:
        """Mix what CTC gives each next piece into what the decoder gives it."""
        if self._ctc is None:
            return log_probs_BWV
        by_ctc_BWV = self._ctc.continued() - self._ctc.log_prob_BW[..., None]
        weight_B11 = self._ctc_weight_B[:, None, None]
        return torch.lerp(log_probs_BWV, by_ctc_BWV.clamp_min(_NEVER).float(), weight_B11)

    def _allowed(self, log_probs_BWV: Tensor) -> Tensor:
        """Take away what the settings forbid; the other pieces keep their probabilities."""
        settings, length = self._settings, self._pieces_BWT.shape[2]
        if len(settings.suppressed):
            log_probs_BWV[..., self._suppressed] = _NEVER
        if length == 0 and len(settings.suppressed_first):
            log_probs_BWV[..., self._suppressed_first] = _NEVER
        if settings.no_repeat:
            prompts_BWP = self._prompts_BP[:, None].expand(-1, self._pieces_BWT.shape[1], -1)
            said_BWT = torch.cat([prompts_BWP, self._pieces_BWT], dim=2)
            for row, column, piece in repeating(said_BWT, settings.no_repeat):
                log_probs_BWV[row, column, piece] = _NEVER
        if settings.end_at_limit:
            for row, example in enumerate(self._examples):
                if length + 1 == self._limits[example]:
                    log_probs_BWV[row] = _NEVER
                    log_probs_BWV[row, :, self._eos] = 0.0
        return log_probs_BWV

    def _penalty(self, length: int) -> float:
        alpha = self._settings.length_penalty
        if self._settings.stopping == "bound":
            return length_penalty(length, alpha)
        return float(length + self._settings.counted_prompt) ** alpha

    def _put_aside(self, best_BC: Tensor, origin_BC: Tensor, piece_BC: Tensor) -> None:
        """Finish the hypotheses whose end is among the W best continuations of their example."""
        width, stopping = self._settings.beam, self._settings.stopping
        length = self._pieces_BWT.shape[2] + 1
        penalty = self._penalty(length)
        counts = piece_BC[:, :width] == self._eos
        if stopping != "bound":
            at_limit = [length >= self._limits[example] for example in self._examples]
            counts |= torch.tensor(at_limit, device=counts.device)[:, None]
        counts &= best_BC[:, :width] > _NEVER / 2
        for row, column in counts.nonzero().tolist():
            finished = self.finished[self._examples[row]]
            if stopping == "bound" and len(finished) >= width:
                continue
            log_prob, piece = float(best_BC[row, column]), int(piece_BC[row, column])
            pieces = tuple(self._pieces_BWT[row, int(origin_BC[row, column])].tolist())
            ended = piece == self._eos
            pieces = pieces if ended else (*pieces, piece)
            finished.append(_Finished(log_prob / penalty, log_prob, pieces, ended=ended))
            if len(finished) > width:
                finished.remove(min(finished, key=lambda one: one.score))

    def _rows_not_done(self) -> list[int]:
        """Return the rows whose search continues; close those at their length limit."""
        length = self._pieces_BWT.shape[2]
        stopping = self._settings.stopping
        best_open = self._log_probs_BW[:, 0].tolist()
        rows = []
        for row, example in enumerate(self._examples):
            finished = self.finished[example]
            limit = self._limits[example]
            scores = sorted((one.score for one in finished), reverse=True)
            if length >= limit:  # open ones fill up what is wanted
                self._close(row, finished, self._settings.num_best - len(finished))
                continue
            if len(finished) >= self._settings.beam:
                worse = best_open[row] / self._penalty(length) <= scores[-1]
                if stopping != "heuristic" or self._settings.beam == 1 or worse:
                    continue
            # At best an open hypothesis keeps the log-probability it has, over the largest penalty.
            reachable = best_open[row] / self._penalty(limit + 1)
            wanted = self._settings.num_best
            if stopping == "bound" and len(scores) >= wanted and scores[wanted - 1] >= reachable:
                continue
            rows.append(row)
        return rows

    def _close(self, row: int, finished: list[_Finished], number: int) -> None:
        """Finish the best open hypotheses of a row as they are."""
        penalty = self._penalty(self._pieces_BWT.shape[2])
        for column in range(number):
            log_prob = float(self._log_probs_BW[row, column])
            if log_prob > _NEVER / 2:
                pieces = tuple(self._pieces_BWT[row, column].tolist())
                finished.append(_Finished(log_prob / penalty, log_prob, pieces, ended=False))

    def _keep(self, rows: list[int], origin_BW: Tensor) -> None:
        """Reorder the past after the search step, and drop the examples that are done."""
        self._state.reorder(origin_BW)
        rows = _filling_holes(rows)
        index = torch.tensor(rows, dtype=torch.int64, device=origin_BW.device)
        if self._ctc is not None:
            self._ctc.extend(index, origin_BW[index], self._newest_BW[index])
            self._ctc_weight_B = self._ctc_weight_B[index]
        if len(rows) < len(self._examples):
            self._state.keep_examples(index)
            self._examples = [self._examples[row] for row in rows]
            self._prompts_BP = self._prompts_BP[index]
            self._newest_BW = self._newest_BW[index]
            self._pieces_BWT = self._pieces_BWT[index]
            self._log_probs_BW = self._log_probs_BW[index]


def _filling_holes(rows: list[int]) -> list[int]:
    """Return rising row numbers in another order: the last ones in the places of missing ones."""
    places = range(len(rows))
    last = [row for row in rows if row >= len(rows)]
    stay = set(rows)
    return [place if place in stay else last.pop() for place in places]


def _best(finished: list[_Finished], vocabulary: Vocabulary, num_best: int) -> list[Hypothesis]:
    ranked = sorted(finished, key=lambda one: one.score, reverse=True)[:num_best]
    return [
        Hypothesis(
            token_ids=one.pieces,
            text=vocabulary.decode(list(one.pieces)),
            log_prob=one.log_prob,
            score=one.score,
            finished=one.ended,
        )
        for one in ranked
    ]
