"""``report.tsv``: every manifest line that a prepared folder does not use, and why."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskaware.line_file import open_lines

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.data.manifest.line import LineProblem

_NUM_REASONS = 3  # in the message that refuses a split; the report has them all
_COLUMNS = ("split", "file", "line", "id", "field", "reason")


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """What problems have in common that differ in numbers and names alone."""

    split: str
    field: str
    reason: str


class ProblemReport:
    """Writes the report line by line, and counts.

    Args:
        path: The file; an earlier one is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_lines(path, errors="backslashreplace")
        self._file.write("\t".join(_COLUMNS) + "\n")
        self._counts: Counter[_Kind] = Counter()
        self._first: dict[_Kind, LineProblem] = {}
        self._removed: Counter[tuple[str, str]] = Counter()
        self._first_removed: dict[tuple[str, str], str] = {}

    def add(self, split: str, problem: LineProblem, *, removed_by: str = "") -> None:
        """Write down a problem.

        Args:
            split: Where the line is.
            problem: What is wrong with it.
            removed_by: The user's wish that removes the line, e.g. ``"cleaning"``; the line is then
                not bad, only unwanted.
        """
        cells = (
            *(split, str(problem.file), str(problem.line), problem.example_id),
            *(problem.field, problem.reason),
        )
        self._file.write("\t".join(" ".join(cell.split()) for cell in cells) + "\n")
        if removed_by:
            self._removed[split, removed_by] += 1
            place = f"{problem.file}, line {problem.line}"
            self._first_removed.setdefault(
                (split, removed_by), f"{place}: {problem.field} {problem.reason}"
            )
            return
        # Numbers and names differ from line to line, so reasons are counted without them.
        reason = re.sub(r"'[^']*'|\S*[/\d]\S*", "#", problem.reason)
        kind = _Kind(split=split, field=problem.field, reason=reason)
        self._counts[kind] += 1
        self._first.setdefault(kind, problem)

    def num_bad(self, split: str) -> int:
        """Return how many lines of a split cannot be used."""
        return sum(n for kind, n in self._counts.items() if kind.split == split)

    def num_removed(self, split: str) -> dict[str, int]:
        """Return how many lines of a split are unwanted, by what removes them."""
        return {by: number for (of, by), number in self._removed.items() if of == split}

    def first_removed(self, split: str, by: str) -> str:
        """Return the first line that something removes: where it is, and why."""
        return self._first_removed[split, by]

    def common_reasons(self, split: str) -> str:
        """Return the most common reasons, a line each, each with its first place."""
        kinds = Counter({kind: n for kind, n in self._counts.items() if kind.split == split})
        return "".join(
            f"\n  {count} x {first.field}: {first.reason} ({first.file}, line {first.line})"
            for kind, count in kinds.most_common(_NUM_REASONS)
            for first in [self._first[kind]]
        )

    def close(self) -> None:
        """Complete the file."""
        self._file.close()
