"""Manifests: the files in which users list their examples, one a line.

Two forms with the same fields: tab-separated with a header line and no quoting, and JSON lines.
What is wrong with the file as a whole raises ``ManifestError``; what is wrong with one line is
collected, so that one bad line among thousands neither stops the work nor goes unseen.
``docs/data.md`` describes every field for users.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taskaware.errors import ManifestError, nearest
from taskaware.types import Example, Modality, Speech, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COLUMNS = (
    "id",
    "task",
    "kind",
    "dataset",
    "audio",
    "start_seconds",
    "duration_seconds",
    "source_text",
    "features",
    "target_text",
    "source_language",
    "target_language",
    "speaker",
    "utterance",
    "origin",
)
SOURCE_COLUMNS = ("audio", "source_text", "features")
WHOLE_LINE = "line"  # the field of a problem that concerns no single field

_SURROGATE = re.compile("[\ud800-\udfff]")
_TASK_NAME = re.compile(r"[\w.+-]+")


@dataclass(frozen=True, kw_only=True)
class LineProblem:
    """Why one line of a manifest cannot be used.

    Attributes:
        file: The manifest.
        line: Line number, from 1; the header is line 1 of a tab-separated manifest.
        example_id: The line's id, or its default.
        field: The field that is wrong, or ``"line"`` where it is the line as a whole.
        reason: What the field must be, and what it is.
    """

    file: Path
    line: int
    example_id: str
    field: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ManifestLine:
    """One good line.

    Attributes:
        file: The manifest.
        line: Line number, from 1.
        example: What the line describes.
    """

    file: Path
    line: int
    example: Example


@dataclass(frozen=True, kw_only=True)
class ManifestContents:
    """What a manifest holds.

    Attributes:
        path: The manifest.
        sha256: Hash of its bytes, in hexadecimal.
        tasks: The tasks, in the order of their first lines.
        lines: The good lines, in order.
        problems: One problem for each bad line, in order.
        task_lines: The first line of each task, by name.
    """

    path: Path
    sha256: str
    tasks: tuple[Task, ...]
    lines: tuple[ManifestLine, ...]
    problems: tuple[LineProblem, ...]
    task_lines: Mapping[str, int]

    @property
    def examples(self) -> tuple[Example, ...]:
        """The examples of the good lines."""
        return tuple(line.example for line in self.lines)


class _FieldError(Exception):
    """One field of one line is wrong; becomes a ``LineProblem``."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason


def read(path: Path | str) -> ManifestContents:
    """Read a manifest; recordings are not opened.

    Raises:
        ManifestError: The file is missing, is not UTF-8, has no header or an unknown column, or has
            lines that disagree about what a task is.
    """
    path = Path(path)
    data = _read_bytes(path)
    tasks: dict[str, Task] = {}
    task_lines: dict[str, int] = {}
    lines: list[ManifestLine] = []
    problems: list[LineProblem] = []
    id_lines: dict[str, int] = {}
    for number, record in _records(path, data):
        default_id = f"{path.stem}-{number}"
        example_id = default_id
        try:
            if isinstance(record, _FieldError):
                raise record
            fields = _texts(record)
            example_id = fields.get("id") or default_id
            if example_id in id_lines:
                raise _FieldError(
                    "id", f"must be unique, but line {id_lines[example_id]} has it as well"
                )
            task, example = _parse(fields, example_id, path)
        except _FieldError as error:
            problems.append(
                LineProblem(
                    file=path,
                    line=number,
                    example_id=example_id,
                    field=error.field,
                    reason=error.reason,
                )
            )
            continue
        known = tasks.setdefault(task.name, task)
        first = task_lines.setdefault(task.name, number)
        check_same_task(known, f"{path}, line {first}", task, f"{path}, line {number}")
        id_lines[example_id] = number
        lines.append(ManifestLine(file=path, line=number, example=example))
    return ManifestContents(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        tasks=tuple(tasks.values()),
        lines=tuple(lines),
        problems=tuple(problems),
        task_lines=task_lines,
    )


def check_same_task(first: Task, first_place: str, second: Task, second_place: str) -> None:
    """Require that two places mean the same task by one name.

    Raises:
        ManifestError: Kind, source modality or a language differ.
    """
    for field in ("kind", "source_modality", "source_language", "target_language"):
        one, two = getattr(first, field), getattr(second, field)
        if one != two:
            raise ManifestError(
                f"all lines of the task '{first.name}' must have the same "
                f"{field.replace('_', ' ')}, but {first_place} has '{one}' and {second_place} has "
                f"'{two}': correct one of them or give the second another task name"
            )


def _records(path: Path, data: bytes) -> Iterator[tuple[int, dict[str, object] | _FieldError]]:
    """Yield line numbers and what the lines hold."""
    text = _decode(path, data)
    if not text.strip():
        raise ManifestError(
            f"{path}: the manifest is empty: it must begin with a line of tab-separated column "
            "names, or hold one JSON object a line"
        )
    lines = text.split("\n")  # not splitlines: texts may hold other line separators of Unicode
    return (
        _json_records(path, lines) if text.lstrip().startswith("{") else _tsv_records(path, lines)
    )


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: the manifest does not exist") from error
    except OSError as error:
        raise ManifestError(f"{path}: the manifest cannot be read ({error.strerror})") from error


