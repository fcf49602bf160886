"""What one line of a manifest says: its fields checked, and made an example of a task."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taskaware.data.manifest.tasks import form_problem
from taskaware.errors import UserError
from taskaware.types import MODALITIES, Example, Speech, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskaware.types import Modality, ModalityFacts

SOURCE_COLUMNS = tuple(facts.column for facts in MODALITIES.values())
_RECORDING_COLUMNS = ("start_seconds", "duration_seconds", "channel")
COLUMNS = (
    "id",
    "task",
    "kind",
    "dataset",
    *SOURCE_COLUMNS,
    *_RECORDING_COLUMNS,
    "target_text",
    "source_language",
    "target_language",
    "speaker",
    "utterance",
    "origin",
)
_BY_COLUMN = {facts.column: facts for facts in MODALITIES.values()}
_MAX_SHOWN = 80  # characters of a value that is no text
_MAY_BE_NUMBERS = (*_RECORDING_COLUMNS, "id", "speaker")
WHOLE_LINE = "line"  # the field of a problem that concerns no single field


_SURROGATE = re.compile("[\ud800-\udfff]")
# What stands for a byte of a file's name that is no UTF-8 (PEP 383).
_SURROGATE_OF_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


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


class FieldError(Exception):
    """One field of one line is wrong; becomes a ``LineProblem``."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason


def texts(record: dict[str, object]) -> dict[str, str]:
    """Return the fields that are not empty, as text; JSON may give numbers where text holds one.

    Raises:
        FieldError: A value is no text, or holds half a character.
    """
    fields: dict[str, str] = {}
    for name, value in record.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is None or value == "":
            continue
        if is_number and name in _MAY_BE_NUMBERS:
            value = str(value)
        if not isinstance(value, str):
            raise FieldError(name, f"must be text, but is {repr(value)[:_MAX_SHOWN]}")
        names_file = name in _BY_COLUMN and not _BY_COLUMN[name].is_text
        if (_SURROGATE_OF_NO_BYTE if names_file else _SURROGATE).search(value):
            raise FieldError(name, "must be valid Unicode, but contains a lone surrogate")
        fields[name] = value
    return fields


def parse(fields: Mapping[str, str], example_id: str, path: Path) -> tuple[Task, Example]:
    """Return the task and the example that the fields of a line of the manifest ``path`` describe.

    Raises:
        FieldError: A field must be there or must not, or has an impossible value.
    """
    name = fields.get("task", "")
    if problem := form_problem(name):
        raise FieldError("task", problem)
    target_text = fields.get("target_text", "")
    if not target_text.strip():
        raise FieldError("target_text", "must be the text to write, but is empty")
    modality = _modality(fields)
    source = _source(modality, fields, path)
    speech = source if isinstance(source, Speech) else None
    source_text = source if isinstance(source, str) else None
    task = Task(
        name=name,
        kind=fields.get("kind") or _kind(modality, fields),
        source_modality=modality.name,
        source_language=fields.get("source_language", ""),
        target_language=fields.get("target_language", ""),
    )
    example = Example(
        id=example_id,
        task=name,
        dataset=fields.get("dataset") or printable(path.stem),
        target_text=target_text,
        source_text=source_text,
        speech=speech,
        features_path=source if isinstance(source, Path) else None,
        speaker=fields.get("speaker", ""),
        utterance=fields.get("utterance")
        or printable(_utterance(source, path.parent / fields[modality.column])),
        origin=fields.get("origin", ""),
    )
    return task, example


def printable(name: str) -> str:
    """Return the name of a file with an escape for each byte that is no UTF-8."""
    return os.fsencode(name).decode(errors="backslashreplace")


def parse_source(fields: Mapping[str, str], path: Path) -> tuple[Modality, Speech | str | Path]:
    """Return what the source of a line of the manifest ``path`` is, whatever its task.

    Raises:
        FieldError: There is no source, there are several, or one has an impossible value.
    """
    modality = _modality(fields)
    return modality.name, _source(modality, fields, path)


def _source(modality: ModalityFacts, fields: Mapping[str, str], path: Path) -> Speech | str | Path:
    given = fields[modality.column]
    if modality.is_text:
        return given
    if modality.is_recording:
        return _speech(fields, path.parent / given)
    return (path.parent / given).absolute()


def _modality(fields: Mapping[str, str]) -> ModalityFacts:
    given = [column for column in SOURCE_COLUMNS if column in fields]
    if len(given) != 1:
        what = " and ".join(given) if given else "none of them"
        *most, last = SOURCE_COLUMNS
        raise FieldError(
            given[1] if given else WHOLE_LINE,
            f"exactly one of {', '.join(most)} and {last} must be given, but {what} is",
        )
    modality = _BY_COLUMN[given[0]]
    if not modality.is_recording:
        for column in _RECORDING_COLUMNS:
            if column in fields:
                raise FieldError(column, "must be empty where the source is not a recording")
    if modality.is_text and not fields[modality.column].strip():
        raise FieldError(modality.column, "must contain more than white space")
    return modality


def _kind(modality: ModalityFacts, fields: Mapping[str, str]) -> str:
    """Return the kind of a line that does not name one."""
    source, target = fields.get("source_language"), fields.get("target_language")
    if source is None or target is None or source == target:
        return modality.kind
    return modality.kind_between_languages


def _speech(fields: Mapping[str, str], recording: Path) -> Speech:
    start = _seconds(fields, "start_seconds")
    duration = _seconds(fields, "duration_seconds")
    if duration == 0:
        raise FieldError("duration_seconds", "must be above 0, but is 0")
    return Speech(
        path=recording.absolute(),
        start_seconds=start or 0.0,
        duration_seconds=duration,
        channel=_channel(fields),
    )


def _channel(fields: Mapping[str, str]) -> int | None:
    try:
        return channel_number(fields.get("channel", "mean"))
    except UserError as error:
        raise FieldError("channel", str(error).removeprefix("the channel ")) from error


def _seconds(fields: Mapping[str, str], column: str) -> float | None:
    if column not in fields:
        return None
    try:
        value = float(fields[column])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise FieldError(
            column, f"must be a number of seconds from 0 up, but is '{fields[column]}'"
        )
    return value


def _utterance(source: Speech | str | Path, file: Path) -> str:
    match source:
        case Speech():
            channel = "" if source.channel is None else f"#{source.channel}"
            return f"{source.path}@{source.start_seconds:.3f}{channel}"
        case str():
            return source
        case _:
            return str(file)


def channel_number(value: int | str) -> int | None:
    """Return the channel that a user names: from 1, or ``None`` for ``"mean"``.

    Raises:
        UserError: The value is neither.
    """
    if value == "mean":
        return None
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise UserError(f"the channel must be 'mean' or a number from 1 up, but is '{value}'")
    return int(text)
