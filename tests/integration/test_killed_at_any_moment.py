"""A training that is killed at any moment, while it saves too, ends bitwise as one that never was.

The training runs in a forked process, which kills itself at its n-th operation on a file (Python
tells of each one before it happens), or is killed after some time.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from taskaware.run.train import train_experiment
from tiny_corpus import Silent, assert_same_models, prepare_corpus, tiny_experiment

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskaware.run.experiment import Experiment

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

# What changes a folder; "open" also when it only reads, which is as good a moment as any.
_ON_FILES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink"}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    data = prepare_corpus(tmp_path_factory.mktemp("corpus"))
    return tiny_experiment(data, updates=4, validate_every=2, save_every=1, keep=2)


@pytest.fixture(scope="module")
def unharmed(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unharmed") / "run"
    assert train_experiment(experiment, folder, display=Silent())
    return folder


def train_in_a_fork(
    experiment: Experiment,
    folder: Path,
    in_child: Callable[[], None],
    in_parent: Callable[[int], None],
) -> int:
    """Train in a process of its own; return the signal that ended it, 0 for none."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            in_child()
            train_experiment(experiment, folder, display=Silent())
            status = 0
        finally:
            os._exit(status)
    in_parent(child)
    _, ended = os.waitpid(child, 0)
    assert os.WIFSIGNALED(ended) or os.WEXITSTATUS(ended) == 0
    return os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else 0


def killed_at_operation(experiment: Experiment, folder: Path, number: int) -> bool:
    """Train until the n-th operation on a file below ``folder``; return whether it came to that."""
    operations = itertools.count(1)
    return killed_where(experiment, folder, lambda event, path: next(operations) == number)


def killed_where(
    experiment: Experiment, folder: Path, is_there: Callable[[str, Path], bool]
) -> bool:
    """Train until an operation on a file below ``folder``; return whether it came to that."""

    def watch() -> None:
        def look(event: str, arguments: tuple[object, ...]) -> None:
            path = str(arguments[0]) if event in _ON_FILES else ""
            if str(folder) in path and is_there(event, Path(path)):
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(look)

    return train_in_a_fork(experiment, folder, watch, lambda child: None) == signal.SIGKILL


def killed_after(experiment: Experiment, folder: Path, seconds: float) -> bool:
    """Train, and kill the process after some time; return whether it was still there."""

    def kill(child: int) -> None:
        time.sleep(seconds)
        os.kill(
            child, signal.SIGKILL
        )  # until it is waited for, a process that ended has its number

    return train_in_a_fork(experiment, folder, lambda: None, kill) == signal.SIGKILL


def assert_goes_on_as_if_nothing_had_been(
    experiment: Experiment, folder: Path, unharmed: Path
) -> None:
    assert train_experiment(experiment, folder, display=Silent())
    assert_same_models(folder, unharmed)


@pytest.mark.parametrize("number", [3, 20, 47, 81])
def test_killed_at_an_operation_on_a_file(
    number: int, experiment: Experiment, unharmed: Path, tmp_path: Path
):
    assert killed_at_operation(experiment, tmp_path / "run", number)
    assert_goes_on_as_if_nothing_had_been(experiment, tmp_path / "run", unharmed)


@pytest.mark.parametrize(
    "inside", ["best_weights", ".model.partial", ".best.partial", "evaluation"]
)
@pytest.mark.parametrize("kind", [".partial", ".link"])
def test_killed_where_a_file_has_not_got_its_name(
    inside: str, kind: str, experiment: Experiment, unharmed: Path, tmp_path: Path
):
    def is_unfinished(event: str, path: Path) -> bool:
        return event == "os.rename" and path.suffix == kind and path.parent.match(f"run/{inside}*")

    if killed_where(experiment, tmp_path / "run", is_unfinished):  # not all folders have both
        assert_goes_on_as_if_nothing_had_been(experiment, tmp_path / "run", unharmed)


@pytest.mark.slow
def test_killed_at_every_seventh_operation_on_a_file(
    experiment: Experiment, unharmed: Path, tmp_path: Path
):
    number = 1
    while killed_at_operation(experiment, tmp_path / f"run{number}", number):
        assert_goes_on_as_if_nothing_had_been(experiment, tmp_path / f"run{number}", unharmed)
        number += 7
    assert number > 100  # it came to the end, and had many chances


@pytest.mark.slow
def test_killed_fifty_times_at_a_random_moment(
    experiment: Experiment, unharmed: Path, tmp_path: Path
):
    moments = random.Random(1)
    begun = time.perf_counter()
    assert not train_in_a_fork(experiment, tmp_path / "whole", lambda: None, lambda child: None)
    whole_seconds = time.perf_counter() - begun
    for number in range(50):
        folder = tmp_path / f"run{number}"
        killed_after(experiment, folder, moments.uniform(0, whole_seconds))
        killed_after(experiment, folder, moments.uniform(0, whole_seconds))  # and once more
        assert_goes_on_as_if_nothing_had_been(experiment, folder, unharmed)
