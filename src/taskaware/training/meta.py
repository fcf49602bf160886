"""Meta-learning (MAML, Finn et al. 2017) with a task network: paper, section 2.3.

For a task with a support batch S and a query batch Q, base weights theta and task network phi:

    meta-train:  theta' = theta - alpha * grad_theta L(S; theta, phi)
    meta-test:   (theta, phi) are updated with the gradient of L(Q; theta', phi)

The task embedding is computed in both steps, but phi is not adapted in the first. Weights are
dictionaries of tensors by name, and nothing here changes one: ``torch.func.functional_call`` runs a
module with the weights that it is given.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from taskaware.training.joint import Support, TaskLoss, batch_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.training.joint import LossArguments
    from taskaware.training.settings import LearningSettings
    from taskaware.types import Batch

    Weights = Mapping[str, Tensor]

Data = TypeVar("Data")

_TASK_NETWORK = ("model.task_network.", "model.task_vectors.")


def adapt(
    loss: Callable[[Weights, Weights, Data], Tensor],
    theta: Weights,
    phi: Weights,
    support: Data,
    *,
    inner_learning_rate: float,
    inner_steps: int = 1,
    second_order: bool = False,
) -> dict[str, Tensor]:
    """Meta-train: return ``theta' = theta - alpha * grad_theta L(S; theta, phi)``, step by step.

    In the first-order approximation the gradient counts as a constant, so that the derivative of
    theta' with respect to theta is the identity.

    Args:
        loss: ``L(theta, phi, data)``, a scalar.
        theta: The base weights, which are adapted.
        phi: The task network's weights, which are not.
        support: What to adapt to.
        inner_learning_rate: alpha.
        inner_steps: How many steps to take on the same support.
        second_order: Whether the result depends on theta through the gradient as well.
    """
    adapted = dict(theta)
    for _ in range(inner_steps if adapted else 0):  # a frozen base is not adapted
        gradients = torch.autograd.grad(
            loss(adapted, phi, support),
            list(adapted.values()),
            create_graph=second_order,
            allow_unused=True,  # a text batch does not use the speech front end
        )
        adapted = {
            name: weight if gradient is None else weight - inner_learning_rate * gradient
            for (name, weight), gradient in zip(adapted.items(), gradients, strict=True)
        }
    return adapted


class BatchLoss(nn.Module):
    """``training.joint.batch_loss`` as a module, so that it can be called with other weights."""

    def __init__(self, model: TaskAwareTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, looks_at: Support, arguments: LossArguments) -> TaskLoss:
        """Return the loss of a batch."""
        return batch_loss(self.model, batch, looks_at, arguments)

    def theta_and_phi(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the base weights and the task network's, without what is frozen."""
        theta: dict[str, Tensor] = {}
        phi: dict[str, Tensor] = {}
        for name, parameter in self.named_parameters():
            if not parameter.requires_grad:
                continue
            (phi if name.startswith(_TASK_NETWORK) else theta)[name] = parameter
        return theta, phi


class EpisodeLoss(nn.Module):
    """``episode_loss`` as a module.

    Args:
        loss: The model's loss.
        learning: The inner steps.
    """

    def __init__(self, loss: BatchLoss, learning: LearningSettings) -> None:
        super().__init__()
        self.loss = loss
        self._learning = learning

    def forward(
        self,
        support: tuple[Batch, Support],
        query: tuple[Batch, Support],
        arguments: LossArguments,
    ) -> TaskLoss:
        """Return the loss of the query at the weights that the support adapts."""
        return episode_loss(
            self.loss,
            support,
            query,
            arguments=arguments,
            inner_learning_rate=self._learning.inner_learning_rate,
            inner_steps=self._learning.inner_steps,
            second_order=self._learning.second_order,
        )


def episode_loss(
    module: BatchLoss,
    support: tuple[Batch, Support],
    query: tuple[Batch, Support],
    *,
    arguments: LossArguments,
    inner_learning_rate: float,
    inner_steps: int,
    second_order: bool,
) -> TaskLoss:
    """Meta-test: return ``L(Q; theta', phi)``, whose gradient updates the model's theta and phi.

    Args:
        module: The model's loss.
        support: A batch, and what the task network looks at for it.
        query: Another of the same task.
        arguments: How the loss of either is computed.
        inner_learning_rate: alpha.
        inner_steps: Steps on the support batch.
        second_order: Whether to differentiate through them.
    """
    arguments = replace(arguments, twice_differentiable=second_order)

    def run(theta: Weights, phi: Weights, data: tuple[Batch, Support]) -> TaskLoss:
        return functional_call(module, {**theta, **phi}, (*data, arguments))

    def loss(theta: Weights, phi: Weights, data: tuple[Batch, Support]) -> Tensor:
        return run(theta, phi, data).total

    theta, phi = module.theta_and_phi()
    with _attention_with_second_derivative() if second_order else nullcontext():
        adapted = adapt(
            loss,
            theta,
            phi,
            support,
            inner_learning_rate=inner_learning_rate,
            inner_steps=inner_steps,
            second_order=second_order,
        )
        return run(adapted, phi, query)


def _attention_with_second_derivative() -> AbstractContextManager[object]:
    """Torch's fused attention has no second derivative; its plain one has."""
    return sdpa_kernel(SDPBackend.MATH)
