"""The forms in which people have tables: by tabs, by commas in quotes, and what is none of them.

A file ``NAME.csv`` is read with Python's ``csv`` module: cells separated by commas, or by
semicolons or tabs where the header has no comma; a cell may stand in double quotes, in which a
quote is doubled and lines may end. Every other file is separated by tabs and has no quoting: in it,
a cell in quotes with doubled quotes inside comes from a spreadsheet, and is not used.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from taskaware.file_forms import advised, other_than_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

QUOTED = (
    "must be text, but is a cell in the quotes of a spreadsheet, with doubled quotes inside: save "
    "the table as .csv, in which quotes are understood"
)
_SEPARATORS = {",": "commas", ";": "semicolons"}
_OTHER_SEPARATORS = {"|": "vertical bars", "  ": "spaces"}
_ADVICE = {
    "a recording": ": write a manifest that names it in the column `audio` (docs/data.md)",
    "a zip": ": save a spreadsheet as .csv, unpack anything else",
    "a document": ": save it as .csv",
}


def is_csv(path: Path) -> bool:
    """Whether a file is read with commas and quotes, which its suffix alone says."""
    return path.name.lower().removesuffix(".gz").endswith(".csv")


def is_quoted(cell: str) -> bool:
    """Whether a cell between tabs was quoted by a spreadsheet, which then doubles inner quotes."""
    inner = cell[1:-1]
    in_quotes = len(cell) > 2 and cell[0] == cell[-1] == '"'
    return in_quotes and '""' in inner and '"' not in inner.replace('""', "")


def csv_rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str] | str]]:
    """Yield the number of the first line of each row, and its cells or what is wrong with it.

    Args:
        lines: Without their ends. The first that is not empty is the header.
    """
    counted = _Counted(lines)
    header = next((line for line in counted if line.strip()), "")
    if header.lower().startswith("sep=") and len(header.rstrip("\r\n")) == 5:  # Excel's
        header = next(counted, "")
    separator = next((sign for sign in ",;\t" if sign in header), ",")
    first = counted.number
    yield first, next(csv.reader([header], delimiter=separator), [])
    reader = csv.reader(counted, delimiter=separator, strict=True)
    while True:
        first = counted.number + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = str(error)
            if reason == "unexpected end of data":
                reason = "a quote opens here that nothing closes: all that follows is in it"
            yield first, f"must be cells of CSV, in which a quote is doubled, but is not ({reason})"
            continue
        if row:
            yield first, row


def wrong_form(head: bytes) -> str | None:
    """Return why a file can be no table of text by its first bytes, ``None`` where it may be."""
    what = other_than_text(head)
    if what is None:
        return None
    advice = next((advice for start, advice in _ADVICE.items() if what.startswith(start)), "")
    return f"must be a manifest, a table of text in UTF-8, but is {advised(what)}{advice}"


def wrong_first_line(line: str, columns: Sequence[str]) -> str | None:
    """Return why lines cannot be read one by one, judged by the first; ``None`` where they may be.

    Args:
        line: The first line that is not empty, without its end.
        columns: Names by which a header is known that is not separated by tabs.
    """
    if "\r" in line:
        return (
            "lines must end with a line feed, but end with a carriage return alone: save the file "
            "with the line ends of Linux or Windows"
        )
    text = line.strip()
    if text.startswith("["):
        return (
            "must hold one JSON object a line, but begins with '[', a JSON array: write each of "
            "its objects as a line, for example by `jq -c '.[]' FILE`"
        )
    if text == "{":
        return (
            "must hold one JSON object a line, but has one over several lines: write each as a "
            "line, for example by `jq -c . FILE`"
        )
    for sign, name in (_SEPARATORS | _OTHER_SEPARATORS).items():
        cells = [cell.strip().strip('"') for cell in text.split(sign)]
        if "\t" not in line and len(cells) > 1 and set(cells) & set(columns):
            csv_name = (
                "name the file NAME.csv, in which commas, semicolons and quotes are understood"
            )
            other = f"{csv_name}, or " if sign in _SEPARATORS else ""
            return (
                f"columns must be separated by tabs, but are by {name}: {other}separate them by "
                "tabs"
            )
    return None


class _Counted:
    """Lines with their ends, which the reader of CSV wants, and the number of the last one."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.number = 0

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        return f"{line}\n"
