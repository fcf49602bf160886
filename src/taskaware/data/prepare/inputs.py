"""The manifests of all splits, read once: what is good is stored, what is bad reported.

Nothing here grows with the manifests but 16 bytes a line, for the ids. What is stored is a file of
JSON lines for each split and modality, in the order of the manifests.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from taskaware.data.hashes import FirstSeen, hash_texts
from taskaware.data.manifest.line import LineProblem, ManifestLine
from taskaware.data.manifest.read import IdTable, TaskTable, check_same_task, iterate_manifest
from taskaware.data.prepare.text_sample import TextSample
from taskaware.data.prepared.shards import example_from_record, example_to_record
from taskaware.files import file_sha256, to_json
from taskaware.line_file import open_lines
from taskaware.types import MODALITIES, TRAIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from taskaware.data.prepare.problems import ProblemReport
    from taskaware.data.quality.checks import Finding
    from taskaware.types import Example, Modality, StageProgress, Task


@dataclass(frozen=True, kw_only=True)
class Removed:
    """An example that reads well and is not wanted.

    Attributes:
        by: What removes it, e.g. ``"cleaning"``.
        finding: Why.
    """

    by: str
    finding: Finding


Filter = Callable[["Example", "Task"], "Example | Removed"]
"""Returns an example, perhaps changed, or why it is not wanted."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The manifests of all splits, read.

    Attributes:
        tasks: The tasks of all splits, in the order of their first lines, train's first.
        sha256: Changes with the bytes and names of the manifests, and with the size and the time of
            change of every file that they name.
        num_lines: Number of lines by split, good and bad.
        num_kept: Number of lines stored, by split and modality.
        texts: What a vocabulary can be trained on.
        feature_paths: A NumPy file of features, where the manifests name any.
        has_speech: Whether any example is speech.
    """

    tasks: tuple[Task, ...]
    sha256: str
    num_lines: Mapping[str, int]
    num_kept: Mapping[tuple[str, Modality], int]
    texts: TextSample
    feature_paths: tuple[Path, ...]
    has_speech: bool


@dataclass
class _Scan:
    """What is known so far."""

    folder: Path
    report: ProblemReport
    texts: TextSample
    tasks: dict[str, TaskTable] = field(default_factory=dict)
    digests: dict[str, bytes] = field(default_factory=dict)
    num_lines: dict[str, int] = field(default_factory=dict)
    num_kept: dict[tuple[str, Modality], int] = field(default_factory=dict)
    feature_paths: list[Path] = field(default_factory=list)
    has_speech: bool = False


def read_inputs(
    manifests: Mapping[str, Sequence[Path]],
    folder: Path,
    report: ProblemReport,
    progress: StageProgress,
    *,
    max_texts: int,
    look_at_held_out: Callable[[str, Example], None] | None = None,
    train_filter: Filter | None = None,
) -> Inputs:
    """Read all manifests, train last, and store what is good in ``folder``.

    Args:
        manifests: The manifests of each split.
        folder: Where to store it; see ``read_kept``.
        report: Collects what is bad.
        progress: Called as the work advances, in bytes.
        max_texts: Most texts for a vocabulary.
        look_at_held_out: Is shown every example of every other split before train is read.
        train_filter: Decides about every example of train.

    Raises:
        ManifestError: A manifest is not one, or two of them disagree about a task.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scan = _Scan(folder=folder, report=report, texts=TextSample(max_texts))
    total = sum(_size(path) for paths in manifests.values() for path in paths)
    done = 0
    for split in sorted(manifests, key=lambda name: name == TRAIN):
        look = look_at_held_out if split != TRAIN else None
        accept = train_filter if split == TRAIN else None
        done = _read_split(scan, split, manifests[split], (done, total, progress), look, accept)
    progress("read manifests", total, total)
    table: dict[str, tuple[Task, str]] = {}
    ordered = sorted(manifests, key=lambda name: name != TRAIN)
    for split in ordered:
        for name, (task, place) in scan.tasks[split].places.items():
            first = table.setdefault(name, (task, place))
            check_same_task(*first, task, place)
    digest = hashlib.sha256(b"".join(scan.digests[split] for split in ordered))
    return Inputs(
        tasks=tuple(task for task, _ in table.values()),
        sha256=digest.hexdigest(),
        num_lines={split: scan.num_lines[split] for split in ordered},
        num_kept=scan.num_kept,
        texts=scan.texts,
        feature_paths=tuple(scan.feature_paths),
        has_speech=scan.has_speech,
    )


def read_kept(
    folder: Path, split: str, modality: Modality, tasks: Sequence[Task], skip: int = 0
) -> Iterator[ManifestLine]:
    """Yield what was stored of a split and a modality, from a line on."""
    by_name = {task.name: task for task in tasks}
    with _kept_path(folder, split, modality).open(encoding="utf-8", newline="\n") as file:
        for number, text in enumerate(file):
            if number < skip:
                continue
            yield _kept_line(text, by_name)


