"""Manifests: the files in which users list their examples, one a line.

Three forms with the same fields: tab-separated with a header line and no quoting, comma-separated
with quotes (``NAME.csv``; see ``table_forms``), and JSON lines.
What is wrong with the file as a whole raises ``ManifestError``; what is wrong with one line is
collected, so that one bad line among thousands neither stops the work nor goes unseen.
``docs/data.md`` describes every field for users.
"""

from __future__ import annotations

import codecs
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taskaware.data.hashes import FirstSeen, hash_texts
from taskaware.data.manifest.line import (
    COLUMNS,
    SOURCE_COLUMNS,
    WHOLE_LINE,
    FieldError,
    LineProblem,
    ManifestLine,
    parse,
    printable,
    texts,
)
from taskaware.data.manifest.table_forms import (
    QUOTED,
    csv_rows,
    is_csv,
    is_quoted,
    wrong_first_line,
    wrong_form,
)
from taskaware.data.manifest.tasks import name_problem
from taskaware.errors import ManifestError, nearest
from taskaware.file_forms import HEAD_BYTES
from taskaware.files import parse_json, require_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from taskaware.types import Example, Task

_MOST_LINE_BYTES = 1 << 26
_LINES_PER_CALL = 20_000
_MAX_SHOWN = 80  # characters of a name that is none
_REQUIRED_COLUMNS = ("task", "target_text")


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


def iterate_manifest(
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
    stem = printable(path.stem)
    for number, record in _records(path, on_bytes):
        example_id = f"{stem}-{number}"
        try:
            if isinstance(record, FieldError):
                raise record
            fields = texts(record)
            example_id = fields.get("id") or example_id
            task, example = parse(fields, example_id, path)
        except FieldError as error:
            yield LineProblem(
                file=path,
                line=number,
                example_id=example_id,
                field=error.field,
                reason=error.reason,
            )
            continue
        yield ManifestLine(file=path, line=number, task=task, example=example)


def read_manifest(path: Path | str) -> ManifestContents:
    """Read a whole manifest into memory; ``iterate_manifest`` is for those of any size.

    Raises:
        ManifestError: See ``iterate_manifest``; also where lines disagree about what a task is.
    """
    tasks, ids = TaskTable(), IdTable()
    lines: list[ManifestLine] = []
    problems: list[LineProblem] = []
    for item in iterate_manifest(path):
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
        """Add the task of a line.

        Raises:
            ManifestError: An earlier line means another task by that name, or the name is reserved.
        """
        known = self._found.get(line.task.name)
        if known is None:
            if problem := name_problem(line.task.name):
                raise ManifestError(f"{line.file}, line {line.line}, field 'task': {problem}")
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


def records(
    path: Path, *, required: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, object] | FieldError]]:
    """Yield line numbers and what the lines hold, field by field, or why a line cannot be read.

    Args:
        path: The manifest.
        required: The columns that a header must have, besides one of ``SOURCE_COLUMNS``.

    Raises:
        ManifestError: See ``iterate_manifest``.
    """
    return _records(path, None, required)


def _records(
    path: Path,
    on_bytes: Callable[[int], None] | None,
    required: tuple[str, ...] = _REQUIRED_COLUMNS,
) -> Iterator[tuple[int, dict[str, object] | FieldError]]:
    """Yield line numbers and what the lines hold."""
    lines = _lines(path, on_bytes)
    first = next(((n, line) for n, line in enumerate(lines, start=1) if line.strip()), None)
    if first is None:
        raise ManifestError(
            f"{path}: the manifest is empty: it must begin with a line of column names, separated "
            "by tabs (or in NAME.csv by commas), or hold one JSON object a line"
        )
    number, line = first
    wrong = wrong_first_line(line, () if is_csv(path) else COLUMNS)
    if wrong is not None:
        raise ManifestError(f"{path}, line {number}: {wrong}")
    if line.lstrip().startswith("{"):
        yield number, _json_record(path, number, line)
        for later, line in enumerate(lines, start=number + 1):
            if line.strip():
                yield later, _json_record(path, later, line)
    elif is_csv(path):
        yield from _csv_records(path, number, line, lines, required)
    else:
        header = _check_header(path, number, line.split("\t"), required)
        for later, line in enumerate(lines, start=number + 1):
            if line:
                yield later, _tsv_record(header, line)


