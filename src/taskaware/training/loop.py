"""The training loop: update, log line, validation, checkpoint, until done or interrupted."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

from taskaware.errors import TrainingError
from taskaware.training.checkpoint import TrainState, save_state
from taskaware.training.joint import batch_loss, derangement
from taskaware.training.optimiser import OptimiserSettings, learning_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

    from taskaware.data.batching import TrainingBatches
    from taskaware.model.settings import ConditioningSettings
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.training.processes import Processes
    from taskaware.training.settings import ObjectiveSettings, TrainingSettings
    from taskaware.types import Batch, Task


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One line of the log, over the updates since the line before.

    Attributes:
        update: Updates done.
        losses: Mean label-smoothed cross-entropy by task (nats a piece).
        learning_rate: Of the last update.
        gradient_norm: Of the last update, before clipping.
        examples_per_second: All processes together.
        pieces_per_second: Target pieces, all processes together.
        seconds: Spent training so far.
        epochs: How often each task's examples were seen.
        padding: Share of source positions that are padding.
    """

    update: int
    losses: dict[str, float]
    learning_rate: float
    gradient_norm: float
    examples_per_second: float
    pieces_per_second: float
    seconds: float
    epochs: dict[str, float]
    padding: float


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What a validation found: by task, lower is better, comparable between updates.

    Attributes:
        values: Value by task (mean cross-entropy, or 1 minus the normalised score).
        scores: Metric values by task for the log, empty where none were computed.
    """

    values: dict[str, float]
    scores: dict[str, float] = field(default_factory=dict)


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
    settings: TrainingSettings,
    optimiser_settings: OptimiserSettings,
    objective: ObjectiveSettings,
    conditioning: ConditioningSettings,
    processes: Processes,
    checkpoint_folder: Path,
    watchers: Watchers,
) -> bool:
    """Train until all updates are done or the process is told to stop; return whether all are done.

    On SIGINT or SIGTERM the update under way is finished and a checkpoint written; on a second
    signal the process ends at once.

    Raises:
        TrainingError: The loss is not finite.
    """
    step = _Step(model, tasks, settings, optimiser_settings, objective, conditioning, processes)
    meter = _Meter(processes.num_ranks)
    with stop_signals() as stop:
        while state.update < settings.updates:
            began = time.perf_counter()
            groups = [next(batches) for _ in range(settings.accumulate)]
            rate, norm = step(state, groups, meter)
            state.update += 1
            state.batches = batches.state_dict()
            state.seconds += time.perf_counter() - began
            stopping = processes.any(stop.asked)
            done = state.update == settings.updates
            if processes.is_first:
                watchers.on_update(state.update)
            if state.update % settings.log_every == 0 or done:
                epochs = {task.name: batches.epoch(task.name) for task in tasks}
                progress = meter.read(state, rate=rate, norm=norm, epochs=epochs)
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


def bfloat16_pays(device: torch.device) -> bool:
    """Return whether the device multiplies matrices faster in bfloat16 than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # torch has no public name for these two questions.
    questions = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in questions)


def autocast(device: torch.device, precision: str) -> torch.autocast | contextlib.nullcontext[None]:
    """Return the context in which the model computes: bfloat16 autocast, or nothing."""
    wanted = precision == "bfloat16" or (precision == "auto" and bfloat16_pays(device))
    return torch.autocast(device.type, torch.bfloat16) if wanted else contextlib.nullcontext()


class _Step:
    """One update of joint learning."""

    def __init__(
        self,
        model: TaskAwareTransformer,
        tasks: Sequence[Task],
        settings: TrainingSettings,
        optimiser_settings: OptimiserSettings,
        objective: ObjectiveSettings,
        conditioning: ConditioningSettings,
        processes: Processes,
    ) -> None:
        self._model = model
        self._task_index = {task.name: index for index, task in enumerate(tasks)}
        self._settings = settings
        self._optimiser_settings = optimiser_settings
        self._objective = objective
        self._conditioning = conditioning
        self._processes = processes

    def __call__(
        self, state: TrainState, groups: Sequence[Sequence[Batch]], meter: _Meter
    ) -> tuple[float, float]:
        """Change the weights once; return the learning rate and the gradient's norm."""
        rate = learning_rate(
            self._optimiser_settings,
            state.update + 1,
            d_model=self._model.d_model,
            num_updates=self._settings.updates,
        )
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        self._model.train()
        state.optimiser.zero_grad(set_to_none=True)
        for batch in (batch for group in groups for batch in group):
            self._add_gradient(batch, state.generator, num_groups=len(groups), meter=meter)
        self._processes.average_gradients(self._model)
        norm = self._clip()
        state.optimiser.step()
        return rate, norm

    def _add_gradient(
        self, batch: Batch, generator: torch.Generator, *, num_groups: int, meter: _Meter
    ) -> None:
        permutation = None
        if self._conditioning.has_task_network and self._conditioning.derange_support:
            permutation = derangement(batch.num_examples, generator)
        device = self._processes.device
        with autocast(device, self._settings.precision):
            loss = batch_loss(
                self._model,
                batch.to(device),
                task_index=self._task_index[batch.task.name],
                permutation=permutation,
                gradient_reaches_shared_layers=self._conditioning.gradient_reaches_shared_layers,
                objective=self._objective,
            )
        (loss.total / num_groups).backward()
        meter.add(batch, loss.cross_entropy, loss.num_pieces)

    def _clip(self) -> float:
        limit = self._optimiser_settings.max_gradient_norm
        parameters = [p for p in self._model.parameters() if p.grad is not None]
        if limit:
            return float(nn.utils.clip_grad_norm_(parameters, limit))
        return float(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))


class _Meter:
    """Sums what happened since the last line of the log."""

    def __init__(self, num_ranks: int) -> None:
        self._num_ranks = num_ranks
        self._reset()

    def _reset(self) -> None:
        self._losses: dict[str, list[torch.Tensor]] = {}
        self._examples = 0
        self._pieces = 0
        self._valid = 0
        self._padded = 0
        self._began = time.perf_counter()

    def add(self, batch: Batch, loss: torch.Tensor, num_pieces: int) -> None:
        self._losses.setdefault(batch.task.name, []).append(loss)
        self._examples += batch.num_examples
        self._pieces += num_pieces
        self._valid += int(batch.source_lengths.sum())
        self._padded += batch.source.shape[0] * batch.source.shape[1]

    def read(
        self, state: TrainState, *, rate: float, norm: float, epochs: Mapping[str, float]
    ) -> Progress:
        seconds = time.perf_counter() - self._began
        progress = Progress(
            update=state.update,
            losses={name: float(torch.stack(v).mean()) for name, v in self._losses.items()},
            learning_rate=rate,
            gradient_norm=norm,
            examples_per_second=self._num_ranks * self._examples / seconds,
            pieces_per_second=self._num_ranks * self._pieces / seconds,
            seconds=state.seconds,
            epochs=dict(epochs),
            padding=1 - self._valid / max(self._padded, 1),
        )
        self._reset()
        return progress


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
