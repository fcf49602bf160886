"""From manifests to a prepared folder: checks, one vocabulary, features, a report.

The folder gets ``vocabulary.model``, for each split ``<split>.jsonl`` and ``<split>.features.npy``,
``report.tsv``, and last ``prepared.json``, which marks the folder as complete.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskaware.data import extraction, prepared
from taskaware.data.checks import CheckSettings, find_overlap
from taskaware.data.features import FeatureSettings
from taskaware.data.inputs import TRAIN, Inputs, Progress, read_inputs
from taskaware.data.split_writer import SplitReport, SplitWriter
from taskaware.data.vocabulary import Vocabulary, task_tag
from taskaware.errors import DataError, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskaware.data.manifest import LineProblem
    from taskaware.types import Example, Task

_SPLIT_NAME = re.compile(r"[\w-]+")
_NUM_REASONS = 3  # in the message that refuses a split; the report has them all


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """How manifests become a prepared folder.

    Attributes:
        vocabulary_size: Number of word pieces; fewer where the texts do not hold as many. (The
            paper has 32,000 for millions of sentences; 8,000 suits tens of thousands.)
        max_bad_share: Largest share of a split's lines that may be left out, from 0 to 1.
        features: How a waveform becomes features.
        checks: When an example is left out.
        num_workers: Threads that compute features; 0 means one for each core.
    """

    vocabulary_size: int = 8_000
    max_bad_share: float = 0.05
    features: FeatureSettings = field(default_factory=FeatureSettings)
    checks: CheckSettings = field(default_factory=CheckSettings)
    num_workers: int = 0


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
        if any(split.num_left_out for split in self.splits.values()):
            lines.append(f"left-out lines, each with its reason: {self.report_path}")
        return lines


def prepare(
    manifests: Mapping[str, Sequence[Path]],
    folder: Path,
    settings: PrepareSettings | None = None,
    *,
    vocabulary: Path | None = None,
    tags: Sequence[str] = (),
    progress: Progress | None = None,
) -> PrepareReport:
    """Check manifests, compute features, and write a prepared folder.

    A complete folder from the same manifests, recordings (by size and time of change) and settings
    is left as it is; any other prepared folder is made anew.

    Args:
        manifests: The manifests of each split: ``"train"``, ``"dev"``, ``"test"`` or any name.
        folder: Where to write; made where it is missing.
        settings: How; ``None`` for the defaults.
        vocabulary: An existing vocabulary to use; without it, one is trained on the texts of train.
        tags: Control pieces of a trained vocabulary, beside the one of each task.
        progress: Called as the work goes on.

    Raises:
        UserError: There is no train split and no vocabulary, or a split's name is no file name.
        ManifestError: A manifest is not one, or manifests disagree about a task.
        DataError: More of a split is bad than ``settings.max_bad_share``, or nothing of it is left.
    """
    settings = settings or PrepareSettings()
    progress = progress or (lambda stage, done, total: None)
    folder = Path(folder)
    _check_request(manifests, settings, vocabulary)
    inputs = read_inputs(manifests, progress)
    fingerprint = _fingerprint(inputs, settings, vocabulary, tags)
    complete = _complete_report(folder, fingerprint)
    if complete is not None:
        return complete
    _clear(folder)
    problems = {name: split.problems for name, split in inputs.splits.items()}
    # Before the work as well as after it, so that a wrong manifest is refused at once.
    _report_problems(folder, inputs, problems, settings)
    pieces = _make_vocabulary(inputs, settings, vocabulary, tags, progress)
    pieces.save(folder / prepared.VOCABULARY_NAME)
    num_columns = _num_feature_columns(inputs, settings)
    writer = SplitWriter(
        folder=folder,
        vocabulary=pieces,
        features=settings.features,
        checks=settings.checks,
        num_columns=num_columns,
        num_workers=settings.num_workers or extraction.num_available_cores(),
        progress=progress,
    )
    results = {name: writer.write(name, split) for name, split in inputs.splits.items()}
    _report_problems(folder, inputs, {n: r.problems for n, r in results.items()}, settings)
    examples = {name: result.examples for name, result in results.items()}
    _refuse_empty(examples, inputs.tasks)
    report = PrepareReport(
        folder=folder,
        splits={name: result.report for name, result in results.items()},
        warnings=tuple(_warnings(examples, inputs.tasks, pieces)),
        vocabulary_size=pieces.size,
        reused=False,
    )
    _write_marker(report, inputs.tasks, settings, pieces, num_columns, fingerprint)
    return report


def _check_request(
    manifests: Mapping[str, Sequence[Path]], settings: PrepareSettings, vocabulary: Path | None
) -> None:
    if TRAIN not in manifests and vocabulary is None:
        raise UserError(
            "a train manifest must be given, or an existing vocabulary, but there is neither"
        )
    for name, paths in manifests.items():
        if not _SPLIT_NAME.fullmatch(name):
            raise UserError(
                f"a split's name must be of letters, digits and any of _-, but is '{name}'"
            )
        if not paths:
            raise UserError(f"the split '{name}' must have a manifest, but has none")
    if not 0 <= settings.max_bad_share <= 1:
        raise UserError(f"max_bad_share must be from 0 to 1, but is {settings.max_bad_share}")


def _fingerprint(
    inputs: Inputs, settings: PrepareSettings, vocabulary: Path | None, tags: Sequence[str]
) -> str:
    """Return a hash of all that decides what a prepared folder holds."""
    decisive = {
        "format": prepared.FORMAT_VERSION,
        "inputs": inputs.sha256,
        "settings": asdict(replace(settings, num_workers=0)),
        "vocabulary": None if vocabulary is None else Vocabulary.load(vocabulary).sha256,
        "tags": list(tags),
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _complete_report(folder: Path, fingerprint: str) -> PrepareReport | None:
    """Return the report of a folder that is complete and made from the same."""
    try:
        marker = prepared.read_marker(folder)
    except DataError:  # damaged, or of another version: made anew
        return None
    if marker is None or marker["fingerprint"] != fingerprint:
        return None
    return PrepareReport(
        folder=folder,
        splits={name: SplitReport(**record) for name, record in marker["splits"].items()},
        warnings=tuple(marker["warnings"]),
        vocabulary_size=marker["vocabulary_size"],
        reused=True,
    )


def _clear(folder: Path) -> None:
    """Make the folder, and make it incomplete first of all."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: must be a folder, but is a file: give another name")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / prepared.MARKER_NAME).unlink(missing_ok=True)


