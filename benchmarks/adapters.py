"""What an update costs that trains adapters of a task, beside one that trains its task network.

    python benchmarks/adapters.py models/whisper --threads 1

Of a frozen model of speech, in float32, on the same synthetic recordings: forward, gradients of
what is trained, clipping and an Adam step, by the code that ``taskaware train`` runs. All in one
process, in turn. The task network is the explicit one, with a scale and shift for each block.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from timing import Contestant, alternate

from taskaware.evaluation.machine import processor_name
from taskaware.inference.model import load
from taskaware.model.adapter_settings import AdapterSettings
from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.create_model import create_model
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
from taskaware.training.trainable import freeze_all_but
from taskaware.types import Batch

if TYPE_CHECKING:
    from taskaware.inference.model import TaskAwareModel
    from taskaware.model.settings import ModelSettings
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.training.settings import Trains
    from taskaware.types import Task

ADAPTERS = {
    "LoRA, decoder": AdapterSettings(method="lora"),
    "LoRA, encoder and decoder": AdapterSettings(method="lora", where="everything"),
    "IA3, decoder": AdapterSettings(method="ia3"),
    "layer norms, decoder": AdapterSettings(method="layer_norms"),
    "bottlenecks, decoder": AdapterSettings(method="bottleneck"),
}


def main() -> None:
    """Print the machine and a table."""
    parser = argparse.ArgumentParser(description="Times adapters beside a task network.")
    parser.add_argument("model", type=Path, help="a model of speech (taskaware import)")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--examples", type=int, default=4, help="of a batch")
    parser.add_argument("--frames", type=int, default=500, help="of an example")
    parser.add_argument("--pieces", type=int, default=25, help="of an example's target")
    parser.add_argument("--repetitions", type=int, default=10, help="timed rounds")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load(options.model, device="cpu")
    task = next(task for task in model.tasks if task.modality.is_recording)
    torch.manual_seed(0)
    batch = _batch(task, model, options.examples, options.frames, options.pieces)
    print(f"{processor_name()}, torch {torch.__version__}, {options.threads} threads, float32")
    print(f"{options.examples} examples of {options.frames} frames, {options.pieces} pieces\n")
    film = ConditioningSettings(cue="explicit", film_scope="per_block")
    on_decoder = replace(film, film_on="decoder")
    contestants = [
        _contestant("t_e, decoder", model, batch, on_decoder, AdapterSettings()),
        _contestant("t_e, encoder and decoder", model, batch, film, AdapterSettings()),
    ]
    own = model.settings.conditioning
    for name, adapters in ADAPTERS.items():
        contestants.append(_contestant(name, model, batch, own, adapters))
    rows = alternate(
        contestants, repetitions=options.repetitions, warm_up=2, device=torch.device("cpu")
    )
    print("| trained, of one task | parameters | median ms | quartiles ms | times the first |")
    print("|---|---:|---:|---:|---:|")
    for row in rows:
        low, high = row.quartiles_ms
        print(
            f"| {row.name} | {row.num_parameters:,} | {row.median_ms:.0f} | {low:.0f} to {high:.0f}"
            f" | {1 / row.ratio:.2f} |"
        )


def _batch(task: Task, model: TaskAwareModel, examples: int, frames: int, pieces: int) -> Batch:
    target = torch.randint(4, model.vocabulary.size, (examples, pieces))
    return Batch(
        task=task,
        source=torch.randn(examples, frames, model.settings.num_features),
        source_lengths=torch.full((examples,), frames),
        target_input=target,
        target_output=target,
        target_lengths=torch.full((examples,), pieces),
    )


def _contestant(
    name: str,
    start: TaskAwareModel,
    batch: Batch,
    conditioning: ConditioningSettings,
    adapters: AdapterSettings,
) -> Contestant:
    trains: Trains = "task_network" if adapters.method == "none" else "adapters"
    settings = replace(start.settings, conditioning=conditioning, adapters=adapters)
    model = _network(start, settings, batch.task)
    freeze_all_but(model, trains, task_indices=[0])
    recipe = Recipe(
        training=TrainingSettings(precision="float32"),
        optimiser=OptimiserSettings(max_gradient_norm=1.0),
        objective=ObjectiveSettings(),
        learning=LearningSettings(),
        conditioning=conditioning,
    )
    state = TrainState(
        model=model,
        optimiser=create_optimiser(recipe.optimiser, model),
        generator=torch.Generator().manual_seed(0),
    )
    alone = Processes(rank=0, num_ranks=1, device=torch.device("cpu"))
    step, meter = create_step(model, [batch.task], recipe, alone), Meter(num_ranks=1)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return Contestant(
        name=name,
        frames_per_position=1,
        num_parameters=trained,
        run=lambda: step(state, [[batch]], meter),
    )


def _network(start: TaskAwareModel, settings: ModelSettings, task: Task) -> TaskAwareTransformer:
    """Return the start's network with a new task network or a new set; the base's weights are one.

    All contestants share them, as none changes them.
    """
    model = create_model(settings, vocabulary_size=start.vocabulary.size, tasks=[task])
    base = dict(start.transformer.named_parameters())
    for name, _ in list(model.named_parameters()):
        if name in base:
            place, _, last = name.rpartition(".")
            setattr(model.get_submodule(place), last, base[name])
    if settings.adapters.method != "none":
        model.adapters.add(model, settings.adapters, task.name, task_index=0)
    return model


if __name__ == "__main__":
    main()