def _decode(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ManifestError(
            f"{path}, line {line}: a manifest must be UTF-8, but has the byte "
            f"0x{data[error.start]:02X} at offset {error.start}: save it as UTF-8"
        ) from error


def _tsv_records(
    path: Path, lines: list[str]
) -> Iterator[tuple[int, dict[str, object] | _FieldError]]:
    header = lines[0].removesuffix("\r").split("\t")
    for column in header:
        _check_column(column, f"{path}, line 1")
        if header.count(column) > 1:
            raise ManifestError(f"{path}, line 1: the column '{column}' must be there once only")
    for column in ("task", "target_text"):
        if column not in header:
            raise ManifestError(f"{path}, line 1: the column '{column}' is missing")
    if not set(header) & set(SOURCE_COLUMNS):
        raise ManifestError(
            f"{path}, line 1: one of the columns {', '.join(SOURCE_COLUMNS)} must be there"
        )
    for number, line in enumerate(lines[1:], start=2):
        line = line.removesuffix("\r")
        if not line:
            continue
        cells = line.split("\t")
        if len(cells) == len(header):
            yield number, dict(zip(header, cells, strict=True))
        else:
            reason = f"must have {len(header)} cells, as the header, but has {len(cells)}"
            yield number, _FieldError(WHOLE_LINE, reason)


def _json_records(
    path: Path, lines: list[str]
) -> Iterator[tuple[int, dict[str, object] | _FieldError]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            yield (
                number,
                _FieldError(WHOLE_LINE, f"must be a JSON object, but is not JSON ({error})"),
            )
            continue
        if not isinstance(record, dict):
            kind = type(record).__name__
            yield number, _FieldError(WHOLE_LINE, f"must be a JSON object, but is a {kind}")
            continue
        for column in record:
            _check_column(column, f"{path}, line {number}")
        yield number, record


def _check_column(column: str, place: str) -> None:
    if column not in COLUMNS:
        raise ManifestError(
            f"{place}: unknown column '{column}'{nearest(column, COLUMNS)}; the columns are "
            f"{', '.join(COLUMNS)}"
        )


def _texts(record: dict[str, object]) -> dict[str, str]:
    """Return the fields that are not empty, as text; JSON may give numbers where text holds one."""
    fields: dict[str, str] = {}
    for name, value in record.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is None or value == "":
            continue
        if is_number and name in ("start_seconds", "duration_seconds", "id", "speaker"):
            value = str(value)
        if not isinstance(value, str):
            raise _FieldError(name, f"must be text, but is {value!r}")
        if _SURROGATE.search(value):
            raise _FieldError(name, "must hold characters only, but has a lone surrogate")
        fields[name] = value
    return fields


def _parse(fields: Mapping[str, str], example_id: str, path: Path) -> tuple[Task, Example]:
    name = fields.get("task", "")
    if not _TASK_NAME.fullmatch(name):
        raise _FieldError(
            "task", f"must be a name of letters, digits and any of _.+-, but is '{name}'"
        )
    target_text = fields.get("target_text", "")
    if not target_text.strip():
        raise _FieldError("target_text", "must be the text to write, but is empty")
    modality = _modality(fields)
    speech = _speech(fields, path) if modality == "speech" else None
    features_path = path.parent / fields["features"] if modality == "features" else None
    source_text = fields.get("source_text")
    task = Task(
        name=name,
        kind=fields.get("kind") or _kind(modality, fields),
        source_modality=modality,
        source_language=fields.get("source_language", ""),
        target_language=fields.get("target_language", ""),
    )
    example = Example(
        id=example_id,
        task=name,
        dataset=fields.get("dataset") or path.stem,
        target_text=target_text,
        source_text=source_text,
        speech=speech,
        features_path=features_path.absolute() if features_path else None,
        speaker=fields.get("speaker", ""),
        utterance=fields.get("utterance") or _utterance(speech, source_text, features_path),
        origin=fields.get("origin", ""),
    )
    return task, example


def _modality(fields: Mapping[str, str]) -> Modality:
    given = [column for column in SOURCE_COLUMNS if column in fields]
    if len(given) != 1:
        what = " and ".join(given) if given else "none of them"
        raise _FieldError(
            given[1] if given else "audio",
            f"exactly one of audio, source_text and features must be given, but {what} is",
        )
    if given[0] != "audio":
        for column in ("start_seconds", "duration_seconds"):
            if column in fields:
                raise _FieldError(column, "must be empty where there is no audio")
        if given[0] == "source_text" and not fields["source_text"].strip():
            raise _FieldError("source_text", "must hold more than white space")
    modalities: dict[str, Modality] = {"audio": "speech", "source_text": "text"}
    return modalities.get(given[0], "features")


def _kind(modality: Modality, fields: Mapping[str, str]) -> str:
    """Return the kind of a line that does not name one."""
    match modality:
        case "text":
            return "mt"
        case "features":
            return "other"
        case "speech":
            source, target = fields.get("source_language"), fields.get("target_language")
            return "asr" if source is None or target is None or source == target else "st"


def _speech(fields: Mapping[str, str], path: Path) -> Speech:
    start = _seconds(fields, "start_seconds")
    duration = _seconds(fields, "duration_seconds")
    if duration == 0:
        raise _FieldError("duration_seconds", "must be above 0, but is 0")
    return Speech(
        path=(path.parent / fields["audio"]).absolute(),
        start_seconds=start or 0.0,
        duration_seconds=duration,
    )


def _seconds(fields: Mapping[str, str], column: str) -> float | None:
    if column not in fields:
        return None
    try:
        value = float(fields[column])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise _FieldError(
            column, f"must be a number of seconds from 0 up, but is '{fields[column]}'"
        )
    return value


def _utterance(speech: Speech | None, source_text: str | None, features_path: Path | None) -> str:
    if speech is not None:
        return f"{speech.path}@{speech.start_seconds:.3f}"
    return source_text if source_text is not None else str(features_path)
