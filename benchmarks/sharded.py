#!/usr/bin/env python3
"""What splitting a model over processes (`training.sharded`) saves in memory, and costs in time.

    python benchmarks/sharded.py

Two processes with gloo on this machine, one thread each, once with the whole model in either and
once with it split; each pair of processes is a new one, so that its peak of memory is its own.
Prints what a process keeps of weights, gradients and Adam's means, what it held at most beyond the
libraries, and the median time of an update, for each process. The first one has a whole copy of
the weights beside its share, to validate (on a CUDA device only while it does).
"""

from __future__ import annotations

import argparse
import os
import time
from statistics import median

import torch
from exchange import TASKS, batch_of, in_two_processes

from taskaware.held_memory import held_mib, peak_mib
from taskaware.model.create_model import create_model
from taskaware.model.settings import ModelSettings
from taskaware.training.checkpoint import TrainState
from taskaware.training.moments import named_moments
from taskaware.training.optimiser import create_optimiser
from taskaware.training.processes import Processes, Seat, join
from taskaware.training.progress import Meter
from taskaware.training.settings import (
    LearningSettings,
    ObjectiveSettings,
    OptimiserSettings,
    TrainingSettings,
)
from taskaware.training.shards import Shards
from taskaware.training.step import Recipe, create_step

PIECES = 32_000


def main() -> None:
    """Start both pairs of processes, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--blocks", type=int, default=12, help="of the encoder, and of the decoder")
    parser.add_argument("--examples", type=int, default=2, help="of each task and process")
    options = parser.parse_args()
    # What is freed then leaves the process, so that its peak is what was in use.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(1 << 16)
    print("| | process | weights, gradients, Adam, MiB | held at most, MiB | ms an update |")
    print("|---|---:|---:|---:|---:|", flush=True)
    for is_split in (False, True):
        in_two_processes(work, options, is_split)


def work(rank: int, place: str, options: argparse.Namespace, is_split: bool) -> None:
    """Do the updates of one process, and print its row."""
    torch.set_num_threads(1)
    with join("cpu", Seat(rank=rank, num_ranks=2, meeting_place=place)) as processes:
        kept, held, seconds = measure(processes, options, is_split=is_split)
        name = "split" if is_split else "whole"
        for turn in range(2):
            processes.wait()
            if turn == rank:
                print(f"| {name} | {rank + 1} | {kept:.0f} | {held:.0f} | {1e3 * seconds:.0f} |")


def measure(
    processes: Processes, options: argparse.Namespace, *, is_split: bool
) -> tuple[float, float, float]:
    """Return MiB that are kept between updates, MiB held at most, and seconds of an update."""
    before = held_mib()
    torch.manual_seed(1)
    width = options.width
    settings = ModelSettings(
        d_model=width,
        num_heads=8,
        d_ff=2 * width,
        num_encoder_layers=options.blocks,
        num_decoder_layers=options.blocks,
    )
    recipe = Recipe(
        training=TrainingSettings(precision="float32"),
        optimiser=OptimiserSettings(),
        objective=ObjectiveSettings(),
        learning=LearningSettings(),
        conditioning=settings.conditioning,
    )
    model = create_model(settings, vocabulary_size=PIECES, tasks=TASKS)
    shards = Shards(model, processes) if is_split else None
    state = TrainState(
        model, create_optimiser(recipe.optimiser, model), torch.Generator(), shards=shards
    )
    step = create_step(model, TASKS, recipe, processes, shards)
    group = [batch_of(task, options.examples) for task in TASKS]
    seconds: list[float] = []
    for _ in range(1 + options.repetitions):
        processes.wait()
        began = time.perf_counter()
        step(state, [group], Meter(num_ranks=2))
        state.update += 1
        seconds.append(time.perf_counter() - began)
    parameters = list(model.parameters())
    tensors = [*parameters, *(p.grad for p in parameters if p.grad is not None)]
    tensors += named_moments(model, state.optimiser).values()
    kept = sum((t if shards is None else shards.own_share(t)).nbytes for t in tensors) / 2**20
    return kept, peak_mib() - before, median(seconds[1:])


if __name__ == "__main__":
    main()
