"""What a trained model consists of, wherever it comes from and wherever it goes.

Shape legend: O size of a task embedding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from taskaware.data.sound.settings import FeatureSettings
    from taskaware.data.vocabulary.vocabulary import Vocabulary
    from taskaware.decoding.settings import DecodingSettings
    from taskaware.model.settings import ModelSettings
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Task


@dataclass(kw_only=True)
class ModelParts:
    """All that a model consists of, and that its folder holds.

    Attributes:
        transformer: The network, in evaluation mode where it is used.
        settings: Its sizes and choices.
        tasks: What it was trained on, in the order of the explicit network's one-hot positions.
        vocabulary: Its word pieces.
        feature_settings: How it hears a recording.
        decoding: How it searches unless told otherwise.
        task_embeddings: Mean t_e of training examples by task, float32 ``[1, O]``; empty without a
            task network.
        provenance: Where it came from.
        longest_sources: By task, the longest source that it was trained on, in frames or pieces;
            empty where it is not known.
    """

    transformer: TaskAwareTransformer
    settings: ModelSettings
    tasks: tuple[Task, ...]
    vocabulary: Vocabulary
    feature_settings: FeatureSettings
    decoding: DecodingSettings
    task_embeddings: Mapping[str, Tensor] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    longest_sources: Mapping[str, int] = field(default_factory=dict)
