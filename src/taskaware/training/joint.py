"""Joint learning: every parameter shared, the losses of the tasks summed (paper, section 2.3).

Shape legend: B batch, T target positions, O size of a task embedding, N valid target positions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from taskaware.model.modulation import modulation_penalty
from taskaware.model.packing import valid_mask
from taskaware.training.loss import ctc_loss, output_loss

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskaware.model.conditioning_settings import ConditioningSettings
    from taskaware.model.states import Encoded, Preprocessed
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.training.settings import ObjectiveSettings
    from taskaware.types import Batch


@dataclass(frozen=True)
class TaskLoss:
    """The loss of one batch.

    Attributes:
        total: What is minimised: the cross-entropy plus the weighted FiLM penalty and CTC loss.
        cross_entropy: Its label-smoothed cross-entropy alone (nats a piece).
        num_pieces: Target positions that count (``counted_positions``).
        by_task: The cross-entropy of each task of the batch, by name.
        ctc: The CTC loss of its tasks of recognition (nats a piece), where it counts.
    """

    total: Tensor
    cross_entropy: Tensor
    num_pieces: int
    by_task: Mapping[str, Tensor]
    ctc: Mapping[str, Tensor] = field(default_factory=dict)


def counted_positions(batch: Batch) -> Tensor:
    """Return which positions of a batch's output the loss counts, bool ``[B, T]``.

    Padding does not count, and neither does what the decoder is given: the pieces of a prompt
    behind its first one stand in ``target_output`` too.
    """
    mask_BT = valid_mask(batch.target_lengths, batch.target_output.shape[1])
    mask_BT[:, : batch.num_prompt_pieces - 1] = False
    return mask_BT


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


@dataclass(frozen=True)
class Support:
    """What the task network looks at for a batch, and whose t_e each example of the batch gets.

    The two are kept together, because a row is a row of these examples and of no others.

    Attributes:
        examples: The batch itself, or its cue examples.
        rows: int64 ``[B]``, the row of ``examples`` whose t_e each example of the batch gets;
            ``None``: its own.
    """

    examples: Batch
    rows: Tensor | None = None


def choose_support(
    batch: Batch, conditioning: ConditioningSettings, generator: torch.Generator
) -> Support:
    """Choose whose t_e each example of a batch gets: here alone, whoever trains on the batch."""
    if not conditioning.gives_embeddings_of_others:
        return Support(batch)
    cues = batch.cue_examples
    if cues is None:
        deranged = [rows.start + derangement(len(rows), generator) for _, rows in batch.parts]
        return Support(batch, torch.cat(deranged))
    of_task = {task.name: rows for task, rows in cues.parts}
    if not batch.row_tasks:
        of_task = {batch.task.name: range(cues.num_examples)}
    chosen: list[Tensor] = []
    for task, rows in batch.parts:
        own = of_task[task.name]
        drawn = torch.randint(len(own), (len(rows),), generator=generator)
        chosen.append(own.start + drawn)
    return Support(cues, torch.cat(chosen))


def task_indices(batch: Batch, index_of: Mapping[str, int]) -> int | Tensor:
    """Return the place of a batch's task among the model's: one, or int64 ``[B]``, one a row."""
    if not batch.row_tasks:
        return index_of[batch.task.name]
    return torch.tensor([index_of[task.name] for task in batch.row_tasks])


def support_embedding(
    model: TaskAwareTransformer,
    preprocessed: Preprocessed,
    *,
    task_index: int | Tensor,
    rows: Tensor | None,
    gradient_reaches_shared_layers: bool,
) -> Tensor | None:
    """Return the task embedding of each example, ``[B, O]``, or ``[1, O]`` for all.

    Args:
        model: The model; without a task network the answer is ``None``.
        preprocessed: What the task network looks at (``Support.examples``).
        task_index: Their task's place among the model's; int64 ``[B]``, where they are of several.
        rows: Whose t_e each example gets (``Support.rows``); ``None``: its own.
        gradient_reaches_shared_layers: Whether the gradient reaches the preprocessing layers.
    """
    support = preprocessed
    if not gradient_reaches_shared_layers:
        support = replace(
            preprocessed,
            source_BSD=preprocessed.source_BSD.detach(),
            target_BTD=preprocessed.target_BTD.detach(),
        )
    task_embedding = model.embed_task(support, task_index)
    if task_embedding is None or rows is None or len(task_embedding) == 1:
        return task_embedding
    return task_embedding[rows.to(task_embedding.device)]


@dataclass(frozen=True, kw_only=True)
class LossArguments:
    """How the loss of a batch is computed.

    Attributes:
        task_index: The place among the model's tasks of the task of the support's examples; int64,
            one for each, where they are of several (``task_indices``).
        gradient_reaches_shared_layers: Whether t_e's gradient reaches the preprocessing layers.
        objective: What is minimised.
        twice_differentiable: Whether second derivatives must exist.
    """

    task_index: int | Tensor
    gradient_reaches_shared_layers: bool
    objective: ObjectiveSettings
    twice_differentiable: bool = False


def batch_loss(
    model: TaskAwareTransformer, batch: Batch, support: Support, arguments: LossArguments
) -> TaskLoss:
    """Return the loss of a batch, each example modulated by the t_e that the support gives it."""
    reaches = arguments.gradient_reaches_shared_layers
    preprocessed = model.preprocess(batch)
    looked_at = preprocessed
    if support.examples is not batch:
        with torch.set_grad_enabled(reaches and torch.is_grad_enabled()):
            looked_at = model.preprocess(support.examples)
    task_embedding = support_embedding(
        model,
        looked_at,
        task_index=arguments.task_index,
        rows=support.rows,
        gradient_reaches_shared_layers=reaches,
    )
    return transformed_loss(
        model,
        batch,
        preprocessed,
        task_embedding,
        objective=arguments.objective,
        twice_differentiable=arguments.twice_differentiable,
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
    with model.adapters.use(batch.task.name):
        encoded = model.encode(
            preprocessed.source_BSD,
            preprocessed.source_lengths,
            task_embedding,
            modality=preprocessed.modality,
            is_encoded=preprocessed.is_encoded,
        )
        states_BTD = model.decode(preprocessed.target_BTD, preprocessed.target_lengths, encoded)
    # Only what counts reaches the output layer, the widest product of a small model.
    mask_BT = counted_positions(batch)
    embedding = model.token_embedding
    found = output_loss(
        states_BTD[mask_BT],
        embedding.output_layer_weight,
        embedding.output_bias,
        batch.target_output[mask_BT],
        smoothing=objective.label_smoothing,
        twice_differentiable=twice_differentiable,
    )
    cross_entropy = found.mean
    total = cross_entropy
    ctc: dict[str, Tensor] = {}
    if objective.ctc_weight:
        for task, rows in batch.parts:
            if task.kind == "asr":
                lost = _recognition_loss(model, batch, encoded, slice(rows.start, rows.stop))
                share = len(rows) / batch.num_examples
                total = total + objective.ctc_weight * share * lost
                ctc[task.name] = lost.detach()
    if task_embedding is not None and objective.film_penalty and model.acts_by == "film":
        penalty = modulation_penalty(task_embedding.float(), model.layout)
        total = total + objective.film_penalty * penalty
    cross_entropy = cross_entropy.detach()
    by_task = {batch.task.name: cross_entropy}
    if batch.row_tasks:
        counts_B = mask_BT.sum(dim=1)
        sizes = [int(counts_B[rows.start : rows.stop].sum()) for _, rows in batch.parts]
        losses = [part.mean() for part in found.each_N.split(sizes)]
        names = [task.name for task, _ in batch.parts]
        by_task = dict(zip(names, losses, strict=True))
    return TaskLoss(total, cross_entropy, len(found.each_N), by_task, ctc)


def _recognition_loss(
    model: TaskAwareTransformer, batch: Batch, encoded: Encoded, rows: slice
) -> Tensor:
    """Return the CTC loss of some rows of a batch, a scalar."""
    return ctc_loss(
        model.token_embedding.logits(encoded.memory_BSD[rows]),
        encoded.mask_BS[rows].sum(dim=1),
        batch.target_output[rows, batch.num_prompt_pieces - 1 :],
        batch.target_lengths[rows] - batch.num_prompt_pieces,  # neither prompt nor end
    )
