"""The training loop: update, log line, validation, checkpoint, until done or interrupted."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taskaware.errors import TrainingError
from taskaware.training.checkpoint import TrainState, save_state
from taskaware.training.memory import try_largest
from taskaware.training.progress import Meter, Progress
from taskaware.training.step import Recipe, create_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import FrameType

    from torch import nn

    from taskaware.data.stream import TrainingBatches
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.training.processes import Processes
    from taskaware.training.retention.interface import Retention
    from taskaware.training.settings import TrainingSettings
    from taskaware.types import Task


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What a validation found: by task, lower is better, comparable between updates.

    Attributes:
        values: Value by task (mean cross-entropy, or 1 minus the normalised score).
        scores: Points by task for the log (0 to 100, 100 is best), empty where none were computed.
        losses: Mean cross-entropy by task where ``values`` are something else.
        remarks: What the person who waits must know of it, a sentence each.
    """

    values: dict[str, float]
    scores: dict[str, float] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Watchers:
    """What the loop calls while it runs, in the first process alone.

    Attributes:
        on_update: After every update, with the number of updates done.
        on_progress: With every line of the log.
        validate: Validates the model as it is.
        on_validation: With every validation.
        on_best: When a validation is the best so far for ``"all"`` tasks or for one task.
    """

    on_update: Callable[[int], None]
    on_progress: Callable[[Progress], None]
    validate: Callable[[], Validation]
    on_validation: Callable[[int, Validation], None]
    on_best: Callable[[str], None]


def train(
    state: TrainState,
    model: TaskAwareTransformer,
    batches: TrainingBatches,
    *,
    tasks: Sequence[Task],
    recipe: Recipe,
    retention: Retention | None,
    processes: Processes,
    checkpoint_folder: Path,
    watchers: Watchers,
    frames_per_second: float = 100.0,
) -> bool:
    """Train until all updates are done or the process is told to stop; return whether all are done.

    On SIGINT or SIGTERM the update under way is finished and a checkpoint written; on a second
    signal the process ends at once.

    Args:
        state: Where training stands; changed in place.
        model: The network.
        batches: Endless updates.
        tasks: All tasks of the model; the batches may be of some of them.
        recipe: How to learn.
        retention: What keeps the tasks that are not trained; ``None``: nothing.
        processes: Which of the processes that train together this is.
        checkpoint_folder: Where checkpoints go.
        watchers: What is called meanwhile.
        frames_per_second: Of the speech features, for the log.

    Raises:
        TrainingError: The loss is not finite, or the largest batch does not fit in memory.
    """
    settings = recipe.training
    step = create_step(model, tasks, recipe, processes)
    meter = Meter(processes.num_ranks, frames_per_second=frames_per_second)
    with stop_signals() as stop:
        if _tries_largest(settings, processes) and state.update < settings.updates:
            try_largest(step, batches.largest(), device=processes.device)
        while state.update < settings.updates:
            began = time.perf_counter()
            groups = [next(batches) for _ in range(settings.accumulate)]
            meter.wait(time.perf_counter() - began)
            rate, norm = step(state, groups, meter, retention)
            state.update += 1
            state.batches = batches.state_dict()
            if retention is not None:
                state.retention = retention.state_dict()
            state.seconds += time.perf_counter() - began
            stopping = processes.any(stop.asked)
            done = state.update == settings.updates
            if processes.is_first:
                watchers.on_update(state.update)
            if done or _is_due(state.update, settings.log_every):
                progress = meter.read(state, rate=rate, norm=norm, epochs=batches.epochs())
                _check_finite(progress)
                if processes.is_first:
                    watchers.on_progress(progress)
            if done or _is_due(state.update, settings.validate_every):
                if processes.is_first:
                    _validate(state, model, watchers)
                processes.wait()
            if done or stopping or _is_due(state.update, settings.save_every):
                save_state(
                    state,
                    checkpoint_folder,
                    processes=processes,
                    keep=settings.keep,
                    every=settings.save_every,
                )
            if stopping and not done:
                return False
    return True


def _tries_largest(settings: TrainingSettings, processes: Processes) -> bool:
    is_auto = settings.try_largest == "auto"
    return processes.device.type == "cuda" if is_auto else settings.try_largest == "always"


def _validate(state: TrainState, model: nn.Module, watchers: Watchers) -> None:
    began = time.perf_counter()
    model.eval()
    validation = watchers.validate()
    model.train()
    watchers.on_validation(state.update, validation)
    mean = sum(validation.values.values()) / max(len(validation.values), 1)
    for name, value in {"all": mean, **validation.values}.items():
        if value < state.best.get(name, {"value": math.inf})["value"]:
            state.best[name] = {"value": value, "update": state.update}
            watchers.on_best(name)
    state.seconds += time.perf_counter() - began


def _check_finite(progress: Progress) -> None:
    for name, loss in progress.losses.items():
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss of task '{name}' must be finite, but is {loss} near update "
                f"{progress.update} at learning rate {progress.learning_rate:.2e}; lower "
                "`optimiser.learning_rate`, lengthen `optimiser.warmup_updates`, or set "
                "`optimiser.max_gradient_norm` and go on from the last checkpoint"
            )


def _is_due(update: int, every: int) -> bool:
    return every > 0 and update % every == 0


@dataclass
class Stop:
    """Whether the process was told to stop."""

    asked: bool = False


@contextlib.contextmanager
def stop_signals() -> Iterator[Stop]:
    """Turn the first SIGINT or SIGTERM into a wish to stop; the second acts as always."""
    stop = Stop()
    before: dict[signal.Signals, object] = {}
    is_launched = "TORCHELASTIC_RUN_ID" in os.environ

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.asked = True
        if is_launched:
            return  # torchrun passes every signal on a second time; SIGKILL is the way out
        signal.signal(number, before[signal.Signals(number)])  # type: ignore[arg-type]

    for number in (signal.SIGINT, signal.SIGTERM):
        # Signals belong to the main thread; elsewhere the caller stops training in its own way.
        with contextlib.suppress(ValueError):
            before[number] = signal.getsignal(number)
            signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            with contextlib.suppress(ValueError):
                signal.signal(number, handler)  # type: ignore[arg-type]
