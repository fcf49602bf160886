#!/usr/bin/env python3
"""What 8 and 64 GPUs would do with the paper's two models and two sizes of Whisper: estimates.

Prints the tables of docs/scale.md. Nothing is measured and nothing is trained: parameters and
operations are counted on torch's device `meta`, which computes nothing, with batches of the sizes
below; the rest is arithmetic with the rates below.

    python benchmarks/scale_plan.py
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.create_model import create_model
from taskaware.model.settings import ModelSettings
from taskaware.run import experiment as experiment_file
from taskaware.types import Batch, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"

# An H100 SXM: its data sheet's peak of bfloat16 products without sparsity, and its memory.
PEAK = 989e12
MEMORY_BYTES = 80e9
# The share of the peak that training reaches. 38 to 43 % are what Llama 3 405B reached on 8,192 to
# 16,384 such GPUs (Grattafiori et al. 2024, arXiv:2407.21783, table 4); small models reach less.
UTILISATION = (0.35, 0.40)
# Measured beside an H200 (gpu.py): a processor takes about so long to begin the operations of one
# block, forward and back, for one batch, however small. Small updates take this and not less.
BLOCK_SECONDS = 4e-3
# One direction of what the data sheets give for both. NVLink 4: 18 links of 50 GB/s a GPU. Between
# machines: a card of 400 Gb/s for each GPU (DGX H100). A ring reaches about 80 % of a link.
NVLINK = 450e9
INFINIBAND = 400e9 / 8
REACHED = 0.8
GPUS_IN_A_MACHINE = 8
# Weights, gradients, two moments of Adam, and the buckets that gradients are views of (once).
STATE_BYTES = 4 * 4
HOURS = 3600.0


@dataclass(frozen=True)
class Load:
    """One kind of batch of an update.

    Attributes:
        task: Its task.
        examples: Of one process.
        source: Frames or pieces of each.
        target: Target pieces of each.
    """

    task: Task
    examples: int
    source: int
    target: int


@dataclass(frozen=True)
class Plan:
    """A model and the batches of one update of one process."""

    name: str
    settings: ModelSettings
    vocabulary_size: int
    loads: tuple[Load, ...]
    updates: int


@dataclass(frozen=True)
class Count:
    """What one process computes in an update, and what is exchanged.

    Attributes:
        parameters: Of the model.
        operations: Of an update.
        last_operations: Of its last batch, in whose way back gradients are exchanged.
        block_passes: Blocks that it runs, for each batch.
    """

    parameters: int
    operations: int
    last_operations: int
    block_passes: int


def count(plan: Plan) -> Count:
    """Count the parameters, and the operations of an update: a product and a sum are two."""
    tasks = tuple(dict.fromkeys(load.task for load in plan.loads))
    with torch.device("meta"):
        model = create_model(plan.settings, vocabulary_size=plan.vocabulary_size, tasks=tasks)
    operations: list[int] = []
    for load in plan.loads:
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            batch = batch_of(load, plan.settings.num_features)
            preprocessed = model.preprocess(batch)
            states = model.transform(
                preprocessed, model.embed_task(preprocessed, tasks.index(load.task))
            )
            model.token_embedding.logits(states).sum().backward()
        operations.append(counter.get_total_flops())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    blocks = len(model.encoder) + len(model.decoder)
    return Count(parameters, sum(operations), operations[-1], blocks * len(plan.loads))


def batch_of(load: Load, num_features: int) -> Batch:
    """Return a batch without padding and without numbers."""
    shape = (load.examples, load.source)
    is_text = load.task.modality.is_text
    source = torch.zeros(shape, dtype=torch.int64) if is_text else torch.zeros(*shape, num_features)
    target = torch.zeros(load.examples, load.target, dtype=torch.int64)
    return Batch(
        task=load.task,
        source=source,
        source_lengths=torch.full((load.examples,), load.source),
        target_input=target,
        target_output=target,
        target_lengths=torch.full((load.examples,), load.target),
    )


def moved_bytes(parameters: int, gpus: int) -> float:
    """Return what each GPU sends in an all-reduce of float32 gradients around a ring."""
    return 2 * (gpus - 1) / gpus * 4 * parameters


def exchange_seconds(parameters: int, gpus: int) -> float:
    """Return how long it takes; within a machine first, then between machines, each GPU its share.

    Every GPU reduces an eighth of the gradients within its machine, all-reduces that eighth with
    its fellows in the other machines over its own card, and gives it to its neighbours.
    """
    within = moved_bytes(parameters, min(gpus, GPUS_IN_A_MACHINE)) / (NVLINK * REACHED)
    machines = gpus // GPUS_IN_A_MACHINE
    if machines <= 1:
        return within
    share = moved_bytes(parameters // GPUS_IN_A_MACHINE, machines)
    return within + share / (INFINIBAND * REACHED)


def hidden_seconds(found: Count, computing: float) -> float:
    """Return how long the last batch of an update goes back: two thirds of its computing."""
    return 2 / 3 * found.last_operations / found.operations * computing


def plans() -> list[Plan]:
    """Return the paper's two configurations, and an imported Whisper base and large."""
    german, romanian, turkish = (
        Task(name=f"mt_en_{language}", kind="mt", source_modality="text")
        for language in ("de", "ro", "tr")
    )
    asr = Task(name="asr_en", kind="asr", source_modality="speech")
    st = Task(name="st_en_de", kind="st", source_modality="speech")
    found: list[Plan] = []
    single = experiment_file.load(EXPERIMENTS / "single_modality.toml", from_start=True)
    rows = single.batching.max_tokens // 28  # 28 pieces a sentence: between 5 and 50
    texts = tuple(Load(task, rows, 28, 28) for task in (german, romanian, turkish))
    found.append(Plan("single_modality", single.model, 32_000, texts, single.training.updates))
    multi = experiment_file.load(EXPERIMENTS / "multi_modality.toml", from_start=True)
    size = multi.batching.examples_per_batch
    # 7 s at 100 frames a second, 4.2 pieces a second: what `--dry-run` takes where data is missing.
    mixed = (Load(asr, size, 700, 29), Load(st, size, 700, 29), Load(german, size, 28, 28))
    found.append(Plan("multi_modality", multi.model, 32_000, mixed, multi.training.updates))
    recordings = tuple(Load(task, 16, 3000, 60) for task in (asr, st))
    for name, width, layers, bins, pieces in (
        ("Whisper base", 512, 6, 80, 51_865),
        ("Whisper large-v3", 1280, 32, 128, 51_866),
    ):
        settings = whisper(width, layers, bins)
        found.append(Plan(name, settings, pieces, recordings, 100_000))
    return found


