"""Sources listed in a file, as ``predict`` reads them: a manifest that needs no targets.

The columns are those of a manifest. Only the source is required; a target text is not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskaware.data.manifest.line import COLUMNS, SOURCE_COLUMNS, FieldError, parse_source, texts
from taskaware.data.manifest.read import records
from taskaware.files import parse_json
from taskaware.types import Text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from taskaware.types import Modality, Speech

LIST_SUFFIXES = (".tsv", ".csv", ".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, kw_only=True)
class ListedSource:
    """What one line says.

    Attributes:
        line: Line number, from 1.
        id: The line's id, or empty.
        task: The task that it names, or empty.
        modality: Of the source.
        source: The source; ``None`` where the line is wrong.
        problem: What is wrong with the line, or empty.
    """

    line: int
    id: str = ""
    task: str = ""
    modality: Modality = "text"
    source: Text | Speech | Path | None = None
    problem: str = ""


def looks_like_a_list(line: str) -> bool:
    """Return whether a file with this first line is a manifest rather than lines of text."""
    line = line.strip()
    if line in ("{", "[") or line.startswith("[{"):
        return True
    if line.startswith("{"):
        try:
            return isinstance(parse_json(line), dict)
        except ValueError:
            return False
    for separator in ("\t", ",", ";"):
        cells = {cell.strip().strip('"') for cell in line.split(separator)}
        if len(cells) > 1 and cells <= set(COLUMNS) and cells & set(SOURCE_COLUMNS):
            return True
    return False


def read_source_list(path: Path) -> Iterator[ListedSource]:
    """Yield what each line of a manifest gives as a source, in order.

    Raises:
        ManifestError: The file as a whole is no manifest.
    """
    for number, record in records(path, required=()):
        fields: dict[str, str] = {}
        try:
            if isinstance(record, FieldError):
                raise record
            fields = texts(record)
            modality, source = parse_source(fields, path)
        except FieldError as error:
            yield ListedSource(line=number, id=fields.get("id", ""), problem=str(error))
            continue
        yield ListedSource(
            line=number,
            id=fields.get("id", ""),
            task=fields.get("task", ""),
            modality=modality,
            source=Text(source) if isinstance(source, str) else source,
        )
