"""One update: which gradient each strategy takes, over one group of batches and over several."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from conftest import ASR, MT, NUM_PIECES, TASKS, random_batch, tiny_settings
from taskaware.errors import NotFiniteError
from taskaware.model.conditioning_settings import ConditioningSettings, Cue
from taskaware.model.create_model import create_model
from taskaware.training.checkpoint import TrainState
from taskaware.training.joint import LossArguments, Support, batch_loss
from taskaware.training.meta import BatchLoss, episode_loss
from taskaware.training.optimiser import create_optimiser
from taskaware.training.processes import Processes
from taskaware.training.progress import Meter
from taskaware.training.settings import (
    LearningSettings,
    ObjectiveSettings,
    OptimiserSettings,
    TrainingSettings,
)
from taskaware.training.step import MetaStep, Recipe, Step, create_step

ALONE = Processes(rank=0, num_ranks=1, device=torch.device("cpu"))
META = LearningSettings(strategy="meta", inner_learning_rate=0.5, inner_steps=2)
ARGUMENTS = LossArguments(
    task_index=2, gradient_reaches_shared_layers=False, objective=ObjectiveSettings()
)


def recipe(learning: LearningSettings) -> Recipe:
    return Recipe(
        training=TrainingSettings(precision="float32"),
        optimiser=OptimiserSettings(),
        objective=ObjectiveSettings(),
        learning=learning,
        conditioning=ConditioningSettings(cue="none"),
    )


def gradients_of_step(learning: LearningSettings, groups) -> dict[str, torch.Tensor]:
    """Run one update on fresh weights; the gradients that it followed are left behind."""
    model = network()
    optimiser = create_optimiser(OptimiserSettings(), model)
    state = TrainState(model=model, optimiser=optimiser, generator=torch.Generator())
    create_step(model, TASKS, recipe(learning), ALONE)(state, groups, Meter(num_ranks=1))
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def network():
    torch.manual_seed(7)
    settings = tiny_settings(conditioning={"cue": "none"})
    return create_model(settings, vocabulary_size=NUM_PIECES, tasks=TASKS)


def assert_same(found: dict[str, torch.Tensor], expected) -> None:
    wanted = {n: p.grad for n, p in expected.named_parameters() if p.grad is not None}
    assert found.keys() == wanted.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name])


def text(seed: int):
    return random_batch(MT, seed=seed)


def own(batch):
    """Return a batch whose examples are modulated by themselves."""
    return batch, Support(batch)


def test_joint_learning_follows_the_sum_over_batches_and_the_mean_over_groups():
    model = network()
    for seed in (1, 2, 3, 4):
        batch = text(seed)
        loss = batch_loss(model, batch, Support(batch), ARGUMENTS).total / 2
        loss.backward()
    groups = [[text(1), text(2)], [text(3), text(4)]]
    assert_same(gradients_of_step(LearningSettings(), groups), model)


def test_meta_learning_adapts_to_the_first_of_two_batches_and_is_judged_on_the_second():
    model = network()
    pairs = [(1, 2), (3, 4), (5, 6), (7, 8)]
    for support, query in pairs:
        loss = episode_loss(
            BatchLoss(model),
            own(text(support)),
            own(text(query)),
            arguments=ARGUMENTS,
            inner_learning_rate=0.5,
            inner_steps=2,
            second_order=False,
        )
        (loss.total / 2).backward()
    groups = [[text(1), text(2), text(3), text(4)], [text(5), text(6), text(7), text(8)]]
    assert_same(gradients_of_step(META, groups), model)


@pytest.mark.parametrize(("learning", "kind"), [(LearningSettings(), Step), (META, MetaStep)])
def test_the_strategy_chooses_the_step(learning: LearningSettings, kind: type):
    assert type(create_step(network(), TASKS, recipe(learning), ALONE)) is kind


def test_a_meta_update_counts_the_examples_of_both_batches():
    model = network()
    optimiser = create_optimiser(OptimiserSettings(), model)
    state = TrainState(model=model, optimiser=optimiser, generator=torch.Generator())
    meter = Meter(num_ranks=1)
    create_step(model, TASKS, recipe(META), ALONE)(state, [[text(1), text(2)]], meter)
    assert meter._examples == 2 * text(1).num_examples


def test_the_second_order_step_moves_the_weights_elsewhere_than_the_first_order_one():
    group = [[text(1), text(2)]]
    first = gradients_of_step(META, group)
    second = gradients_of_step(replace(META, second_order=True), group)
    name = "token_embedding.weight"
    assert not torch.allclose(first[name], second[name], rtol=1e-2)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_stochastic_gradient_descent_is_an_optimiser_too(momentum: float):
    settings = OptimiserSettings(algorithm="sgd", beta1=momentum, learning_rate=1.0)
    optimiser = create_optimiser(settings, network())
    assert isinstance(optimiser, torch.optim.SGD)
    assert {group["momentum"] for group in optimiser.param_groups} == {momentum}


@pytest.mark.parametrize("learning", [LearningSettings(), META])
@pytest.mark.parametrize("limit", [0.0, 1.0])
def test_a_gradient_that_is_not_finite_leaves_the_weights_and_is_named(
    learning: LearningSettings, limit: float
):
    model = network()
    state = TrainState(
        model=model,
        optimiser=create_optimiser(OptimiserSettings(), model),
        generator=torch.Generator(),
    )
    limited = replace(recipe(learning), optimiser=OptimiserSettings(max_gradient_norm=limit))
    step = create_step(model, TASKS, limited, ALONE)
    batch = random_batch(MT)
    handle = model.token_embedding.weight.register_hook(lambda gradient: gradient * float("nan"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(NotFiniteError, match=r"gradient must be finite.* update 1 .*loss mt_en_de"):
        step(state, [[batch, batch]], Meter(num_ranks=1))
    handle.remove()
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert not state.optimiser.state


@pytest.mark.parametrize("cue", ["none", "implicit"])
def test_one_cast_of_the_weights_an_update_gives_the_gradient_of_one_a_batch(cue: Cue):
    torch.manual_seed(7)
    settings = tiny_settings(conditioning={"cue": cue}, dropout=0.0)
    model = create_model(settings, vocabulary_size=NUM_PIECES, tasks=TASKS)
    narrow = replace(
        recipe(LearningSettings()),
        training=TrainingSettings(precision="bfloat16"),
        conditioning=settings.conditioning,
    )
    step = create_step(model, TASKS, narrow, ALONE)
    batches = [random_batch(ASR), random_batch(MT), random_batch(MT)]

    def gradients(groups) -> dict[str, torch.Tensor]:
        step.forget_gradient()
        generator = torch.Generator().manual_seed(1)
        for group in groups:  # every call leaves autocast, which forgets its casts
            step.add_gradient(group, generator, Meter(num_ranks=1))
        return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}

    together, apart = gradients([batches]), gradients([[batch] for batch in batches])
    assert together.keys() == apart.keys()
    torch.testing.assert_close(together, apart)
