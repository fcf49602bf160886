"""Task embeddings of single examples of a split, to be looked at (the paper's Figure 2).

Shape legend: N examples, O size of a task embedding.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from taskaware.data.batches.batching import batches_of, groups_of
from taskaware.errors import DataError
from taskaware.evaluation.evaluate import spread
from taskaware.files import NUMPY_ERRORS, atomic_file
from taskaware.model.task_embedding import example_task_embeddings

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.data.batches.batching import TaskSource
    from taskaware.inference.model import TaskAwareModel

_EXAMPLES_PER_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class EmbeddingPoints:
    """Task embeddings with what they are of.

    Attributes:
        embeddings: float32 ``[N, O]``.
        tasks: The task of each.
        datasets: The corpus of each.
    """

    embeddings: np.ndarray
    tasks: tuple[str, ...]
    datasets: tuple[str, ...]

    def save(self, path: Path) -> None:
        """Write a NumPy archive."""
        with atomic_file(path) as partial, partial.open("wb") as file:
            np.savez_compressed(
                file,
                embeddings=self.embeddings,
                tasks=np.array(self.tasks, dtype=np.str_),
                datasets=np.array(self.datasets, dtype=np.str_),
            )

    @classmethod
    def load(cls, path: Path) -> EmbeddingPoints:
        """Read what ``save`` wrote.

        Raises:
            DataError: The file is damaged.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                found = cls(
                    embeddings=archive["embeddings"],
                    tasks=tuple(str(name) for name in archive["tasks"]),
                    datasets=tuple(str(name) for name in archive["datasets"]),
                )
            num_points, _ = found.embeddings.shape
            is_good = found.embeddings.dtype == np.float32 and np.isfinite(found.embeddings).all()
            if not is_good or not num_points == len(found.tasks) == len(found.datasets):
                raise ValueError("its arrays do not fit each other")
        except (*NUMPY_ERRORS, KeyError, TypeError, BadZipFile, zlib.error) as error:
            raise DataError(
                f"{path} must hold task embeddings as an evaluation wrote them, but does not "
                f"({error}): delete the scores beside it (study.json), and run the same command "
                "again"
            ) from error
        return found


def embedding_points(
    model: TaskAwareModel, split: TaskSource, *, num_per_task: int
) -> EmbeddingPoints | None:
    """Return t_e of examples of every task; ``None`` where they are not computed from examples.

    Args:
        model: The model.
        split: Where the examples are from.
        num_per_task: Examples of each task at most, spread evenly over the split.
    """
    cue = model.settings.conditioning.cue
    if cue != "implicit":
        return None
    found: list[np.ndarray] = []
    tasks: list[str] = []
    datasets: list[str] = []
    for index, task in enumerate(model.tasks):
        indices = spread(split.indices(task.name), num_per_task)
        batches = batches_of(
            split,
            task,
            groups_of(indices, _EXAMPLES_PER_BATCH),
            vocabulary=model.vocabulary,
            cue=cue,
        )
        embeddings = example_task_embeddings(model.transformer, batches, task_index=index)
        if embeddings is not None:
            found.append(embeddings.cpu().numpy())
            tasks += [task.name] * len(indices)
            datasets += [split.examples[int(i)].dataset for i in indices]
    if not found:
        return None
    return EmbeddingPoints(
        embeddings=np.concatenate(found), tasks=tuple(tasks), datasets=tuple(datasets)
    )
