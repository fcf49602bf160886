"""What a run would take, found by trying it: its largest batch, then some updates; nothing written.

Where its data is not there yet, batches of stated sizes stand for it, and what is found says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from taskaware.data.batches.batching import TextCue, collate
from taskaware.held_memory import peak_mib
from taskaware.model.create_model import create_model
from taskaware.run.checks import check_run
from taskaware.run.feed import training_batches
from taskaware.run.retention import create_retention
from taskaware.run.run import set_up
from taskaware.run.train import recipe_of
from taskaware.run.validation import validate
from taskaware.settings import typed as settings_file
from taskaware.training.checkpoint import TrainState
from taskaware.training.kernels import suit_changing_shapes
from taskaware.training.memory import try_largest
from taskaware.training.optimiser import create_optimiser
from taskaware.training.processes import Processes, Seat, join
from taskaware.training.progress import Meter
from taskaware.training.step import Step, create_step
from taskaware.types import Batch, Task

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.run.experiment import Experiment
    from taskaware.training.retention.interface import Retention

Groups = Sequence[Sequence[Batch]]
_WARM_UP = 2  # updates that are not timed: products are compiled, memory is asked for
_FEWEST, _MOST, _SECONDS = 3, 50, 60.0  # updates that are timed, and how long at most
_VALIDATION_EXAMPLES = 8  # of each task, from which a validation is reckoned
# Stand-ins for data that is not there: lectures and news, with a vocabulary of the paper's kind.
SYNTHETIC_PIECES = 32_000
SYNTHETIC_SECONDS = (2.0, 12.0)
SYNTHETIC_TEXT_PIECES = (5, 50)
_FRAMES_PER_SECOND, _PIECES_PER_SECOND = 100, 4.2
_SPREAD = 0.95  # the shortest example of a batch to its longest, as sorted batches have it
_TEXT_TASKS = ("mt_en_de", "mt_en_ro", "mt_en_tr")
_ALL_TASKS = ("asr_en", "st_en_de", "mt_en_de")


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What was found.

    Attributes:
        tasks: What would be trained.
        num_parameters: Of the model.
        is_synthetic: Whether made-up batches stood for data that is not there.
        largest: The sizes of the largest batches, examples by longest source by longest target.
        largest_seconds: What the gradient of one update of them took, the first of all.
        num_updates: Updates that were timed.
        seconds_per_update: Their mean, waiting for batches included.
        waiting: Share of it in which training waited for batches.
        examples_per_update: Their mean.
        memory_mib: The most that the process (on CUDA: the device) held at any time.
        share_of_processor: Time of processors by time that went by, in the updates; with one thread
            less than 1 means that other work kept the machine busy, or that disks did. 1 on CUDA.
        operations: Floating-point operations of one update's products and convolutions.
        block_passes: Blocks of encoder and decoder that an update runs, for each of its batches.
        validation_seconds: What one validation takes, reckoned from few examples; 0: none is done.
        num_validations: Of the whole run.
        updates: Of the whole run.
        remarks: What the user should know of the data and the settings.
    """

    tasks: tuple[str, ...]
    num_parameters: int
    is_synthetic: bool
    largest: tuple[tuple[int, int, int], ...]
    largest_seconds: float
    num_updates: int
    seconds_per_update: float
    waiting: float
    examples_per_update: float
    memory_mib: float
    operations: int
    block_passes: float
    share_of_processor: float
    validation_seconds: float
    num_validations: int
    updates: int
    remarks: tuple[str, ...] = ()

    @property
    def hours(self) -> float:
        """Of the whole run: updates and validations, without checkpoints."""
        validations = self.validation_seconds * self.num_validations
        return (self.seconds_per_update * self.updates + validations) / 3600


