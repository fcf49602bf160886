"""The optimiser and the learning rate's course."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from taskaware.model.transformer import TaskAwareTransformer


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings:
    """The optimiser and its learning rate; the defaults are Table 8.

    Attributes:
        algorithm: `adam` (Table 8), or `sgd`: stochastic gradient descent with `beta1` as momentum.
        learning_rate: For `inverse_sqrt` the factor before d_model^-0.5 (Table 8: 2.0); for
            `linear` the highest learning rate itself.
        schedule: `inverse_sqrt`:
            factor * d_model^-0.5 * min(1, step/warmup) / sqrt(max(step, warmup)).
            `linear`: up to `learning_rate` over the warm-up, then down to 0 at the last update.
        warmup_updates: Updates over which the learning rate rises.
        beta1: Adam's decay of the mean gradient; the momentum of `sgd`.
        beta2: Adam's decay of the mean squared gradient.
        epsilon: Adam's addition to the denominator.
        weight_decay: Decoupled weight decay of all weights but those of the task network.
        task_network_weight_decay: The same for the task network's weights.
        max_gradient_norm: The gradient is scaled down to this norm where it is longer; 0: never.
    """

    algorithm: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 2.0
    schedule: Literal["inverse_sqrt", "linear"] = "inverse_sqrt"
    warmup_updates: int = 16_000
    beta1: float = 0.9
    beta2: float = 0.997
    epsilon: float = 1e-9
    weight_decay: float = 0.0
    task_network_weight_decay: float = 0.0
    max_gradient_norm: float = 0.0

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for name in ("learning_rate", "epsilon"):
            if getattr(self, name) <= 0:
                yield name, "must be above 0"
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                yield name, "must be at least 0 and below 1"
        for name in ("weight_decay", "task_network_weight_decay", "max_gradient_norm"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"
        if self.warmup_updates < 0:
            yield "warmup_updates", "must not be negative"


def learning_rate(
    settings: OptimiserSettings, update: int, *, d_model: int, num_updates: int
) -> float:
    """Return the learning rate of an update, counted from 1."""
    warmup = max(settings.warmup_updates, 1)
    rising = min(1.0, update / warmup)
    match settings.schedule:
        case "inverse_sqrt":
            return settings.learning_rate * d_model**-0.5 * rising / max(update, warmup) ** 0.5
        case "linear":
            left = (num_updates + 1 - update) / max(num_updates + 1 - warmup, 1)
            return settings.learning_rate * max(0.0, min(rising, left))


def create_optimiser(
    settings: OptimiserSettings, model: TaskAwareTransformer
) -> torch.optim.Optimizer:
    """Return the optimiser over the model's parameters; Adam's weight decay is decoupled.

    Norms and biases are not decayed; the task network has a decay of its own.
    """
    import torch

    groups: dict[float, list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        in_task_network = name.startswith("task_network.")
        decay = settings.task_network_weight_decay if in_task_network else settings.weight_decay
        groups.setdefault(decay if parameter.dim() > 1 else 0.0, []).append(parameter)
    described = [
        {"params": parameters, "weight_decay": decay} for decay, parameters in groups.items()
    ]
    if settings.algorithm == "sgd":
        return torch.optim.SGD(described, lr=settings.learning_rate, momentum=settings.beta1)
    return torch.optim.AdamW(
        described,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=True,
    )
