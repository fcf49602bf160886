"""Sources of several tasks in one batch, beside a batch a task, and beside LoRA's mixed batches.

    python benchmarks/several_tasks.py --threads 1

What a service has: some recordings, each for one of six tasks. Decoded: a beam search of exactly as
many steps for each recording (``decoding.py`` says how). FiLM: one batch, whose rows have a t_e
each; or a batch a task. LoRA (peft, the decoder's linear layers, rank 16): a batch
a task, its set switched on; or one batch, in which peft gives every row its own set (what its
``adapter_names`` does). Trained: one update of the same recordings, as one batch or a batch a task,
with FiLM. In one process, in turn, float32, random weights.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import torch
from contestants import BOS, TASK, TINY, Sizes, num_parameters, synthetic_batch
from decoding_step import FixedLength, SilentVocabulary
from timing import Contestant, alternate, table

from taskaware.decoding.beam_search import beam_search
from taskaware.decoding.settings import DecodingSettings
from taskaware.evaluation.machine import processor_name
from taskaware.model.adapter_settings import AdapterSettings
from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.create_model import create_model
from taskaware.model.settings import ModelSettings
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Batch

NUM_TASKS = 6
TASKS = [replace(TASK, name=f"task{number}") for number in range(NUM_TASKS)]
CPU = torch.device("cpu")


def main() -> None:
    """Print the machine, a table for decoding and one for training, and one line of JSON."""
    parser = argparse.ArgumentParser(description="Times batches of several tasks.")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: its own choice")
    parser.add_argument("--repetitions", type=int, default=7, help="timed rounds")
    parser.add_argument("--tiny", action="store_true", help="sizes that only show that it runs")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    sizes = replace(TINY if options.tiny else Sizes(), num_examples=12)
    machine = {
        "machine": processor_name(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    print("\n".join(f"{name}: {value}" for name, value in machine.items()))
    print(f"sizes: {sizes}, {NUM_TASKS} tasks, float32\n")
    found = {}
    for title, contestants in (
        ("decoding", decoding_contestants(sizes)),
        ("training", training_contestants(sizes)),
    ):
        rows = alternate(contestants, repetitions=options.repetitions, warm_up=1, device=CPU)
        print(table(f"{title}, {sizes.num_examples} recordings of {NUM_TASKS} tasks", rows) + "\n")
        found[title] = [asdict(row) for row in rows]
    print(json.dumps({**machine, "sizes": asdict(sizes), **found}))


def model(sizes: Sizes, *, lora: bool) -> TaskAwareTransformer:
    """Return a model told by FiLM, or by a set of LoRA a task."""
    settings = ModelSettings(
        d_model=sizes.d_model,
        num_heads=sizes.num_heads,
        d_ff=sizes.d_ff,
        num_encoder_layers=sizes.num_layers,
        num_decoder_layers=sizes.num_layers,
        num_features=sizes.num_bins,
        cnn_channels=sizes.cnn_channels,
        conditioning=ConditioningSettings(
            cue="none" if lora else "explicit", film_scope="per_block"
        ),
        adapters=AdapterSettings(method="lora" if lora else "none"),
    )
    sets = tuple(task.name for task in TASKS) if lora else ()
    return create_model(
        settings, vocabulary_size=sizes.vocabulary_size, tasks=TASKS, adapter_tasks=sets
    )


def parts(batch: Batch) -> Iterator[tuple[int, slice]]:
    """Yield each task's index and rows."""
    for index, (_, rows) in enumerate(batch.parts):
        yield index, slice(rows.start, rows.stop)


def mixed(sizes: Sizes) -> Batch:
    """Return a batch of recordings, as many of each task."""
    batch = synthetic_batch(sizes, device=CPU)
    each = sizes.num_examples // NUM_TASKS
    rows = tuple(task for task in TASKS for _ in range(each))
    return replace(batch, task=TASKS[0], row_tasks=rows)


def rows_of(batch: Batch, rows: slice, index: int) -> Batch:
    """Return the rows of one task as a batch."""
    return replace(
        batch,
        task=TASKS[index],
        row_tasks=(),
        source=batch.source[rows],
        source_lengths=batch.source_lengths[rows],
        target_input=batch.target_input[rows],
        target_output=batch.target_output[rows],
        target_lengths=batch.target_lengths[rows],
    )


