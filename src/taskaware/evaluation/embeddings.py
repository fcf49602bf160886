"""Task embeddings, looked at: t-SNE in two dimensions (the paper's Figure 2) and silhouette.

Shape legend: N embeddings, E their size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from taskaware.errors import DataError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MISSING = "t-SNE and silhouette need scikit-learn: pip install 'taskaware[report]'"
_MIN_EMBEDDINGS = 4
_MAX_PERPLEXITY = 30.0  # van der Maaten and Hinton (2008): 5 to 50


def project(embeddings: np.ndarray, *, seed: int) -> np.ndarray:
    """Two dimensions that keep near embeddings near, by t-SNE (van der Maaten and Hinton, 2008).

    The perplexity is 30, or a third of the other embeddings where they are few. Distances between
    groups mean little in such a picture; ``silhouette`` measures in the space itself.

    Args:
        embeddings: ``[N, E]``.
        seed: The same seed gives the same picture.

    Returns:
        float32 ``[N, 2]``; all zero where all embeddings are equal.

    Raises:
        DataError: There are fewer than 4 embeddings, or some are not finite.
        MissingDependencyError: scikit-learn is not installed.
    """
    num_embeddings = len(embeddings)
    if num_embeddings < _MIN_EMBEDDINGS:
        raise DataError(
            f"t-SNE must have at least {_MIN_EMBEDDINGS} embeddings, but has {num_embeddings}"
        )
    if not np.isfinite(embeddings).all():
        raise DataError("embeddings must be finite, but some are not")
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise MissingDependencyError(_MISSING) from error

    embeddings = np.asarray(embeddings, dtype=np.float32)
    if (embeddings == embeddings[0]).all():
        return np.zeros((num_embeddings, 2), dtype=np.float32)
    tsne = TSNE(
        perplexity=min(_MAX_PERPLEXITY, (num_embeddings - 1) / 3),
        init="pca" if embeddings.shape[1] >= 2 else "random",
        random_state=seed,
    )
    return tsne.fit_transform(embeddings)


def silhouette(embeddings: np.ndarray, labels: Sequence[str]) -> float:
    """How well groups stand apart, from -1 to 1 (Rousseeuw, 1987): near 1, the tasks are separate.

    Args:
        embeddings: ``[N, E]``, as they are, not projected.
        labels: The task of each.

    Returns:
        The mean over all embeddings; NaN where there are not two labels, or none is there twice.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    if not 2 <= len(set(labels)) < len(labels):
        return float("nan")
    try:
        from sklearn.metrics import silhouette_score
    except ImportError as error:
        raise MissingDependencyError(_MISSING) from error
    return float(silhouette_score(np.asarray(embeddings, dtype=np.float64), list(labels)))
