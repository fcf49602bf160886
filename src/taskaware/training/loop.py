"""The training loop: update, log line, validation, checkpoint, until done or interrupted."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taskaware.errors import NotFiniteError
from taskaware.held_memory import held_mib
from taskaware.signals import leave_closed_terminal, terminations
from taskaware.training.checkpoint import TrainState, checkpoints, require_finite, save_state
from taskaware.training.ending import Ending
from taskaware.training.memory import try_largest
from taskaware.training.progress import Meter, TrainingProgress
from taskaware.training.step import Recipe, create_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

    from torch import nn

    from taskaware.data.batches.stream import TrainingBatches
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.training.best import BestWeights
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
        ctc_losses: Mean CTC loss of the tasks of recognition, where it counts in training.
        remarks: What the person who waits must know of it, a sentence each.
    """

    values: dict[str, float]
    scores: dict[str, float] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    ctc_losses: dict[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Watchers:
    """What the loop calls while it runs, in the first process alone.

    Attributes:
        on_update: After every update, with the number of updates done.
        on_progress: With every line of the log.
        validate: Validates the model as it is.
        on_validation: With every validation.
    """

    on_update: Callable[[int], None]
    on_progress: Callable[[TrainingProgress], None]
    validate: Callable[[], Validation]
    on_validation: Callable[[int, Validation], None]


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
    best_weights: BestWeights,
    watchers: Watchers,
    frames_per_second: float = 100.0,
) -> Ending:
    """Train to the end, or until the process is told to stop; return how it ended.

    The end is the last update, or earlier where validations bring nothing more (``patience``).
    On SIGINT, SIGTERM or SIGHUP the update under way is finished and a checkpoint written; on a
    second signal the process ends at once.

    Args:
        state: Where training stands; changed in place.
        model: The network that is validated: the state's, or its whole copy where that is split.
        batches: Endless updates.
        tasks: All tasks of the model; the batches may be of some of them.
        recipe: How to learn.
        retention: What keeps the tasks that are not trained; ``None``: nothing.
        processes: Which of the processes that train together this is.
        checkpoint_folder: Where checkpoints go.
        best_weights: Where the weights of the best validations go.
        watchers: What is called meanwhile.
        frames_per_second: Of the speech features, for the log.

    Raises:
        NotFiniteError: A loss, a gradient, a weight or a moment is not finite; nothing of it is
            saved.
        TrainingError: The largest batch does not fit in memory.
        WriteError: The disk is full, for example; the checkpoints before are as they were.
    """
    settings = recipe.training
    step = create_step(state.model, tasks, recipe, processes, state.shards)
    meter = Meter(processes.num_ranks, frames_per_second=frames_per_second)

    def update() -> tuple[float, float]:
        began = time.perf_counter()
        groups = [next(batches) for _ in range(settings.accumulate)]
        meter.wait(time.perf_counter() - began)
        rate, norm = step(state, groups, meter, retention)
        state.update += 1
        state.batches = batches.state_dict()
        if retention is not None:
            state.retention = retention.state_dict()
        state.seconds += time.perf_counter() - began
        return rate, norm

    def report(rate: float, norm: float) -> None:
        progress = meter.read(
            state,
            rate=rate,
            norm=norm,
            epochs=batches.epochs(),
            memory_mib=held_mib(processes.device),
        )
        _check_finite(progress)
        if processes.is_first:
            watchers.on_progress(progress)

    with stop_signals() as stop:
        done = has_ended(state, settings)
        if _tries_largest(settings, processes) and not done:
            try_largest(step, batches.largest(), device=processes.device)
        while not done:
            rate, norm = update()
            stopping = processes.any(stop.asked)
            done = state.update >= settings.updates
            if processes.is_first:
                watchers.on_update(state.update)
            is_logged = done or _is_due(state.update, settings.log_every)
            if is_logged:
                report(rate, norm)
            if done or _is_due(state.update, settings.validation_interval):
                with processes.together():
                    require_finite(state)
                with state.validating(), processes.together():
                    if processes.is_first:
                        _validate(state, model, settings, best_weights, watchers)
                done = processes.any(processes.is_first and has_ended(state, settings))
                if done and not is_logged:
                    report(rate, norm)
            if done or stopping or _is_due(state.update, settings.checkpoint_interval):
                _save(state, settings, processes, checkpoint_folder, best_weights)
            if stopping and not done:
                return Ending.by_signal(stop.number)
    return Ending.DONE


