"""One task's adapters merged into the weights: a model of that task alone, without adapters.

The other tasks have other weights, or the base's, and are left out: so is a front end that only
they need. A task embedding beside the adapters stays; ``fold`` folds it afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from taskaware.errors import CheckpointError, UserError
from taskaware.model.adapter_settings import AdapterSettings
from taskaware.model.create_model import create_model
from taskaware.model.merged_adapters import can_merge, merged_weights
from taskaware.model.task_network import EXPLICIT_ROWS
from taskaware.model.undrawn import undrawn

if TYPE_CHECKING:
    from taskaware.inference.model import TaskAwareModel
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Task


def has_unmergeable_adapters(model: TaskAwareModel, task_name: str) -> bool:
    """Return whether a task has adapters that no weight can take up."""
    has_own = task_name in model.transformer.adapters.tasks
    return has_own and not can_merge(model.settings.adapters.method)


def merge_adapters(model: TaskAwareModel, task_name: str) -> TaskAwareModel:
    """Return a model of one task that gives the same logits, but for rounding, without adapters.

    Args:
        model: Any, in evaluation mode; it stays as it is. One without adapters is returned itself.
        task_name: The task. One without adapters of its own gets the plain base, as in use.

    Raises:
        UnknownTaskError: The model has no such task.
        UserError: The task's adapters are bottlenecks.
        CheckpointError: A weight became too large for its type: the training went wrong.
    """
    task = model.task(task_name)
    if not model.transformer.adapters.tasks:
        return model
    if has_unmergeable_adapters(model, task_name):
        raise UserError(_reason(model, task_name))
    settings = replace(model.settings, adapters=AdapterSettings())
    index = model.tasks.index(task)
    tensors = merged_weights(model.transformer.state_dict(), model.settings.adapters, index)
    kept = f"frontends.{task.source_modality}."
    tensors = {
        name: value
        for name, value in tensors.items()
        if not name.startswith("frontends.") or name.startswith(kept)
    }
    if EXPLICIT_ROWS in tensors:
        tensors[EXPLICIT_ROWS] = tensors[EXPLICIT_ROWS][index : index + 1]
    with undrawn():
        transformer = create_model(settings, vocabulary_size=model.vocabulary.size, tasks=(task,))
    like = next(model.transformer.parameters())
    transformer.to(like.device, like.dtype).load_state_dict(tensors)
    _require_finite(transformer, task)
    return replace(
        of_one_task(model, task),
        transformer=transformer.eval(),
        settings=settings,
        provenance={**model.provenance, "merged_adapters": model.settings.adapters.method},
    )


def _require_finite(transformer: TaskAwareTransformer, task: Task) -> None:
    for name, value in transformer.state_dict().items():
        if not bool(value.isfinite().all()):
            raise CheckpointError(
                f"the adapters of '{task.name}' must give finite weights where they are merged, "
                f"but {name} has others: they are damaged, or their training went wrong"
            )


def of_one_task(model: TaskAwareModel, task: Task) -> TaskAwareModel:
    """Return a model that names one task alone, with the same weights."""
    return replace(
        model,
        tasks=(task,),
        task_embeddings={
            name: value for name, value in model.task_embeddings.items() if name == task.name
        },
        longest_sources={
            name: value for name, value in model.longest_sources.items() if name == task.name
        },
    )


def adapter_remarks(model: TaskAwareModel, task_name: str) -> tuple[str, ...]:
    """Return what becomes of a model's adapters where a task is exported, in words."""
    tasks, method = model.transformer.adapters.tasks, model.settings.adapters.method
    if not tasks:
        return ()
    if task_name not in tasks:
        return (f"not merged: {task_name} has no adapters, so these are the weights of the base",)
    if not can_merge(method):
        return (f"kept as layers: the adapters of {task_name} ({method})",)
    return (f"merged: the adapters of {task_name} ({method})",)


def _reason(model: TaskAwareModel, task_name: str) -> str:
    """Return why a task's adapters cannot be merged, and what can be had instead."""
    adapted = model.transformer.adapters.tasks
    others = [task.name for task in model.tasks if task.name not in adapted]
    also = f"; {', '.join(others)} can be exported, without adapters" if others else ""
    return (
        "a task must have adapters that the weights of its base can take up (lora, ia3, "
        f"layer_norms) for a model without adapters, but those of '{task_name}' are bottlenecks, "
        f"which have a ReLU between their layers: `--as onnx --task {task_name}` keeps them as "
        f"layers, and `taskaware predict` and `taskaware serve` use the model as it is{also}"
    )
