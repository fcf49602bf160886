"""Learning without Forgetting (Li and Hoiem 2016): outputs kept near those of the start.

No old example is needed: on the new tasks' inputs, the model must keep answering as the start did
when it is told an old task.

Shape legend: T target positions, N valid target positions, V vocabulary, O size of t_e.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from taskaware.training.joint import counted_positions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from taskaware.data.batches.batching import TextCue
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Batch, Task


class Distillation:
    """Adds the divergence between the start's outputs and the model's under the old tasks' cues.

    Args:
        model: The network that is fine-tuned, with the weights of the start.
        old_tasks: Those to keep; a batch is answered under each that takes its kind of source.
        task_embeddings: Mean t_e of the old tasks at the start, float32 ``[1, O]`` each; empty for
            a model without a task network.
        cues: What each task puts into the text, by name: a label before a text source, a first
            target piece.
        weight: Weight of the divergence.
        temperature: Both distributions are softened by it.
    """

    def __init__(
        self,
        model: TaskAwareTransformer,
        old_tasks: Sequence[Task],
        *,
        task_embeddings: Mapping[str, Tensor],
        cues: Mapping[str, TextCue],
        weight: float,
        temperature: float,
    ) -> None:
        self._model = model
        self._start = copy.deepcopy(model).eval().requires_grad_(False)
        self._old_tasks = old_tasks
        self._task_embeddings = task_embeddings
        self._cues = cues
        self._weight = weight
        self._temperature = temperature

    def add_gradient(
        self, batches: Sequence[Batch], generator: torch.Generator, *, share: float
    ) -> None:
        """Add the gradient of the divergence on the new tasks' batches."""
        for batch in batches:
            questions = list(self._questions(batch))
            for asked, task_embedding in questions:
                with torch.no_grad():
                    wanted_NV = _logits(self._start, asked, task_embedding)
                found_NV = _logits(self._model, asked, task_embedding)
                loss = softened_divergence(wanted_NV, found_NV, temperature=self._temperature)
                (share * self._weight * loss / len(questions)).backward()

    def state_dict(self) -> dict[str, Any]:
        """Nothing changes while training."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing changes while training."""

    def _questions(self, batch: Batch) -> Iterator[tuple[Batch, Tensor | None]]:
        """Yield the batch as it is asked under every old task's cue, and the cue's t_e."""
        own = self._cues[batch.task.name]
        if not self._task_embeddings and all(cue == own for cue in self._cues.values()):
            yield batch, None  # without a cue there is one question only
            return
        for task in self._old_tasks:
            if task.source_modality == batch.task.source_modality:
                asked = _with_cue(batch, own, self._cues[task.name])
                yield asked, self._task_embeddings.get(task.name)


def _with_cue(batch: Batch, own: TextCue, other: TextCue) -> Batch:
    """Return the batch with another task's cue instead of its own."""
    target_input = batch.target_input.clone()
    target_input[:, : len(other.prompt)] = torch.tensor(other.prompt, device=target_input.device)
    source, lengths = batch.source, batch.source_lengths
    if own.source_prefix or other.source_prefix:
        prefix = torch.tensor(other.source_prefix, dtype=source.dtype, device=source.device)
        text = source[:, len(own.source_prefix) :]
        source = torch.cat([prefix.expand(len(text), -1), text], dim=1)
        lengths = lengths - len(own.source_prefix) + len(other.source_prefix)
    return replace(batch, source=source, source_lengths=lengths, target_input=target_input)


def softened_divergence(wanted_NV: Tensor, found_NV: Tensor, *, temperature: float) -> Tensor:
    """Return ``T^2 KL(softmax(wanted / T) || softmax(found / T))``, nats a position, a scalar.

    The factor keeps the gradient's size independent of T (Hinton et al. 2015, section 2).
    """
    wanted = (wanted_NV.float() / temperature).log_softmax(dim=-1)
    found = (found_NV.float() / temperature).log_softmax(dim=-1)
    divergence = torch.nn.functional.kl_div(found, wanted, reduction="batchmean", log_target=True)
    return temperature**2 * divergence


def _logits(model: TaskAwareTransformer, batch: Batch, task_embedding: Tensor | None) -> Tensor:
    states_BTD = model.transform(model.preprocess(batch), task_embedding)
    return model.token_embedding.logits(states_BTD[counted_positions(batch)])
