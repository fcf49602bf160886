"""Common Voice (Ardila et al., 2020): people read sentences aloud, in many languages.

https://commonvoice.mozilla.org/datasets, releases 2 and later::

    cv-corpus-RELEASE/LANGUAGE/{train,dev,test}.tsv
    cv-corpus-RELEASE/LANGUAGE/clips/*.mp3

The folder is a language's, or one above it that has one release. ``validated.tsv`` holds train, dev
and test once more with further readings of the same sentences, and is not read, nor are
``invalidated.tsv`` and ``other.tsv``.

The tables are written without quoting
(https://github.com/common-voice/CorporaCreator, ``Corpus._save``): a quotation mark is text, and
one that is never closed must not swallow the lines after it. Sentences that were quoted earlier on
the way into a release are found by their form, a quoted cell with doubled marks inside, and become
what was meant: ``\"\"\"Good-bye,\"\" said the boy.\"`` is ``\"Good-bye,\" said the boy.``
(https://github.com/common-voice/CorporaCreator/issues/108).
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from taskaware.data.corpora.files import read_table, require_folder
from taskaware.data.corpora.languages import wanted_languages
from taskaware.data.corpora.rows import ASR, Found, LeftOut, Request, Row
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SPLITS = ("train", "dev", "test")


def read(request: Request) -> Iterator[Found]:
    """Yield the corpus's rows: language by language, split by split.

    Raises:
        CorpusError: The folder has no language, or several releases of one.
    """
    folders = _find_languages(require_folder(request.folder, "the unpacked Common Voice"))
    wanted = wanted_languages(request, folders)
    if ASR not in request.kinds:
        return
    for language, folder in folders.items():
        for split in _SPLITS:
            table = folder / f"{split}.tsv"
            if language in wanted and table.is_file():
                yield from _read_split(table, split, language)


def _find_languages(folder: Path) -> dict[str, Path]:
    """Return the folders by language, which is a folder's name."""
    folder = folder.absolute()
    found: dict[str, Path] = {}
    for path in chain([folder], sorted(folder.glob("*/")), sorted(folder.glob("cv-corpus-*/*/"))):
        if not any((path / f"{split}.tsv").is_file() for split in _SPLITS):
            continue
        if path.name in found:
            raise CorpusError(
                f"{folder} must have one release, but has {found[path.name]} and {path}: name the "
                "folder of one of them"
            )
        found[path.name] = path
    if not found:
        raise CorpusError(
            f"{folder} must be the folder of a language, such as cv-corpus-4/en, or one above it, "
            "with train.tsv, dev.tsv or test.tsv, but does not: give the folder that the "
            "archive was unpacked in (releases that hold only what is new, 'delta', have no splits)"
        )
    return found


def _read_split(table: Path, split: str, language: str) -> Iterator[Found]:
    for number, cells in read_table(table, ("path", "sentence")):
        place = f"{table}, line {number}"
        if cells is None:
            reason = "another number of cells than the header"
            yield LeftOut(split=split, place=place, reason=reason)
            continue
        sentence = _unquote(cells["sentence"].strip()).strip()
        clip = cells["path"].strip().removesuffix(".mp3")  # release 3 and before name none
        if not sentence or not clip:
            reason = "no recording" if sentence else "no transcript"
            yield LeftOut(split=split, place=place, reason=reason)
            continue
        yield Row(
            split=split,
            id=clip,
            kind=ASR,
            dataset="common_voice",
            source_language=language,
            target_language=language,
            target_text=sentence,
            audio=table.parent / "clips" / f"{clip}.mp3",
            speaker=cells.get("client_id", ""),
            utterance=clip,
        )


def _unquote(cell: str) -> str:
    """Undo the quoting of CSV where a cell has its form.

    Only a cell with a quotation mark in it is quoted by CSV, so that a sentence that merely stands
    in quotation marks is none.
    """
    inner = cell[1:-1]
    is_quoted = cell.startswith('"') and cell.endswith('"') and '"' in inner
    return inner.replace('""', '"') if is_quoted and '"' not in inner.replace('""', "") else cell
