"""The task embeddings that a model is used with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from taskaware.data.batches.batching import batches_of
from taskaware.data.prepared import PreparedData
from taskaware.inference.task_embeddings import support_task_embeddings
from taskaware.model.create_model import create_model
from taskaware.model.task_embedding import mean_task_embedding
from tiny_corpus import prepare_corpus, tiny_experiment


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return PreparedData.open(prepare_corpus(tmp_path_factory.mktemp("corpus")))


def embeddings(data: PreparedData, number: int, **earlier: torch.Tensor) -> dict:
    torch.manual_seed(1)
    settings = tiny_experiment(Path()).model
    model = create_model(settings, vocabulary_size=data.vocabulary.size, tasks=data.tasks).eval()
    split = data.split("train")
    found = support_task_embeddings(
        model, data.tasks, split, cue="implicit", num_examples=number, seed=1, earlier=earlier
    )
    task = data.tasks[0]
    every = batches_of(
        split, task, [split.indices(task.name)], vocabulary=data.vocabulary, cue="implicit"
    )
    mean = mean_task_embedding(model, every, task_index=0)
    return {**found, "mean of all": mean}


def test_enough_examples_give_the_mean_over_all_of_a_task(data: PreparedData):
    found = embeddings(data, 1000)
    torch.testing.assert_close(found[data.tasks[0].name], found["mean of all"])


def test_the_same_seed_draws_the_same_examples_and_another_number_others(data: PreparedData):
    name = data.tasks[0].name
    assert torch.equal(embeddings(data, 3)[name], embeddings(data, 3)[name])
    assert not torch.equal(embeddings(data, 3)[name], embeddings(data, 4)[name])


def test_a_task_without_examples_keeps_what_it_had(
    data: PreparedData, monkeypatch: pytest.MonkeyPatch
):
    name = data.tasks[0].name
    split = data.split("train")
    count = type(split).num_examples
    monkeypatch.setattr(
        type(split), "num_examples", lambda self, task: 0 if task == name else count(self, task)
    )
    had = torch.ones(1, 4)
    assert embeddings(data, 3, **{name: had})[name] is had
    assert name not in embeddings(data, 3)
