"""Learning rates that are hardly what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskaware import settings
from taskaware.run.experiment import Experiment
from taskaware.run.rates import odd_rate

EXPERIMENTS = sorted((Path(__file__).resolve().parents[3] / "experiments").glob("*.toml"))


def remarks(*overrides: str) -> list[str]:
    given = ["name=x", "data.folder=data", "training.updates=20000", *overrides]
    return [each.text for each in odd_rate(settings.load(Experiment, None, given))]


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        # A rate as such, taken for the factor.
        (["optimiser.learning_rate=0.001"], "never above 3.5e-07, in update 16,000;"),
        (["optimiser.learning_rate=0.001", "optimiser.warmup_updates=400"], "2.2e-06, in update"),
        # The factor, taken for the rate.
        (["optimiser.schedule=linear"], "never above 2,"),
        # A short run with a long warm-up.
        (["training.updates=100"], "as the run ends within its warm-up of 16,000"),
    ],
    ids=str,
)
def test_a_rate_that_is_hardly_meant_is_told_with_what_the_setting_means(
    overrides: list[str], wanted: str
):
    (found,) = remarks(*overrides)
    assert wanted in found
    assert "`optimiser.learning_rate = " in found


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["optimiser.schedule=linear", "optimiser.learning_rate=1e-6"],
        ["optimiser.algorithm=sgd", "optimiser.schedule=linear"],
    ],
    ids=str,
)
def test_the_paper_s_rate_and_a_low_one_as_such_are_not_remarked_on(overrides: list[str]):
    assert remarks(*overrides) == []


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_no_experiment_of_ours_has_an_odd_rate(path: Path):
    assert not list(odd_rate(settings.load(Experiment, path)))
