"""taskaware: one Transformer for many source -> text tasks, told by FiLM which one is meant.

::

    import taskaware

    model = taskaware.load("runs/demo/implicit/model")
    model.transcribe("recording.wav")
    model.translate("recording.wav", to="de")
    model.translate("Good morning.", to="de")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskaware.errors import TaskawareError
    from taskaware.inference.model import TaskAwareModel, load
    from taskaware.model.conditioning_settings import ConditioningSettings
    from taskaware.model.create_model import create_model
    from taskaware.model.modulate import TaskAware, modulate
    from taskaware.model.settings import ModelSettings
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.run.experiment import Experiment
    from taskaware.types import Batch, Example, Hypothesis, Speech, Task, Text

from taskaware.version import __version__

__all__ = [
    "Batch",
    "ConditioningSettings",
    "Example",
    "Experiment",
    "Hypothesis",
    "ModelSettings",
    "Speech",
    "Task",
    "TaskAware",
    "TaskAwareModel",
    "TaskAwareTransformer",
    "TaskawareError",
    "Text",
    "__version__",
    "create_model",
    "load",
    "modulate",
]

# The command line shows its help without importing torch, so names load when they are first used.
_HOME = {
    "Batch": "types",
    "ConditioningSettings": "model.settings",
    "Example": "types",
    "Experiment": "run.experiment",
    "Hypothesis": "types",
    "ModelSettings": "model.settings",
    "Speech": "types",
    "Task": "types",
    "TaskAware": "model.modulate",
    "TaskAwareModel": "inference.model",
    "TaskAwareTransformer": "model.transformer",
    "TaskawareError": "errors",
    "Text": "types",
    "create_model": "model.create_model",
    "load": "inference.model",
    "modulate": "model.modulate",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'taskaware' has no attribute '{name}'")
    return getattr(import_module(f"taskaware.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
