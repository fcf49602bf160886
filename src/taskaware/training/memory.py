"""The memory of training: whether the largest batch fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from taskaware.errors import TrainingError, counted
from taskaware.training.progress import Meter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.training.step import Step
    from taskaware.types import Batch

# What torch says on a CPU, where it has no exception of its own for this.
_CPU_MESSAGES = ("not enough memory", "can't allocate memory")


def try_largest(step: Step, update: Sequence[Batch], *, device: torch.device) -> None:
    """Compute the gradient of the largest batches once, and forget it.

    Nothing that training depends on is changed: neither weights nor random numbers.

    Args:
        step: What an update does.
        update: The largest batch of each task (for meta-learning, twice).
        device: Where the model is.

    Raises:
        TrainingError: It does not fit; names the largest batch and the settings that make it.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            step.add_gradient(
                [batch.to(device) for batch in update], torch.Generator(), Meter(num_ranks=1)
            )
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            raise TrainingError(_message(update, device)) from error
        finally:
            step.forget_gradient()


def _is_out_of_memory(error: RuntimeError) -> bool:
    is_named = isinstance(error, torch.OutOfMemoryError)
    return is_named or any(words in str(error) for words in _CPU_MESSAGES)


def _message(update: Sequence[Batch], device: torch.device) -> str:
    largest = max(update, key=lambda batch: batch.source.numel() + batch.target_input.numel())
    num_examples, num_source = largest.source.shape[:2]
    what = largest.task.modality.unit
    names = ", ".join(f"'{task.name}'" for task, _ in largest.parts)
    return (
        f"the largest batch must fit in the memory of {device}, but does not: "
        f"{counted(num_examples, 'example')} of {names} with up to {num_source:,} {what} and "
        f"{largest.target_input.shape[1]:,} target pieces; lower `batching.max_frames` and "
        "`batching.max_tokens` (dynamic) or `batching.examples_per_batch` (static), or "
        "`batching.max_source`, and keep the size of an update with `training.accumulate`"
    )
