"""Experience replay: batches of old tasks, from a small memory, mixed into fine-tuning.

Chaudhry et al. 2019, "On tiny episodic memories in continual learning".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskaware.training.joint import LossArguments, batch_loss, choose_support

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch

    from taskaware.data.batches.stream import TrainingBatches
    from taskaware.model.conditioning_settings import ConditioningSettings
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.training.settings import ObjectiveSettings
    from taskaware.types import Batch, Task


class Replay:
    """Every update also learns from the next batch of the memory.

    Args:
        model: The network that is fine-tuned.
        tasks: All of its tasks.
        memory: Endless batches of the old tasks' remembered examples, one task at a time.
        weight: Weight of their loss.
        objective: What is minimised.
        conditioning: Whose task embedding each example gets.
    """

    def __init__(
        self,
        model: TaskAwareTransformer,
        tasks: Sequence[Task],
        memory: TrainingBatches,
        *,
        weight: float,
        objective: ObjectiveSettings,
        conditioning: ConditioningSettings,
    ) -> None:
        self._model = model
        self._task_index = {task.name: index for index, task in enumerate(tasks)}
        self._memory = memory
        self._weight = weight
        self._objective = objective
        self._conditioning = conditioning

    def add_gradient(
        self, batches: Sequence[Batch], generator: torch.Generator, *, share: float
    ) -> None:
        """Add the gradient of the loss on a batch of an old task."""
        for batch in self._remembered(batches[0].source.device):
            loss = batch_loss(
                self._model,
                batch,
                choose_support(batch, self._conditioning, generator),
                LossArguments(
                    task_index=self._task_index[batch.task.name],
                    gradient_reaches_shared_layers=self._conditioning.gradient_reaches_shared_layers,
                    objective=self._objective,
                ),
            )
            (share * self._weight * loss.total).backward()

    def state_dict(self) -> dict[str, Any]:
        """Return where the memory stands."""
        return self._memory.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from where another memory stood."""
        self._memory.load_state_dict(state)

    def _remembered(self, device: torch.device) -> Iterator[Batch]:
        for batch in next(self._memory):
            yield batch.to(device)
