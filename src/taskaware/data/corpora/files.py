"""Reading the files that corpora are made of: folders, lines, tables, translations line by line."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from itertools import zip_longest
from typing import IO, TYPE_CHECKING, cast

from taskaware.errors import CorpusError
from taskaware.file_forms import HEAD_BYTES, advised, other_than_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
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


def visible(paths: Iterable[Path]) -> list[Path]:
    """Return paths in order, without what systems leave and hide: ``._NAME``, ``.DS_Store``."""
    return sorted(path for path in paths if not path.name.startswith("."))


def require_file(path: Path, what: str) -> Path:
    """Return ``path``, or ``path.gz`` where that is there; ``what`` is for the message.

    Raises:
        CorpusError: Neither is a file.
    """
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.is_file():
            return candidate
    raise CorpusError(f"{path} must be {what}, but does not exist: unpack the corpus completely")


def decoded_lines(file: IO[bytes], place: str) -> Iterator[str]:
    """Yield the lines of an open file without their ends; line feeds alone end a line.

    Args:
        file: UTF-8.
        place: What messages call it.

    Raises:
        CorpusError: The file is not UTF-8, or its compression is damaged; found on the way.
    """
    number = 0
    try:
        for number, line in enumerate(file, start=1):
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            yield text.removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        what = other_than_text(error.object[:HEAD_BYTES]) if number == 1 else None
        if what is not None:
            raise CorpusError(
                f"{place}: must be a text in UTF-8, but is {advised(what)}"
            ) from error
        raise CorpusError(
            f"{place}, line {number}: must be UTF-8, but is not ({error}): convert the file"
        ) from error
    except (EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
        raise CorpusError(
            f"{place}, after line {number}: the file is truncated or damaged ({error}): download "
            "it again"
        ) from error


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file, compressed by gzip or not; see ``decoded_lines``."""
    try:
        opened = gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise CorpusError(f"{path}: the file cannot be read ({error.strerror or error})") from error
    with opened as file:
        yield from decoded_lines(cast("IO[bytes]", file), str(path))


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
