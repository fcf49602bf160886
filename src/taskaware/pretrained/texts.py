"""The texts that a vocabulary is cut to: those of manifests, or the lines of text files."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from taskaware.data.manifest.line import LineProblem
from taskaware.data.manifest.read import iterate_manifest
from taskaware.data.manifest.source_files import file_problem
from taskaware.data.manifest.source_list import LIST_SUFFIXES, looks_like_a_list
from taskaware.errors import ManifestError, UserError
from taskaware.file_forms import HEAD_BYTES, advised, other_than_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def check_files(paths: Sequence[Path]) -> None:
    """Refuse what is no file, before anything large is read.

    Raises:
        UserError: Names the file.
    """
    for path in paths:
        if problem := file_problem(path):
            raise UserError(f"{path}: {problem}: name a manifest or a text file")


def read_texts(path: Path) -> Iterator[str]:
    """Yield the texts of a file: source and target texts of a manifest, else its lines.

    A manifest is what is called so (.tsv, .csv, .jsonl) or begins like one, as for ``predict``.

    Raises:
        ManifestError: A manifest is not one as ``prepare`` reads it, or a line of it is wrong.
        UserError: A text file is not UTF-8.
    """
    is_manifest = path.suffix.lower() in LIST_SUFFIXES
    if not is_manifest:
        is_manifest = looks_like_a_list(next((line for line in _lines(path) if line.strip()), ""))
    yield from _manifest(path) if is_manifest else _lines(path)


def _manifest(path: Path) -> Iterator[str]:
    for line in iterate_manifest(path):
        if isinstance(line, LineProblem):
            raise ManifestError(
                f"{path}, line {line.line}, field '{line.field}': {line.reason}: correct the line, "
                "or leave it out"
            )
        yield line.example.source_text or ""
        yield line.example.target_text


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        if (what := other_than_text(file.read(HEAD_BYTES))) is not None:
            raise UserError(f"{path} must be a manifest or a text in UTF-8, but is {advised(what)}")
        file.seek(0)
        for number, data in enumerate(file, start=1):
            start = len(codecs.BOM_UTF8) if number == 1 and data.startswith(codecs.BOM_UTF8) else 0
            try:
                line = data[start:].decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}, line {number}: must be a manifest or a text in UTF-8, but has the "
                    f"byte 0x{data[start + error.start]:02X}: save it as UTF-8"
                ) from error
            yield line.removesuffix("\n").removesuffix("\r")
