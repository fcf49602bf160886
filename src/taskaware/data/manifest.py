"""Manifests: the files in which users list their examples, one a line.

Two forms with the same fields: tab-separated with a header line and no quoting, and JSON lines.
What is wrong with the file as a whole raises ``ManifestError``; what is wrong with one line is
collected, so that one bad line among thousands neither stops the work nor goes unseen.
``docs/data.md`` describes every field for users.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taskaware.data.hashes import FirstSeen, hash_texts
from taskaware.errors import ManifestError, nearest
from taskaware.types import Example, Modality, Speech, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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

_LINES_PER_CALL = 20_000
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
        task: The task that the line describes.
        example: What the line describes.
    """

    file: Path
    line: int
    task: Task
    example: Example


@dataclass(frozen=True, kw_only=True)
class ManifestContents:
    """What a manifest holds, all of it in memory.

    Attributes:
        path: The manifest.
        tasks: The tasks, in the order of their first lines.
        lines: The good lines, in order.
        problems: One problem for each bad line, in order.
    """

    path: Path
    tasks: tuple[Task, ...]
    lines: tuple[ManifestLine, ...]
    problems: tuple[LineProblem, ...]

    @property
    def examples(self) -> tuple[Example, ...]:
        """The examples of the good lines."""
        return tuple(line.example for line in self.lines)


