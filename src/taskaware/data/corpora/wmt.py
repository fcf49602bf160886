"""WMT's text translation data, from English: https://www.statmt.org/wmt19/translation-task.html.

The archives are unpacked in the folder, or anywhere below it (``parallel_text`` lists the names)::

    training/europarl-v7.de-en.{de,en}              training-parallel-europarl-v7.tgz
    training-parallel-ep-v8/europarl-v8.ro-en.{ro,en}
    europarl-v9.de-en.tsv.gz                        v10 too
    news-commentary-v14.de-en.tsv.gz                older ones are pairs of files
    commoncrawl.de-en.{de,en}
    SETIMES2.en-tr.{en,tr}                          setimes2 of WMT16 to 18, or OPUS's zip or TMX
    dev/dev2006.{de,en}, dev/newstest2013.{de,en}
    dev/newsdev2016-enro-src.en.sgm, dev/newsdev2016-enro-ref.ro.sgm
    test/newstest2021.en-de.xml

What ``mtdata get`` (https://github.com/thammegowda/mtdata) writes is read as well:
``train-parts/NAME.deu`` and ``.eng``, ``tests/NAME.deu`` and ``.eng``; the merged ``train.deu`` is
not, since it repeats the parts.

Training data are those of ``TRAINING``; every other text is a set for evaluation and becomes a
split of its own name, but for those that the paper names for a language pair (``PAPER_SETS``),
which become dev and test. Of several versions of a training corpus the newest is read: they hold
the same sentences. What else is there twice is read once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from taskaware.data.corpora.files import require_folder
from taskaware.data.corpora.languages import wanted_languages
from taskaware.data.corpora.parallel_text import (
    ParallelText,
    find_parallel_texts,
    first_of_each,
    read_rows,
)
from taskaware.data.corpora.rows import MT, Found, LeftOut, Request
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What a training corpus is called in its files' names, without version.
EUROPARL, NEWS_COMMENTARY, COMMON_CRAWL = "europarl", "news-commentary", "commoncrawl"
TRAINING = (
    *(EUROPARL, NEWS_COMMENTARY, COMMON_CRAWL),
    *("setimes", "paracrawl", "wikititles", "wiki-titles", "rapid"),
)


@dataclass(frozen=True, kw_only=True)
class EvaluationSets:
    """The sets that become dev and test.

    Attributes:
        dev: Names of sets.
        test: Names of sets.
    """

    dev: tuple[str, ...]
    test: tuple[str, ...]


# By target language, from English: section 3.1.1. The multi-modality experiments of section 3.1.2
# test En-De on newstest2014 and newstest2015, which are splits of these names.
PAPER_SETS = {
    "de": EvaluationSets(
        dev=("dev2006", "nc-dev2007"), test=("devtest2006", "test2006", "nc-devtest2007")
    ),
    "ro": EvaluationSets(dev=("newsdev2016",), test=("newstest2016",)),
    "tr": EvaluationSets(dev=("newsdev2016",), test=("newstest2017",)),
}

_MTDATA_TRAIN, _MTDATA_TESTS = "train-parts", "tests"
_MTDATA_SET = re.compile(r"(news(?:dev|test)b?)-(?:([a-z]{4})-)?(\d{4})(?:-([a-z]{4}))?")
_MTDATA_OLD_SET = re.compile(r"(news(?:dev|test)b?)(\d{4})-([a-z]{4})")


def read(request: Request, corpus: str = "") -> Iterator[Found]:
    """Yield the rows of a folder.

    Args:
        request: What the user asks; ``languages`` are target languages.
        corpus: One of ``TRAINING``, to read that alone; empty: everything.

    Raises:
        CorpusError: The folder has no such text, none in one of the languages, or a damaged one.
    """
    folder = require_folder(request.folder, "a folder of WMT's text data")
    texts = [
        text
        for text in map(_renamed, _of_folder(folder))
        if not corpus or _training_corpus(text) == corpus
    ]
    if not texts:
        what = f"{corpus} data" if corpus else "WMT's data"
        raise CorpusError(
            f"{folder} must contain {what} with English, in files such as "
            f"{corpus or EUROPARL}*.de-en.de and .en, but does not: unpack the archives (.tgz), "
            "and keep the names of the files"
        )
    languages = wanted_languages(request, {text.language for text in texts})
    if MT not in request.kinds:
        return
    texts = [text for text in texts if text.language in languages]
    chosen, others = first_of_each(
        sorted(texts, key=lambda text: -_version(text) if _training_corpus(text) else 0),
        key=lambda text: (_training_corpus(text) or text.name, text.language),
    )
    for text in others:
        yield LeftOut(
            split=_split(text), place=str(text.path), reason="the folder has a newer or better copy"
        )
    for text in sorted(chosen, key=lambda text: (text.language, text.name)):
        yield from read_rows(text, _split(text), text.name)


def _of_folder(folder: Path) -> list[ParallelText]:
    texts = find_parallel_texts(folder)
    if (folder / _MTDATA_TRAIN).is_dir():
        parts = (folder / _MTDATA_TRAIN, folder / _MTDATA_TESTS)
        return [text for text in texts if text.path.parent in parts]
    return texts


def _renamed(text: ParallelText) -> ParallelText:
    """Give a text of mtdata the name that WMT gives it, and any text one of small letters."""
    name = text.name.lower().replace("_", "-").removeprefix("statmt-")
    new, old = _MTDATA_SET.fullmatch(name), _MTDATA_OLD_SET.fullmatch(name)
    if new is not None:
        name, label = f"{new[1]}{new[3]}", new[2] or new[4] or ""
    elif old is not None:
        name, label = f"{old[1]}{old[2]}", old[3]
    else:
        return replace(text, name=name)
    # Until 2014 a set served both directions; later ones into English are another set.
    reverse = label and not label.startswith("en") and int(name[-4:]) > 2014
    return replace(text, name=f"{name}-{label}" if reverse else name)


def _training_corpus(text: ParallelText) -> str:
    known = next((name for name in TRAINING if name in text.name), "")
    return known or (text.name if text.path.parent.name == _MTDATA_TRAIN else "")


def _version(text: ParallelText) -> int:
    number = re.search(r"(\d+)$", text.name)
    return 0 if number is None else int(number[1])


def _split(text: ParallelText) -> str:
    if _training_corpus(text):
        return "train"
    sets = PAPER_SETS.get(text.language, EvaluationSets(dev=(), test=()))
    if text.name in sets.dev:
        return "dev"
    return "test" if text.name in sets.test else re.sub(r"[^\w-]", "-", text.name)
