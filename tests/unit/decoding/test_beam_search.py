"""Beam search against oracles: greedy search, exhaustive search, the full forward."""

from __future__ import annotations

import itertools

import pytest
import torch

from conftest import MT, NUM_PIECES, ST, TASKS, random_batch, tiny_settings
from taskaware.decoding.beam_search import beam_search
from taskaware.decoding.scoring import length_penalty
from taskaware.decoding.settings import DecodingSettings
from taskaware.model.create_model import create_model


class Letters:
    """A vocabulary whose pieces are numbers."""

    PAD, BOS, EOS, UNK = 0, 1, 2, 3
    NEVER = (PAD, BOS)

    def decode(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))


def sharp_model(num_pieces: int = NUM_PIECES, seed: int = 0):
    """A random model whose distributions differ enough from even ones to have clear winners."""
    torch.manual_seed(seed)
    model = create_model(tiny_settings(), vocabulary_size=num_pieces, tasks=TASKS).eval()
    with torch.no_grad():
        model.token_embedding.weight.mul_(3.0)
        model.token_embedding.weight[2].mul_(0.7)
    return model


def search(model, batch, settings: DecodingSettings):
    return beam_search(
        model,
        batch.source,
        batch.source_lengths,
        modality=batch.task.source_modality,
        task_embedding=None,
        begin=1,
        vocabulary=Letters(),
        settings=settings,
        recognised=[True] * batch.num_examples,
    )


def ctc_log_prob(model, batch, row: int, pieces: tuple[int, ...]) -> float:
    """What CTC says of a whole text, by torch's loss."""
    modality = batch.task.source_modality
    state = model.start_decoding(batch.source, batch.source_lengths, modality, None)
    logits_SV = model.token_embedding.logits(state.memory_BSD)[row, state.memory_mask_BS[row]]
    lengths = torch.tensor([len(logits_SV)]), torch.tensor([len(pieces)])
    target = torch.tensor([pieces], dtype=torch.int64)
    log_probs = logits_SV.log_softmax(dim=-1)[:, None]
    return -float(torch.nn.functional.ctc_loss(log_probs, target, *lengths, reduction="sum"))


def log_probs(model, batch, row: int, pieces: tuple[int, ...]) -> torch.Tensor:
    """The distribution after each prefix of ``pieces``, from the full forward, ``[T + 1, V]``."""
    state = model.preprocess_source(batch.source, batch.source_lengths, batch.task.source_modality)
    del state
    from dataclasses import replace

    length = int(batch.source_lengths[row])
    target = torch.tensor([[1, *pieces]])
    one = replace(
        batch,
        source=batch.source[row : row + 1, :length],
        source_lengths=batch.source_lengths[row : row + 1],
        target_input=target,
        target_lengths=torch.tensor([target.shape[1]]),
    )
    logits = model(one, None)[0].clone()
    logits[:, [0, 1]] = -1e30
    return logits.log_softmax(dim=-1)


@pytest.mark.parametrize("task", [ST, MT])
@torch.inference_mode()
def test_a_beam_of_one_is_greedy_search(task):
    model, batch = sharp_model(), random_batch(task)
    found = search(model, batch, DecodingSettings(beam=1, extra_pieces=6))
    positions = batch.source_lengths
    if task is ST:
        _, positions = model.frontends["speech"](batch.source, positions)
    for row, hypotheses in enumerate(found):
        pieces: tuple[int, ...] = ()
        while len(pieces) < int(positions[row]) + 6:
            piece = int(log_probs(model, batch, row, pieces)[-1].argmax())
            if piece == 2:
                break
            pieces += (piece,)
        assert hypotheses[0].token_ids == pieces


