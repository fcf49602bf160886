"""What several tests need: small models, batches, real data where it is there."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import hypothesis
import pytest
import torch

from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.settings import ModelSettings
from taskaware.types import Batch, Task

# The models are small: two threads wait for one another, the longer the busier the machine is.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the commands that tests start

# How long a machine takes, which may be busy, fails no test.
UNTIMED = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("local", **UNTIMED)
# Where a failure must mean that the change is wrong, the same examples are drawn every time.
hypothesis.settings.register_profile("ci", derandomize=True, **UNTIMED)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

ASR = Task(
    name="asr_en", kind="asr", source_modality="speech", source_language="en", target_language="en"
)
ST = Task(
    name="st_en_de", kind="st", source_modality="speech", source_language="en", target_language="de"
)
MT = Task(
    name="mt_en_de", kind="mt", source_modality="text", source_language="en", target_language="de"
)
TASKS = (ASR, ST, MT)
NUM_PIECES = 40
NUM_BINS = 16


@pytest.fixture
def shared_data() -> Path:
    """The folder of real corpora beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real corpora are not there: {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Let SIGINT interrupt, also where the tests run in the background and a shell ignores it."""
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def tiny_settings(*, conditioning: dict | None = None, **changes) -> ModelSettings:
    """A model of a few thousand parameters without dropout."""
    sizes = {
        "d_model": 16,
        "num_heads": 2,
        "d_ff": 32,
        "num_encoder_layers": 2,
        "num_decoder_layers": 2,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "relu_dropout": 0.0,
        "num_features": NUM_BINS,
        "cnn_channels": 4,
    }
    cue = {"d_task": 8, "d_task_ff": 16, "num_task_heads": 2} | (conditioning or {})
    return ModelSettings(**(sizes | changes), conditioning=ConditioningSettings(**cue))


def random_batch(task: Task, *, num_examples: int = 4, seed: int = 0, dtype=torch.float32) -> Batch:
    """A batch of sources and targets of different lengths."""
    generator = torch.Generator().manual_seed(seed)

    def integers(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=generator)

    target_lengths = integers(3, 8, num_examples)
    longest_target = int(target_lengths.max())
    pieces = integers(4, NUM_PIECES, num_examples, longest_target)
    valid = torch.arange(longest_target)[None] < target_lengths[:, None]
    target_output = torch.where(valid, pieces, 0)
    target_output[torch.arange(num_examples), target_lengths - 1] = 2
    target_input = torch.cat(
        [torch.ones(num_examples, 1, dtype=torch.int64), pieces[:, :-1]], dim=1
    )
    target_input = torch.where(valid, target_input, 0)
    if task.source_modality == "text":
        source_lengths = integers(3, 9, num_examples)
        longest = int(source_lengths.max())
        source = integers(4, NUM_PIECES, num_examples, longest)
        source = torch.where(torch.arange(longest)[None] < source_lengths[:, None], source, 0)
    else:
        source_lengths = integers(17, 60, num_examples)
        longest = int(source_lengths.max())
        source = torch.randn(num_examples, longest, NUM_BINS, generator=generator).to(dtype)
        source[torch.arange(longest)[None] >= source_lengths[:, None]] = 0
    return Batch(
        task=task,
        source=source,
        source_lengths=source_lengths,
        target_input=target_input,
        target_output=target_output,
        target_lengths=target_lengths,
        example_ids=tuple(f"{task.name}-{i}" for i in range(num_examples)),
    )
