"""SIGTERM, as a scheduler sends it, stops a command well, with an exit code of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from taskaware.run import experiment as experiment_file
from taskaware.run.train import train_experiment
from taskaware.training.ending import Ending
from tiny_corpus import Silent, assert_same_models, prepare_corpus, tiny_experiment

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import os, signal, sys
from taskaware.cli import main, display
from taskaware.training import loop

signals, counted = [{number}], loop._is_due
def due(update, every):  # called after every update
    if update == 3 and signals:
        os.kill(os.getpid(), signals.pop())
    return counted(update, every)
loop._is_due = due
main.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"))


def train_until_stopped(number: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(number=number), "train", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_stopped_training_says_by_its_exit_code_that_work_is_left(
    number: int, code: int, data: Path, tmp_path: Path
):
    experiment = tiny_experiment(data)
    path = tmp_path / "tiny.toml"
    path.write_text(experiment_file.dump(experiment))
    folder = tmp_path / "run"
    done = train_until_stopped(number, str(path), "--to", str(folder))
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert "a checkpoint is written. Resume with: taskaware train" in done.stdout
    assert (folder / "checkpoints" / "update-00000004").is_dir()
    assert not (folder / "model").exists()
    assert train_experiment(experiment, folder, display=Silent()) is Ending.DONE
    if number == signal.SIGTERM:
        assert train_experiment(experiment, tmp_path / "whole", display=Silent())
        assert_same_models(folder, tmp_path / "whole")


def test_in_python_the_first_signal_is_what_ended_a_training(data: Path, tmp_path: Path):
    def stop(update: int) -> None:
        if update == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)

    ending = train_experiment(tiny_experiment(data), tmp_path / "run", display=Silent(stop))
    assert ending is Ending.TERMINATED
    assert not ending
