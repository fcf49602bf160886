"""A collection of small corpora in one folder, each in the simplest layout that it can have.

Everything that is there is read::

    librispeech_mini/manifest.tsv           split, id, audio, speaker, en
    steel_sky/manifest.tsv                  split, id, audio, en, and a column a translation
    multi30k/NAME.{en,XX}                   NAME: train, val (becomes dev), test_2016_flickr (test)
    text/CORPUS.en-XX.SPLIT.tsv             en, XX
    wmt/NAME.en-XX.{en,XX}                  translations line by line

Every file may be compressed by gzip. Tables are tab-separated, with a header and without quoting;
recordings are named relative to theirs.

- ``librispeech_mini``: read English (LibriSpeech's mini release; its dev and test are halves of
  dev-clean, not the official sets). asr_en; transcripts are capitals and stay so.
- ``steel_sky``: the acted dialogue of a game. asr_en, st_en_XX and mt_en_XX for every translation;
  the rows of a line of dialogue share their utterance and stand together.
- ``multi30k``: captions of images. mt_en_XX; the translations of a caption stand together.
- Every corpus of ``text`` is a dataset of its own name. mt_en_XX.
- Every set of ``wmt`` as well. mt_en_XX; dev and test are newsdev2016 and newstest2016 for Romanian
  (the paper's), newstest2016 and newstest2017 for Turkish (the paper's test), newstest2014 and
  newstest2015 for German (tests of the paper's larger experiments). Other sets are splits of their
  own names.

Texts are as they are, but for white space at their ends. What several splits share stays in all.
``Request.languages``: a language takes what is translated into it and the recognition that lies
beside it; ``en`` takes all recognition.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from taskaware.data.corpora.files import (
    read_parallel,
    read_table,
    require_file,
    require_folder,
    visible,
)
from taskaware.data.corpora.rows import ASR, MT, ST, Found, LeftOut, Request, Row
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_TEXT = re.compile(r"([\w-]+)\.en-([a-z]{2,3})\.(train|dev|test)\.tsv(?:\.gz)?")
_WMT = re.compile(r"([\w-]+)\.en-([a-z]{2,3})\.en(?:\.gz)?")
_MULTI30K = re.compile(r"(\w+)\.([a-z]{2,3})(?:\.gz)?")
_MULTI30K_SPLITS = {"train": "train", "val": "dev", "test_2016_flickr": "test"}
_WMT_SPLITS = {
    ("newstest2014", "de"): "dev",
    ("newstest2015", "de"): "test",
    ("newstest2016", "tr"): "dev",
    ("newstest2017", "tr"): "test",
    ("newsdev2016", "ro"): "dev",
    ("newstest2016", "ro"): "test",
}
_CELLS = "another number of cells than the header"


def read(request: Request) -> Iterator[Found]:
    """Yield the rows of all corpora of the collection, one corpus after the other.

    Raises:
        CorpusError: The folder has none of them, or one that is not laid out as above.
    """
    folder = require_folder(request.folder, "a folder of corpora")
    readers = {
        "librispeech_mini": _read_librispeech,
        "steel_sky": _read_steel_sky,
        "multi30k": _read_multi30k,
        "text": _read_text,
        "wmt": _read_wmt,
    }
    there = [name for name in readers if (folder / name).is_dir()]
    if not there:
        raise CorpusError(f"{folder} must contain one of {', '.join(readers)}, but does not")
    for name in there:
        yield from readers[name](folder / name, request)


def _wants(request: Request, language: str) -> bool:
    return not request.languages or language in request.languages


def _read_librispeech(folder: Path, request: Request) -> Iterator[Found]:
    if ASR not in request.kinds or not _wants(request, "en"):
        return
    table = require_file(folder / "manifest.tsv", "a table of recordings")
    for number, cells in read_table(table, ("split", "id", "audio", "speaker", "en")):
        place = f"{table}, line {number}"
        if cells is None or not cells["en"].strip():
            reason = _CELLS if cells is None else "no transcript"
            yield LeftOut(split=cells["split"] if cells else "train", place=place, reason=reason)
            continue
        yield Row(
            split=cells["split"],
            id=f"librispeech_mini-{cells['id']}-asr-en",
            kind=ASR,
            dataset="librispeech_mini",
            source_language="en",
            target_language="en",
            target_text=cells["en"].strip(),
            audio=folder / cells["audio"],
            speaker=cells["speaker"],
            utterance=f"librispeech_mini-{cells['id']}",
        )


def _read_steel_sky(folder: Path, request: Request) -> Iterator[Found]:
    table = require_file(folder / "manifest.tsv", "a table of recordings")
    others = ("split", "id", "audio", "en")  # "id" is no Indonesian
    for number, cells in read_table(table, others):
        place = f"{table}, line {number}"
        if cells is None:
            yield LeftOut(split="train", place=place, reason=_CELLS)
            continue
        languages = [name for name in cells if len(name) == 2 and name not in others]
        wanted = [language for language in languages if _wants(request, language)]
        own = [(ASR, "en")] if wanted or _wants(request, "en") else []
        own += [(kind, language) for kind in (ST, MT) for language in wanted]
        for kind, language in own:
            if kind not in request.kinds:
                continue
            english, target = cells["en"].strip(), cells[language].strip()
            if not target or (kind == MT and not english):
                reason = "no transcript" if kind == ASR or target else "no translation"
                yield LeftOut(split=cells["split"], place=place, reason=reason)
                continue
            yield Row(
                split=cells["split"],
                id=f"steel_sky-{cells['id']}-{kind}-{language}",
                kind=kind,
                dataset="steel_sky",
                source_language="en",
                target_language=language,
                target_text=target,
                source_text=english if kind == MT else None,
                audio=None if kind == MT else folder / cells["audio"],
                utterance=f"steel_sky-{cells['id']}",
            )


def _read_multi30k(folder: Path, request: Request) -> Iterator[Found]:
    if MT not in request.kinds:
        return
    files: dict[str, dict[str, Path]] = {}
    for path in visible(folder.iterdir()):
        match = _MULTI30K.fullmatch(path.name)
        if match:
            files.setdefault(match[1], {})[match[2]] = path
    for name, paths in files.items():
        languages = sorted(lang for lang in paths if lang != "en" and _wants(request, lang))
        if "en" not in paths or not languages:
            continue
        split = _MULTI30K_SPLITS.get(name, name)
        lines = read_parallel(paths["en"], *(paths[language] for language in languages))
        for number, (english, *translations) in enumerate(lines, start=1):
            utterance = f"multi30k-{split}-{number:05d}"
            pairs = [
                (lang, english, text) for lang, text in zip(languages, translations, strict=True)
            ]
            place = f"{paths['en']}, line {number}"
            yield from _text_rows(pairs, "multi30k", split, utterance, place, shared=utterance)


def _read_text(folder: Path, request: Request) -> Iterator[Found]:
    for path in visible(folder.iterdir()):
        match = _TEXT.fullmatch(path.name)
        if match is None or MT not in request.kinds or not _wants(request, match[2]):
            continue
        dataset, language, split = match.groups()
        for number, cells in read_table(path, ("en", language)):
            place = f"{path}, line {number}"
            if cells is None:
                yield LeftOut(split=split, place=place, reason=_CELLS)
                continue
            pairs = [(language, cells["en"], cells[language])]
            yield from _text_rows(pairs, dataset, split, f"{dataset}-{number - 1:05d}", place)


def _read_wmt(folder: Path, request: Request) -> Iterator[Found]:
    for path in visible(folder.iterdir()):
        match = _WMT.fullmatch(path.name)
        if match is None or MT not in request.kinds or not _wants(request, match[2]):
            continue
        dataset, language = match.groups()
        split = _WMT_SPLITS.get((dataset, language), dataset)
        translated = require_file(
            folder / f"{dataset}.en-{language}.{language}", f"the translation of {path.name}"
        )
        for number, (english, text) in enumerate(read_parallel(path, translated), start=1):
            pairs = [(language, english, text)]
            place = f"{path}, line {number}"
            yield from _text_rows(pairs, dataset, split, f"{dataset}-{number:05d}", place)


def _text_rows(
    pairs: Sequence[tuple[str, str, str]],
    dataset: str,
    split: str,
    id_: str,
    place: str,
    shared: str = "",
) -> Iterator[Found]:
    """Yield the rows of target language, English and translation; an empty text is left out.

    Without a ``shared`` utterance, sentences with the same English share one, as ``prepare`` does
    it for every text source.
    """
    for language, english, text in pairs:
        source, target = english.strip(), text.strip()
        if not (source and target):
            reason = "no translation" if source else "no source text"
            yield LeftOut(split=split, place=place, reason=reason)
            continue
        yield Row(
            split=split,
            id=f"{id_}-mt-{language}",
            kind=MT,
            dataset=dataset,
            source_language="en",
            target_language=language,
            source_text=source,
            target_text=target,
            utterance=shared,
        )
