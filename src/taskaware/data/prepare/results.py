"""What became of manifests: the report of a preparation, split by split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from taskaware.data.prepared import folder as prepared
from taskaware.data.prepared.shards import ShardRecord
from taskaware.data.prepared.storage import LocalStore
from taskaware.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


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
                f"{name}: {number:,} of the lines were left out by {by}"
                for by, number in split.removed.items()
            ]
        if any(split.num_left_out for split in self.splits.values()):
            lines.append(f"left-out lines, each with its reason: {self.report_path}")
        return lines


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """What became of one split.

    Attributes:
        examples: Number of examples that are used, by task.
        num_left_out: Number of lines that are not used.
        removed: Those of them that could be used and are not wanted, by what removes them.
        num_frames: Feature frames in the shards; what several examples share counts once.
        hours: The same as hours of speech; 0 for features that the manifest brings.
        shards: The shards.
    """

    examples: dict[str, int]
    num_left_out: int
    num_frames: int
    hours: float
    removed: dict[str, int] = field(default_factory=dict)
    shards: tuple[ShardRecord, ...] = ()

    @property
    def num_lines(self) -> int:
        """Number of lines in the manifests, good and bad."""
        return sum(self.examples.values()) + self.num_left_out


def complete_report(folder: Path, fingerprint: str) -> PrepareReport | None:
    """Return the report of a folder that is complete, undamaged and made from the same."""
    try:
        marker = prepared.read_marker(LocalStore(folder))
    except DataError:  # damaged, or of another version: made again
        return None
    if marker is None or marker.get("fingerprint") != fingerprint:
        return None
    try:
        data = prepared.PreparedData.open(folder)
        for name in data.split_names:
            split = data.split(name)
            split.open_shards(range(len(split.records)))
        return PrepareReport(
            folder=folder,
            splits={name: _split_report(record) for name, record in marker["splits"].items()},
            warnings=tuple(marker["warnings"]),
            vocabulary_size=marker["vocabulary_size"],
            reused=True,
        )
    except (DataError, OSError, KeyError, TypeError):  # a shard, or the file, is damaged
        return None


def _split_report(record: Mapping[str, Any]) -> SplitReport:
    shards = tuple(ShardRecord(**shard) for shard in record["shards"])
    return SplitReport(**{**record, "shards": shards})
