"""Elastic weight consolidation (Kirkpatrick et al. 2017): weights that old tasks need are held.

The loss has the additional term ``lambda / 2 * sum_i F_i (theta_i - theta*_i)^2`` (their equation
3), with theta* the weights at the start and F the diagonal of the Fisher information there, which
is measured on old examples as the mean square of the gradient of the log-likelihood of the true
target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from taskaware.training.joint import LossArguments, Support, batch_loss
from taskaware.training.settings import ObjectiveSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch.nn import Parameter

    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Batch

_LIKELIHOOD = ObjectiveSettings(label_smoothing=0.0, film_penalty=0.0, ctc_weight=0.0)


class ElasticWeights:
    """Pulls every weight back to the start, by its importance.

    Args:
        model: The network that is fine-tuned, with the weights of the start.
        importance: Fisher information of each parameter, by name (``fisher_information``).
        weight: lambda.
    """

    def __init__(
        self, model: TaskAwareTransformer, importance: Mapping[str, Tensor], *, weight: float
    ) -> None:
        self._parameters = _trained(model)
        self._start = {name: p.detach().clone() for name, p in self._parameters.items()}
        self._importance = importance
        self._weight = weight

    def add_gradient(
        self, batches: Sequence[Batch], generator: torch.Generator, *, share: float
    ) -> None:
        """Add ``lambda * F_i (theta_i - theta*_i)``: the term's gradient is known by hand."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                moved = parameter - self._start[name]
                pull = share * self._weight * self._importance[name] * moved
                parameter.grad = pull if parameter.grad is None else parameter.grad + pull

    def state_dict(self) -> dict[str, Any]:
        """Nothing changes while training."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing changes while training."""


def _trained(model: TaskAwareTransformer) -> dict[str, Parameter]:
    """Return the parameters that are not frozen."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def fisher_information(
    model: TaskAwareTransformer, examples: Iterable[tuple[Batch, int]]
) -> dict[str, Tensor]:
    """Return the mean square of the gradient of each example's log-likelihood, by parameter.

    Args:
        model: With the weights of the start.
        examples: Batches of ONE example each, and the index of their task in the model.
    """
    was_training = model.training
    model.eval()
    parameters = _trained(model)
    total = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    count = 0
    for batch, task_index in examples:
        loss = batch_loss(
            model,
            batch,
            Support(batch),
            LossArguments(
                task_index=task_index,
                gradient_reaches_shared_layers=True,
                objective=_LIKELIHOOD,
            ),
        )
        gradients = torch.autograd.grad(
            loss.num_pieces * loss.total, list(parameters.values()), allow_unused=True
        )
        for name, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                total[name] += gradient.detach().square()
        count += 1
    model.train(was_training)
    return {name: value / max(count, 1) for name, value in total.items()}
