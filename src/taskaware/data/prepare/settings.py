"""How manifests become a prepared folder, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from taskaware.data.prepared.settings import ShardLimits
from taskaware.data.quality.settings import CheckSettings, CleaningSettings, OverlapSettings
from taskaware.data.sound.settings import FeatureSettings
from taskaware.settings.typed import MOST_WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """How manifests become a prepared folder.

    Attributes:
        vocabulary_size: Number of word pieces; fewer if the texts do not give that many. (The
            paper has 32,000 for millions of sentences; 8,000 suits tens of thousands.)
        max_bad_share: Largest share of a split's lines that may be left out, from 0 to 1.
        max_vocabulary_texts: Most distinct texts that the vocabulary is trained on; if there are
            more, a sample that depends only on the texts.
        store: ``"features"``: the shards hold log-Mel features, which are read fastest.
            ``"audio"``: they hold compressed recordings, whose features are computed during
            training; needed for augmentation of the signal.
        features: How a waveform becomes features.
        checks: When an example is left out.
        cleaning: Which texts of train are left out or normalised.
        overlap: What to do with train examples that another split has as well.
        shards: When a shard is full.
        num_workers: Threads that compute features; 0 means one for each core.
    """

    vocabulary_size: int = 8_000
    max_bad_share: float = 0.05
    max_vocabulary_texts: int = 1_000_000
    store: Literal["features", "audio"] = "features"
    features: FeatureSettings = field(default_factory=FeatureSettings)
    checks: CheckSettings = field(default_factory=CheckSettings)
    cleaning: CleaningSettings = field(default_factory=CleaningSettings)
    overlap: OverlapSettings = field(default_factory=OverlapSettings)
    shards: ShardLimits = field(default_factory=ShardLimits)
    num_workers: int = 0

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if not 0 <= self.max_bad_share <= 1:
            yield "max_bad_share", f"must be from 0 to 1, but is {self.max_bad_share}"
        for name in ("vocabulary_size", "max_vocabulary_texts"):
            if getattr(self, name) < 1:
                yield name, "must be at least 1"
        if not 0 <= self.num_workers <= MOST_WORKERS:
            yield "num_workers", f"must be from 0 to {MOST_WORKERS}"
