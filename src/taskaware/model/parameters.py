"""How many parameters each part of a model has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.model.adapters import set_of

if TYPE_CHECKING:
    from taskaware.model.transformer import TaskAwareTransformer


def parameters_by_part(model: TaskAwareTransformer) -> dict[str, int]:
    """Return the number of parameters of each part of a model, in the order of the data's way."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        words = name.split(".")
        part = ".".join(words[:2]) if words[0] == "frontends" else words[0].removesuffix("_norm")
        part = part if set_of(name) is None else "adapters"
        counts[part.replace("_", " ")] = counts.get(part.replace("_", " "), 0) + parameter.numel()
    return counts


def adapter_parameters(model: TaskAwareTransformer) -> dict[str, int]:
    """Return the number of parameters of each task's set of adapter weights."""
    counts = dict.fromkeys(model.adapters.tasks, 0)
    for name, parameter in model.named_parameters():
        if (task := set_of(name)) is not None:
            counts[task] += parameter.numel()
    return counts