def _csv_records(
    path: Path, number: int, line: str, lines: Iterator[str], required: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, object] | FieldError]]:
    rows = csv_rows(itertools.chain([line], lines))
    offset, names = next(rows)
    header = _check_header(path, number + offset - 1, [name.strip() for name in names], required)
    for row_number, row in rows:
        if isinstance(row, str):
            yield number + row_number - 1, FieldError(WHOLE_LINE, row)
        elif any(cell.strip() for cell in row):  # spreadsheets write lines of separators alone
            yield number + row_number - 1, _record(header, row)


def _lines(path: Path, on_bytes: Callable[[int], None] | None) -> Iterator[str]:
    """Yield the lines without their ends; line feeds alone end them, as texts may hold others."""
    offset = 0
    try:
        require_regular(path)  # it is read several times, as nothing but a file can be
        with path.open("rb") as file:
            wrong = wrong_form(file.read(HEAD_BYTES))
            if wrong is not None:
                raise ManifestError(f"{path}: {wrong}")
            file.seek(0)
            lines = iter(lambda: file.readline(_MOST_LINE_BYTES + 1), b"")
            for number, data in enumerate(lines, start=1):
                if len(data) > _MOST_LINE_BYTES:  # a device, for one, has no end
                    raise ManifestError(
                        f"{path}, line {number}: a line must have at most {_MOST_LINE_BYTES:,} "
                        "bytes, but has more"
                    )
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


def _check_header(
    path: Path, number: int, header: list[str], required: tuple[str, ...]
) -> list[str]:
    place = f"{path}, line {number}"
    if not {name.strip().casefold() for name in header} & set(COLUMNS):
        raise ManifestError(
            f"{place}: the first line must name the columns, separated by tabs, but is "
            f"'{' '.join(header)[:_MAX_SHOWN]}'; the columns are {', '.join(COLUMNS)}"
        )
    for column in header:
        _check_column(column, place)
        if header.count(column) > 1:
            raise ManifestError(f"{place}: the column '{column}' must not be repeated")
    for column in required:
        if column not in header:
            raise ManifestError(f"{place}: the column '{column}' is missing")
    if not set(header) & set(SOURCE_COLUMNS):
        raise ManifestError(
            f"{place}: there must be one of the columns {', '.join(SOURCE_COLUMNS)}"
        )
    return header


def _tsv_record(header: list[str], line: str) -> dict[str, object] | FieldError:
    cells = line.split("\t")
    quoted = next((name for name, cell in zip(header, cells, strict=False) if is_quoted(cell)), "")
    return FieldError(quoted, QUOTED) if quoted else _record(header, cells)


def _record(header: list[str], cells: list[str]) -> dict[str, object] | FieldError:
    if len(cells) == len(header):
        return dict(zip(header, cells, strict=True))
    reason = f"must have {len(header)} cells, as the header, but has {len(cells)}"
    return FieldError(WHOLE_LINE, reason)


def _json_record(path: Path, number: int, line: str) -> dict[str, object] | FieldError:
    try:
        record = parse_json(line, names_once=True)
    except json.JSONDecodeError as error:
        return FieldError(WHOLE_LINE, f"must be a JSON object, but is not JSON ({error})")
    except ValueError as error:
        return FieldError(WHOLE_LINE, f"must be a JSON object that can be read, but {error}")
    if not isinstance(record, dict):
        kind = type(record).__name__
        return FieldError(WHOLE_LINE, f"must be a JSON object, but is a {kind}")
    for column in record:
        _check_column(column, f"{path}, line {number}")
    return record


def _check_column(column: str, place: str) -> None:
    if column not in COLUMNS:
        raise ManifestError(
            f"{place}: unknown column '{column[:_MAX_SHOWN]}'{nearest(column, COLUMNS)}; "
            f"the columns are {', '.join(COLUMNS)}"
        )
