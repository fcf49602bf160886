"""What a prepared folder is made from: the manifests of all splits, read and brought together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskaware.data import manifest
from taskaware.data.checks import Finding
from taskaware.data.manifest import LineProblem, ManifestContents, ManifestLine

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.types import Example, Task

TRAIN = "train"
Progress = Callable[[str, int, int], None]
"""Called with the stage, how much of it is done, and how much there is."""


@dataclass(frozen=True, kw_only=True)
class SplitInput:
    """The lines of all manifests of one split.

    Attributes:
        lines: The good lines, in order.
        problems: One problem for each bad line.
    """

    lines: tuple[ManifestLine, ...]
    problems: tuple[LineProblem, ...]

    @property
    def num_lines(self) -> int:
        """Number of lines, good and bad."""
        return len(self.lines) + len(self.problems)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The manifests of all splits.

    Attributes:
        splits: The lines of each split, train first.
        tasks: The tasks of all splits, in the order of their first lines.
        sha256: Changes with the bytes and names of the manifests, and with the size and the time of
            change of every file that they name.
    """

    splits: Mapping[str, SplitInput]
    tasks: tuple[Task, ...]
    sha256: str

    @property
    def examples(self) -> list[Example]:
        """The examples of all good lines."""
        return [line.example for split in self.splits.values() for line in split.lines]


def read_inputs(manifests: Mapping[str, Sequence[Path]], progress: Progress) -> Inputs:
    """Read all manifests, train first whatever the order of ``manifests``.

    Raises:
        ManifestError: A manifest is not one, or two of them disagree about a task.
    """
    names = sorted(manifests, key=lambda name: name != TRAIN)
    total, done = sum(len(manifests[name]) for name in names), 0
    contents: dict[str, list[ManifestContents]] = {}
    for name in names:
        contents[name] = []
        for path in manifests[name]:
            contents[name].append(manifest.read(path))
            done += 1
            progress("read manifests", done, total)
    return Inputs(
        splits={name: _join(items) for name, items in contents.items()},
        tasks=_merge_tasks([item for items in contents.values() for item in items]),
        sha256=_sha256(contents),
    )


def line_problem(line: ManifestLine, finding: Finding) -> LineProblem:
    """Say that a line which reads well turned out bad."""
    return LineProblem(
        file=line.file,
        line=line.line,
        example_id=line.example.id,
        field=finding.field,
        reason=finding.reason,
    )


def _join(items: Sequence[ManifestContents]) -> SplitInput:
    """Join the manifests of a split; ids must be unique in all of them together."""
    first_lines: dict[str, ManifestLine] = {}
    problems = [problem for item in items for problem in item.problems]
    for line in (line for item in items for line in item.lines):
        first = first_lines.setdefault(line.example.id, line)
        if first is not line:
            reason = (
                f"must be unique in the split, but {first.file}, line {first.line} has it as well"
            )
            problems.append(line_problem(line, Finding(field="id", reason=reason)))
    return SplitInput(lines=tuple(first_lines.values()), problems=tuple(problems))


def _merge_tasks(items: Sequence[ManifestContents]) -> tuple[Task, ...]:
    tasks: dict[str, tuple[Task, str]] = {}
    for item in items:
        for task in item.tasks:
            place = f"{item.path}, line {item.task_lines[task.name]}"
            first, first_place = tasks.setdefault(task.name, (task, place))
            manifest.check_same_task(first, first_place, task, place)
    return tuple(task for task, _ in tasks.values())


def _sha256(contents: Mapping[str, Sequence[ManifestContents]]) -> str:
    digest = hashlib.sha256()
    files: set[Path] = set()
    for name, items in contents.items():
        digest.update(f"split {name}\n".encode())
        for item in items:
            digest.update(f"{item.path.absolute()} {item.sha256}\n".encode())
            files.update(_files(item))
    for path in sorted(files):
        try:
            stat = path.stat()
            digest.update(f"{path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        except (OSError, ValueError):
            digest.update(f"{path} missing\n".encode())
    return digest.hexdigest()


def _files(contents: ManifestContents) -> set[Path]:
    """Return the recordings and NumPy files that a manifest names."""
    examples = contents.examples
    recordings = {example.speech.path for example in examples if example.speech is not None}
    return recordings | {example.features_path for example in examples if example.features_path}
