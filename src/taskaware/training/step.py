"""One update of the weights: joint learning or meta-learning, and what keeps old tasks."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from taskaware.errors import NotFiniteError, counted
from taskaware.training.joint import LossArguments, Support, choose_support, task_indices
from taskaware.training.meta import BatchLoss, EpisodeLoss
from taskaware.training.optimiser import RATE_SHARE, learning_rate
from taskaware.training.shared_loss import SharedLoss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.model.conditioning_settings import ConditioningSettings
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.training.checkpoint import TrainState
    from taskaware.training.processes import Processes
    from taskaware.training.progress import Meter
    from taskaware.training.retention.interface import Retention
    from taskaware.training.settings import (
        LearningSettings,
        ObjectiveSettings,
        OptimiserSettings,
        TrainingSettings,
    )
    from taskaware.training.shards import Shards
    from taskaware.types import Batch, Task


_NAMED_EXAMPLES = 5  # of a batch, where an update is not finite
_NAMED_BATCHES = 8


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings that an update follows.

    Attributes:
        training: Its course.
        optimiser: Its optimiser.
        objective: What is minimised.
        learning: Joint or meta.
        conditioning: Whose task embedding each example gets.
    """

    training: TrainingSettings
    optimiser: OptimiserSettings
    objective: ObjectiveSettings
    learning: LearningSettings
    conditioning: ConditioningSettings


def create_step(
    model: TaskAwareTransformer,
    tasks: Sequence[Task],
    recipe: Recipe,
    processes: Processes,
    shards: Shards | None = None,
) -> Step:
    """Return what changes the weights once, by the recipe's strategy.

    Args:
        model: The network.
        tasks: All its tasks.
        recipe: What an update follows.
        processes: Those that train together.
        shards: What splits the model over them, if anything; in joint learning alone.
    """
    match recipe.learning.strategy:
        case "joint":
            return Step(model, tasks, recipe, processes, shards)
        case "meta":
            return MetaStep(model, tasks, recipe, processes)