@pytest.mark.parametrize("ctc_weight", [0.0, 0.4])
@torch.inference_mode()
def test_a_wide_beam_is_exhaustive_search(ctc_weight: float):
    num_pieces, extra = 6, 1
    model = sharp_model(num_pieces, seed=3)
    batch = random_batch(MT, num_examples=2)
    batch.source.remainder_(num_pieces - 3).add_(3)
    batch.source_lengths.fill_(2)
    settings = DecodingSettings(
        beam=80, extra_pieces=extra, num_best=3, length_penalty=0.6, ctc_weight=ctc_weight
    )
    found = search(model, batch, settings)
    for row in range(2):
        scored = []
        letters = [3, 4, 5]
        for length in range(3):  # at most source + extra = 3 pieces, end-of-sequence among them
            for pieces in itertools.product(letters, repeat=length):
                table = log_probs(model, batch, row, pieces)
                steps = [float(table[i, piece]) for i, piece in enumerate((*pieces, 2))]
                total = (1 - ctc_weight) * sum(steps)
                if ctc_weight:
                    total += ctc_weight * ctc_log_prob(model, batch, row, pieces)
                scored.append((total / length_penalty(length + 1, 0.6), pieces))
        best = sorted(scored, reverse=True)[:3]
        assert [hypothesis.token_ids for hypothesis in found[row]] == [p for _, p in best]
        for hypothesis, (score, _) in zip(found[row], best, strict=True):
            assert hypothesis.score == pytest.approx(score, abs=1e-4)


@torch.inference_mode()
def test_the_reported_log_probability_is_that_of_the_pieces_and_the_end():
    model, batch = sharp_model(), random_batch(ST)
    for row, hypotheses in enumerate(search(model, batch, DecodingSettings(beam=3, num_best=3))):
        for hypothesis in hypotheses:
            table = log_probs(model, batch, row, hypothesis.token_ids)
            pieces = [*hypothesis.token_ids, 2] if hypothesis.finished else hypothesis.token_ids
            wanted = sum(float(table[i, piece]) for i, piece in enumerate(pieces))
            assert hypothesis.log_prob == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("longest", [2, 3, 5])
def test_as_many_hypotheses_come_out_as_are_wanted_also_at_the_limit_of_length(longest: int):
    num_pieces = 6
    for seed in range(4):
        model, batch = sharp_model(num_pieces, seed=seed), random_batch(MT)
        batch.source.remainder_(num_pieces - 3).add_(3)
        settings = DecodingSettings(beam=3, num_best=3, max_pieces=longest)
        for hypotheses in search(model, batch, settings):
            assert len(hypotheses) == 3
            scores = [hypothesis.score for hypothesis in hypotheses]
            assert scores == sorted(scores, reverse=True)


@torch.inference_mode()
def test_a_source_has_the_same_output_alone_as_in_a_batch():
    model, batch = sharp_model(), random_batch(ST, num_examples=6)
    settings = DecodingSettings(beam=4, extra_pieces=8)
    together = search(model, batch, settings)
    for row in range(6):
        length = int(batch.source_lengths[row])
        alone = beam_search(
            model,
            batch.source[row : row + 1, :length],
            batch.source_lengths[row : row + 1],
            modality="speech",
            task_embedding=None,
            begin=1,
            vocabulary=Letters(),
            settings=settings,
        )
        assert alone[0][0].token_ids == together[row][0].token_ids


@torch.inference_mode()
def test_no_hypothesis_is_longer_than_the_limit_and_an_unfinished_one_says_so():
    model, batch = sharp_model(), random_batch(MT)
    with torch.no_grad():
        model.token_embedding.weight[2] = 0.0
        model.token_embedding.weight[5] *= 10.0
    for row, hypotheses in enumerate(search(model, batch, DecodingSettings(extra_pieces=2))):
        limit = int(batch.source_lengths[row]) + 2
        assert len(hypotheses[0].token_ids) <= limit
        assert hypotheses[0].finished == (len(hypotheses[0].token_ids) < limit)


def test_the_length_penalty_is_that_of_wu_et_al():
    assert length_penalty(1, 0.6) == 1.0
    assert length_penalty(7, 0.6) == pytest.approx(2**0.6)
