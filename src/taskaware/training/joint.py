"""Joint learning: every parameter shared, the losses of the tasks summed (paper, section 2.3).

Shape legend: B batch, T target positions, O size of a task embedding, N valid target positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from taskaware.model.attention import valid_mask
from taskaware.model.film import film_penalty
from taskaware.model.transformer import Preprocessed
from taskaware.training.loss import ctc_loss, smoothed_cross_entropy

if TYPE_CHECKING:
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.training.settings import ObjectiveSettings
    from taskaware.types import Batch


@dataclass(frozen=True)
class TaskLoss:
    """The loss of one batch.

    Attributes:
        total: What is minimised: the cross-entropy plus the weighted FiLM penalty and CTC loss.
        cross_entropy: Its label-smoothed cross-entropy alone (nats a piece).
        num_pieces: Valid target positions.
    """

    total: Tensor
    cross_entropy: Tensor
    num_pieces: int


def derangement(num_examples: int, generator: torch.Generator) -> Tensor:
    """Return a random permutation without a fixed point, int64 ``[B]`` (the identity where B is 1).

    Drawn by rejection: a permutation has no fixed point with probability about 1/e, so a draw
    succeeds after 2.7 tries on average and every derangement is equally likely.
    """
    identity = torch.arange(num_examples)
    if num_examples < 2:
        return identity
    while True:
        permutation = torch.randperm(num_examples, generator=generator)
        if not torch.any(permutation == identity):
            return permutation


def whose_embedding(batch: Batch, generator: torch.Generator) -> Tensor:
    """Return whose t_e each example gets, int64 ``[B]``: another one's, or a cue example's."""
    if batch.cue_examples is None:
        return derangement(batch.num_examples, generator)
    return torch.randint(
        batch.cue_examples.num_examples, (batch.num_examples,), generator=generator
    )


def support_embedding(
    model: TaskAwareTransformer,
    preprocessed: Preprocessed,
    *,
    task_index: int,
    permutation: Tensor | None,
    gradient_reaches_shared_layers: bool,
) -> Tensor | None:
    """Return the task embedding of each example, ``[B, O]``.

    Args:
        model: The model; without a task network the answer is ``None``.
        preprocessed: What the task network looks at: the batch, or its cue examples.
        task_index: Its place among the model's tasks.
        permutation: Whose t_e each example gets (``whose_embedding``); ``None``: its own.
        gradient_reaches_shared_layers: Whether the gradient goes on into the preprocessing layers.
    """
    support = preprocessed
    if not gradient_reaches_shared_layers:
        support = Preprocessed(
            preprocessed.source_BSD.detach(),
            preprocessed.source_lengths,
            preprocessed.target_BTD.detach(),
            preprocessed.target_lengths,
        )
    task_embedding = model.embed_task(support, task_index)
    if task_embedding is None or permutation is None:
        return task_embedding
    return task_embedding[permutation.to(task_embedding.device)]


def batch_loss(
    model: TaskAwareTransformer,
    batch: Batch,
    *,
    task_index: int,
    permutation: Tensor | None,
    gradient_reaches_shared_layers: bool,
    objective: ObjectiveSettings,
    twice_differentiable: bool = False,
) -> TaskLoss:
    """Return the loss of a batch, each example modulated by the t_e of another."""
    preprocessed = model.preprocess(batch)
    looked_at = preprocessed
    if batch.cue_examples is not None:
        with torch.set_grad_enabled(gradient_reaches_shared_layers and torch.is_grad_enabled()):
            looked_at = model.preprocess(batch.cue_examples)
    task_embedding = support_embedding(
        model,
        looked_at,
        task_index=task_index,
        permutation=permutation,
        gradient_reaches_shared_layers=gradient_reaches_shared_layers,
    )
    return transformed_loss(
        model,
        batch,
        preprocessed,
        task_embedding,
        objective=objective,
        twice_differentiable=twice_differentiable,
    )


def transformed_loss(
    model: TaskAwareTransformer,
    batch: Batch,
    preprocessed: Preprocessed,
    task_embedding: Tensor | None,
    *,
    objective: ObjectiveSettings,
    twice_differentiable: bool = False,
) -> TaskLoss:
    """Return the loss of a batch under given task embeddings, ``[B, O]`` or ``[1, O]``."""
    encoded = model.encode(preprocessed.source_BSD, preprocessed.source_lengths, task_embedding)
    states_BTD = model.decode(preprocessed.target_BTD, encoded)
    # Only valid positions reach the output layer, the widest product of a small model.
    mask_BT = valid_mask(batch.target_lengths, batch.target_output.shape[1])
    logits_NV = model.token_embedding.logits(states_BTD[mask_BT])
    cross_entropy = smoothed_cross_entropy(
        logits_NV,
        batch.target_output[mask_BT],
        smoothing=objective.label_smoothing,
        twice_differentiable=twice_differentiable,
    ).mean()
    total = cross_entropy
    if objective.ctc_weight and batch.task.kind == "asr":
        logits_BSV = model.token_embedding.logits(encoded.memory_BSD)
        ctc = ctc_loss(
            logits_BSV, encoded.mask_BS.sum(dim=1), batch.target_output, batch.target_lengths - 1
        )
        total = total + objective.ctc_weight * ctc
    if task_embedding is not None and objective.film_penalty and model.acts_by == "film":
        penalty = film_penalty(task_embedding.float(), model.d_model)
        total = total + objective.film_penalty * penalty
    return TaskLoss(total, cross_entropy.detach(), logits_NV.shape[0])
