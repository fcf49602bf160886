"""What an update of meta-learning costs beside one of joint learning.

    python benchmarks/meta_step.py --threads 2
    python benchmarks/meta_step.py --threads 1 --preset multi_modality --repetitions 3

A joint update takes a batch of each of three tasks; a meta update takes a support batch and a query
batch of each, equally large, so that two joint updates are what it cannot go below. Both run the
code that ``taskaware train`` runs: gradients, clipping, a fused Adam step. In one process, in turn.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict, replace

import torch
from contestants import (
    NUM_TASKS,
    PRESETS,
    TASK,
    TEXT_TASK,
    TINY,
    Sizes,
    num_parameters,
    our_model,
    synthetic_batch,
    synthetic_texts,
)
from timing import Contestant, Row, alternate

from taskaware.evaluation.machine import processor_name
from taskaware.model.conditioning_settings import ConditioningSettings, Cue
from taskaware.training.checkpoint import TrainState
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

CUES: tuple[Cue, ...] = ("none", "explicit", "implicit")


def main() -> None:
    """Print the machine, a table, and one line of JSON."""
    parser = argparse.ArgumentParser(description="Times meta-learning beside joint learning.")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: its own choice")
    parser.add_argument("--repetitions", type=int, default=10, help="timed rounds")
    parser.add_argument("--warm-up", type=int, default=2, help="rounds before, not timed")
    parser.add_argument("--preset", choices=list(PRESETS), help="sizes of the paper, or `tiny`")
    parser.add_argument("--tiny", action="store_true", help="sizes that only show that it runs")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    source, sizes = PRESETS.get(options.preset, ("speech", replace(Sizes(), num_examples=4)))
    sizes = TINY if options.tiny else sizes
    machine = {
        "machine": processor_name(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    print("\n".join(f"{name}: {value}" for name, value in machine.items()))
    print(f"sizes: {sizes}, {NUM_TASKS} tasks, float32\n")
    print("| cue | update | median ms | quartiles ms | joint updates |")
    print("|---|---|---:|---:|---:|")
    found: dict[str, list[Row]] = {}
    for cue in CUES:
        found[cue] = alternate(
            _contestants(source, sizes, cue),
            repetitions=options.repetitions,
            warm_up=options.warm_up,
            device=torch.device("cpu"),
        )
        for row in found[cue]:
            low, high = row.quartiles_ms
            print(
                f"| {cue} | {row.name} | {row.median_ms:.1f} | {low:.1f} to {high:.1f} "
                f"| {1 / row.ratio:.2f} |"
            )
    print()
    rows = {cue: [asdict(row) for row in rows] for cue, rows in found.items()}
    print(json.dumps({"machine": machine, "sizes": asdict(sizes), **rows}))


def _contestants(source: str, sizes: Sizes, cue: Cue) -> list[Contestant]:
    first = LearningSettings(strategy="meta", inner_learning_rate=1e-2)
    return [
        _contestant("joint", source, sizes, cue, LearningSettings()),
        _contestant("meta, first order", source, sizes, cue, first),
        _contestant("meta, second order", source, sizes, cue, replace(first, second_order=True)),
    ]


def _contestant(
    name: str, source: str, sizes: Sizes, cue: Cue, learning: LearningSettings
) -> Contestant:
    kind, make = (TEXT_TASK, synthetic_texts) if source == "text" else (TASK, synthetic_batch)
    model = our_model(sizes, cue=cue, num_cnn_layers=3, task=kind)
    tasks = [replace(kind, name=f"{kind.name}_{number}") for number in range(NUM_TASKS)]
    batch = make(sizes, device=torch.device("cpu"))
    group = [replace(batch, task=task) for task in tasks for _ in range(learning.batches_per_task)]
    recipe = Recipe(
        training=TrainingSettings(precision="float32"),
        optimiser=OptimiserSettings(max_gradient_norm=1.0, warmup_updates=1000),
        objective=ObjectiveSettings(),
        learning=learning,
        conditioning=ConditioningSettings(cue=cue),
    )
    state = TrainState(
        model=model,
        optimiser=create_optimiser(recipe.optimiser, model),
        generator=torch.Generator().manual_seed(0),
    )
    alone = Processes(rank=0, num_ranks=1, device=torch.device("cpu"))
    step, meter = create_step(model, tasks, recipe, alone), Meter(num_ranks=1)

    def run() -> None:
        step(state, [group], meter)

    return Contestant(
        name=name, frames_per_position=8, num_parameters=num_parameters(model), run=run
    )


if __name__ == "__main__":
    main()
