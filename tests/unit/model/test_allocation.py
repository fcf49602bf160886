"""A model that claims to be larger than its weights is refused before it is allocated."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from taskaware.errors import CheckpointError
from taskaware.inference.model import load
from taskaware.model.allocation import at_most
from tiny_models import random_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    random_model(conditioning={"cue": "implicit"}).save(folder)
    return folder


@pytest.mark.parametrize(
    "claim",
    [
        {"d_model": 10**9, "num_heads": 1},
        {"d_model": 2**62, "num_heads": 1},
        {"d_ff": 10**12},
        {"num_encoder_layers": 10**6},
        {"num_cnn_layers": 10**9},
        {"cnn_channels": 10**6},
        {"cnn_kernel": 10**5 + 1},
        {"num_features": 10**10},
        {"target_positions": "learnt", "num_target_positions": 10**12},
        {"encoder_block": "conformer", "conformer_kernel": 10**9 + 1},
        {"conditioning": {"cue": "implicit", "d_task": 10**9, "num_task_heads": 1}},
        {"conditioning": {"cue": "explicit", "bottleneck": 10**9}},
    ],
    ids=str,
)
def test_a_description_of_a_stranger_allocates_no_more_than_its_weights_take(
    claim: dict[str, Any], folder: Path, tmp_path: Path
):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    description = json.loads((folder / "model.json").read_text())
    description["model"] |= claim
    (tmp_path / "model.json").write_text(json.dumps(description))
    began = time.perf_counter()
    with pytest.raises(CheckpointError, match=r"model\.json must describe a model, but: it"):
        load(tmp_path)
    assert time.perf_counter() - began < 5


def test_tensors_are_made_up_to_the_limit():
    with at_most(20 + 4 + 6):
        nn.Linear(5, 4)
        torch.zeros((2, 3))
    with at_most(29), pytest.raises(ValueError, match="larger than its weights"):
        nn.Linear(5, 5)


def test_a_model_is_loaded_without_the_compiler_of_torch(folder: Path):
    """It takes seconds to import, at each start of a command."""
    program = "import sys, taskaware; taskaware.load(sys.argv[1]); print(*sys.modules)"
    command = [sys.executable, "-c", program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "torch._dynamo" not in done.stdout.split()
