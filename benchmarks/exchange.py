#!/usr/bin/env python3
"""An update of two processes: gradients exchanged while they are computed, or afterwards.

    python benchmarks/exchange.py

Two processes with gloo on this machine, one thread each, the same model and batches in both ways,
which take turns (A B, A B, ...), three tasks an update. Prints the median of both, their ratio,
what is exchanged, and what torch itself says of the last exchange: how long it took, and how much
of that went by while gradients were still being computed.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.parallel import DistributedDataParallel

from taskaware.model.create_model import create_model
from taskaware.model.settings import ModelSettings
from taskaware.training.checkpoint import TrainState
from taskaware.training.optimiser import create_optimiser
from taskaware.training.processes import Processes, Seat, join
from taskaware.training.progress import Meter
from taskaware.training.settings import (
    LearningSettings,
    ObjectiveSettings,
    OptimiserSettings,
    TrainingSettings,
)
from taskaware.training.step import Recipe, create_step
from taskaware.types import Batch, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ASR = Task(name="asr_en", kind="asr", source_modality="speech")
ST = Task(name="st_en_de", kind="st", source_modality="speech")
MT = Task(name="mt_en_de", kind="mt", source_modality="text")
TASKS = (ASR, ST, MT)
PIECES = 8000


class _Nothing:
    """Retention that adds nothing: with it an update exchanges its gradients at its end."""

    def add_gradient(
        self, batches: Sequence[Batch], generator: torch.Generator, *, share: float
    ) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def main() -> None:
    """Start the two processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--examples", type=int, default=4, help="of each task and process")
    in_two_processes(work, parser.parse_args())


def in_two_processes(work: Callable[..., None], *arguments: Any) -> None:
    """Call ``work`` in two new processes with its rank, where they meet, and the arguments."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        place = f"file://{Path(folder) / 'meeting'}"
        pair = [context.Process(target=work, args=(r, place, *arguments)) for r in range(2)]
        for process in pair:
            process.start()
        for process in pair:
            process.join()


def work(rank: int, place: str, options: argparse.Namespace) -> None:
    """Do the updates of one process; the first one prints."""
    torch.set_num_threads(1)
    with join("cpu", Seat(rank=rank, num_ranks=2, meeting_place=place)) as processes:
        measure(processes, options)


def measure(processes: Processes, options: argparse.Namespace) -> None:
    """Let both ways take turns."""
    torch.manual_seed(1)
    width = options.width
    settings = ModelSettings(
        d_model=width, num_heads=4, d_ff=4 * width, num_encoder_layers=4, num_decoder_layers=4
    )
    training = TrainingSettings(precision="float32")
    recipe = Recipe(
        training=training,
        optimiser=OptimiserSettings(),
        objective=ObjectiveSettings(),
        learning=LearningSettings(),
        conditioning=settings.conditioning,
    )
    model = create_model(settings, vocabulary_size=PIECES, tasks=TASKS)
    state = TrainState(
        model, create_optimiser(recipe.optimiser, model), torch.Generator().manual_seed(1)
    )
    # Two steps of one model would exchange twice, so each way has its own model.
    other = create_model(settings, vocabulary_size=PIECES, tasks=TASKS)
    after = TrainState(
        other, create_optimiser(recipe.optimiser, other), torch.Generator().manual_seed(1)
    )
    ways = {
        "while computed": (create_step(model, TASKS, recipe, processes), state, None),
        "afterwards": (create_step(other, TASKS, recipe, processes), after, _Nothing()),
    }
    group = [batch_of(task, options.examples) for task in TASKS]
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(2 + options.repetitions):
        for name, (step, own, retention) in ways.items():
            processes.wait()
            began = time.perf_counter()
            step(own, [group], Meter(num_ranks=2), retention)
            own.update += 1
            if number >= 2:
                seconds[name].append(time.perf_counter() - began)
    if processes.is_first:
        numbers = sum(p.numel() for p in model.parameters())
        found = {name: median(values) for name, values in seconds.items()}
        print(f"{numbers:,} parameters, {4 * numbers / 1e6:.1f} MB of gradients an update")
        for name, value in found.items():
            print(f"{name:15} {1e3 * value:.0f} ms")
        ratio = found["while computed"] / found["afterwards"]
        print(f"ratio of the medians {ratio:.3f} ({options.repetitions} of each, in turn)")
        print_what_torch_says()


def print_what_torch_says() -> None:
    """Print DistributedDataParallel's own clocks, which have no public name."""
    for parallel in [o for o in gc.get_objects() if type(o) is DistributedDataParallel]:
        said = parallel._get_ddp_logging_data()
        exchange = said["avg_backward_comm_time"] / 1e6
        overlap = said["avg_backward_compute_comm_overlap_time"] / 1e6
        print(f"buckets, bytes: {said['bucket_sizes']}")
        print(f"exchange {exchange:.0f} ms, of which while computing {overlap:.0f} ms")


def batch_of(task: Task, num_examples: int) -> Batch:
    """Return random numbers: recordings of 5 s, texts of 24 pieces."""
    shape = (num_examples, 24)
    target = torch.randint(10, PIECES, shape)
    is_text = task.modality.is_text
    source = torch.randint(10, PIECES, shape) if is_text else torch.randn(num_examples, 500, 80)
    return Batch(
        task=task,
        source=source,
        source_lengths=torch.full((num_examples,), source.shape[1]),
        target_input=target,
        target_output=target,
        target_lengths=torch.full((num_examples,), 24),
    )


if __name__ == "__main__":
    main()
