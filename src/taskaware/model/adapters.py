"""Adapters: small weights beside a frozen base, a set for each of some tasks, switched by the task.

What people use where this project has a task embedding, as rows to compare with. LoRA, IA3 and
tuned layer norms are those of the peft library (an extra), imported where a model has them;
bottlenecks are ours. Here is which layers get a set, and which set acts.

A set is known by its task's place among the model's, in the names of weights too:
``decoder.0.self_attention.output.lora_A.adapters_of_task_3.weight``.
"""

from __future__ import annotations

import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, cast

from torch import nn

from taskaware.errors import require_packages
from taskaware.model.bottleneck_adapter import BottleneckAdapter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from peft import PeftConfig

    from taskaware.model.adapter_settings import AdapterMethod, AdapterSettings
    from taskaware.types import Task

BASE = ".base_layer"  # what an adapted layer calls the layer that it stands for
FEED_FORWARD = ".contract"
_OF_T_E = ".bottleneck."  # what a task embedding scales is no part of the base (``modulation``)
# By method: the kind of the layers that get a set, and how their names end.
_PLACES: dict[AdapterMethod, tuple[type[nn.Module], tuple[str, ...]]] = {
    "none": (nn.Module, ()),
    "lora": (nn.Linear, ("",)),
    # Keys, values and the inner feed-forward (Liu et al. 2022, section 3.3). Queries, keys and
    # values of self-attention are one product here.
    "ia3": (nn.Linear, (".query_key_value", ".key_value", FEED_FORWARD)),
    "layer_norms": (nn.LayerNorm, ("",)),
    "bottleneck": (nn.Linear, (".output", FEED_FORWARD)),
}


class AdaptedLayer(Protocol):
    """A layer of the base with sets of weights beside it: peft's ``BaseTunerLayer``, or ours."""

    def set_adapter(self, adapter_names: str) -> None:
        """Choose a set."""
        ...

    def enable_adapters(self, enabled: bool) -> None:
        """Let the chosen set act, or leave the plain base."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return all weights, the base's and those of all sets."""
        ...


class AdapterSets:
    """The sets of adapter weights that a model has; at rest none acts."""

    def __init__(self) -> None:
        self._index_of: dict[str, int] = {}
        self._layers: list[AdaptedLayer] = []
        self._active: str | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks that have a set, in the order of their places in the model."""
        return tuple(sorted(self._index_of, key=self._index_of.__getitem__))

    def add(
        self, model: nn.Module, settings: AdapterSettings, task_name: str, *, task_index: int
    ) -> None:
        """Give a task a set that changes nothing yet; its weights are drawn by torch's generator.

        Args:
            model: The model, whose layers are replaced by adapted ones. Norms are copied as they
                are now, so its weights must be those of the base.
            settings: What a set is, the same for all.
            task_name: The task.
            task_index: Its place among the model's.

        Raises:
            MissingDependencyError: peft is needed and not installed.
        """
        flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
        self._layers = _inject(model, settings, key=key_of(task_index))
        self._index_of[task_name] = task_index
        self._active = task_name  # as peft leaves it
        self._switch(None)
        # What is frozen is decided elsewhere (``training.trainable``).
        for parameter in model.parameters():
            parameter.requires_grad_(flags.get(parameter, True))

    @contextmanager
    def use(self, task_name: str) -> Iterator[None]:
        """Let the task's set act inside; a task without one has the plain base."""
        before = self._active
        self._switch(task_name if task_name in self._index_of else None)
        try:
            yield
        finally:
            self._switch(before)

    def _switch(self, task_name: str | None) -> None:
        """Let one set act, or none, and leave what is trained as it is."""
        if task_name == self._active:
            return
        for layer in self._layers:
            # peft takes the set that acts for the one that is trained.
            flags = [(parameter, parameter.requires_grad) for parameter in layer.parameters()]
            if task_name is not None:
                layer.set_adapter(key_of(self._index_of[task_name]))
            layer.enable_adapters(task_name is not None)
            for parameter, is_trained in flags:
                parameter.requires_grad_(is_trained)
        self._active = task_name


def key_of(task_index: int) -> str:
    """Return what the set of a task is called, by its place among the model's."""
    return f"adapters_of_task_{task_index}"  # a task's own name may have a dot


_KEY = re.compile(r"\.adapters_of_task_(\d+)(\.|$)")


def set_of(weight_name: str) -> int | None:
    """Return the place of the task whose set a weight is of; ``None``: it is the base's."""
    found = _KEY.search(weight_name)
    return int(found[1]) if found else None


def tasks_with_sets(weight_names: Iterable[str], tasks: Sequence[Task]) -> tuple[str, ...]:
    """Return which tasks of a model have a set, by the names of its weights."""
    places = {set_of(name) for name in weight_names}
    return tuple(task.name for index, task in enumerate(tasks) if index in places)


def adapted_layers(model: nn.Module, settings: AdapterSettings) -> list[str]:
    """Return the names of the layers of the base that get a set."""
    places = ("decoder.", "decoder_norm")
    if settings.where == "everything":
        places += ("encoder.", "encoder_norm", "text_encoder.")
    kind, ends = _PLACES[settings.method]
    return [
        plain
        for name, module in model.named_modules()
        if name.startswith(places)
        and set_of(name) is None
        and _OF_T_E not in name
        and isinstance(module, kind)
        and (plain := name.removesuffix(BASE)).endswith(ends)
    ]


def _inject(model: nn.Module, settings: AdapterSettings, *, key: str) -> list[AdaptedLayer]:
    """Put a set beside the layers of a model; return the layers."""
    names = adapted_layers(model, settings)
    match settings.method:
        case "none":
            raise ValueError(f"`adapters.method` must not be 'none' where there is a set ('{key}')")
        case "bottleneck":
            _inject_bottlenecks(model, settings, names, key=key)
        case method:
            require_packages(f"a model with adapters of the kind '{method}'", "adapters", "peft")
            from peft import inject_adapter_in_model

            with warnings.catch_warnings():  # a layer norm is a layer that has no two widths
                warnings.filterwarnings("ignore", message="Unsupported layer type")
                inject_adapter_in_model(_config(settings, names), model, key)
            del model.peft_config  # peft would warn of it where a second set comes
    return [cast("AdaptedLayer", model.get_submodule(name)) for name in names]


def _config(settings: AdapterSettings, names: list[str]) -> PeftConfig:
    """Return what a set is in peft's words."""
    from peft import IA3Config, LNTuningConfig, LoraConfig

    match settings.method:
        case "lora":
            return LoraConfig(
                r=settings.rank,
                lora_alpha=settings.rank * settings.scale,
                lora_dropout=settings.dropout,
                target_modules=names,
            )
        case "ia3":
            inner = [name for name in names if name.endswith(FEED_FORWARD)]
            return IA3Config(target_modules=names, feedforward_modules=inner)
        case "layer_norms":
            return LNTuningConfig(target_modules=names)
        case method:
            raise ValueError(f"peft has no adapters of the kind '{method}'")


def _inject_bottlenecks(
    model: nn.Module, settings: AdapterSettings, names: list[str], *, key: str
) -> None:
    for name in names:
        layer = model.get_submodule(name)
        if isinstance(layer, nn.Linear):
            layer = BottleneckAdapter(layer)
            model.set_submodule(name, layer)
        assert isinstance(layer, BottleneckAdapter)
        layer.add(key, rank=settings.rank, dropout=settings.dropout)
