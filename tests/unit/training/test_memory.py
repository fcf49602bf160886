"""The largest batch is tried first: what does not fit is named, and what fits changes nothing."""

from __future__ import annotations

import pytest
import torch

from conftest import ASR, MT, NUM_PIECES, TASKS, random_batch, tiny_settings
from taskaware.errors import TrainingError
from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.create_model import create_model
from taskaware.training.memory import try_largest
from taskaware.training.processes import Processes
from taskaware.training.settings import (
    LearningSettings,
    ObjectiveSettings,
    OptimiserSettings,
    TrainingSettings,
)
from taskaware.training.step import Recipe, Step, create_step

CPU = torch.device("cpu")


def step(strategy: str = "joint") -> tuple[Step, torch.nn.Module]:
    torch.manual_seed(7)
    model = create_model(
        tiny_settings(conditioning={"cue": "none"}, dropout=0.2),
        vocabulary_size=NUM_PIECES,
        tasks=TASKS,
    )
    recipe = Recipe(
        training=TrainingSettings(precision="float32"),
        optimiser=OptimiserSettings(),
        objective=ObjectiveSettings(),
        learning=LearningSettings(strategy=strategy),  # type: ignore[arg-type]
        conditioning=ConditioningSettings(cue="none"),
    )
    processes = Processes(rank=0, num_ranks=1, device=CPU)
    return create_step(model, TASKS, recipe, processes), model


@pytest.mark.parametrize("strategy", ["joint", "meta"])
def test_a_try_changes_neither_weights_nor_random_numbers(strategy: str):
    tried, model = step(strategy)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    try_largest(tried, [random_batch(MT), random_batch(MT)], device=CPU)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate"
        ),
    ],
    ids=["cuda", "cpu"],
)
def test_a_batch_that_does_not_fit_is_named_with_the_settings_that_make_it(error, monkeypatch):
    tried, model = step()

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(tried, "_add_gradient", fail)
    small, large = random_batch(MT), random_batch(ASR)
    frames = large.source.shape[1]
    with pytest.raises(TrainingError, match=rf"of '{ASR.name}' with up to {frames} frames .*lower"):
        try_largest(tried, [small, large], device=CPU)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_another_error_stays_what_it_is(monkeypatch):
    tried, _ = step()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(tried, "_add_gradient", fail)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        try_largest(tried, [random_batch(MT)], device=CPU)
