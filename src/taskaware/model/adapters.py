"""Adapters of the `peft` library, one set a task: what people use instead of a task embedding.

They are here as rows that task embeddings can be compared with. ``peft`` (an extra) puts them into
the linear layers or the norms; here is which ones, and which set is on.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

from torch import nn

from taskaware.errors import MissingDependencyError

if TYPE_CHECKING:
    from taskaware.model.settings import AdapterSettings

_PARTS = {"decoder": ("decoder",), "everything": ("encoder", "decoder")}
_BASE = "base_layer."  # what peft calls a layer that it has wrapped
_COPY = re.compile(r"\.ln_tuning_layers\.adapters_of_task_\d+\.")


def add_adapters(model: nn.Module, settings: AdapterSettings, *, num_tasks: int) -> None:
    """Put a set of adapters for each task into a model; untrained ones change nothing.

    Args:
        model: Its weights get other names: ``base_name`` gives those that they had.
        settings: Which adapters, and where.
        num_tasks: How many sets.

    Raises:
        MissingDependencyError: ``peft`` is not installed.
    """
    try:
        from peft import inject_adapter_in_model
    except ImportError as error:
        raise MissingDependencyError(
            f"adapters need the peft library, which is not installed ({error}): "
            "pip install 'taskaware[adapters]'"
        ) from error
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    config = _config(model, settings)
    with warnings.catch_warnings():
        for said in ("Already found a `peft_config`", "Unsupported layer type"):  # both on purpose
            warnings.filterwarnings("ignore", message=said)
        for index in range(num_tasks):
            inject_adapter_in_model(config, model, adapter_name=_name(index))
    for parameter in (*trained, *(p for n, p in model.named_parameters() if is_adapter(n))):
        parameter.requires_grad_(True)  # peft has left them to the newest set alone


def use_adapters(model: nn.Module, task_index: int) -> None:
    """Switch on the set of one task."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.set_adapter(_name(task_index), inference_mode=True)
    for parameter, flag in flags:  # who is trained is not decided here
        parameter.requires_grad_(flag)


def is_adapter(parameter_name: str, *, task_index: int | None = None) -> bool:
    """Return whether a parameter is one of an adapter, of any task or of one."""
    of_task = f".{_name('')}" if task_index is None else f".{_name(task_index)}."
    return of_task in f"{parameter_name}."


def base_name(parameter_name: str) -> str:
    """Return the name that a weight of the base has in a model without adapters."""
    return parameter_name.replace(_BASE, "")


def copied_name(parameter_name: str) -> str | None:
    """Return the name of the base's weight that an untrained adapter's is a copy of, if any."""
    copied = _COPY.sub(".", parameter_name)
    return None if copied == parameter_name else copied


def _name(task_index: int | str) -> str:
    return f"adapters_of_task_{task_index}"  # a task's own name may have a dot


def _config(model: nn.Module, settings: AdapterSettings) -> Any:
    import peft

    parts = _PARTS[settings.where]
    inside = [(name, m) for name, m in model.named_modules() if name.split(".")[0] in parts]
    linear = [name for name, module in inside if isinstance(module, nn.Linear)]
    match settings.method:
        case "lora":
            return peft.LoraConfig(
                r=settings.rank,
                lora_alpha=settings.rank * settings.scale,
                lora_dropout=settings.dropout,
                target_modules=linear,
            )
        case "ia3":
            # What Liu et al. (2022, section 3.3) scale: keys, values, the inner feed-forward. Here
            # queries, keys and values of self-attention are one product.
            ends = ("query_key_value", "key_value", "contract")
            return peft.IA3Config(
                target_modules=[name for name in linear if name.endswith(ends)],
                feedforward_modules=[name for name in linear if name.endswith("contract")],
            )
        case _:
            last = [f"{part}_norm" for part in parts]
            norms = [n for n, m in model.named_modules() if isinstance(m, nn.LayerNorm)]
            names = [n for n in norms if n.split(".")[0] in parts or n in last]
            return peft.LNTuningConfig(target_modules=names)