def decoding_contestants(sizes: Sizes) -> list[Contestant]:
    """Return FiLM and LoRA, each with a batch a task and with one batch."""
    batch = mixed(sizes)
    film, lora = model(sizes, lora=False).eval(), model(sizes, lora=True).eval()
    network = film.task_network
    assert network is not None
    with torch.no_grad():
        t_e = network(torch.arange(NUM_TASKS))  # type: ignore[call-arg]
    per_row = t_e[[index for index, rows in parts(batch) for _ in range(rows.stop - rows.start)]]

    def search(chosen: TaskAwareTransformer, one: Batch, embedding: torch.Tensor | None) -> None:
        settings = DecodingSettings(
            beam=sizes.beam, length_penalty=0.0, max_pieces=sizes.decoded_pieces, extra_pieces=1000
        )
        beam_search(
            FixedLength(chosen, sizes.decoded_pieces),  # type: ignore[arg-type]
            one.source,
            one.source_lengths,
            modality="speech",
            task_embedding=embedding,
            begin=BOS,
            vocabulary=SilentVocabulary(),  # type: ignore[arg-type]
            settings=settings,
        )

    def film_apart() -> None:
        for index, rows in parts(batch):
            search(film, rows_of(batch, rows, index), t_e[[index]])

    def lora_apart() -> None:
        for index, rows in parts(batch):
            with lora.adapters.use(TASKS[index].name):
                search(lora, rows_of(batch, rows, index), None)

    def lora_together() -> None:
        names = [f"adapters_of_task_{i}" for i, r in parts(batch) for _ in range(r.stop - r.start)]
        hooks = list(_mix(lora, names))
        with lora.adapters.use(TASKS[0].name):
            search(lora, batch, None)
        for hook in hooks:
            hook.remove()

    return [
        _contestant("FiLM, a batch a task", film, film_apart),
        _contestant("FiLM, one batch", film, lambda: search(film, batch, per_row)),
        _contestant("LoRA, a batch a task", lora, lora_apart),
        _contestant("LoRA, one batch (peft)", lora, lora_together),
    ]


def training_contestants(sizes: Sizes) -> list[Contestant]:
    """Return an update of a batch a task, and one of a single batch."""
    batch = mixed(sizes)
    apart = [rows_of(batch, rows, index) for index, rows in parts(batch)]
    film = model(sizes, lora=False)
    conditioning = ConditioningSettings(cue="explicit", film_scope="per_block")
    recipe = Recipe(
        training=TrainingSettings(precision="float32"),
        optimiser=OptimiserSettings(),
        objective=ObjectiveSettings(),
        learning=LearningSettings(),
        conditioning=conditioning,
    )
    step = create_step(film, TASKS, recipe, Processes(rank=0, num_ranks=1, device=CPU))
    optimiser = create_optimiser(recipe.optimiser, film)
    state = TrainState(model=film, optimiser=optimiser, generator=torch.Generator())
    meter = Meter(num_ranks=1)
    return [
        _contestant("FiLM, a batch a task", film, lambda: _once(step, state, apart, meter)),
        _contestant("FiLM, one batch", film, lambda: _once(step, state, [batch], meter)),
    ]


def _once(step: Any, state: TrainState, group: list[Batch], meter: Meter) -> None:
    step(state, [group], meter)


def _mix(model: TaskAwareTransformer, names: list[str]) -> Iterator[Any]:
    """Give every row its own set, as peft does: a layer's first dimension is rows or hypotheses."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    def before(_layer: Any, given: tuple[torch.Tensor, ...], rest: dict) -> Any:
        each = given[0].shape[0] // len(names)
        return given, {**rest, "adapter_names": [name for name in names for _ in range(each)]}

    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            yield module.register_forward_pre_hook(before, with_kwargs=True)


def _contestant(name: str, model: TaskAwareTransformer, run: Callable[[], None]) -> Contestant:
    return Contestant(
        name=name, frames_per_position=8, num_parameters=num_parameters(model), run=run
    )


if __name__ == "__main__":
    main()
