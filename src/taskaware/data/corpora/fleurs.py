"""FLEURS (Conneau et al., 2022): the same sentences read aloud in 102 languages.

https://huggingface.co/datasets/google/fleurs, with each language's ``audio/SPLIT.tar.gz`` unpacked
where it lies::

    LANGUAGE_REGION/{train,dev,test}.tsv         no header: sentence, file, text, normalised text,
                                                 letters, samples, gender
    LANGUAGE_REGION/audio/{train,dev,test}/*.wav

The folder is the one above the languages (the data set's ``data`` or the one above it). A language
is called by what stands before the region: ``en`` of en_us, ``cmn`` of cmn_hans_cn, ``es`` of
es_419.

A sentence has one number in all languages, and is read by one to three people; each reading is a
line. A recording gives recognition in its language and speech translation into every
other language that has the sentence; the first recording of a sentence also gives its text
translations, once each. Languages lack some sentences, so that a pair has what both
have. Texts are those with capitals and punctuation. ``Request.languages`` are taken two by
two, in both directions; with none, all that are there are: name those that you want.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from taskaware.data.corpora.files import read_lines, require_folder
from taskaware.data.corpora.languages import wanted_languages
from taskaware.data.corpora.rows import ASR, MT, ST, Found, LeftOut, Request, Row
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_FOLDER = re.compile(r"([a-z]{2,3})_[a-z0-9_]+")
_SPLITS = ("train", "dev", "test")
_NUM_CELLS = 7
_SENTENCE, _FILE, _TEXT = 0, 1, 2


def read(request: Request) -> Iterator[Found]:
    """Yield the corpus's rows: split by split, language by language, a recording's together.

    The sentences of one split, a few thousand, are held in memory in all languages wanted.

    Raises:
        CorpusError: The folder has no language, or recordings are still in their archive.
    """
    folders = _find_languages(require_folder(request.folder, "the folder of FLEURS's languages"))
    wanted = sorted(wanted_languages(request, folders))
    for split in _SPLITS:
        tables = {
            language: folders[language] / f"{split}.tsv"
            for language in wanted
            if (folders[language] / f"{split}.tsv").is_file()
        }
        texts: dict[str, dict[str, str]] = {}
        if {ST, MT} & set(request.kinds):
            texts = {language: _read_texts(table) for language, table in tables.items()}
        for language, table in tables.items():
            yield from _read_split(table, language, texts, request.kinds)


def _find_languages(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    folder = folder / "data" if (folder / "data").is_dir() else folder
    for path in sorted(folder.iterdir()):
        match = _FOLDER.fullmatch(path.name)
        if not match or not any((path / f"{split}.tsv").is_file() for split in _SPLITS):
            continue
        if match[1] in found:
            raise CorpusError(
                f"{folder} must have one folder a language, but has {found[match[1]].name} and "
                f"{path.name}: move one of them away"
            )
        found[match[1]] = path
    if not found:
        raise CorpusError(
            f"{folder} must contain folders such as en_us with train.tsv, dev.tsv or test.tsv, but "
            "does not: give the folder that FLEURS was downloaded to"
        )
    return found


def _read_texts(table: Path) -> dict[str, str]:
    """Return the text of every sentence, as it stands in its first line."""
    texts: dict[str, str] = {}
    for line in read_lines(table):
        cells = line.split("\t")
        if len(cells) == _NUM_CELLS and cells[_TEXT].strip():
            texts.setdefault(cells[_SENTENCE], cells[_TEXT].strip())
    return texts


def _read_split(
    table: Path, language: str, texts: Mapping[str, Mapping[str, str]], kinds: tuple[str, ...]
) -> Iterator[Found]:
    split = table.stem
    recordings = table.parent / "audio" / split
    if {ASR, ST} & set(kinds) and not recordings.is_dir():
        raise CorpusError(
            f"{recordings} must contain the recordings of {table}, but does not exist: unpack "
            f"{table.parent / 'audio' / split}.tar.gz there"
        )
    translated: set[str] = set()
    for number, line in enumerate(read_lines(table), start=1):
        cells = line.split("\t")
        place = f"{table}, line {number}"
        if len(cells) != _NUM_CELLS:
            yield LeftOut(split=split, place=place, reason=f"not {_NUM_CELLS} cells")
            continue
        sentence, text = cells[_SENTENCE], cells[_TEXT].strip()
        if not text:
            yield LeftOut(split=split, place=place, reason="no transcript")
            continue
        others = {
            other: of_language[sentence]
            for other, of_language in texts.items()
            if other != language and sentence in of_language
        }
        for kind, target, target_text in _tasks(language, text, others):
            if kind not in kinds or (kind == MT and sentence in translated):
                continue
            yield Row(
                split=split,
                id=f"{language}-{cells[_FILE].removesuffix('.wav')}-{kind}-{target}",
                kind=kind,
                dataset="fleurs",
                source_language=language,
                target_language=target,
                target_text=target_text,
                source_text=text if kind == MT else None,
                audio=None if kind == MT else recordings / cells[_FILE],
                utterance=f"{language}-{sentence}",
            )
        translated.add(sentence)


def _tasks(language: str, text: str, others: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield kind, target language and target text of everything that a sentence can be."""
    yield ASR, language, text
    for kind in (ST, MT):
        for other, translation in others.items():
            yield kind, other, translation
