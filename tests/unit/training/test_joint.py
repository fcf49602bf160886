"""Joint learning: whose task embedding, where gradients go, that it learns."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from conftest import ASR, MT, NUM_PIECES, ST, TASKS, random_batch, tiny_settings
from taskaware.data.batches.batching import TextCue, collate
from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.create_model import create_model
from taskaware.training.joint import (
    LossArguments,
    Support,
    batch_loss,
    choose_support,
    counted_positions,
    derangement,
    support_embedding,
    transformed_loss,
)
from taskaware.training.settings import ObjectiveSettings

if TYPE_CHECKING:
    from taskaware.types import Batch


@pytest.mark.parametrize("num_examples", [2, 3, 5, 16])
def test_a_derangement_is_a_permutation_without_a_fixed_point(num_examples: int):
    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        permutation = derangement(num_examples, generator)
        assert sorted(permutation.tolist()) == list(range(num_examples))
        assert all(i != p for i, p in enumerate(permutation.tolist()))


def test_every_derangement_of_four_comes_equally_often():
    generator = torch.Generator().manual_seed(1)
    counts = Counter(tuple(derangement(4, generator).tolist()) for _ in range(9_000))
    assert len(counts) == 9  # !4
    assert all(abs(count - 1000) < 150 for count in counts.values())


def test_a_batch_of_one_is_modulated_by_itself():
    assert derangement(1, torch.Generator()).tolist() == [0]


def network(**conditioning):
    model = create_model(
        tiny_settings(conditioning=conditioning), vocabulary_size=NUM_PIECES, tasks=TASKS
    )
    if hasattr(model.task_network, "output"):
        torch.nn.init.normal_(model.task_network.output.weight, std=0.1)
    return model


def test_each_example_is_modulated_by_the_embedding_of_the_example_it_is_told():
    model, batch = network().eval(), random_batch(ST)
    preprocessed = model.preprocess(batch)
    own = model.embed_task(preprocessed, 1)
    permutation = torch.tensor([2, 3, 1, 0])
    given = support_embedding(
        model,
        preprocessed,
        task_index=1,
        rows=permutation,
        gradient_reaches_shared_layers=True,
    )
    torch.testing.assert_close(given, own[permutation])


def deranged(batch, seed: int = 0) -> Support:
    return choose_support(batch, ConditioningSettings(), torch.Generator().manual_seed(seed))


def loss(model, batch, support=None, **changes):
    settings = {
        "task_index": 0,
        "gradient_reaches_shared_layers": True,
        "objective": ObjectiveSettings(film_penalty=0.0),
    }
    return batch_loss(
        model, batch, support or deranged(batch), LossArguments(**(settings | changes))
    )


def test_the_task_network_looks_at_cue_examples_where_there_are_some():
    model, cues = network().eval(), random_batch(ST, num_examples=2, seed=5)
    batch = replace(random_batch(ST), cue_examples=cues)
    support = deranged(batch)
    assert support.examples is cues
    assert support.rows.shape == (batch.num_examples,)
    assert set(support.rows.tolist()) == {0, 1}
    embedding = model.embed_task(model.preprocess(cues), 1)[support.rows]
    objective = ObjectiveSettings(film_penalty=0.0)
    expected = transformed_loss(
        model, batch, model.preprocess(batch), embedding, objective=objective
    )
    found = loss(model, batch, support, task_index=1)
    torch.testing.assert_close(found.total, expected.total)


@pytest.mark.parametrize("acts_by", ["film", "prepend", "join"])
def test_a_task_of_its_own_name_has_one_embedding_for_all_its_examples(acts_by: str):
    model, batch = network(cue="explicit", acts_by=acts_by), random_batch(ST)
    assert model.embed_task(model.preprocess(batch), 1).shape[0] == 1
    each = torch.full((batch.num_examples,), 1)
    losses = [loss(model.eval(), batch, task_index=index).total for index in (1, each)]
    torch.testing.assert_close(*losses)
    weights = list(model.task_network.parameters())
    found, expected = (torch.autograd.grad(one, weights) for one in losses)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("reaches", [True, False])
def test_cue_examples_change_the_front_end_only_where_asked(reaches: bool):
    model = network()
    batch = replace(random_batch(MT), cue_examples=random_batch(ASR, num_examples=2))
    loss(model, batch, gradient_reaches_shared_layers=reaches).total.backward()
    convolution = model.frontends["speech"].convolutions[0].weight
    assert (convolution.grad is not None) == reaches
    assert model.task_network.output.weight.grad is not None


@pytest.mark.parametrize("reaches", [True, False])
def test_the_gradient_of_the_task_network_reaches_the_shared_layers_only_where_asked(reaches):
    model, batch = network(), random_batch(ASR)
    preprocessed = model.preprocess(batch)
    embedding = support_embedding(
        model,
        preprocessed,
        task_index=0,
        rows=None,
        gradient_reaches_shared_layers=reaches,
    )
    embedding.sum().backward()
    convolution = model.frontends["speech"].convolutions[0].weight
    assert (convolution.grad is not None) == reaches
    assert model.task_network.output.weight.grad is not None


def test_the_film_penalty_is_added_to_the_objective_and_not_to_the_cross_entropy():
    model, batch = network().eval(), random_batch(MT)
    without, with_penalty = (
        loss(model, batch),
        loss(model, batch, objective=ObjectiveSettings(film_penalty=10.0)),
    )
    torch.testing.assert_close(without.cross_entropy, with_penalty.cross_entropy)
    assert with_penalty.total > without.total
    torch.testing.assert_close(without.total, without.cross_entropy)


def test_padded_targets_do_not_count_in_the_loss():
    model, batch = network().eval(), random_batch(MT)
    expected = loss(model, batch).num_pieces
    assert expected == int(batch.target_lengths.sum())


@pytest.mark.parametrize("conditioning", [{}, {"cue": "explicit"}, {"acts_by": "prepend"}], ids=str)
def test_one_batch_of_each_task_is_learnt_by_heart(conditioning):
    torch.manual_seed(0)
    model = network(**conditioning)
    speech = random_batch(ASR, num_examples=3, seed=1)
    other = random_batch(ST, num_examples=3, seed=2)
    # The same recordings with other targets: only the task can tell which are wanted.
    other = replace(other, source=speech.source, source_lengths=speech.source_lengths)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(250):
        optimiser.zero_grad()
        losses = [
            loss(
                model,
                batch,
                choose_support(batch, ConditioningSettings(), generator),
                task_index=index,
                objective=ObjectiveSettings(label_smoothing=0.0),
            )
            for index, batch in enumerate([speech, other])
        ]
        sum(one.total for one in losses).backward()
        optimiser.step()
    assert all(float(one.cross_entropy) < 0.05 for one in losses)


# --- prompts ---


def with_prompt(batch: Batch, prompt: tuple[int, ...]) -> Batch:
    """Put a prompt in place of the begin piece, as ``collate`` does."""
    B, more = batch.num_examples, len(prompt) - 1
    given = torch.tensor(prompt).expand(B, -1)
    return replace(
        batch,
        target_input=torch.cat([given, batch.target_input[:, 1:]], dim=1),
        target_output=torch.cat([given[:, 1:], batch.target_output], dim=1),
        target_lengths=batch.target_lengths + more,
        num_prompt_pieces=len(prompt),
    )


def test_collate_says_how_long_the_prompt_is():
    targets = [np.array([7, 8]), np.array([9])]
    sources = [np.array([4, 5]), np.array([6])]
    cue = TextCue(begin=33, before=(30, 31, 32))
    batch = collate(MT, sources, targets, cue=cue)
    assert batch.num_prompt_pieces == batch.to("cpu").num_prompt_pieces == 4
    assert collate(MT, sources, targets, cue=TextCue()).num_prompt_pieces == 1
    counted = batch.target_output[counted_positions(batch)]
    assert counted.tolist() == [7, 8, cue.end, 9, cue.end]


def test_the_pieces_of_a_prompt_do_not_count_in_the_loss():
    model = network(cue="none").eval()
    batch = with_prompt(random_batch(MT), (30, 31, 32))
    objective = ObjectiveSettings(label_smoothing=0.0)
    loss = transformed_loss(model, batch, model.preprocess(batch), None, objective=objective)
    logits = model(batch, None)
    by_hand = [
        F.cross_entropy(logits[i, 2:length], batch.target_output[i, 2:length], reduction="sum")
        for i, length in enumerate(batch.target_lengths.tolist())
    ]
    assert loss.num_pieces == int((batch.target_lengths - 2).sum())
    torch.testing.assert_close(loss.cross_entropy, sum(by_hand) / loss.num_pieces)


def test_ctc_wants_the_text_without_the_prompt():
    model = network(cue="none").eval()
    plain = random_batch(ASR)
    objective = ObjectiveSettings(ctc_weight=1.0)

    def ctc(batch: Batch) -> torch.Tensor:
        loss = transformed_loss(model, batch, model.preprocess(batch), None, objective=objective)
        torch.testing.assert_close(loss.total - loss.cross_entropy, loss.ctc["asr_en"])
        return loss.ctc["asr_en"]

    torch.testing.assert_close(ctc(with_prompt(plain, (30, 31, 32))), ctc(plain))
