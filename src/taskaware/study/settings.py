"""The study file: which runs, on which data, make which rows. Imports no torch.

A study has sizes (``tiny``, ``small``, ``paper``, or any other name): each says what to train on,
from which experiment file, with how many seeds. Runs and rows are the same in every size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

# Read when annotations become types, so it must be here when the module runs.
from taskaware.data.embedded.settings import EmbeddedCorpusSettings  # noqa: TC001
from taskaware.errors import nearest
from taskaware.settings import typed as settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOST_OF_NAME = 150  # bytes: of the 255 that file systems take, seed and digest need some
_NAME = f"must be a word or words without a slash, of at most {_MOST_OF_NAME} bytes"
_MOST_EXAMPLES = 999_999_999
_SUPPORT = re.compile(r"support-([1-9][0-9]{0,8})")


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Where a size's data come from.

    Attributes:
        folder: A prepared folder; a relative path counts from where the command runs.
        how: How to make the folder: shown to a user who does not have it.
        embedded: In place of a folder: the embedded corpus, which the study makes itself.
        vocabulary_size: Word pieces of the embedded corpus.
    """

    folder: Path | None = None
    how: str = ""
    embedded: EmbeddedCorpusSettings | None = None
    vocabulary_size: int = 1000

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if (self.folder is None) == (self.embedded is None):
            yield "folder", "must be set, or `embedded` must be, and not both"
        if self.vocabulary_size < 1:
            yield "vocabulary_size", f"must be at least 1, but is {self.vocabulary_size}"


