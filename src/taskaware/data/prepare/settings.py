"""How manifests become a prepared folder, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from taskaware.data.prepared import folder as prepared
from taskaware.data.prepared.shards import ShardLimits
from taskaware.data.quality.checks import CheckSettings
from taskaware.data.quality.overlap import OverlapSettings
from taskaware.data.quality.settings import CleaningSettings
from taskaware.data.sound.features import FeatureSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from taskaware.data.prepare.split_writer import SplitReport


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """How manifests become a prepared folder.

    Attributes:
        vocabulary_size: Number of word pieces; fewer where the texts do not hold as many. (The
            paper has 32,000 for millions of sentences; 8,000 suits tens of thousands.)
        max_bad_share: Largest share of a split's lines that may be left out, from 0 to 1.
        max_vocabulary_texts: Most distinct texts that the vocabulary is trained on; of more, a
            sample that depends on the texts alone.
        store: ``"features"``: the shards hold log-Mel features, which are read fastest.
            ``"audio"``: they hold compressed recordings, whose features are computed while training
            goes on; needed for augmentation of the signal.
        features: How a waveform becomes features.
        checks: When an example is left out.
        cleaning: What train does not want although it could be used.
        overlap: What becomes of train examples that a later split has as well.
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
        if self.num_workers < 0:
            yield "num_workers", "must be at least 0"


@dataclass(frozen=True, kw_only=True)
class PrepareReport:
    """What ``prepare`` did.

    Attributes:
        folder: The prepared folder.
        splits: What became of each split.
        warnings: What is worth knowing, one sentence each.
        vocabulary_size: Number of pieces.
        reused: Whether the folder was complete before, so that nothing was done.
    """

    folder: Path
    splits: dict[str, SplitReport]
    warnings: tuple[str, ...]
    vocabulary_size: int
    reused: bool

    @property
    def report_path(self) -> Path:
        """The file that lists every line that is left out."""
        return self.folder / prepared.REPORT_NAME

    def summary_lines(self) -> list[str]:
        """Return the numbers for a person to read: a table of splits and tasks, and what else is.

        Hours and left-out lines are a split's: several tasks may share a recording, which counts
        once, and a line that cannot be read has no task.
        """
        rows = [("split", "task", "examples", "hours of speech", "lines left out")]
        for name, split in self.splits.items():
            total = sum(split.examples.values())
            rows.append(
                (name, "all", f"{total:,}", f"{split.hours:,.2f}", f"{split.num_left_out:,}")
            )
            rows += [("", task, f"{number:,}", "", "") for task, number in split.examples.items()]
        widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
        aligns = "<<>>>"
        lines = [
            "  ".join(
                f"{cell:{align}{width}}"
                for cell, align, width in zip(row, aligns, widths, strict=True)
            ).rstrip()
            for row in rows
        ]
        lines.append(f"vocabulary: {self.vocabulary_size:,} pieces")
        for name, split in self.splits.items():
            lines += [
                f"{name}: {number:,} of the left-out lines are there because of {by}"
                for by, number in split.removed.items()
            ]
        if any(split.num_left_out for split in self.splits.values()):
            lines.append(f"left-out lines, each with its reason: {self.report_path}")
        return lines
