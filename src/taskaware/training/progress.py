"""What happened since the last line of the log: losses, speed, padding."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskaware.training.checkpoint import TrainState
    from taskaware.training.joint import TaskLoss
    from taskaware.types import Batch


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """One line of the log, over the updates since the line before.

    Attributes:
        update: Updates done.
        losses: Mean label-smoothed cross-entropy by task (nats a piece).
        ctc_losses: Mean CTC loss of the tasks of recognition (nats a piece), where it counts.
        learning_rate: Of the last update.
        gradient_norm: Of the last update, before clipping.
        examples_per_second: All processes together.
        pieces_per_second: Target pieces, all processes together.
        seconds: Spent training so far.
        epochs: How often each task's examples were seen.
        padding: Share of positions that are padding, by task: of frames where the source has them,
            else of pieces of source and target.
        waiting: Share of the time in which training waited for batches.
        speech_hours_per_second: Hours of speech a second, all processes together; features that are
            no speech count as if they were.
        memory_mib: What the first process holds now, or of its CUDA device (``held_mib``);
            ``None`` where the system does not tell.
    """

    update: int
    losses: dict[str, float]
    ctc_losses: dict[str, float]
    learning_rate: float
    gradient_norm: float
    examples_per_second: float
    pieces_per_second: float
    seconds: float
    epochs: dict[str, float]
    padding: dict[str, float]
    waiting: float
    speech_hours_per_second: float
    memory_mib: float | None


class Meter:
    """Sums what happened since the last line of the log."""

    def __init__(self, num_ranks: int, *, frames_per_second: float = 100.0) -> None:
        self._num_ranks = num_ranks
        self._frames_per_second = frames_per_second
        self._reset()

    def _reset(self) -> None:
        self._losses: dict[str, list[torch.Tensor]] = {}
        self._ctc_losses: dict[str, list[torch.Tensor]] = {}
        self._examples = 0
        self._pieces = 0
        self._frames = 0
        self._positions: dict[str, list[int]] = {}  # by task: valid ones, all
        self._waited = 0.0
        self._began = time.perf_counter()

    def add(self, batch: Batch, loss: TaskLoss) -> None:
        """Count a batch and the losses of each of its tasks."""
        for sums, losses in ((self._losses, loss.by_task), (self._ctc_losses, loss.ctc)):
            for name, value in losses.items():
                sums.setdefault(name, []).append(value)
        self.count(batch, loss.num_pieces)

    def count(self, batch: Batch, num_pieces: int) -> None:
        """Count a batch without a loss to show."""
        self._examples += batch.num_examples
        self._pieces += num_pieces
        for task, rows in batch.parts:
            own = slice(rows.start, rows.stop)
            valid = int(batch.source_lengths[own].sum())
            total = len(rows) * batch.source.shape[1]
            if task.modality.is_text:
                valid += int(batch.target_lengths[own].sum())
                total += batch.target_input[own].numel()
            else:
                self._frames += valid
            positions = self._positions.setdefault(task.name, [0, 0])
            positions[0] += valid
            positions[1] += total

    def newest(self) -> str:
        """Return the newest loss of each task in words, for messages."""
        losses = ", ".join(f"{name} {float(found[-1]):.4g}" for name, found in self._losses.items())
        return f"loss {losses}" if losses else "no loss yet"

    def wait(self, seconds: float) -> None:
        """Count time in which there was no batch."""
        self._waited += seconds

    def read(
        self,
        state: TrainState,
        *,
        rate: float,
        norm: float,
        epochs: Mapping[str, float],
        memory_mib: float,
    ) -> TrainingProgress:
        """Return the line of the log, and start again from zero."""
        seconds = time.perf_counter() - self._began
        progress = TrainingProgress(
            update=state.update,
            losses=_means(self._losses),
            ctc_losses=_means(self._ctc_losses),
            learning_rate=rate,
            gradient_norm=norm,
            examples_per_second=self._num_ranks * self._examples / seconds,
            pieces_per_second=self._num_ranks * self._pieces / seconds,
            seconds=state.seconds,
            epochs=dict(epochs),
            padding={name: 1 - valid / total for name, (valid, total) in self._positions.items()},
            waiting=self._waited / seconds,
            speech_hours_per_second=self._num_ranks
            * self._frames
            / (self._frames_per_second * 3600 * seconds),
            memory_mib=None if math.isnan(memory_mib) else memory_mib,
        )
        self._reset()
        return progress


def _means(losses: Mapping[str, list[torch.Tensor]]) -> dict[str, float]:
    return {name: float(torch.stack(found).mean()) for name, found in losses.items()}
