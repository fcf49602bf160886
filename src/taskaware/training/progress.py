"""What happened since the last line of the log: losses, speed, padding."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskaware.training.checkpoint import TrainState
    from taskaware.types import Batch


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


class Meter:
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
        """Count a batch and its mean cross-entropy over ``num_pieces`` target pieces."""
        self._losses.setdefault(batch.task.name, []).append(loss)
        self.count(batch, num_pieces)

    def count(self, batch: Batch, num_pieces: int) -> None:
        """Count a batch without a loss to show."""
        self._examples += batch.num_examples
        self._pieces += num_pieces
        self._valid += int(batch.source_lengths.sum())
        self._padded += batch.source.shape[0] * batch.source.shape[1]

    def read(
        self, state: TrainState, *, rate: float, norm: float, epochs: Mapping[str, float]
    ) -> Progress:
        """Return the line of the log, and begin anew."""
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
