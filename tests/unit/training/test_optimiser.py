"""The learning rate's course and who is decayed."""

from __future__ import annotations

import pytest

from conftest import NUM_PIECES, TASKS, tiny_settings
from taskaware.model.create_model import create_model
from taskaware.training.optimiser import RATE_SHARE, create_optimiser, learning_rate
from taskaware.training.settings import OptimiserSettings


@pytest.mark.parametrize("update", [1, 8_000, 16_000, 64_000])
def test_the_default_is_the_schedule_of_table_8(update: int):
    wanted = 2.0 * 512**-0.5 * min(1, update / 16_000) / max(update, 16_000) ** 0.5
    found = learning_rate(OptimiserSettings(), update, d_model=512, num_updates=600_000)
    assert found == pytest.approx(wanted)


def test_the_linear_course_rises_to_its_height_and_falls_to_nearly_nothing():
    settings = OptimiserSettings(schedule="linear", learning_rate=1e-3, warmup_updates=10)
    rates = [learning_rate(settings, u, d_model=16, num_updates=100) for u in range(1, 101)]
    assert max(rates) == pytest.approx(1e-3)
    assert rates.index(max(rates)) == 9
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 2e-5


def test_the_task_network_has_a_weight_decay_of_its_own_and_norms_have_none():
    model = create_model(tiny_settings(), vocabulary_size=NUM_PIECES, tasks=TASKS)
    settings = OptimiserSettings(weight_decay=0.1, task_network_weight_decay=0.3)
    optimiser = create_optimiser(settings, model)
    decay = {id(p): g["weight_decay"] for g in optimiser.param_groups for p in g["params"]}
    assert len(decay) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        wanted = 0.3 if name.startswith("task_network.") else 0.1
        assert decay[id(parameter)] == (wanted if parameter.dim() > 1 else 0.0), name


def test_the_implicit_network_learns_at_its_share_of_the_rate_but_for_what_all_t_e_share():
    model = create_model(
        tiny_settings(conditioning={"cue": "implicit"}), vocabulary_size=NUM_PIECES, tasks=TASKS
    )
    optimiser = create_optimiser(OptimiserSettings(implicit_rate=0.25), model)
    shares = {id(p): g[RATE_SHARE] for g in optimiser.param_groups for p in g["params"]}
    for name, parameter in model.named_parameters():
        is_slow = name.startswith("task_network.") and name != "task_network.output.bias"
        assert shares[id(parameter)] == (0.25 if is_slow else 1.0), name


def test_the_front_ends_learn_at_their_multiple_of_the_rate():
    model = create_model(tiny_settings(), vocabulary_size=NUM_PIECES, tasks=TASKS)
    optimiser = create_optimiser(OptimiserSettings(frontend_rate=4.0, implicit_rate=1.0), model)
    shares = {id(p): g[RATE_SHARE] for g in optimiser.param_groups for p in g["params"]}
    for name, parameter in model.named_parameters():
        wanted = 4.0 if name.startswith("frontends.speech.") else 1.0
        assert shares[id(parameter)] == wanted, name


def test_an_explicit_network_learns_at_the_whole_rate():
    model = create_model(
        tiny_settings(conditioning={"cue": "explicit"}), vocabulary_size=NUM_PIECES, tasks=TASKS
    )
    optimiser = create_optimiser(OptimiserSettings(implicit_rate=0.25), model)
    assert {group[RATE_SHARE] for group in optimiser.param_groups} == {1.0}