@dataclass(frozen=True, kw_only=True)
class SizeSettings:
    """How large a study is.

    Attributes:
        experiment: The experiment file that all runs begin from, relative to the study file.
        data: Data by name; a run uses `main` unless it names another.
        seeds: A run is trained once for each.
        overrides: Fields over the experiment file's, for all runs.
        groups: Further fields, for the runs of a group.
        split: The split that is scored.
    """

    experiment: Path
    data: dict[str, DataSource]
    seeds: tuple[int, ...] = (1, 2, 3)
    overrides: tuple[str, ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    split: str = "test"

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            yield "seeds", "must be one or more different numbers"
        if not is_name(self.split):
            yield "split", _NAME


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """One training.

    Attributes:
        name: What rows call it.
        overrides: Fields over the size's own, as on the command line of `taskaware train`.
        tasks: The tasks to train, by name; empty: all.
        num_tasks: The first so many tasks of the data, in its order; 0: all.
        start: The run whose model of the same seed this one starts from; empty: new weights.
        data: Which of the size's data.
        group: Whose further fields of the size hold for it.
        support_examples: Numbers of support examples to try at inference, after training.
    """

    name: str
    overrides: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    num_tasks: int = 0
    start: str = ""
    data: str = "main"
    group: str = ""
    support_examples: tuple[int, ...] = ()

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if not is_name(self.name):
            yield "name", _NAME
        if self.num_tasks < 0:
            yield "num_tasks", f"must be at least 0, but is {self.num_tasks}"
        if self.num_tasks and self.tasks:
            yield "num_tasks", "must be set, or `tasks` must be, and not both"
        if len(set(self.tasks)) < len(self.tasks):
            yield "tasks", "must name each task once"
        if not all(1 <= number <= _MOST_EXAMPLES for number in self.support_examples):
            yield "support_examples", f"must be numbers from 1 to {_MOST_EXAMPLES:,}"


def is_name(name: str) -> bool:
    """Return whether a name may be part of the name of a folder of a study's."""
    return settings.is_folder_name(name) and len(name.encode()) <= _MOST_OF_NAME


def support_number(which: str) -> int:
    """Return the N of ``support-N``, or 0 where it is another of a run's models."""
    found = _SUPPORT.fullmatch(which)
    return int(found[1]) if found else 0


@dataclass(frozen=True, kw_only=True)
class RowSettings:
    """One row of the table.

    Attributes:
        label: What the table calls it.
        run: The run that makes it.
        runs: In place of `run`, a run for each task.
        which: Which of the run's models: `model`, `average` (of the last checkpoints), `taskwise`
            (for each task the best on its dev set), or `support-N` (the task embedding from N
            examples).
        against: The label of the row that it is compared with.
        paper: What the paper reports, by kind of task, or by task.
        note: A remark for the reader.
    """

    label: str
    run: str = ""
    runs: dict[str, str] = field(default_factory=dict)
    which: str = "model"
    against: str = ""
    paper: dict[str, str] = field(default_factory=dict)
    note: str = ""

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if bool(self.run) == bool(self.runs):
            yield "run", "must be set, or `runs` must be, and not both"
        words = ("model", "average", "taskwise")
        if self.which not in words and not support_number(self.which):
            yield (
                "which",
                f"must be one of {', '.join(words)}, or support-N with a number of at least 1, "
                f"but is '{self.which}'{nearest(self.which, words)}",
            )
        if self.against == self.label:
            yield "against", f"must be another row, but is the label of this one, '{self.label}'"

    @property
    def run_names(self) -> tuple[str, ...]:
        """Every run that the row needs."""
        return (self.run,) if self.run else tuple(dict.fromkeys(self.runs.values()))


@dataclass(frozen=True, kw_only=True)
class MatrixSettings:
    """A forgetting matrix: every task's score after every stage.

    Attributes:
        label: Which way of learning it is.
        stages: Runs, in order; each but the first starts from one before.
        names: What the table calls the stages; empty: the runs' names.
    """

    label: str
    stages: tuple[str, ...]
    names: tuple[str, ...] = ()

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if len(self.stages) < 2:
            yield "stages", "must be two runs or more"
        if self.names and len(self.names) != len(self.stages):
            yield "names", f"must have as many names as `stages` ({len(self.stages)}), or empty"


@dataclass(frozen=True, kw_only=True)
class EmbeddingsSettings:
    """A picture of the task embeddings of single test examples (Figure 2 of the paper).

    Attributes:
        title: What is shown.
        run: The run whose embeddings they are, of the first seed.
        kinds: Kinds of task to show; empty: all.
        colour_by: Whether tasks or corpora have the colours.
    """

    title: str
    run: str
    kinds: tuple[str, ...] = ()
    colour_by: Literal["task", "dataset"] = "task"


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """A study: many runs, one table.

    Attributes:
        name: What its folder is called.
        title: What its page is called.
        question: What it asks, in a sentence.
        sizes: By name.
        runs: The trainings.
        rows: The table.
        matrices: Forgetting.
        embeddings: Pictures of task embeddings.
        curves: Runs whose learning curves are drawn.
    """

    name: str
    title: str
    question: str
    sizes: dict[str, SizeSettings]
    runs: tuple[RunSettings, ...]
    rows: tuple[RowSettings, ...]
    matrices: tuple[MatrixSettings, ...] = ()
    embeddings: tuple[EmbeddingsSettings, ...] = ()
    curves: tuple[str, ...] = ()

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if not is_name(self.name):
            yield "name", _NAME
        for name in ("sizes", "runs", "rows"):
            if not getattr(self, name):
                yield name, "must have at least one"
        for size_name in self.sizes:
            if not is_name(size_name):
                yield "sizes", f"'{size_name}' {_NAME}"
        names = [run.name for run in self.runs]
        if len(set(names)) != len(names):
            yield "runs", "must have different names"
        labels = [row.label for row in self.rows]
        if len(set(labels)) != len(labels):
            yield "rows", "must have different labels"
        yield from self._unknown_runs(names)
        yield from self._unknown_groups()
        yield from self._unrelated_stages()
        for row in self.rows:
            if row.against and row.against not in labels:
                yield (
                    "rows",
                    f"must be compared with a row, but '{row.label}' is with "
                    + (f"'{row.against}'{nearest(row.against, labels)}"),
                )
        for run in self.runs:
            for size_name, size in self.sizes.items():
                if run.data not in size.data:
                    yield (
                        "sizes",
                        f"must have the data '{run.data}' of the run '{run.name}', but "
                        + (f"'{size_name}' has {', '.join(size.data)}"),
                    )

    def _unknown_groups(self) -> Iterator[tuple[str, str]]:
        """A size may lack a group: then nothing further holds there. One must have it."""
        groups = dict.fromkeys(name for size in self.sizes.values() for name in size.groups)
        for run in self.runs:
            if run.group and run.group not in groups:
                yield (
                    "runs",
                    f"'{run.name}' must be of a group of a size ({', '.join(groups) or 'none'}), "
                    f"but is of '{run.group}'{nearest(run.group, groups)}",
                )

    def _unrelated_stages(self) -> Iterator[tuple[str, str]]:
        starts = {run.name: run.start for run in self.runs}
        for matrix in self.matrices:
            for number, stage in enumerate(matrix.stages):
                if number and stage in starts and starts[stage] not in matrix.stages[:number]:
                    yield (
                        "matrices",
                        f"'{matrix.label}' must have stages of which each starts from one before, "
                        f"but '{stage}' starts from '{starts[stage] or 'new weights'}'",
                    )

    def _unknown_runs(self, names: list[str]) -> Iterator[tuple[str, str]]:
        before: set[str] = set()
        for run in self.runs:
            if run.start and run.start not in before:
                yield (
                    "runs",
                    f"'{run.name}' must start from a run above it, but starts from "
                    + (f"'{run.start}'{nearest(run.start, before)}"),
                )
            before.add(run.name)
        asked = {
            "rows": [name for row in self.rows for name in row.run_names],
            "matrices": [name for matrix in self.matrices for name in matrix.stages],
            "embeddings": [picture.run for picture in self.embeddings],
            "curves": list(self.curves),
        }
        for where, wanted in asked.items():
            for name in wanted:
                if name not in names:
                    yield where, f"must name runs, but names '{name}'{nearest(name, names)}"


def load(path: Path) -> StudySettings:
    """Read a study file.

    Raises:
        ExperimentError: Unknown keys, wrong types, impossible values; each with file and line.
    """
    return settings.load(StudySettings, path)
