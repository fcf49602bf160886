"""How many parameters each part of a model and a task has; which are its speech encoder's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.model.adapters import set_of
from taskaware.model.task_network import EXPLICIT_ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Task


def parameters_by_part(model: TaskAwareTransformer) -> dict[str, int]:
    """Return the number of parameters of each part of a model, in the order of the data's way."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        words = name.split(".")
        part = ".".join(words[:2]) if words[0] == "frontends" else words[0].removesuffix("_norm")
        part = part if set_of(name) is None else "adapters"
        counts[part.replace("_", " ")] = counts.get(part.replace("_", " "), 0) + parameter.numel()
    return counts


def adapter_parameters(model: TaskAwareTransformer, tasks: Sequence[Task]) -> dict[str, int]:
    """Return the number of parameters of each task's set of adapter weights, where it has one."""
    counts = dict.fromkeys(model.adapters.tasks, 0)
    for name, parameter in model.named_parameters():
        if (index := set_of(name)) is not None:
            counts[tasks[index].name] += parameter.numel()
    return counts


def parameters_of_one_task(model: TaskAwareTransformer, tasks: Sequence[Task]) -> int:
    """Return how many parameters belong to one task alone; where tasks differ, the most.

    They are its row of an explicit task network and its set of adapter weights. A task that is told
    by a piece of the vocabulary, or by pairs, has none: what reads these is shared.
    """
    rows = dict(model.named_parameters()).get(EXPLICIT_ROWS)
    of_row = rows.shape[1] if rows is not None else 0
    return of_row + max(adapter_parameters(model, tasks).values(), default=0)


def speech_encoder_tensors(model: TaskAwareTransformer) -> dict[str, Tensor]:
    """Return all weights that the encoder's output for a recording depends on, by their names."""
    parts = ("frontends.speech.", "source_positions.", "encoder.", "encoder_norm.", "source_film.")
    return {name: value for name, value in model.state_dict().items() if name.startswith(parts)}