def dry_run(experiment: Experiment, folder: Path, *, note: Callable[[str], None]) -> DryRun:
    """Try an experiment in this process; write nothing.

    Args:
        experiment: What would be trained.
        folder: Where it would be written.
        note: Is told what is being done.

    Raises:
        ExperimentError: A setting is impossible, or the data does not fit it.
        DataError: The data is incomplete.
        TrainingError: The largest batch does not fit in memory.
        NotFiniteError: A gradient is not finite.
    """
    settings_file.require_valid(experiment, where=experiment.name)
    suit_changing_shapes()
    if experiment.training.num_threads:
        torch.set_num_threads(experiment.training.num_threads)
    with join(experiment.training.device, Seat()) as processes:
        if experiment.start.model is None and not experiment.data.folder.exists():
            return _of_synthetic_batches(experiment, processes, note)
        return _of_data(experiment, folder, processes, note)


def _of_data(
    experiment: Experiment, folder: Path, processes: Processes, note: Callable[[str], None]
) -> DryRun:
    with ExitStack() as stack:
        run = set_up(experiment, folder, processes)
        batches = training_batches(run)
        stack.callback(batches.close)
        remarks = check_run(experiment, run.data, trained=run.trained_tasks, tasks=run.tasks)
        accumulate = experiment.training.accumulate
        found = _measure(
            _Tried(run.model, run.tasks, experiment, processes, create_retention(run)),
            batches.largest(),
            lambda: [next(batches) for _ in range(accumulate)],
            note,
        )
        dev = experiment.data.dev_split
        counts = []
        if dev in run.data.split_names:
            limit = experiment.training.validation_examples
            split = run.data.split(dev)
            counts = [min(limit, split.num_examples(task.name)) for task in run.trained_tasks]
        seconds = 0.0
        if any(counts):
            note("trying a validation of few examples")
            few = replace(experiment.training, validation_examples=_VALIDATION_EXAMPLES)
            run.experiment = replace(experiment, training=few)
            run.model.eval()
            began = time.perf_counter()
            validate(run)
            tried = sum(min(count, _VALIDATION_EXAMPLES) for count in counts)
            seconds = (time.perf_counter() - began) * sum(counts) / tried
    return replace(
        found,
        tasks=tuple(task.name for task in run.trained_tasks),
        validation_seconds=seconds,
        remarks=tuple(remark.text for remark in remarks),
    )


def _of_synthetic_batches(
    experiment: Experiment, processes: Processes, note: Callable[[str], None]
) -> DryRun:
    is_text = experiment.model.preset == "single_modality"
    names = experiment.data.tasks or (_TEXT_TASKS if is_text else _ALL_TASKS)
    tasks = tuple(_task(name) for name in names)
    torch.manual_seed(experiment.training.seed)
    model = create_model(experiment.model, vocabulary_size=SYNTHETIC_PIECES, tasks=tasks)
    random = np.random.default_rng(experiment.training.seed)
    copies = experiment.learning.batches_per_task * experiment.training.accumulate
    batching = experiment.batching
    drawn = tasks if batching.mix != "sampled" else tasks[:1]

    def update() -> Groups:
        return [[_batch(t, experiment, random) for t in drawn for _ in range(copies)]]

    largest = [_batch(task, experiment, random, is_largest=True) for task in drawn]
    largest = [batch for batch in largest for _ in range(experiment.learning.batches_per_task)]
    tried = _Tried(model.to(processes.device), tasks, experiment, processes, None)
    return replace(_measure(tried, largest, update, note), tasks=names, is_synthetic=True)


@dataclass(frozen=True)
class _Tried:
    model: TaskAwareTransformer
    tasks: tuple[Task, ...]
    experiment: Experiment
    processes: Processes
    retention: Retention | None


