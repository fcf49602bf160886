"""Finding parallel text in a folder, by the names that its files are released under.

::

    europarl-v7.de-en.de   europarl-v7.de-en.en      two files of a pair
    newstest2013.de        newstest2013.en           files of a set in many languages
    Statmt-europarl-10-deu-eng.deu   ...eng          what ``mtdata get`` writes
    newstest2015-ende-src.en.sgm   newstest2015-ende-ref.de.sgm
    newstest2021.en-de.xml   newstest2021.en-de.all.xml
    europarl-v9.de-en.tsv
    de-en.txt.zip                                    OPUS's, with SETIMES.de-en.de as a member
    de-en.tmx   SETIMES.de-en.tmx                    named after its folder where it has no name

All of them, the zip file apart, may be compressed by gzip. English is the source, whatever language
a file's name has first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from taskaware.data.corpora import text_formats
from taskaware.data.corpora.files import visible
from taskaware.data.corpora.rows import MT, Found, LeftOut, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from taskaware.data.corpora.text_formats import TextPair

SOURCE_LANGUAGE = "en"
# Which is read where one text is there in several forms. OPUS's TMX files lack repeated sentences.
PLAIN, SGM, WMT_XML, TAB, MOSES_ZIP, TMX = FORMS = ("plain", "sgm", "xml", "tsv", "zip", "tmx")

# ISO 639-3, as mtdata writes languages, to ISO 639-1, for the languages of the paper and of the
# other corpora here. https://iso639-3.sil.org/code_tables/639/data
LANGUAGE_CODES = {
    "ces": "cs",
    "deu": "de",
    "eng": "en",
    "fra": "fr",
    "ita": "it",
    "nld": "nl",
    "por": "pt",
    "ron": "ro",
    "rus": "ru",
    "spa": "es",
    "swe": "sv",
    "tur": "tr",
}

_CODE = r"[a-z]{2,3}(?:_[A-Za-z]{2,4})?"
_OF_PAIR = re.compile(rf"(?:(?P<name>.+)[.-])?(?P<first>{_CODE})-(?P<second>{_CODE})")
_PLAIN = re.compile(rf"(?P<stem>.+)\.(?P<language>{_CODE})")
_SGM = re.compile(
    rf"(?P<name>.+?)(?:-(?P<label>[a-z]{{4}}))?-(?P<side>src|ref)\.(?P<code>{_CODE})\.sgm"
)
_XML_SETS = ("news", "wmttest", "flores")  # OPUS names other XML files, of alignments, likewise
_NO_NAME = re.compile(r"tmx|moses|v?\d[\w.-]*")  # folders of OPUS between a corpus and its files


@dataclass(frozen=True, kw_only=True)
class ParallelText:
    """A text in English and its translation.

    Attributes:
        name: What its file is called, without languages, e.g. ``"europarl-v7"``.
        language: Code of the translation's language.
        form: One of ``FORMS``.
        path: Its file; of two files, the English one.
        pairs: Yields its sentences.
    """

    name: str
    language: str
    form: str
    path: Path
    pairs: Callable[[], Iterator[TextPair]]


def find_parallel_texts(folder: Path) -> list[ParallelText]:
    """Return the texts below a folder, by name and language.

    Of equal ones the first is the better: the form that is first in ``FORMS``, then the larger file
    (newstest2014 was released filtered as well as in full).

    Raises:
        CorpusError: A ``.txt.zip`` is damaged.
    """
    files: dict[
        Path, Path
    ] = {}  # by the name without .gz; a file that is not compressed goes first
    for path in visible(folder.rglob("*")):
        if path.is_file():
            files.setdefault(path.with_suffix("") if path.suffix == ".gz" else path, path)
    texts = [*_two_files(files), *_two_sgm_files(files)]
    for name, path in files.items():
        texts += _one_file(name, path)
    return sorted(texts, key=_order)


def first_of_each(
    texts: Iterable[ParallelText], key: Callable[[ParallelText], object]
) -> tuple[list[ParallelText], list[ParallelText]]:
    """Return the first text of every key, and the others."""
    chosen: dict[object, ParallelText] = {}
    others: list[ParallelText] = []
    for text in texts:
        if chosen.setdefault(key(text), text) is not text:
            others.append(text)
    return list(chosen.values()), others


def read_rows(text: ParallelText, split: str, dataset: str) -> Iterator[Found]:
    """Yield the sentences of a text as rows of one split.

    Raises:
        CorpusError: The text is damaged.
    """
    for number, pair in enumerate(text.pairs(), start=1):
        empty = [
            side
            for side, sentence in (("source", pair.source), ("target", pair.target))
            if not sentence.strip()
        ]
        if empty:
            yield LeftOut(
                split=split, place=f"{text.path}, {pair.place}", reason=f"empty {empty[0]}"
            )
            continue
        yield Row(
            split=split,
            id=f"{dataset}-{SOURCE_LANGUAGE}-{text.language}-{number}",
            kind=MT,
            dataset=dataset,
            source_language=SOURCE_LANGUAGE,
            target_language=text.language,
            source_text=pair.source,
            target_text=pair.target,
        )


def _order(text: ParallelText) -> tuple[str, str, int, int, Path]:
    size = text.path.stat().st_size
    return text.name, text.language, FORMS.index(text.form), -size, text.path


def _code(language: str) -> str:
    """Return our code: of two letters where the table has one; a variety of English is English."""
    code = LANGUAGE_CODES.get(language, language)
    return SOURCE_LANGUAGE if code.startswith(f"{SOURCE_LANGUAGE}_") else code


def _target(first: str, second: str) -> str:
    """Return the language that is not English, or ``""`` for another pair."""
    codes = [_code(first), _code(second)]
    if codes.count(SOURCE_LANGUAGE) != 1:
        return ""
    codes.remove(SOURCE_LANGUAGE)
    return codes[0]


def _split_pair(stem: str) -> tuple[str, set[str]]:
    """Return a name, and the languages that it ends with: English and another, or none."""
    match = _OF_PAIR.fullmatch(stem)
    if match is None or not _target(match["first"], match["second"]):
        return stem, set()
    return match["name"] or "", {_code(match["first"]), _code(match["second"])}


def _two_files(files: dict[Path, Path]) -> Iterator[ParallelText]:
    groups: dict[tuple[Path, str], dict[str, Path]] = {}
    for name, path in files.items():
        match = _PLAIN.fullmatch(name.name)
        if match is not None:
            group = groups.setdefault((name.parent, match["stem"]), {})
            group.setdefault(_code(match["language"]), path)
    for (_, stem), group in groups.items():
        source = group.pop(SOURCE_LANGUAGE, None)
        name, languages = _split_pair(stem)
        for language, target in group.items():
            # What a set's files end with besides its languages has three letters: .sgm, .txt, .ids.
            fits = language in languages if languages else len(language.partition("_")[0]) == 2
            if source is not None and fits:
                yield ParallelText(
                    name=name,
                    language=language,
                    form=PLAIN,
                    path=source,
                    pairs=partial(text_formats.read_plain, source, target),
                )


def _two_sgm_files(files: dict[Path, Path]) -> Iterator[ParallelText]:
    matches = {name: _SGM.fullmatch(name.name) for name in files}
    sides = {
        (name.parent, match["name"], match["label"], match["side"], match["code"]): files[name]
        for name, match in matches.items()
        if match is not None
    }
    for (parent, name, label, side, language), target in sides.items():
        source = sides.get((parent, name, label, "src", SOURCE_LANGUAGE))
        if side == "ref" and language != SOURCE_LANGUAGE and source is not None:
            yield ParallelText(
                name=name,
                language=language,
                form=SGM,
                path=source,
                pairs=partial(text_formats.read_sgm, source, target),
            )


def _one_file(name: Path, path: Path) -> Iterator[ParallelText]:
    if name.name.endswith(".txt.zip"):
        yield from _zip_file(path)
        return
    match = _OF_PAIR.fullmatch(name.stem.removesuffix(".all"))
    language = match and _target(match["first"], match["second"])
    if match is None or not language:
        return
    text = partial(ParallelText, language=language, path=path)
    match name.suffix:
        case ".tsv":
            swapped = _code(match["first"]) != SOURCE_LANGUAGE
            pairs = partial(text_formats.read_tab, path, swapped=swapped)
            yield text(name=match["name"] or "", form=TAB, pairs=pairs)
        case ".tmx":
            pairs = partial(text_formats.read_tmx, path, SOURCE_LANGUAGE, language)
            yield text(name=match["name"] or _folder_name(path), form=TMX, pairs=pairs)
        case ".xml" if (match["name"] or "").startswith(_XML_SETS):
            if _code(match["first"]) == SOURCE_LANGUAGE:
                pairs = partial(text_formats.read_wmt_xml, path, language)
                yield text(name=match["name"] or "", form=WMT_XML, pairs=pairs)


def _zip_file(path: Path) -> Iterator[ParallelText]:
    members = set(text_formats.zip_members(path))
    for member in sorted(members):
        stem, _, last = member.rpartition(".")
        match = _OF_PAIR.fullmatch(stem)
        if match is None or _code(last) == SOURCE_LANGUAGE:
            continue
        codes = {match["first"], match["second"]}
        source = f"{stem}.{next(iter(codes - {last}), '')}"
        language = _target(match["first"], match["second"])
        if last in codes and language and source in members:
            yield ParallelText(
                name=match["name"] or "",
                language=language,
                form=MOSES_ZIP,
                path=path,
                pairs=partial(text_formats.read_moses_zip, path, source, member),
            )


def _folder_name(path: Path) -> str:
    """Return the folder that a corpus lies in, as in ``SETIMES/v2/tmx/en-tr.tmx.gz``."""
    names = (folder.name for folder in path.absolute().parents)
    return next((name for name in names if name and not _NO_NAME.fullmatch(name)), "")
