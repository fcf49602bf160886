"""Task embeddings from support examples: one for each example, or their mean for inference.

Shape legend: N examples, O size of a task embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Batch


@torch.inference_mode()
def example_task_embeddings(
    model: TaskAwareTransformer, batches: Iterable[Batch], *, task_index: int
) -> Tensor | None:
    """Return t_e of every example, float32 ``[N, O]``; ``None`` without a task network or examples.

    Args:
        model: In evaluation mode.
        batches: Examples of one task.
        task_index: Its place among the model's tasks (what an explicit network looks at).
    """
    embeddings = []
    device = model.token_embedding.weight.device
    for batch in batches:
        embedding = model.embed_task(model.preprocess(batch.to(device)), task_index)
        if embedding is None:
            return None
        embeddings.append(embedding.float().expand(batch.num_examples, -1))
    return torch.cat(embeddings) if embeddings else None


def mean_task_embedding(
    model: TaskAwareTransformer, batches: Iterable[Batch], *, task_index: int
) -> Tensor | None:
    """Return the mean t_e of the examples, ``[1, O]``: what inference uses (paper, section 2.3)."""
    embeddings = example_task_embeddings(model, batches, task_index=task_index)
    return None if embeddings is None else embeddings.mean(dim=0, keepdim=True)
