"""What training holds in memory on a CPU, by precision, while the shapes of batches vary.

    python benchmarks/memory.py --updates 120

Every update sees a batch of speech and one of text whose sizes are those of dynamic batches: as
many examples as fit a budget, each batch of another length. Each way to train runs in a process of
its own, by the code that ``taskaware train`` runs; "unbounded" is bfloat16 with the capacity that
the caches of compiled products have by default. A row is the memory that the process holds
(resident, MiB) after so many updates, and the processor's seconds.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from taskaware.evaluation.machine import processor_name
from taskaware.held_memory import held_mib

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskaware.types import Batch, Task

WAYS = ("float32", "bfloat16", "unbounded")
NUM_PIECES = 2000
MAX_FRAMES, MAX_TOKENS = 12_000, 1024


def main() -> None:
    """Print the machine and a table, or in a child the figures of one precision."""
    parser = argparse.ArgumentParser(description="Measures the memory of training on a CPU.")
    parser.add_argument("--updates", type=int, default=120)
    parser.add_argument("--every", type=int, default=20, help="updates between two rows")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--tiny", action="store_true", help="sizes that only show that it runs")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(list(measure(options))))
        return
    print(f"machine: {processor_name()}\npython: {platform.python_version()}\n", flush=True)
    found = {}
    for way in WAYS:
        command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[way] = json.loads(output)
    print(f"| updates | {' | '.join(f'{way} MiB' for way in WAYS)} | ratios to float32 | seconds |")
    print("|---:" * (len(WAYS) + 3) + "|")
    for rows in zip(*found.values(), strict=True):
        held = [row[1] for row in rows]
        figures = [
            [f"{mib:.0f}" for mib in held],
            [", ".join(f"{mib / held[0]:.2f}" for mib in held[1:])],
            [", ".join(f"{row[2]:.1f}" for row in rows)],
        ]
        print(f"| {rows[0][0]} | {' | '.join(text for part in figures for text in part)} |")


def measure(options: argparse.Namespace) -> Iterator[tuple[int, float, float]]:
    """Train; yield updates done, resident MiB, and the processor's seconds since the first."""
    import torch

    from taskaware.model.conditioning_settings import ConditioningSettings
    from taskaware.model.create_model import create_model
    from taskaware.model.settings import ModelSettings
    from taskaware.training.checkpoint import TrainState
    from taskaware.training.kernels import suit_changing_shapes
    from taskaware.training.optimiser import create_optimiser
    from taskaware.training.processes import Processes
    from taskaware.training.progress import Meter
    from taskaware.training.settings import (
        LearningSettings,
        ObjectiveSettings,
        OptimiserSettings,
        TrainingSettings,
    )
    from taskaware.training.step import Recipe, create_step
    from taskaware.types import Task

    if options.way != "unbounded":
        suit_changing_shapes()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    tasks = (
        Task(name="asr_en", kind="asr", source_modality="speech"),
        Task(name="mt_en_de", kind="mt", source_modality="text"),
    )
    conditioning = ConditioningSettings(d_task=64, d_task_ff=128, num_task_heads=2)
    size = 32 if options.tiny else 256
    settings = ModelSettings(
        d_model=size,
        num_heads=4,
        d_ff=4 * size,
        num_encoder_layers=1 if options.tiny else 4,
        num_decoder_layers=1 if options.tiny else 2,
        cnn_channels=16,
        conditioning=conditioning,
    )
    model = create_model(settings, vocabulary_size=NUM_PIECES, tasks=tasks)
    state = TrainState(
        model=model,
        optimiser=create_optimiser(OptimiserSettings(learning_rate=1e-4), model),
        generator=torch.Generator().manual_seed(0),
    )
    recipe = Recipe(
        training=TrainingSettings(precision="float32" if options.way == "float32" else "bfloat16"),
        optimiser=OptimiserSettings(),
        objective=ObjectiveSettings(ctc_weight=0.3),
        learning=LearningSettings(),
        conditioning=conditioning,
    )
    alone = Processes(rank=0, num_ranks=1, device=torch.device("cpu"))
    step = create_step(model, tasks, recipe, alone)
    began = time.process_time()
    for update in range(options.updates + 1):
        if update % options.every == 0:
            yield update, held_mib(), time.process_time() - began
        step(state, [[random_batch(task, update) for task in tasks]], Meter(num_ranks=1))


def random_batch(task: Task, seed: int) -> Batch:
    """Return a batch of random lengths, as large as the budgets allow."""
    import numpy as np

    from taskaware.data.batches.batching import TextCue, collate

    random = np.random.default_rng([seed, 1])
    is_text = task.source_modality == "text"
    longest = int(random.integers(5, 80)) if is_text else int(random.integers(80, 1600))
    target = int(random.integers(5, 80)) if is_text else longest // 16
    budget = MAX_TOKENS // max(longest, target) if is_text else MAX_FRAMES // longest
    sources = [int(random.integers(int(0.8 * longest), longest + 1)) for _ in range(max(1, budget))]
    targets = [int(random.integers(int(0.8 * target), target + 1)) for _ in sources]
    return collate(
        task,
        [
            random.integers(10, NUM_PIECES, n)
            if is_text
            else random.normal(size=(n, 80)).astype(np.float32)
            for n in sources
        ],
        [random.integers(10, NUM_PIECES, n) for n in targets],
        cue=TextCue(),
    )


if __name__ == "__main__":
    main()