def _make_vocabulary(
    inputs: Inputs,
    settings: PrepareSettings,
    vocabulary: Path | None,
    tags: Sequence[str],
    progress: Progress,
) -> Vocabulary:
    if vocabulary is not None:
        return Vocabulary.load(vocabulary)
    progress("vocabulary", 0, 1)
    texts: set[str] = set()
    for line in inputs.splits[TRAIN].lines:
        texts.update((line.example.target_text, line.example.source_text or ""))
    all_tags = [*(task_tag(task.name) for task in inputs.tasks), *tags]
    pieces = Vocabulary.train(sorted(texts), size=settings.vocabulary_size, tags=all_tags)
    progress("vocabulary", 1, 1)
    return pieces


def _num_feature_columns(inputs: Inputs, settings: PrepareSettings) -> int:
    """Return F of all sources: of the speech, else of the first NumPy file, else 0."""
    examples = inputs.examples
    if any(example.speech is not None for example in examples):
        return settings.features.num_mel_bins
    paths = (example.features_path for example in examples if example.features_path is not None)
    widths = (extraction.num_feature_columns(path) for path in paths)
    return next((width for width in widths if width is not None), 0)


def _report_problems(
    folder: Path,
    inputs: Inputs,
    problems: Mapping[str, Sequence[LineProblem]],
    settings: PrepareSettings,
) -> None:
    """Write ``report.tsv``, and stop where more of a split is bad than the user allows."""
    _write_report(folder, problems)
    for name, bad in problems.items():
        num_lines = inputs.splits[name].num_lines
        if len(bad) <= settings.max_bad_share * num_lines:
            continue
        raise DataError(
            f"at most {settings.max_bad_share:.1%} of the lines of the split '{name}' may be bad "
            f"(max_bad_share), but {len(bad)} of {num_lines} are ({len(bad) / num_lines:.1%}); "
            f"most common:{_common_reasons(bad)}\n{folder / prepared.REPORT_NAME} lists them all: "
            "correct them, or raise max_bad_share to leave them out"
        )


def _common_reasons(problems: Sequence[LineProblem]) -> str:
    """Return the most common reasons, a line each, each with its first place."""
    # Numbers and names differ from line to line, so reasons are counted without them.
    kinds = [(p.field, re.sub(r"'[^']*'|\S*[/\d]\S*", "#", p.reason)) for p in problems]
    return "".join(
        f"\n  {count} x {first.field}: {first.reason} ({first.file}, line {first.line})"
        for kind, count in Counter(kinds).most_common(_NUM_REASONS)
        for first in [problems[kinds.index(kind)]]
    )


def _refuse_empty(examples: Mapping[str, Sequence[Example]], tasks: Sequence[Task]) -> None:
    for name, kept in examples.items():
        if not kept:
            raise DataError(f"the split '{name}' must have an example, but none is left")
    for task in tasks:
        if TRAIN in examples and all(example.task != task.name for example in examples[TRAIN]):
            raise DataError(
                f"the task '{task.name}' must have an example in train, but none is there or left"
            )


def _write_report(folder: Path, problems: Mapping[str, Sequence[LineProblem]]) -> None:
    rows = [("split", "file", "line", "id", "field", "reason")]
    for name, items in problems.items():
        rows += [(name, str(p.file), str(p.line), p.example_id, p.field, p.reason) for p in items]
    lines = ["\t".join(" ".join(cell.split()) for cell in row) for row in rows]
    path = folder / prepared.REPORT_NAME
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _warnings(
    kept: Mapping[str, Sequence[Example]], tasks: Sequence[Task], vocabulary: Vocabulary
) -> list[str]:
    warnings = [
        f"the vocabulary has no piece for the task '{task.name}', which a cue by tag would need"
        for task in tasks
        if not vocabulary.has_tag(task_tag(task.name))
    ]
    for name, examples in kept.items():
        if TRAIN in kept and name != TRAIN:
            warnings += find_overlap(name, examples, kept[TRAIN])
    return warnings


def _write_marker(
    report: PrepareReport,
    tasks: Sequence[Task],
    settings: PrepareSettings,
    vocabulary: Vocabulary,
    num_columns: int,
    fingerprint: str,
) -> None:
    """Write ``prepared.json``, in one step: its presence means that all else is there."""
    marker: dict[str, Any] = {
        "format": prepared.FORMAT_VERSION,
        "fingerprint": fingerprint,
        "tasks": [asdict(task) for task in tasks],
        "settings": asdict(settings),
        "num_feature_columns": num_columns,
        "vocabulary_sha256": vocabulary.sha256,
        "vocabulary_size": vocabulary.size,
        "splits": {name: asdict(split) for name, split in report.splits.items()},
        "warnings": list(report.warnings),
    }
    path = report.folder / prepared.MARKER_NAME
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(marker, indent=2, ensure_ascii=False), encoding="utf-8")
    unfinished.replace(path)
