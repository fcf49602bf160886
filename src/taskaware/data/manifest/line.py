"""What one line of a manifest says: its fields checked, and made an example of a task."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskaware.data.manifest.tasks import form_problem
from taskaware.errors import UserError
from taskaware.types import Example, Modality, Speech, Task

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COLUMNS = (
    "id",
    "task",
    "kind",
    "dataset",
    "audio",
    "start_seconds",
    "duration_seconds",
    "channel",
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
_MAX_SHOWN = 80  # characters of a value that is no text
_AUDIO_COLUMNS = ("start_seconds", "duration_seconds", "channel")
_MAY_BE_NUMBERS = (*_AUDIO_COLUMNS, "id", "speaker")
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
        names_file = name in ("audio", "features")
        if (_SURROGATE_OF_NO_BYTE if names_file else _SURROGATE).search(value):
            raise FieldError(name, "must hold characters only, but has a lone surrogate")
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
        dataset=fields.get("dataset") or printable(path.stem),
        target_text=target_text,
        source_text=source_text,
        speech=speech,
        features_path=features_path.absolute() if features_path else None,
        speaker=fields.get("speaker", ""),
        utterance=fields.get("utterance")
        or printable(_utterance(speech, source_text, features_path)),
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
    match modality:
        case "speech":
            return modality, _speech(fields, path)
        case "text":
            return modality, fields["source_text"]
        case "features":
            return modality, (path.parent / fields["features"]).absolute()


def _modality(fields: Mapping[str, str]) -> Modality:
    given = [column for column in SOURCE_COLUMNS if column in fields]
    if len(given) != 1:
        what = " and ".join(given) if given else "none of them"
        raise FieldError(
            given[1] if given else "audio",
            f"exactly one of audio, source_text and features must be given, but {what} is",
        )
    if given[0] != "audio":
        for column in _AUDIO_COLUMNS:
            if column in fields:
                raise FieldError(column, "must be empty where there is no audio")
        if given[0] == "source_text" and not fields["source_text"].strip():
            raise FieldError("source_text", "must hold more than white space")
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
        raise FieldError("duration_seconds", "must be above 0, but is 0")
    return Speech(
        path=(path.parent / fields["audio"]).absolute(),
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


def _utterance(speech: Speech | None, source_text: str | None, features_path: Path | None) -> str:
    if speech is not None:
        channel = "" if speech.channel is None else f"#{speech.channel}"
        return f"{speech.path}@{speech.start_seconds:.3f}{channel}"
    return source_text if source_text is not None else str(features_path)


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