def bfloat16_pays(device: torch.device) -> bool:
    """Return whether the device multiplies matrices faster in bfloat16 than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # torch has no public name for these two questions.
    questions = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in questions)


def autocast(
    device: torch.device, precision: str, *, keeps_casts: bool = True
) -> torch.autocast | contextlib.nullcontext[None]:
    """Return the context in which the model computes: bfloat16 autocast, or nothing.

    Args:
        device: Where.
        precision: ``TrainingSettings.precision``.
        keeps_casts: Whether weights are cast once, and not each time that they are used.
    """
    wanted = precision == "bfloat16" or (precision == "auto" and bfloat16_pays(device))
    if not wanted:
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=keeps_casts)


class Step:
    """One update of joint learning: the losses of all batches, summed."""

    def __init__(
        self,
        model: TaskAwareTransformer,
        tasks: Sequence[Task],
        recipe: Recipe,
        processes: Processes,
        shards: Shards | None = None,
    ) -> None:
        self._model = model
        self._task_index = {task.name: index for index, task in enumerate(tasks)}
        self._recipe = recipe
        self._processes = processes
        self._shards = shards
        loss = self._create_loss() if shards is None else shards.loss
        self._loss = SharedLoss(loss, model, processes, is_split=shards is not None)

    def __call__(
        self,
        state: TrainState,
        groups: Sequence[Sequence[Batch]],
        meter: Meter,
        retention: Retention | None = None,
    ) -> tuple[float, float]:
        """Change the weights once; return the learning rate and the gradient's norm.

        Raises:
            NotFiniteError: The gradient is not finite; the weights are not changed.
        """
        rate = learning_rate(
            self._recipe.optimiser,
            state.update + 1,
            d_model=self._model.d_model,
            num_updates=self._recipe.training.updates,
        )
        for group in state.optimiser.param_groups:
            group["lr"] = rate * group[RATE_SHARE]
        self._model.train()
        state.optimiser.zero_grad(set_to_none=True)
        if retention is None:
            self._loss.connect()
        for number, group in enumerate(groups, start=1):
            group_on_device = [batch.to(self._processes.device) for batch in group]
            self._add_gradient(
                group_on_device,
                state.generator,
                meter,
                num_groups=len(groups),
                is_last=number == len(groups),
            )
            if retention is not None:
                with self._autocast():
                    retention.add_gradient(group_on_device, state.generator, share=1 / len(groups))
        if retention is not None:  # it comes after the loss, which could not wait for it
            self._processes.average_gradients(self._model)
        norm = self._clip()
        if not math.isfinite(norm):  # the weights are still as they were
            raise NotFiniteError(
                f"the gradient must be finite, but its norm is {norm} in update "
                f"{state.update + 1} at learning rate {rate:.2e} ({meter.newest()})"
                f"{_examples_of(groups)}"
            )
        state.optimiser.step()
        return rate, norm

    def add_gradient(
        self, group: Sequence[Batch], generator: torch.Generator, meter: Meter
    ) -> None:
        """Add the gradient of a group of batches to the model's, as an update does."""
        self._model.train()
        self._add_gradient(group, generator, meter, num_groups=1, is_last=False)

    def forget_gradient(self) -> None:
        """Leave the model without a gradient."""
        self._model.zero_grad(set_to_none=True)

    def _add_gradient(
        self,
        group: Sequence[Batch],
        generator: torch.Generator,
        meter: Meter,
        *,
        num_groups: int,
        is_last: bool,
    ) -> None:
        # Autocast keeps the casts of weights until it is left: one cast serves all batches. What
        # goes back runs without it, in the types that the way forward had.
        kind = self._processes.device.type
        with self._autocast():
            for batch in group:
                support = self._support(batch, generator)
                with self._loss.passing(is_last=is_last and batch is group[-1]):
                    loss = self._loss(batch, support, self._arguments(support))
                    with torch.autocast(kind, enabled=False):
                        (loss.total / num_groups).backward()
                meter.add(batch, loss)

    def _create_loss(self) -> nn.Module:
        """Return what one pass of an update minimises, a module that returns a ``TaskLoss``."""
        return BatchLoss(self._model)

    def _support(self, batch: Batch, generator: torch.Generator) -> Support:
        return choose_support(batch, self._recipe.conditioning, generator)

    def _arguments(self, support: Support) -> LossArguments:
        reaches = self._recipe.conditioning.gradient_reaches_shared_layers
        return LossArguments(
            task_index=task_indices(support.examples, self._task_index),
            gradient_reaches_shared_layers=reaches,
            objective=self._recipe.objective,
        )

    def _autocast(self) -> torch.autocast | contextlib.nullcontext[None]:
        precision = self._recipe.training.precision
        # Of weights that are split, kept casts would be the whole model again.
        return autocast(self._processes.device, precision, keeps_casts=self._shards is None)

    def _clip(self) -> float:
        limit = self._recipe.optimiser.max_gradient_norm
        parameters = [p for p in self._model.parameters() if p.grad is not None]
        with self._processes.exchange():  # of a model that is split, the processes add theirs up
            if limit:
                norm = nn.utils.clip_grad_norm_(parameters, limit)
            else:
                norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        return float(norm if self._shards is None else self._shards.whole_of(norm))


class MetaStep(Step):
    """One update of meta-learning: the query losses of all tasks at their adapted weights, summed.

    A group holds two batches of each task, one after the other: support and query.
    """

    def _create_loss(self) -> nn.Module:
        return EpisodeLoss(BatchLoss(self._model), self._recipe.learning)

    def _add_gradient(
        self,
        group: Sequence[Batch],
        generator: torch.Generator,
        meter: Meter,
        *,
        num_groups: int,
        is_last: bool,
    ) -> None:
        for support, query in zip(group[::2], group[1::2], strict=True):
            with self._loss.passing(is_last=is_last and query is group[-1]):
                # The set is chosen out here, because inside other weights stand for the model's.
                with self._autocast(), self._model.adapters.use(query.task.name):
                    looks_at = self._support(query, generator)
                    loss = self._loss(
                        (support, self._support(support, generator)),
                        (query, looks_at),
                        self._arguments(looks_at),
                    )
                (loss.total / num_groups).backward()
            meter.count(support, int(support.target_lengths.sum()))
            meter.add(query, loss)


def _examples_of(groups: Sequence[Sequence[Batch]]) -> str:
    """Name the first examples of an update's batches, so that a user can look at them."""
    batches = [batch for group in groups for batch in group if batch.example_ids]
    named = [
        ", ".join(batch.example_ids[:_NAMED_EXAMPLES])
        + (f" and {more:,} more" if (more := len(batch.example_ids) - _NAMED_EXAMPLES) > 0 else "")
        for batch in batches[:_NAMED_BATCHES]
    ]
    if not named:
        return ""
    others = len(batches) - len(named)
    last = f"; and those of {counted(others, 'more batch', 'more batches')}" if others > 0 else ""
    return f"; its examples: {'; '.join(named)}{last}"
