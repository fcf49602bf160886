"""A pretrained model with a smaller vocabulary: the rows of the pieces that some texts need.

The embedding is much of a small model: of Whisper base's 73 million parameters, 27 million are the
rows of 51,865 pieces, of which texts of a few languages need some thousands.

Shape legend: V vocabulary, D d_model.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from taskaware.data.vocabulary.smaller import cut_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from taskaware.decoding.settings import DecodingSettings
    from taskaware.inference.model import TaskAwareModel
    from taskaware.model.transformer import TaskAwareTransformer


def cut_vocabulary(model: TaskAwareModel, texts: Iterable[str]) -> TaskAwareModel:
    """Return a model with the pieces that texts need, and the weights of those pieces.

    Its logits of a piece are the whole model's. Probabilities are larger, as the pieces that are
    cut have none: greedy search writes what it did wherever all of that is kept, a beam nearly so.

    Args:
        model: One that was imported, trained further or not. It stays as it is.
        texts: Sources and targets, any number, in any order; read once.

    Raises:
        UserError: There is no text but empty ones, or the model is none that was imported.
    """
    smaller = cut_to(model.vocabulary, texts)
    return replace(
        model,
        transformer=_with_rows(model.transformer, smaller.kept),
        vocabulary=smaller.vocabulary,
        decoding=_with_ids(model.decoding, smaller.kept),
        provenance={**model.provenance, "pieces_before": model.vocabulary.size},
    )


def _with_rows(transformer: TaskAwareTransformer, kept: Sequence[int]) -> TaskAwareTransformer:
    """Return a copy whose embedding and output layer have the rows of ``kept``, in its order."""
    found = copy.deepcopy(transformer)
    embedding = found.token_embedding
    rows = torch.tensor(kept, device=embedding.weight.device)
    for name in ("weight", "output_weight", "output_bias"):  # [V, D], [V, D], [V]
        whole = getattr(embedding, name)
        if whole is not None:
            some = whole.detach().index_select(0, rows)
            setattr(embedding, name, nn.Parameter(some, requires_grad=whole.requires_grad))
    return found


def _with_ids(decoding: DecodingSettings, kept: Sequence[int]) -> DecodingSettings:
    """Return the settings with the new ids of pieces; what is cut needs no forbidding."""
    new_ids = {old: new for new, old in enumerate(kept)}

    def changed(ids: Sequence[int]) -> tuple[int, ...]:
        return tuple(new_ids[i] for i in ids if i in new_ids)

    return replace(
        decoding,
        suppressed=changed(decoding.suppressed),
        suppressed_first=changed(decoding.suppressed_first),
    )
