"""A task's adapters merged into the weights of their base: what is left is a plain Transformer.

LoRA: ``W x + s B A x`` is ``(W + s B A) x`` (Hu et al. 2022, section 4.1). IA3: factors of what a
layer puts out scale the rows of its weight and its bias, factors of what enters it the columns (Liu
et al. 2022, section 3.3). A layer norm of the task's own takes the place of the base's. Bottlenecks
have a ReLU between their two layers, which no weight of the base can take up.

Shape legend: D inputs of a layer, N outputs, R rank.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from taskaware.model.adapters import BASE, FEED_FORWARD, key_of, set_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from taskaware.model.adapter_settings import AdapterMethod, AdapterSettings

# What stands behind the name of an adapted layer, in those of its sets.
_SETS = re.compile(r"\.(lora_[AB]|ia3_l|ln_tuning_layers)\.")


def can_merge(method: AdapterMethod) -> bool:
    """Return whether weights can take up adapters of a method."""
    return method != "bottleneck"


def merged_weights(
    tensors: Mapping[str, Tensor], settings: AdapterSettings, task_index: int
) -> dict[str, Tensor]:
    """Return the weights of a model without adapters that does a task as one with them does.

    Args:
        tensors: All weights of the model with adapters, by their names.
        settings: What its sets are.
        task_index: The place of the task among the model's. One that has no set gets the base.

    Returns:
        All weights by the names that they have without adapters; sums and products are
        float64 and on the CPU.

    Raises:
        ValueError: The task's set is one that no weight can take up.
    """
    plain = {
        name.replace(f"{BASE}.", "."): value
        for name, value in tensors.items()
        if set_of(name) is None
    }
    own = [name for name in tensors if set_of(name) == task_index]
    if own and not can_merge(settings.method):
        raise ValueError(f"`adapters.method` must be one to merge, but is '{settings.method}'")
    for layer in dict.fromkeys(_SETS.split(name)[0] for name in own):
        plain |= _merged_layer(layer, plain, tensors, settings, key=key_of(task_index))
    return plain


def _merged_layer(
    layer: str,
    plain: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    settings: AdapterSettings,
    *,
    key: str,
) -> dict[str, Tensor]:
    """Return what a set makes of a layer's weight and bias, where it changes them."""
    weight, bias = f"{layer}.weight", f"{layer}.bias"
    match settings.method:
        case "lora":
            up_NR = _exact(tensors[f"{layer}.lora_B.{key}.weight"])
            down_RD = _exact(tensors[f"{layer}.lora_A.{key}.weight"])
            return {weight: _exact(plain[weight]) + settings.scale * (up_NR @ down_RD)}
        case "ia3":
            factor = _exact(tensors[f"{layer}.ia3_l.{key}"])  # [N, 1], or [1, D] of what enters
            scaled = {weight: _exact(plain[weight]) * factor}
            if bias in plain and not layer.endswith(FEED_FORWARD):
                scaled[bias] = _exact(plain[bias]) * factor[:, 0]
            return scaled
        case "layer_norms":
            norm = f"{layer}.ln_tuning_layers.{key}"
            return {f"{layer}.{kind}": tensors[f"{norm}.{kind}"] for kind in ("weight", "bias")}
        case method:
            raise ValueError(f"no weight can take up adapters of the kind '{method}'")


def _exact(value: Tensor) -> Tensor:
    return value.detach().cpu().double()  # not every accelerator has the type
