"""The files that start a training on many machines: they can be read, and their commands exist."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from torch.distributed.run import get_args_parser

from taskaware.cli.main import app
from taskaware.run import experiment as experiment_file

if TYPE_CHECKING:
    import argparse

ROOT = Path(__file__).resolve().parents[2]
SLURM = ROOT / "scripts" / "launch" / "slurm.sh"
KUBERNETES = ROOT / "scripts" / "launch" / "kubernetes.yaml"


def documents() -> dict[str, dict]:
    yaml = pytest.importorskip("yaml", reason="PyYAML reads the file for Kubernetes")
    return {document["kind"]: document for document in yaml.safe_load_all(KUBERNETES.read_text())}


def require_known(words: list[str]) -> argparse.Namespace:
    """Let torchrun and taskaware read their parts of a command; return torchrun's."""
    found = get_args_parser().parse_args(words)
    assert found.module
    assert found.training_script == "taskaware"
    app.parse_args(found.training_script_args, exit_on_error=False, print_error=False)
    return found


def executable(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def started(tmp_path: Path):
    """Run the script with commands of Slurm that write down how they were called."""

    def start(torchrun: str, **environment: str) -> tuple[int, str]:
        executable(tmp_path / "scontrol", f'echo "scontrol $*" >> {tmp_path}/called; echo machine1')
        executable(tmp_path / "srun", 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"')
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        line = f'for w in "$@"; do printf "%s\\n" "$w" >> {tmp_path}/words; done; {torchrun}'
        executable(tmp_path / ".venv" / "bin" / "torchrun", line)
        variables = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "machine[1-2]",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_GPUS_ON_NODE": "8",
        }
        done = subprocess.run(
            ["bash", SLURM, "experiments/multi_modality.toml", "training.updates=5"],
            cwd=tmp_path,
            env=variables | environment,
            timeout=20,
        )
        return done.returncode, (tmp_path / "called").read_text()

    return start


def test_the_script_for_slurm_can_be_read_and_starts_a_command_that_exists(started, tmp_path: Path):
    subprocess.run(["bash", "-n", SLURM], check=True)
    code, called = started("exit 0")
    assert code == 0
    assert "requeue" not in called
    found = require_known((tmp_path / "words").read_text().splitlines())
    assert (found.nnodes, found.nproc_per_node, found.rdzv_endpoint) == ("2", "8", "machine1:29400")
    assert found.training_script_args[0] == "train"
    assert found.training_script_args[-1] == "training.updates=5"


def test_a_job_that_slurm_stops_is_queued_again_once_the_training_has_ended(started):
    # The script is told to end, as Slurm does it: the script alone.
    code, called = started(
        'trap "sleep 0.3; exit 1" TERM; kill -TERM "$PPID"; while :; do sleep 0.05; done',
        SLURM_RESTART_COUNT="20",
    )
    assert code == 1
    assert "scontrol requeue 7" in called


def test_a_job_that_fails_is_queued_again_but_not_for_ever(started):
    assert "requeue" not in started("exit 1", SLURM_RESTART_COUNT="9")[1]


def test_the_script_for_slurm_asks_for_an_experiment():
    done = subprocess.run(["bash", SLURM], capture_output=True, text=True)
    assert done.returncode == 2
    assert "FILE" in done.stderr


def test_the_pods_for_kubernetes_start_a_command_that_exists_and_find_one_another():
    found = documents()
    job, service = found["Job"]["spec"], found["Service"]
    pod = job["template"]["spec"]
    container = pod["containers"][0]
    command = require_known(container["command"][1:])
    assert container["command"][0] == "torchrun"
    assert int(command.nnodes) == job["completions"] == job["parallelism"]
    assert int(command.nproc_per_node) == container["resources"]["limits"]["nvidia.com/gpu"]
    name = found["Job"]["metadata"]["name"]
    assert command.rdzv_endpoint == f"{name}-0.{service['metadata']['name']}:29400"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": name}
    assert experiment_file.load(ROOT / command.training_script_args[1], from_start=True)
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert int(variables["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"]) < pod["terminationGracePeriodSeconds"]
    mounted = {each["name"] for each in container["volumeMounts"]}
    assert mounted == {each["name"] for each in pod["volumes"]}


def test_both_keep_the_processes_that_are_started_again_apart():
    assert "export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in SLURM.read_text()
    assert "TORCH_DISABLE_SHARE_RDZV_TCP_STORE" in KUBERNETES.read_text()
    assert shlex.split(SLURM.read_text(), comments=True)