class _FieldError(Exception):
    """One field of one line is wrong; becomes a ``LineProblem``."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason


def iterate(
    path: Path | str, on_bytes: Callable[[int], None] | None = None
) -> Iterator[ManifestLine | LineProblem]:
    """Yield what each line of a manifest says, in order, in little memory whatever its size.

    Recordings are not opened. That ids are unique and that lines agree about their task is for the
    caller to find out, who may read several manifests: ``TaskTable``, ``IdTable``. ``on_bytes`` is
    called now and then with how far the file is read.

    Raises:
        ManifestError: The file is missing, is not UTF-8, has no header or an unknown column; found
            when the line is reached.
    """
    path = Path(path)
    for number, record in _records(path, on_bytes):
        example_id = f"{path.stem}-{number}"
        try:
            if isinstance(record, _FieldError):
                raise record
            fields = _texts(record)
            example_id = fields.get("id") or example_id
            task, example = _parse(fields, example_id, path)
        except _FieldError as error:
            yield LineProblem(
                file=path,
                line=number,
                example_id=example_id,
                field=error.field,
                reason=error.reason,
            )
            continue
        yield ManifestLine(file=path, line=number, task=task, example=example)


def read(path: Path | str) -> ManifestContents:
    """Read a whole manifest into memory; ``iterate`` is for those of any size.

    Raises:
        ManifestError: See ``iterate``; also where lines disagree about what a task is.
    """
    tasks, ids = TaskTable(), IdTable()
    lines: list[ManifestLine] = []
    problems: list[LineProblem] = []
    for item in iterate(path):
        found = item if isinstance(item, LineProblem) else ids.check(item)
        if isinstance(found, LineProblem):
            problems.append(found)
            continue
        tasks.add(found)
        lines.append(found)
    return ManifestContents(
        path=Path(path), tasks=tasks.tasks, lines=tuple(lines), problems=tuple(problems)
    )


class TaskTable:
    """The tasks of any number of manifests; they must agree about what a task is."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Task, str]] = {}

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks, in the order of their first lines."""
        return tuple(task for task, _ in self._found.values())

    @property
    def places(self) -> Mapping[str, tuple[Task, str]]:
        """Each task and the place of its first line, by name."""
        return self._found

    def add(self, line: ManifestLine) -> None:
        """Take up the task of a line.

        Raises:
            ManifestError: An earlier line means another task by that name.
        """
        known = self._found.get(line.task.name)
        if known is None:
            self._found[line.task.name] = line.task, f"{line.file}, line {line.line}"
        elif known[0] != line.task:
            check_same_task(*known, line.task, f"{line.file}, line {line.line}")


class IdTable:
    """The ids of any number of manifests that must be unique together, 16 bytes each."""

    def __init__(self) -> None:
        self._first = FirstSeen()
        self._files: list[Path] = []

    def check(self, line: ManifestLine) -> ManifestLine | LineProblem:
        """Return the line, or what is wrong with it where an earlier one has its id."""
        if not self._files or self._files[-1] != line.file:
            self._files.append(line.file)
        place = (len(self._files) - 1) << 40 | line.line
        first = self._first.put(hash_texts(line.example.id), place)
        if first is None:
            return line
        file = self._files[first >> 40]
        where = "" if file == line.file else f"{file}, "
        return LineProblem(
            file=line.file,
            line=line.line,
            example_id=line.example.id,
            field="id",
            reason=f"must be unique in the split, but {where}line {first & (1 << 40) - 1} has it "
            "as well",
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


def _records(
    path: Path, on_bytes: Callable[[int], None] | None
) -> Iterator[tuple[int, dict[str, object] | _FieldError]]:
    """Yield line numbers and what the lines hold."""
    lines = _lines(path, on_bytes)
    header: list[str] | None = None
    is_json = False
    is_empty = True
    for number, line in enumerate(lines, start=1):
        if not line.strip() and (is_empty or is_json or not line):
            continue
        if is_empty:
            is_json = line.lstrip().startswith("{")
            is_empty = False
            if not is_json:
                header = _read_header(path, number, line)
                continue
        if header is None:
            yield number, _json_record(path, number, line)
        else:
            yield number, _tsv_record(header, line)
    if is_empty:
        raise ManifestError(
            f"{path}: the manifest is empty: it must begin with a line of tab-separated column "
            "names, or hold one JSON object a line"
        )


def _lines(path: Path, on_bytes: Callable[[int], None] | None) -> Iterator[str]:
    """Yield the lines without their ends; line feeds alone end them, as texts may hold others."""
    offset = 0
    try:
        with path.open("rb") as file:
            for number, data in enumerate(file, start=1):
                start = 3 if number == 1 and data.startswith(codecs.BOM_UTF8) else 0
                try:
                    line = data[start:].decode("utf-8")
                except UnicodeDecodeError as error:
                    raise ManifestError(
                        f"{path}, line {number}: a manifest must be UTF-8, but has the byte "
                        f"0x{data[start + error.start]:02X} at offset "
                        f"{offset + start + error.start}: save it as UTF-8"
                    ) from error
                offset += len(data)
                if on_bytes is not None and number % _LINES_PER_CALL == 0:
                    on_bytes(offset)
                yield line.removesuffix("\n").removesuffix("\r")
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: the manifest does not exist") from error
    except OSError as error:
        raise ManifestError(f"{path}: the manifest cannot be read ({error.strerror})") from error


def _read_header(path: Path, number: int, line: str) -> list[str]:
    header = line.split("\t")
    place = f"{path}, line {number}"
    for column in header:
        _check_column(column, place)
        if header.count(column) > 1:
            raise ManifestError(f"{place}: the column '{column}' must be there once only")
    for column in ("task", "target_text"):
        if column not in header:
            raise ManifestError(f"{place}: the column '{column}' is missing")
    if not set(header) & set(SOURCE_COLUMNS):
        raise ManifestError(
            f"{place}: one of the columns {', '.join(SOURCE_COLUMNS)} must be there"
        )
    return header


def _tsv_record(header: list[str], line: str) -> dict[str, object] | _FieldError:
    cells = line.split("\t")
    if len(cells) == len(header):
        return dict(zip(header, cells, strict=True))
    reason = f"must have {len(header)} cells, as the header, but has {len(cells)}"
    return _FieldError(WHOLE_LINE, reason)


def _json_record(path: Path, number: int, line: str) -> dict[str, object] | _FieldError:
    try:
        record = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        return _FieldError(WHOLE_LINE, f"must be a JSON object, but is not JSON ({error})")
    if not isinstance(record, dict):
        kind = type(record).__name__
        return _FieldError(WHOLE_LINE, f"must be a JSON object, but is a {kind}")
    for column in record:
        _check_column(column, f"{path}, line {number}")
    return record


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
