"""Small weights beside a frozen base, a set of them for each of some tasks, switched by the task.

What people use where this project has a task embedding. LoRA, IA3 and tuned layer norms are those
of the peft library, which is imported when a model needs it.

A set is named after its task, in the names of weights as ``task:NAME`` (a dot of a task's name is
written as a slash there): ``decoder.0.self_attention.output.lora_A.task:st_en_de.weight``.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from torch import nn

from taskaware.errors import require_packages
from taskaware.model.bottleneck import BottleneckLinear

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from peft import PeftConfig

    from taskaware.model.settings import AdapterMethod, AdapterSettings

_MARK = "task:"
_BASE = ".base_layer"  # what an adapted layer calls the layer that it stands for
_FEED_FORWARD = ".contract"
# By method: the kind of the layers that get a set, and how their names end.
_PLACES: dict[AdapterMethod, tuple[type[nn.Module], tuple[str, ...]]] = {
    "none": (nn.Module, ()),
    "lora": (nn.Linear, ("",)),
    "ia3": (nn.Linear, (".query_key_value", ".key_value", _FEED_FORWARD)),
    "layer_norms": (nn.LayerNorm, ("",)),
    "bottleneck": (nn.Linear, (".output", _FEED_FORWARD)),
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
    """The sets of adapter weights that a model has; at rest none acts.

    Attributes:
        tasks: The tasks that have one.
    """

    def __init__(self) -> None:
        self.tasks: tuple[str, ...] = ()
        self._layers: list[AdaptedLayer] = []
        self._active: str | None = None

    def add(self, model: nn.Module, settings: AdapterSettings, task_name: str) -> None:
        """Give a task a set that changes nothing yet; its weights are drawn by torch's generator.

        Args:
            model: The model, whose layers are replaced by adapted ones. Norms are copied as they
                are now, so its weights must be those of the base.
            settings: What a set is, the same for all.
            task_name: The task.

        Raises:
            MissingDependencyError: peft is needed and not installed.
        """
        flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
        self._layers = _inject(model, settings, key=_key(task_name))
        self.tasks = (*self.tasks, task_name)
        self._switch(None)
        # What is frozen is decided elsewhere (``training.trainable``).
        for parameter in model.parameters():
            parameter.requires_grad_(flags.get(parameter, True))

    @contextmanager
    def use(self, task_name: str) -> Iterator[None]:
        """Let the task's set act inside; a task without one has the plain base."""
        before = self._active
        self._switch(task_name if task_name in self.tasks else None)
        try:
            yield
        finally:
            self._switch(before)

    def _switch(self, task_name: str | None) -> None:
        """Let one set act, or none, and leave what is trained as it is."""
        for layer in self._layers:
            # peft takes the set that acts for the one that is trained.
            flags = [(parameter, parameter.requires_grad) for parameter in layer.parameters()]
            if task_name is not None:
                layer.set_adapter(_key(task_name))
            layer.enable_adapters(task_name is not None)
            for parameter, is_trained in flags:
                parameter.requires_grad_(is_trained)
        self._active = task_name


def set_of(name: str) -> str | None:
    """Return the task whose set a weight is of, by the weight's name; ``None``: it is the base's.

    >>> set_of("decoder.0.self_attention.output.lora_A.task:st_en_de.weight")
    'st_en_de'
    """
    for word in name.split("."):
        if word.startswith(_MARK):
            return word.removeprefix(_MARK).replace("/", ".")
    return None


def tasks_with_sets(names: Iterable[str]) -> tuple[str, ...]:
    """Return the tasks that have a set, by the names of a model's weights."""
    return tuple(sorted({task for name in names if (task := set_of(name)) is not None}))


def _key(task_name: str) -> str:
    return _MARK + task_name.replace(".", "/")


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

            inject_adapter_in_model(_config(settings, names), model, key)
            del model.peft_config  # peft would warn of it where a second set comes
    return [model.get_submodule(name) for name in names]  # type: ignore[misc]


def _config(settings: AdapterSettings, names: list[str]) -> PeftConfig:
    """Return what a set is in peft's words."""
    from peft import IA3Config, LNTuningConfig, LoraConfig

    match settings.method:
        case "lora":
            return LoraConfig(
                r=settings.rank,
                lora_alpha=settings.alpha,  # type: ignore[arg-type]
                lora_dropout=settings.dropout,
                target_modules=names,
            )
        case "ia3":
            inner = [name for name in names if name.endswith(_FEED_FORWARD)]
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
            layer = BottleneckLinear(layer)
            model.set_submodule(name, layer)
        assert isinstance(layer, BottleneckLinear)
        layer.add(key, rank=settings.rank, dropout=settings.dropout)


def adapted_layers(model: nn.Module, settings: AdapterSettings) -> list[str]:
    """Return the names of the layers of the base that get a set."""
    stacks = ("decoder",) if settings.where == "decoder" else ("encoder", "decoder")
    places = tuple(place for stack in stacks for place in (f"{stack}.", f"{stack}_norm"))
    kind, ends = _PLACES[settings.method]
    return [
        plain
        for name, module in model.named_modules()
        if name.startswith(places)
        and set_of(name) is None
        and isinstance(module, kind)
        and (plain := name.removesuffix(_BASE)).endswith(ends)
    ]