def _measure(
    tried: _Tried,
    largest: Sequence[Batch],
    update: Callable[[], Groups],
    note: Callable[[str], None],
) -> DryRun:
    experiment, device = tried.experiment, tried.processes.device
    step = create_step(tried.model, tried.tasks, recipe_of(experiment), tried.processes)
    state = TrainState(
        model=tried.model,
        optimiser=create_optimiser(experiment.optimiser, tried.model),
        generator=torch.Generator().manual_seed(experiment.training.seed),
    )
    note("trying the largest batches")
    began = time.perf_counter()
    try_largest(step, largest, device=device)
    largest_seconds = time.perf_counter() - began
    operations = _operations(step, update(), device)
    note(f"trying updates for about {_SECONDS:.0f} seconds")
    meter = Meter(num_ranks=1)
    waits: list[float] = []
    totals: list[float] = []
    sizes: list[int] = []
    counts: list[int] = []
    worked = 0.0
    for number in range(_WARM_UP + _MOST):
        began, began_work = time.perf_counter(), time.process_time()
        groups = update()
        waited = time.perf_counter() - began
        step(state, groups, meter, tried.retention)  # its norm is a number: nothing is under way
        state.update += 1
        if number >= _WARM_UP:
            waits.append(waited)
            totals.append(time.perf_counter() - began)
            worked += time.process_time() - began_work
            sizes.append(sum(batch.num_examples for group in groups for batch in group))
            counts.append(sum(len(group) for group in groups))
        if len(totals) >= _FEWEST and sum(totals) > _SECONDS:
            break
    training = experiment.training
    interval = training.validation_interval
    return DryRun(
        tasks=(),
        num_parameters=sum(parameter.numel() for parameter in tried.model.parameters()),
        is_synthetic=False,
        largest=tuple(
            (b.num_examples, b.source.shape[1], b.target_input.shape[1]) for b in largest
        ),
        largest_seconds=largest_seconds,
        num_updates=len(totals),
        seconds_per_update=fmean(totals),
        waiting=sum(waits) / sum(totals),
        examples_per_update=fmean(sizes),
        memory_mib=peak_mib(device),
        operations=operations,
        block_passes=fmean(counts) * (len(tried.model.encoder) + len(tried.model.decoder)),
        share_of_processor=1.0 if device.type == "cuda" else worked / sum(totals),
        validation_seconds=0.0,
        num_validations=training.updates // interval if interval else 1,
        updates=training.updates,
    )


def _operations(step: Step, groups: Groups, device: torch.device) -> int:
    """Return the floating-point operations of an update, a product and a sum counted as two."""
    with FlopCounterMode(display=False) as counter:
        for group in groups:
            on_device = [batch.to(device) for batch in group]
            step.add_gradient(on_device, torch.Generator(), Meter(num_ranks=1))
    step.forget_gradient()
    return counter.get_total_flops()


def _task(name: str) -> Task:
    kind = name.partition("_")[0]
    if kind == "mt":
        return Task(name=name, kind="mt", source_modality="text")
    return Task(name=name, kind="st" if kind == "st" else "asr", source_modality="speech")


def _batch(
    task: Task, experiment: Experiment, random: np.random.Generator, *, is_largest: bool = False
) -> Batch:
    """Return random numbers and pieces of the sizes that the settings and the stand-ins give."""
    batching = experiment.batching
    is_text = task.modality.is_text
    if is_text:
        source = int(random.integers(*SYNTHETIC_TEXT_PIECES, endpoint=True))
        source = batching.max_target if is_largest else source
        target = source
    else:
        source = int(random.uniform(*SYNTHETIC_SECONDS) * _FRAMES_PER_SECOND)
        source = batching.max_source if is_largest else source
        target = int(source / _FRAMES_PER_SECOND * _PIECES_PER_SECOND)
    number = batching.examples_per_batch
    if batching.strategy == "dynamic":
        number = batching.max_tokens // (max(source, target) + 1 if is_text else target + 1)
        number = min(number, number if is_text else batching.max_frames // source)
    sizes = [(source, target)] + [
        (max(1, int(source * share)), max(1, int(target * share)))
        for share in random.uniform(_SPREAD, 1.0, max(number, 1) - 1)
    ]
    width = experiment.model.num_features
    pieces = (10, SYNTHETIC_PIECES)
    return collate(
        task,
        [
            random.integers(*pieces, s) if is_text else random.normal(size=(s, width)).astype("f4")
            for s, _ in sizes
        ],
        [random.integers(*pieces, t) for _, t in sizes],
        cue=TextCue(),
    )
