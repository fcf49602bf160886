"""The optimiser and the learning rate's course."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.training.settings import OptimiserSettings

RATE_SHARE = "rate_share"


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
    """Return the optimiser over the parameters that are trained; Adam's weight decay is decoupled.

    Norms, biases, task vectors and the factors of IA3 are not decayed; the task network has a decay
    of its own. What is frozen takes no memory here. Each group of parameters has the share of the
    learning rate that it learns at, ``RATE_SHARE``.
    """
    import torch

    from taskaware.model.task_network import COMMON_EMBEDDING, ImplicitTaskNetwork

    is_implicit = isinstance(model.task_network, ImplicitTaskNetwork)
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        in_task_network = name.startswith("task_network.")
        decay = settings.task_network_weight_decay if in_task_network else settings.weight_decay
        # A factor of IA3 is a row or a column, and changes nothing where it is 1 and not 0.
        is_vector = name.startswith("task_vectors.") or ".ia3_l." in name
        is_decayed = parameter.dim() > 1 and not is_vector
        is_slow = is_implicit and in_task_network and name != COMMON_EMBEDDING
        share = settings.implicit_rate if is_slow else 1.0
        if name.startswith("frontends."):
            share = settings.frontend_rate
        groups.setdefault((decay if is_decayed else 0.0, share), []).append(parameter)
    described = [
        {"params": parameters, "weight_decay": decay, RATE_SHARE: share}
        for (decay, share), parameters in groups.items()
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
