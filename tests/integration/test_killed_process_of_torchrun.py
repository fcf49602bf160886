"""``torchrun --max-restarts``: processes of a training are killed, and nothing is lost by it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from taskaware.run import experiment as experiment_file
from taskaware.run.launch import train_in_processes
from taskaware.run.log import read_log
from tiny_corpus import Silent, assert_same_models, figures, prepare_corpus, tiny_experiment

UPDATES = 36
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="finds a process by its rank in /proc"
)


def process_of_rank(rank: int, agent: int) -> int | None:
    """Return the process that ``torchrun`` started with this rank, if it is there."""
    for child in Path(f"/proc/{agent}/task/{agent}/children").read_text().split():
        try:
            if f"RANK={rank}" in Path(f"/proc/{child}/environ").read_text().split("\0"):
                return int(child)
        except OSError:
            continue  # it has ended
    return None


def logged(folder: Path, kind: str) -> list[int]:
    return [line["update"] for line in read_log(folder) if line["kind"] == kind]


@pytest.mark.parametrize("sharded", [False, True])
def test_killed_ranks_are_started_again_and_the_run_ends_bitwise_as_one_that_never_was(
    sharded: bool, tmp_path: Path
):
    experiment = tiny_experiment(
        prepare_corpus(tmp_path),
        model={"dropout": 0.2},
        batching={"examples_per_batch": 2},
        updates=UPDATES,
        validate_every=16,
        save_every=5,
        keep=3,
        sharded=sharded,
    )
    path, folder = tmp_path / "tiny.toml", tmp_path / "killed"
    path.write_text(experiment_file.dump(experiment))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "--max-restarts", "2", "--monitor-interval", "0.1"]
    command += ["-m", "taskaware", "train", str(path), "--to", str(folder)]
    # Else processes that are started again may read where those before them were (docs/scale.md).
    environment = os.environ | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    with (tmp_path / "said").open("w") as said:
        agent = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
    try:
        for rank, update in ((1, 8), (0, 22)):  # neither is one of a checkpoint
            until = time.monotonic() + 300
            while max(logged(folder, "progress"), default=0) < update:
                assert agent.poll() is None, (tmp_path / "said").read_text()
                assert time.monotonic() < until
                time.sleep(0.002)
            victim = process_of_rank(rank, agent.pid)
            assert victim is not None
            os.kill(victim, signal.SIGKILL)
        assert agent.wait(timeout=60) == 0, (tmp_path / "said").read_text()
    finally:
        agent.terminate()
        agent.wait()
    assert len(logged(folder, "resumed")) == 2
    assert all(update % 5 == 0 for update in logged(folder, "resumed"))
    assert logged(folder, "progress") == list(range(1, UPDATES + 1))
    assert not re.search("Traceback", (tmp_path / "said").read_text())
    whole = tmp_path / "whole"
    assert train_in_processes(experiment, whole, num_processes=2, display=Silent())
    assert_same_models(whole, folder)
    assert figures(whole) == figures(folder)
