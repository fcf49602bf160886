"""A training that is killed at any moment, while it saves too, ends bitwise as one that never was.

The training runs in a forked process (``killed``).
"""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from killed import in_a_fork, killed_after, killed_at, killed_where
from taskaware.run.train import train_experiment
from tiny_corpus import Silent, assert_same_models, prepare_corpus, tiny_experiment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from taskaware.run.experiment import Experiment

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    data = prepare_corpus(tmp_path_factory.mktemp("corpus"))
    return tiny_experiment(data, updates=4, validate_every=2, save_every=1, keep=2)


@pytest.fixture(scope="module")
def unharmed(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unharmed") / "run"
    assert train_experiment(experiment, folder, display=Silent())
    return folder


def training(experiment: Experiment, folder: Path) -> Callable[[], object]:
    return lambda: train_experiment(experiment, folder, display=Silent())


def assert_goes_on_as_if_nothing_had_been(
    experiment: Experiment, folder: Path, unharmed: Path
) -> None:
    assert train_experiment(experiment, folder, display=Silent())
    assert_same_models(folder, unharmed)


@pytest.mark.parametrize("number", [3, 20, 47, 81])
def test_killed_at_an_operation_on_a_file(
    number: int, experiment: Experiment, unharmed: Path, tmp_path: Path
):
    assert killed_at(training(experiment, tmp_path / "run"), tmp_path / "run", number)
    assert_goes_on_as_if_nothing_had_been(experiment, tmp_path / "run", unharmed)


@pytest.mark.parametrize(
    ("inside", "kind"),
    [("best_weights", ".partial"), (".model.partial", ".link"), (".best.partial", ".link")],
)
def test_killed_where_a_file_has_not_got_its_name(
    inside: str, kind: str, experiment: Experiment, unharmed: Path, tmp_path: Path
):
    def is_unfinished(event: str, path: Path) -> bool:
        return event == "os.rename" and path.suffix == kind and path.parent.match(f"run/{inside}*")

    folder = tmp_path / "run"
    assert killed_where(training(experiment, folder), folder, is_unfinished)
    assert_goes_on_as_if_nothing_had_been(experiment, folder, unharmed)


def test_killed_at_every_seventh_operation_on_a_file(
    experiment: Experiment, unharmed: Path, tmp_path: Path
):
    number, folder = 1, tmp_path / "run1"
    while killed_at(training(experiment, folder), folder, number):
        assert_goes_on_as_if_nothing_had_been(experiment, folder, unharmed)
        number += 7
        folder = tmp_path / f"run{number}"
    assert number > 100  # it came to the end, and had many chances


def test_killed_fifty_times_at_a_random_moment(
    experiment: Experiment, unharmed: Path, tmp_path: Path
):
    moments = random.Random(1)
    begun = time.perf_counter()
    assert not in_a_fork(training(experiment, tmp_path / "whole"))
    whole_seconds = time.perf_counter() - begun
    for number in range(50):
        folder = tmp_path / f"run{number}"
        for _ in range(2):
            killed_after(training(experiment, folder), moments.uniform(0, whole_seconds))
        assert_goes_on_as_if_nothing_had_been(experiment, folder, unharmed)
