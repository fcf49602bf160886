"""The manifests that synthetic examples are made from: looked over once, then read in order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskaware.data.manifest.line import LineProblem, ManifestLine
from taskaware.data.manifest.read import TaskTable, iterate_manifest
from taskaware.errors import UserError, counted, unknown_task
from taskaware.files import file_sha256

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from taskaware.types import StageProgress, Task


_LINES_BETWEEN_REPORTS = 10_000


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What some manifests hold together.

    Attributes:
        paths: The manifests, in order.
        hashes: SHA-256 of each one's bytes, in hexadecimal.
        tasks: The tasks, in the order of their first lines.
        num_examples: Good lines, by dataset and task.
        num_bad: Lines that cannot be read; ``taskaware prepare`` lists such lines.
    """

    paths: tuple[Path, ...]
    hashes: tuple[str, ...]
    tasks: tuple[Task, ...]
    num_examples: Counter[tuple[str, str]]
    num_bad: int

    def task(self, name: str) -> Task:
        """Return a task by its name.

        Raises:
            UnknownTaskError: The manifests have none of this name.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        names = [task.name for task in self.tasks]
        where = ", ".join(str(path) for path in self.paths)
        raise unknown_task(name, names, of=where)

    @property
    def made_from(self) -> list[dict[str, str]]:
        """What the journal of a manifest says of the manifests that it is made from."""
        pairs = zip(self.paths, self.hashes, strict=True)
        return [{"path": str(path.absolute()), "sha256": value} for path, value in pairs]

    def count(self, tasks: Collection[Task]) -> int:
        """Return the number of examples of some tasks."""
        names = {task.name for task in tasks}
        return sum(number for (_, task), number in self.num_examples.items() if task in names)

    def datasets(self, tasks: Collection[Task]) -> tuple[str, ...]:
        """Return the datasets of some tasks, in order."""
        names = {task.name for task in tasks}
        return tuple(dict.fromkeys(data for data, task in self.num_examples if task in names))


def survey(paths: Sequence[Path], progress: StageProgress | None = None) -> Survey:
    """Read manifests through once, in little memory whatever their size.

    Raises:
        ManifestError: One of them is not a manifest, or two lines disagree about a task.
        UserError: There is no manifest, or no good line in any.
    """
    if not paths:
        raise UserError("at least one manifest must be given, but there is none")
    tasks, num_examples, num_bad = TaskTable(), Counter[tuple[str, str]](), 0
    for path in paths:
        for number, item in enumerate(iterate_manifest(path), start=1):
            if progress is not None and number % _LINES_BETWEEN_REPORTS == 0:
                progress(f"read {path.name}", number, 0)
            if isinstance(item, LineProblem):
                num_bad += 1
                continue
            tasks.add(item)
            num_examples[item.example.dataset, item.task.name] += 1
    if not num_examples:
        where = ", ".join(str(path) for path in paths)
        raise UserError(
            f"{where} must have an example, but has none ({counted(num_bad, 'bad line')})"
        )
    return Survey(
        paths=tuple(paths),
        hashes=tuple(file_sha256(path) for path in paths),
        tasks=tasks.tasks,
        num_examples=num_examples,
        num_bad=num_bad,
    )


def lines_of(
    paths: Sequence[Path], tasks: Collection[Task] | None = None
) -> Iterator[ManifestLine]:
    """Yield the good lines of some tasks (``None``: of all), in order."""
    names = None if tasks is None else {task.name for task in tasks}
    for path in paths:
        for item in iterate_manifest(path):
            if isinstance(item, ManifestLine) and (names is None or item.task.name in names):
                yield item


def short_name(path: Path) -> str:
    """Return a file's name with its folder's, which tells the datasets of a recipe apart."""
    return "/".join(path.parts[-2:])


def join_origins(first: str, second: str) -> str:
    """Return the origin of what was made in two steps."""
    return f"{first}; {second}" if first else second
