"""Translations of one's own: tables whose columns are languages, as TSV, CSV or JSON lines.

::

    en<TAB>de                                   {"en": "A man.", "de": "Ein Mann."}
    A man.<TAB>Ein Mann.                        {"translation": {"en": "A man.", "de": ...}}

The first column is the source and every other a target. TSV has no quoting; in CSV, quotes and
commas or semicolons are understood (``data/manifest/table_forms.py``). The request names a file, or
a folder with files such as ``train.tsv``, ``news.dev.jsonl`` and ``test.tsv.gz``: one part of a
file's name says its split. A file that is named itself and says nothing is train.

A manifest, which says more about every line than two texts, needs no recipe.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from taskaware.data.corpora.files import read_lines, read_table, visible
from taskaware.data.corpora.languages import wanted_languages
from taskaware.data.corpora.rows import MT, Found, LeftOut, Request, Row
from taskaware.data.manifest.table_forms import csv_rows, is_csv, is_quoted, wrong_first_line
from taskaware.errors import CorpusError
from taskaware.files import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SPLITS = {
    "train": "train",
    "dev": "dev",
    "valid": "dev",
    "validation": "dev",
    "val": "dev",
    "test": "test",
}
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:[-_][A-Za-z]{2,4})?")
_MANIFEST_COLUMNS = {"task", "target_text"}
_FILE = re.compile(r"(?P<stem>.+)\.(?P<form>tsv|csv|jsonl)(?:\.gz)?")


def read(request: Request) -> Iterator[Found]:
    """Yield the rows of a file or of the files of a folder.

    Raises:
        CorpusError: There is no such file, one does not say its split, it is a manifest, its
            columns are not languages, a line is not JSON, or none of the languages is there.
    """
    path = request.folder
    if not path.exists():
        raise CorpusError(f"{path} must be a table or a folder of tables, but does not exist")
    files = visible(path.iterdir()) if path.is_dir() else [path]
    tables = [file for file in files if _FILE.fullmatch(file.name)]
    if not tables:
        raise CorpusError(
            f"{path} must be a .tsv, .csv or .jsonl file or hold some (train.tsv, dev.tsv), but "
            "does not"
        )
    splits = {file: _split(file, alone=file == path) for file in tables}
    columns = {file: _columns(file) for file in tables}
    languages = wanted_languages(
        request, {name for names in columns.values() for name in names[1:]}
    )
    if MT not in request.kinds:
        return
    for file in tables:
        source, *targets = columns[file]
        wanted = [target for target in targets if target in languages]
        yield from _read_file(file, splits[file], source, wanted)


def _split(file: Path, *, alone: bool) -> str:
    words = re.split(r"[._-]", file.name.lower())
    found = {_SPLITS[word] for word in words if word in _SPLITS}
    if len(found) == 1:
        return found.pop()
    if alone and not found:
        return "train"
    raise CorpusError(
        f"{file} must say in its name which split it is, such as {_stem(file)}.train.tsv, .dev.tsv "
        f"or .test.tsv, but says {' and '.join(sorted(found)) or 'none'}: rename it"
    )


def _stem(file: Path) -> str:
    match = _FILE.fullmatch(file.name)
    return file.name if match is None else match["stem"]


def _dataset(file: Path) -> str:
    """Return the file's name without its split; the folder's where nothing is left."""
    words = [word for word in _stem(file).split(".") if word.lower() not in _SPLITS]
    return ".".join(words) or file.absolute().parent.name or "table"


def _is_json(file: Path) -> bool:
    return file.name.removesuffix(".gz").endswith(".jsonl")


def _columns(file: Path) -> list[str]:
    if is_csv(file):
        columns = [name.strip() for name in next(csv_rows(read_lines(file)))[1]]
    else:
        first = next(read_lines(file), "")
        wrong = wrong_first_line(first, _language_names(first))
        if wrong is not None:
            raise CorpusError(f"{file}, line 1: {wrong}")
        is_record = _is_json(file) and first
        columns = list(_record(file, 1, first)) if is_record else first.split("\t")
    if set(columns) & _MANIFEST_COLUMNS:
        raise CorpusError(
            f"{file} is a manifest, which needs no recipe: give it to `taskaware prepare` itself, "
            f"with --train {file} (or --dev, --test)"
        )
    wrong = [column for column in columns if not _LANGUAGE.fullmatch(column) or column == "id"]
    if wrong or len(columns) < 2 or len(set(columns)) < len(columns):
        raise CorpusError(
            f"{file}, line 1 must name a source language and target languages, each once and by "
            f"its code (en, de), but names {', '.join(map(repr, columns))}: remove other columns "
            "('id' as well; Indonesian is 'ind')"
        )
    return columns


def _language_names(header: str) -> list[str]:
    return [name for name in re.split(r"\W+", header) if _LANGUAGE.fullmatch(name)]


def _record(file: Path, number: int, line: str) -> dict[str, object]:
    try:
        record = parse_json(line)
    except ValueError as error:
        raise CorpusError(f"{file}, line {number}: must be a JSON object ({error})") from error
    if isinstance(record, dict) and isinstance(record.get("translation"), dict):
        record = record["translation"]
    if not isinstance(record, dict):
        raise CorpusError(f"{file}, line {number}: must be a JSON object, but is {line[:80]!r}")
    return record


def _records(file: Path) -> Iterator[tuple[int, dict[str, object] | None]]:
    if is_csv(file):
        rows = csv_rows(read_lines(file))
        header = [name.strip() for name in next(rows)[1]]
        for number, row in rows:
            fits = not isinstance(row, str) and len(row) == len(header)
            yield number, dict(zip(header, row, strict=True)) if fits else None
        return
    if not _is_json(file):
        yield from read_table(file, ())  # type: ignore[misc]
        return
    for number, line in enumerate(read_lines(file), start=1):
        if line.strip():
            yield number, _record(file, number, line)


def _read_file(file: Path, split: str, source: str, targets: list[str]) -> Iterator[Found]:
    dataset = _dataset(file)
    has_no_quoting = not (_is_json(file) or is_csv(file))
    for number, record in _records(file):
        place = f"{file}, line {number}"
        if record is None:
            reason = "another number of cells than the header"
            yield LeftOut(split=split, place=place, reason=reason)
            continue
        for target in targets:
            texts = [record.get(source) or "", record.get(target) or ""]
            if has_no_quoting and any(is_quoted(str(text)) for text in texts):
                reason = "a cell in the quotes of a spreadsheet: save the table as .csv"
                yield LeftOut(split=split, place=place, reason=reason)
                continue
            reason = next(
                (
                    f"{'empty' if isinstance(text, str) else 'not text as'} {side}"
                    for side, text in zip(("source", "target"), texts, strict=True)
                    if not isinstance(text, str) or not text.strip()
                ),
                "",
            )
            if reason:
                yield LeftOut(split=split, place=place, reason=reason)
                continue
            yield Row(
                split=split,
                id=f"{file.name}-{source}-{target}-{number}",
                kind=MT,
                dataset=dataset,
                source_language=source,
                target_language=target,
                source_text=str(texts[0]),
                target_text=str(texts[1]),
            )
