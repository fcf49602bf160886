"""Task embeddings of examples that clients give, and all of them in two dimensions to look at.

Principal components of the tasks' embeddings, and not t-SNE: a new example must get a place without
moving all others, and a handful of tasks is too few for neighbourhoods.

Shape legend: N embeddings, O size of a task embedding, K components.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from taskaware.data.batches.batching import collate
from taskaware.model.task_embedding import mean_task_embedding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from taskaware.inference.model import TaskAwareModel
    from taskaware.types import Task


def embedding_of_examples(
    model: TaskAwareModel, like: Task, arrays: Sequence[np.ndarray], targets: Sequence[str]
) -> Tensor:
    """Return the mean t_e of examples, float32 ``[1, O]``, by an implicit task network.

    Args:
        model: The model.
        like: A task of the model's that takes the same kind of source.
        arrays: The sources as the model reads them.
        targets: Their texts.
    """
    pieces = [np.array(model.vocabulary.encode(text), dtype=np.int64) for text in targets]
    batch = collate(like, list(arrays), pieces, cue=model.cue(like))
    embedding = mean_task_embedding(model.transformer, [batch], task_index=0)
    assert embedding is not None  # the network is implicit
    return embedding.cpu()


class TaskMap:
    """The plane in which some embeddings differ most.

    Args:
        embeddings_NO: float32 ``[N, O]``.
    """

    def __init__(self, embeddings_NO: np.ndarray) -> None:
        embeddings_NO = embeddings_NO.astype(np.float64)
        self._mean_O = embeddings_NO.mean(axis=0)
        _, _, axes_KO = np.linalg.svd(embeddings_NO - self._mean_O, full_matrices=False)
        axes_KO = axes_KO[:2]
        # A singular vector has no sign of its own: the largest part is made positive.
        for axis_O in axes_KO:
            axis_O *= np.sign(axis_O[np.abs(axis_O).argmax()]) or 1.0
        self._axes_KO = axes_KO

    def places(self, embeddings_NO: np.ndarray) -> np.ndarray:
        """Return where embeddings are in the plane, float64 ``[N, 2]``."""
        found_NK = (embeddings_NO.astype(np.float64) - self._mean_O) @ self._axes_KO.T
        return np.pad(found_NK, ((0, 0), (0, 2 - found_NK.shape[1])))
