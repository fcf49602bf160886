"""Reading the files that corpora are made of: folders, lines, tables, translations line by line."""

from __future__ import annotations

import gzip
from contextlib import contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING, TextIO

from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def require_folder(path: Path, what: str) -> Path:
    """Return ``path``; ``what`` says what it must be, for the message.

    Raises:
        CorpusError: It is not a folder.
    """
    if not path.is_dir():
        is_what = "is a file" if path.exists() else "does not exist"
        raise CorpusError(
            f"{path} must be {what}, but {is_what}: name the unpacked corpus's folder"
        )
    return path


def require_file(path: Path, what: str) -> Path:
    """Return ``path``, or ``path.gz`` where that is there; ``what`` is for the message.

    Raises:
        CorpusError: Neither is a file.
    """
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.is_file():
            return candidate
    raise CorpusError(f"{path} must be {what}, but does not exist: unpack the corpus completely")


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a UTF-8 file, compressed by gzip or not; lines end at line feeds alone.

    Raises:
        CorpusError: The file is not UTF-8 or its compression is damaged, found while it is read.
    """
    open_file = gzip.open if path.suffix == ".gz" else open
    try:
        with open_file(path, "rt", encoding="utf-8-sig", newline="\n") as file:
            yield file  # type: ignore[misc]
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: must be UTF-8, but is not ({error})") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise CorpusError(f"{path}: the file is truncated or damaged ({error})") from error


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file, without their ends; other separators of Unicode stay text."""
    with open_text(path) as file:
        for line in file:
            yield line.removesuffix("\n").removesuffix("\r")


def read_parallel(*paths: Path) -> Iterator[tuple[str, ...]]:
    """Yield the lines of files that belong together line by line.

    Raises:
        CorpusError: One has more lines than another; found at the end.
    """
    missing = object()
    number = 0
    for number, lines in enumerate(
        zip_longest(*map(read_lines, paths), fillvalue=missing), start=1
    ):
        if missing in lines:
            short = paths[lines.index(missing)]  # type: ignore[arg-type]
            raise CorpusError(
                f"{short} must have as many lines as "
                f"{', '.join(str(path) for path in paths if path != short)}, but ends before line "
                f"{number}: the files do not belong together, or one is truncated"
            )
        yield lines  # type: ignore[misc]


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str] | None]]:
    """Yield line numbers and the cells of a tab-separated file with a header, without quoting.

    A line with another number of cells than the header yields ``None``.

    Raises:
        CorpusError: The file is empty, or one of ``columns`` is not in its header.
    """
    header: list[str] | None = None
    for number, line in enumerate(read_lines(path), start=1):
        cells = line.split("\t")
        if header is None:
            header = cells
            missing = [column for column in columns if column not in header]
            if missing:
                raise CorpusError(
                    f"{path}, line 1 must name the column '{missing[0]}', but names "
                    f"{', '.join(header)}"
                )
        elif line:
            fits = len(cells) == len(header)
            yield number, dict(zip(header, cells, strict=True)) if fits else None
    if header is None:
        raise CorpusError(f"{path} must begin with a line of column names, but is empty")
