"""One batch of several tasks: in training the gradient of its parts, in decoding their outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import ASR, MT, NUM_BINS, NUM_PIECES, ST, TASKS, tiny_settings
from taskaware.data.batches.batching import TextCue, collate, collate_tasks
from taskaware.data.sound.settings import FeatureSettings
from taskaware.data.vocabulary import Vocabulary
from taskaware.decoding.settings import DecodingSettings
from taskaware.errors import UserError
from taskaware.inference.model import TaskAwareModel
from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.create_model import create_model
from taskaware.training.joint import (
    LossArguments,
    batch_loss,
    choose_support,
    task_indices,
)
from taskaware.training.settings import ObjectiveSettings

INDEX = {task.name: index for index, task in enumerate(TASKS)}
CUES = {task.name: TextCue() for task in TASKS}


def examples(number: int, *, seed: int):
    random = np.random.default_rng(seed)
    sources = [
        random.standard_normal((length, NUM_BINS)).astype(np.float32)
        for length in random.integers(20, 60, number)
    ]
    targets = [random.integers(4, NUM_PIECES, length) for length in random.integers(2, 7, number)]
    return sources, targets


def network(cue: str, **conditioning):
    settings = tiny_settings(conditioning={"cue": cue, **conditioning})
    model = create_model(settings, vocabulary_size=NUM_PIECES, tasks=TASKS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("cue", ["explicit", "implicit", "none"])
def test_the_gradient_of_a_shared_batch_is_that_of_its_parts_by_their_pieces(cue: str):
    model = network(cue).double()
    objective = ObjectiveSettings(film_penalty=0.0)
    conditioning = ConditioningSettings(cue=cue, derange_support=False)

    def gradient(batches, weights):
        model.zero_grad()
        losses = []
        for batch, weight in zip(batches, weights, strict=True):
            batch = replace(batch, source=batch.source.double())
            support = choose_support(batch, conditioning, torch.Generator())
            arguments = LossArguments(
                task_index=task_indices(support.examples, INDEX),
                gradient_reaches_shared_layers=True,
                objective=objective,
            )
            loss = batch_loss(model, batch, support, arguments)
            (weight * loss.total).backward()
            losses.append(loss)
        return losses, {
            n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None
        }

    (one, two) = (examples(3, seed=1), examples(2, seed=2))
    apart = [
        collate(ASR, *one, cue=TextCue()),
        collate(ST, *two, cue=TextCue()),
    ]
    together = collate_tasks([ASR] * 3 + [ST] * 2, one[0] + two[0], one[1] + two[1], cues=CUES)
    assert together.parts == [(ASR, range(3)), (ST, range(3, 5))]
    pieces = [int(batch.target_lengths.sum()) for batch in apart]
    parts, expected = gradient(apart, [n / sum(pieces) for n in pieces])
    (whole,), found = gradient([together], [1.0])
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)
    for loss in parts:
        for name, value in loss.by_task.items():
            torch.testing.assert_close(whole.by_task[name], value)


def test_an_example_of_a_shared_batch_gets_the_embedding_of_another_of_its_own_task():
    sources, targets = examples(7, seed=3)
    rows = [ASR] * 4 + [ST] * 3
    batch = collate_tasks(rows, sources, targets, cues=CUES)
    support = choose_support(batch, ConditioningSettings(), torch.Generator().manual_seed(1))
    assert support.rows is not None
    chosen = support.rows.tolist()
    assert all(rows[i] == rows[row] and i != row for i, row in enumerate(chosen))
    cues = replace(batch, row_tasks=(ASR,) * 2 + (ST,) * 5)
    support = choose_support(
        replace(batch, cue_examples=cues), ConditioningSettings(), torch.Generator()
    )
    assert support.rows is not None
    assert all(
        cues.row_tasks[row] == task for task, row in zip(rows, support.rows.tolist(), strict=True)
    )


def test_prompts_of_several_lengths_cannot_share_a_batch():
    sources, targets = examples(2, seed=1)
    cues = {ASR.name: TextCue(before=(5, 6)), ST.name: TextCue()}
    with pytest.raises(UserError, match="prompts of one length"):
        collate_tasks([ASR, ST], sources, targets, cues=cues)


@pytest.fixture(scope="module")
def vocabulary():
    texts = ["one two three four five", "eins zwei drei vier"]
    return Vocabulary.train(texts, size=300, tags=[f"<task:{task.name}>" for task in TASKS])


@pytest.mark.parametrize("cue", ["explicit", "target_tag", "none"])
@pytest.mark.parametrize("beam", [1, 3])
def test_sources_of_several_tasks_decoded_together_give_what_they_give_apart(
    cue: str, beam: int, vocabulary: Vocabulary
):
    settings = tiny_settings(conditioning={"cue": cue, "film_scope": "per_block"})
    transformer = create_model(settings, vocabulary_size=vocabulary.size, tasks=TASKS).eval()
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    embeddings = {}
    if cue == "explicit":
        network = transformer.task_network
        assert network is not None
        rows = network(torch.arange(len(TASKS))).detach()
        embeddings = {task.name: rows[[index]] for index, task in enumerate(TASKS)}
    model = TaskAwareModel(
        transformer=transformer,
        settings=settings,
        tasks=TASKS,
        vocabulary=vocabulary,
        feature_settings=FeatureSettings(num_mel_bins=NUM_BINS),
        decoding=DecodingSettings(beam=beam, extra_pieces=6, examples_per_batch=4, no_repeat=3),
        task_embeddings=embeddings,
    )
    sources, _ = examples(6, seed=5)
    texts = [np.array(vocabulary.encode(text)) for text in ("one two", "four five three")]
    tasks = [ASR, ST, ASR, MT, ST, ASR, MT, ST]
    given = [*sources[:3], texts[0], *sources[3:5], texts[1], sources[5]]
    together = model.decode_tasks(tasks, given)
    for task, source, found in zip(tasks, given, together, strict=True):
        (apart,) = model.decode(task, [source])
        assert found[0].token_ids == apart[0].token_ids
        assert found[0].log_prob == pytest.approx(apart[0].log_prob, abs=1e-4)
