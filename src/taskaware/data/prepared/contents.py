"""What all splits of a prepared folder share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskaware.data.sound.settings import FeatureSettings
    from taskaware.data.vocabulary.vocabulary import Vocabulary
    from taskaware.types import Task


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What all splits of a folder share.

    Attributes:
        tasks: The tasks, in the order of their numbers in the shards.
        vocabulary: The word pieces.
        features: How a waveform becomes features.
        stores_audio: Whether the shards hold recordings, whose features are computed when they are
            read, instead of features.
        stores_encoded: Whether the shards hold an encoder's outputs for recordings instead.
        num_feature_columns: F of features; ``None``: any.
        num_encoded_columns: D of an encoder's outputs; ``None``: any.
    """

    tasks: tuple[Task, ...]
    vocabulary: Vocabulary
    features: FeatureSettings
    stores_audio: bool
    stores_encoded: bool = False
    num_feature_columns: int | None = None
    num_encoded_columns: int | None = None

    def columns(self, task: Task) -> int | None:
        """Return the columns of the arrays that are a task's sources; ``None``: any, or no array.

        A recording that is kept as such is none.
        """
        if not task.modality.is_recording:
            return self.num_feature_columns
        if self.stores_audio:
            return None
        return self.num_encoded_columns if self.stores_encoded else self.num_feature_columns
