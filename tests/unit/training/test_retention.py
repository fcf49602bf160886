"""What keeps old tasks while others are fine-tuned: each way's gradient, by hand or its limits."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from conftest import ASR, MT, NUM_PIECES, ST, TASKS, random_batch, tiny_settings
from taskaware.data.batches.batching import TextCue
from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.create_model import create_model
from taskaware.training.joint import LossArguments, Support, batch_loss
from taskaware.training.retention.distillation import Distillation, softened_divergence
from taskaware.training.retention.ewc import ElasticWeights, fisher_information
from taskaware.training.retention.replay import Replay
from taskaware.training.settings import ObjectiveSettings

OBJECTIVE = ObjectiveSettings(film_penalty=0.0)
LIKELIHOOD = ObjectiveSettings(label_smoothing=0.0, film_penalty=0.0)


def network(cue: str = "none"):
    return create_model(
        tiny_settings(conditioning={"cue": cue}), vocabulary_size=NUM_PIECES, tasks=TASKS
    )


def gradients(model) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


class OneBatchMemory:
    """A memory that always remembers the same batch."""

    def __init__(self, batch) -> None:
        self.batch = batch
        self.position = 0

    def __next__(self):
        self.position += 1
        return [self.batch]

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state):
        self.position = state["position"]


def replay(model, memory, weight: float = 1.0):
    return Replay(
        model,
        TASKS,
        memory,
        weight=weight,
        objective=OBJECTIVE,
        conditioning=ConditioningSettings(cue="none"),
    )


def test_replay_adds_the_weighted_gradient_of_a_remembered_batch():
    model = network()
    remembered = random_batch(ASR, seed=3)
    loss = batch_loss(
        model,
        remembered,
        Support(remembered),
        LossArguments(
            task_index=0,
            gradient_reaches_shared_layers=False,
            objective=OBJECTIVE,
        ),
    )
    loss.total.backward()
    alone = gradients(model)
    model.zero_grad(set_to_none=True)
    keeper = replay(model, OneBatchMemory(remembered), weight=3.0)
    keeper.add_gradient([random_batch(ST)], torch.Generator(), share=0.5)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, 1.5 * alone[name])


def test_replay_goes_on_where_its_memory_stood():
    keeper = replay(network(), OneBatchMemory(random_batch(ASR)))
    keeper.add_gradient([random_batch(ST)], torch.Generator(), share=1.0)
    other = replay(network(), OneBatchMemory(random_batch(ASR)))
    other.load_state_dict(keeper.state_dict())
    assert other.state_dict() == {"position": 1}


def test_the_divergence_is_that_of_torch_distributions_times_the_squared_temperature():
    wanted, found = torch.randn(5, 7), torch.randn(5, 7)
    value = softened_divergence(wanted, found, temperature=2.0)
    by_torch = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=wanted / 2),
        torch.distributions.Categorical(logits=found / 2),
    ).mean()
    torch.testing.assert_close(value, 4 * by_torch)


def distillation(model, old_tasks=(ASR, MT), **changes):
    arguments = {
        "task_embeddings": {},
        "cues": {task.name: TextCue() for task in TASKS},
        "weight": 1.0,
        "temperature": 2.0,
    } | changes
    return Distillation(model, old_tasks, **arguments)


def test_distillation_asks_nothing_of_a_model_that_has_not_moved():
    model = network()
    keeper = distillation(model)
    keeper.add_gradient([random_batch(ST)], torch.Generator(), share=1.0)
    assert all(gradient.abs().max() < 1e-6 for gradient in gradients(model).values())


def test_distillation_pulls_a_model_that_has_moved_back_to_the_outputs_of_the_start():
    model = network()
    start = copy.deepcopy(model)
    keeper = distillation(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    batch = random_batch(ST)

    def distance() -> float:
        with torch.no_grad():
            return float((model(batch, None) - start(batch, None)).square().mean())

    before = distance()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        keeper.add_gradient([batch], torch.Generator(), share=1.0)
        optimiser.step()
    assert distance() < 0.2 * before


def test_distillation_asks_under_the_embeddings_of_old_tasks_that_take_the_same_kind_of_source():
    model = network("explicit")
    embeddings = {
        task.name: model.task_network(torch.tensor([index])).detach() + index
        for index, task in enumerate(TASKS)
    }
    keeper = distillation(model, task_embeddings=embeddings)
    asked = list(keeper._questions(random_batch(ST)))
    assert [embedding is embeddings["asr_en"] for _, embedding in asked] == [True]


def test_distillation_puts_an_old_tasks_tag_first():
    begins = {"asr_en": 7, "st_en_de": 8, "mt_en_de": 9}
    cues = {name: TextCue(begin=begin) for name, begin in begins.items()}
    keeper = distillation(network("target_tag"), cues=cues)
    batch = random_batch(ST)
    ((asked, embedding),) = keeper._questions(batch)
    assert embedding is None
    assert asked.target_input[:, 0].tolist() == [7] * batch.num_examples
    assert torch.equal(asked.target_input[:, 1:], batch.target_input[:, 1:])
    assert batch.target_input[0, 0] == 1


def test_distillation_puts_an_old_tasks_label_before_a_text():
    other = replace(MT, name="mt_en_tr")
    cues = {"mt_en_de": TextCue(source_prefix=(5, 6)), "mt_en_tr": TextCue(source_prefix=(7, 8, 9))}
    keeper = distillation(network("text_label"), old_tasks=(other,), cues=cues)
    batch = random_batch(MT)
    ((asked, _),) = keeper._questions(batch)
    assert torch.equal(asked.source[:, :3], torch.tensor([[7, 8, 9]]).expand(4, -1))
    assert torch.equal(asked.source[:, 3:], batch.source[:, 2:])
    assert torch.equal(asked.source_lengths, batch.source_lengths + 1)


def test_the_start_is_not_trained_by_distillation():
    model = network()
    keeper = distillation(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    keeper.add_gradient([random_batch(ST)], torch.Generator(), share=1.0)
    assert all(parameter.grad is None for parameter in keeper._start.parameters())


def test_the_pull_of_elastic_weights_is_the_gradient_of_their_penalty():
    model = network()
    importance = {name: torch.rand_like(p) for name, p in model.named_parameters()}
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    keeper = ElasticWeights(model, importance, weight=3.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    keeper.add_gradient([], torch.Generator(), share=1.0)
    found = gradients(model)
    model.zero_grad(set_to_none=True)
    penalty = sum(
        (importance[name] * (p - start[name]).square()).sum()
        for name, p in model.named_parameters()
    )
    (3.0 / 2 * penalty).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)


def test_the_fisher_information_is_the_mean_square_of_each_examples_gradient():
    model = network()
    batches = [random_batch(MT, num_examples=1, seed=seed) for seed in (1, 2)]
    found = fisher_information(model, [(batch, 2) for batch in batches])
    expected = torch.zeros_like(model.token_embedding.weight)
    for batch in batches:
        model.zero_grad(set_to_none=True)
        log_probs = model(batch, None).log_softmax(dim=-1)[0]
        (-log_probs.gather(1, batch.target_output[0][:, None]).sum()).backward()
        expected += model.token_embedding.weight.grad.square() / 2
    torch.testing.assert_close(found["token_embedding.weight"], expected)
    assert float(found["frontends.speech.projection.weight"].abs().max()) == 0.0


def test_measuring_importance_leaves_the_model_as_it_was():
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    fisher_information(model, [(random_batch(MT, num_examples=1), 2)])
    assert model.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_elastic_weights_add_to_a_gradient_that_is_there(share: float):
    model = network()
    keeper = ElasticWeights(
        model, {name: torch.ones_like(p) for name, p in model.named_parameters()}, weight=1.0
    )
    parameter = model.token_embedding.weight
    with torch.no_grad():
        parameter.add_(1.0)
    parameter.grad = torch.full_like(parameter, 2.0)
    keeper.add_gradient([], torch.Generator(), share=share)
    torch.testing.assert_close(parameter.grad, torch.full_like(parameter, 2.0 + share))