def read_kept_by_recording(
    folder: Path, split: str, modality: Modality, tasks: Sequence[Task], skip: int = 0
) -> Iterator[ManifestLine]:
    """Yield what was stored as ``read_kept`` does, but all lines of a recording together.

    The recordings come in the order of their first lines. Memory grows by some 50 bytes a line.
    """
    by_name = {task.name: task for task in tasks}
    seen, places, first = FirstSeen(), array("Q"), array("Q")
    with _kept_path(folder, split, modality).open("rb") as file:
        place = 0
        for number, text in enumerate(file):
            speech = json.loads(text)[2].get("speech", {})
            earlier = seen.put(
                hash_texts(*(f"{key}={speech[key]}" for key in sorted(speech))), number
            )
            places.append(place)
            first.append(number if earlier is None else earlier)
            place += len(text)
        for number in np.argsort(np.array(first, dtype=np.uint64), kind="stable")[skip:]:
            file.seek(places[int(number)])
            yield _kept_line(file.readline(), by_name)


def _kept_line(text: str | bytes, by_name: Mapping[str, Task]) -> ManifestLine:
    path, line, record = json.loads(text)
    example = example_from_record(record)
    return ManifestLine(file=Path(path), line=line, task=by_name[example.task], example=example)


def kept_names(splits: Iterable[str]) -> list[str]:
    """Return the names of the files that ``read_inputs`` writes."""
    return [f"{split}.{modality}.jsonl" for split in splits for modality in MODALITIES]


def line_problem(line: ManifestLine, finding: Finding) -> LineProblem:
    """Say that a line which reads well turned out bad."""
    return LineProblem(
        file=line.file,
        line=line.line,
        example_id=line.example.id,
        field=finding.field,
        reason=finding.reason,
    )


def _read_split(
    scan: _Scan,
    split: str,
    paths: Sequence[Path],
    position: tuple[int, int, StageProgress],
    look: Callable[[str, Example], None] | None,
    accept: Filter | None,
) -> int:
    """Read the manifests of one split; return how many bytes are done."""
    done, total, progress = position
    ids, tasks = IdTable(), scan.tasks.setdefault(split, TaskTable())
    digest = hashlib.sha256(f"split {split}\n".encode())
    scan.num_lines[split] = 0
    with ExitStack() as stack:
        files = {
            modality: stack.enter_context(open_lines(_kept_path(scan.folder, split, modality)))
            for modality in MODALITIES
        }
        for path in paths:
            digest.update(os.fsencode(f"{path.absolute()} {_file_sha256(path)}\n"))
            before = done

            def show(num_bytes: int, before: int = before) -> None:
                progress("read manifests", before + num_bytes, total)

            for item in iterate_manifest(path, on_bytes=show):
                scan.num_lines[split] += 1
                found = item if isinstance(item, LineProblem) else ids.check(item)
                if isinstance(found, LineProblem):
                    scan.report.add(split, found)
                    continue
                tasks.add(found)
                _hash_file(digest, found.example)
                _keep(scan, split, found, files, look, accept)
            done += _size(path)
            progress("read manifests", done, total)
    scan.digests[split] = digest.digest()
    return done


def _keep(
    scan: _Scan,
    split: str,
    line: ManifestLine,
    files: Mapping[str, TextIO],
    look: Callable[[str, Example], None] | None,
    accept: Filter | None,
) -> None:
    """Store one line, unless train does not want it."""
    example = line.example
    if look is not None:
        look(split, example)
    if accept is not None:
        decision = accept(example, line.task)
        if isinstance(decision, Removed):
            problem = line_problem(line, decision.finding)
            scan.report.add(split, problem, removed_by=decision.by)
            return
        example = decision
    if split == TRAIN:
        scan.texts.add(example.target_text)
        scan.texts.add(example.source_text or "")
    modality = line.task.source_modality
    if example.features_path is not None and len(scan.feature_paths) < 16:
        scan.feature_paths.append(example.features_path)
    scan.has_speech |= example.speech is not None
    kept = [str(line.file), line.line, example_to_record(example)]
    files[modality].write(to_json(kept).decode() + "\n")
    scan.num_kept[split, modality] = scan.num_kept.get((split, modality), 0) + 1


def _hash_file(digest: hashlib._Hash, example: Example) -> None:
    """Add size and time of change of the file that an example names."""
    path = example.features_path if example.speech is None else example.speech.path
    if path is None:
        return
    try:
        stat = path.stat()
        digest.update(os.fsencode(f"{path} {stat.st_size} {stat.st_mtime_ns}\n"))
    except (OSError, ValueError):
        digest.update(f"{path} missing\n".encode(errors="surrogatepass"))


def _kept_path(folder: Path, split: str, modality: Modality) -> Path:
    return folder / f"{split}.{modality}.jsonl"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # the reader says what is wrong


def _file_sha256(path: Path) -> str:
    try:
        return file_sha256(path) if path.is_file() else ""
    except OSError:
        return ""  # the reader says what is wrong
