"""SIGTERM of a scheduler, SIGHUP of a closed terminal: a command stops well, and says so."""

from __future__ import annotations

import os
import pty
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


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGHUP, 75), (signal.SIGINT, 130)]
)
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


def test_a_training_whose_terminal_is_closed_writes_a_checkpoint(data: Path, tmp_path: Path):
    path, folder = tmp_path / "tiny.toml", tmp_path / "run"
    path.write_text(experiment_file.dump(tiny_experiment(data, updates=100_000)))
    child, terminal = pty.fork()
    if child == 0:
        program = [sys.executable, "-m", "taskaware", "train", str(path), "--to", str(folder)]
        os.execve(sys.executable, program, {**os.environ, "OMP_NUM_THREADS": "1"})
    said = b""
    while b"/s" not in said:  # the rate of updates, which are under way
        said += os.read(terminal, 1 << 16)
    os.close(terminal)
    _, ended = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended) == 75, said
    assert list((folder / "checkpoints").glob("update-*"))


def test_a_hang_up_that_is_ignored_as_under_nohup_stays_so(data: Path, tmp_path: Path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        display = Silent(lambda update: os.kill(os.getpid(), signal.SIGHUP))
        assert train_experiment(tiny_experiment(data), tmp_path / "run", display=display)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_python_the_first_signal_is_what_ended_a_training(data: Path, tmp_path: Path):
    def stop(update: int) -> None:
        if update == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)

    ending = train_experiment(tiny_experiment(data), tmp_path / "run", display=Silent(stop))
    assert ending is Ending.TERMINATED
    assert not ending
