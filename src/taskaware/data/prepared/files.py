"""What ``prepare`` writes into its folder: the names that must be free or ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.data.prepared import folder as prepared
from taskaware.data.prepared.marker import read_contents
from taskaware.data.prepared.storage import LocalStore
from taskaware.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

WORK_NAME = ".work"


def written_names(splits: Iterable[str]) -> list[str]:
    """Return what is written into a prepared folder: it must be free or ours."""
    files = (prepared.MARKER_NAME, prepared.VOCABULARY_NAME, prepared.REPORT_NAME)
    return [*files, *splits, WORK_NAME]


def written_earlier(folder: Path) -> list[str]:
    """Return what a version that kept no record wrote: what its marker vouches for."""
    try:
        marker = prepared.read_marker(LocalStore(folder))
        if marker is None:
            return []
        splits = read_contents(marker, str(folder)).shards
    except (DataError, OSError):
        return []
    files = [prepared.MARKER_NAME, prepared.VOCABULARY_NAME, prepared.REPORT_NAME]
    for split, shards in splits.items():
        for shard in shards:
            files += [f"{split}/{shard.name}", f"{split}/{shard.index_name}"]
    return files