def has_ended(state: TrainState, settings: TrainingSettings) -> bool:
    """Whether there is nothing more to train: all updates are done, or patience is at its end."""
    is_out_of_patience = 0 < settings.patience <= state.stale
    return state.update >= settings.updates or is_out_of_patience


def _save(
    state: TrainState,
    settings: TrainingSettings,
    processes: Processes,
    folder: Path,
    best_weights: BestWeights,
) -> None:
    is_best = any(found["update"] == state.update for found in state.best.values())
    save_state(
        state,
        folder,
        processes=processes,
        keep=settings.keep,
        every=settings.checkpoint_interval,
        weights_file=best_weights.path(state.update) if is_best else None,
    )
    if processes.is_first:
        best_weights.prune(state.best, checkpoints(folder))


def _tries_largest(settings: TrainingSettings, processes: Processes) -> bool:
    is_auto = settings.try_largest == "auto"
    return processes.device.type == "cuda" if is_auto else settings.try_largest == "always"


def _validate(
    state: TrainState,
    model: nn.Module,
    settings: TrainingSettings,
    best_weights: BestWeights,
    watchers: Watchers,
) -> None:
    began = time.perf_counter()
    model.eval()
    validation = watchers.validate()
    model.train()
    watchers.on_validation(state.update, validation)
    _note_best(state, model, validation.values, settings, best_weights)
    state.seconds += time.perf_counter() - began


def _note_best(
    state: TrainState,
    model: nn.Module,
    values: Mapping[str, float],
    settings: TrainingSettings,
    best_weights: BestWeights,
) -> None:
    """Keep the weights where they are the best so far, for all tasks or for one."""
    if not values:
        return  # without dev examples nothing is better than anything
    candidates = {"all": sum(values.values()) / len(values)}
    if settings.taskwise:
        candidates |= values
    better = {
        name: value
        for name, value in candidates.items()
        if value < state.best.get(name, {"value": math.inf})["value"]
    }
    if better:
        best_weights.write(model, state.update)
    for name, value in better.items():
        state.best[name] = {"value": value, "update": state.update}
    state.stale = 0 if "all" in better else state.stale + 1


def _check_finite(progress: TrainingProgress) -> None:
    for name, loss in (*progress.losses.items(), *progress.ctc_losses.items()):
        if not math.isfinite(loss):
            raise NotFiniteError(
                f"the loss of task '{name}' must be finite, but is {loss} near update "
                f"{progress.update} at learning rate {progress.learning_rate:.2e}"
            )


def _is_due(update: int, every: int) -> bool:
    return every > 0 and update % every == 0


@dataclass
class Stop:
    """Whether the process was told to stop, and by which signal."""

    number: int | None = None

    @property
    def asked(self) -> bool:
        """Whether it was told."""
        return self.number is not None


@contextlib.contextmanager
def stop_signals() -> Iterator[Stop]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into a wish to stop; the second acts as always."""
    stop = Stop()
    before: dict[signal.Signals, object] = {}
    is_launched = "TORCHELASTIC_RUN_ID" in os.environ

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.number = stop.number or number  # the first one counts
        leave_closed_terminal()
        if is_launched:
            return  # torchrun passes every signal on a second time; SIGKILL is the way out
        signal.signal(number, before[signal.Signals(number)])  # type: ignore[arg-type]

    for number in (signal.SIGINT, *terminations()):
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