def whisper(width: int, layers: int, bins: int) -> ModelSettings:
    """Return Whisper's sizes (Radford et al. 2022, table 1) with an implicit task network."""
    return ModelSettings(
        d_model=width,
        num_heads=width // 64,
        d_ff=4 * width,
        num_encoder_layers=layers,
        num_decoder_layers=layers,
        activation="gelu",
        norm="pre",
        num_features=bins,
        frontend="conv1d",
        num_cnn_layers=2,
        cnn_channels=width,
        cnn_kernel=3,
        cnn_strides=(1, 2),
        cnn_activation="gelu",
        source_positions="learnt",
        target_positions="learnt",
        num_source_positions=1500,
        num_target_positions=448,
        embedding_scale=False,
        conditioning=ConditioningSettings(cue="implicit"),
    )


def without_dropout(settings: ModelSettings) -> ModelSettings:
    """Return the same sizes without what draws random numbers, which costs no product."""
    return replace(settings, dropout=0.0, attention_dropout=0.0, relu_dropout=0.0)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, numbers to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def sizes_table(counted: Sequence[tuple[Plan, Count]]) -> str:
    """Return what each model is, moves and computes."""
    return table(
        (
            *("model", "parameters", "TFLOP an update and GPU"),
            *("MB moved by a GPU, 8 GPUs", "64 GPUs", "weights, gradients, Adam"),
        ),
        [
            (
                plan.name,
                f"{found.parameters / 1e6:,.1f} M",
                f"{found.operations / 1e12:,.2f}",
                f"{moved_bytes(found.parameters, 8) / 1e6:,.0f}",
                f"{moved_bytes(found.parameters, 64) / 1e6:,.0f}",
                f"{found.parameters * STATE_BYTES / 1e9:,.1f} GB",
            )
            for plan, found in counted
        ],
    )


def efficiency_table(counted: Sequence[tuple[Plan, Count]]) -> str:
    """Return times of an update and how much of the GPUs is used."""
    rows: list[tuple[str, ...]] = []
    for plan, found in counted:
        times = [found.operations / (PEAK * share) for share in UTILISATION]
        begun = found.block_passes * BLOCK_SECONDS
        if begun > max(times):  # else it computes for longer than its operations take to begin
            times.append(begun)
        for computing in times:
            reached = 100 * found.operations / (PEAK * computing)
            cells = [plan.name, f"{reached:.2g}%", f"{1e3 * computing:.1f} ms"]
            for gpus in (8, 64):
                exchange = exchange_seconds(found.parameters, gpus)
                left = max(0.0, exchange - hidden_seconds(found, computing))
                cells += [
                    f"{1e3 * exchange:.1f} ms",
                    f"{computing / (computing + exchange):.0%}",
                    f"{computing / (computing + left):.0%}",
                ]
            cells.append(f"{plan.updates * computing / HOURS:,.1f}")
            rows.append(tuple(cells))
    each = ("exchange, {} GPUs", "efficiency after", "efficiency overlapped")
    header = [title.format(gpus) for gpus in (8, 64) for title in each]
    return table(
        ("model", "of the peak", "computing", *header, "hours of computing, all updates"), rows
    )


def main() -> None:
    """Print the tables."""
    counted = []
    for plan in plans():
        plan = replace(plan, settings=without_dropout(plan.settings))
        counted.append((plan, count(plan)))
    print("Estimates, not measurements (`python benchmarks/scale_plan.py`).\n")
    print(sizes_table(counted) + "\n")
    print(efficiency_table(counted))
    largest = MEMORY_BYTES / STATE_BYTES
    print(
        f"\nOne GPU of {MEMORY_BYTES / 1e9:.0f} GB holds the state of {largest / 1e9:.1f} thousand "
        "million parameters with nothing left for activations; with half of it for activations, "
        f"{largest / 2e9:.1f} thousand million."
    )


if __name__ == "__main__":
    main()
