"""Any corpus of OPUS, from English: https://opus.nlpl.eu.

In the folder, or anywhere below it, is what OPUS releases for a corpus and language pair::

    en-tr.txt.zip                         Moses format, with SETIMES.en-tr.en as a member
    SETIMES.en-tr.en, SETIMES.en-tr.tr    the same, unpacked
    en-tr.tmx.gz                          TMX format; the corpus has the name of the folder

Where a corpus is there in several forms, the Moses format is read: OPUS leaves repeated sentences
out of its TMX files. OPUS has no dev or test sets, so everything is train. Reference: Tiedemann
(2012), Parallel Data, Tools and Interfaces in OPUS.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from taskaware.data.corpora.files import require_folder
from taskaware.data.corpora.languages import wanted_languages
from taskaware.data.corpora.parallel_text import (
    FORMS,
    MOSES_ZIP,
    PLAIN,
    TMX,
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


def read(request: Request, corpus: str = "") -> Iterator[Found]:
    """Yield the rows of a folder.

    Args:
        request: What the user asks; ``languages`` are target languages.
        corpus: The corpus to read alone, e.g. ``"opensubtitles2018"``, which names the rows too:
            OPUS's files say ``OpenSubtitles`` or ``OpenSubtitles2018``, and some say nothing.
            Empty: every corpus, by the names of its files.

    Raises:
        CorpusError: The folder has no such text, none in one of the languages, or a damaged one.
    """
    folder = require_folder(request.folder, "a folder of files from OPUS")
    texts = _of_folder(folder)
    if corpus:
        named = [text for text in texts if _family(text.name) == _family(corpus)]
        texts = named or [text for text in texts if _has_no_name(text)]
    if not texts:
        raise CorpusError(
            f"{folder} must contain {corpus or 'a corpus'} of OPUS with English, in files such as "
            "de-en.txt.zip or de-en.tmx.gz, but does not: put the downloaded files there under "
            "their own names"
        )
    languages = wanted_languages(request, {text.language for text in texts})
    if MT not in request.kinds:
        return
    texts = [text for text in texts if text.language in languages]
    chosen, others = first_of_each(
        sorted(texts, key=lambda text: FORMS.index(text.form)),
        key=lambda text: (corpus or text.name.lower(), text.language),
    )
    for text in others:
        yield LeftOut(
            split="train", place=str(text.path), reason="the folder has the text in another form"
        )
    for text in chosen:
        yield from read_rows(text, "train", corpus or text.name.lower() or "opus")


def _of_folder(folder: Path) -> list[ParallelText]:
    """Return the texts in OPUS's forms; files without a language pair in their names are not."""
    return [
        text
        for text in find_parallel_texts(folder)
        if text.form in (MOSES_ZIP, TMX)
        or (text.form == PLAIN and text.path.name.removesuffix(".gz") != f"{text.name}.en")
    ]


def _has_no_name(text: ParallelText) -> bool:
    """Whether a text's name is its folder's: en-tr.tmx.gz."""
    return text.form == TMX and not text.path.name.startswith(text.name)


def _family(name: str) -> str:
    """Return a corpus's name without its year or number: OPUS puts them in some names only."""
    return re.sub(r"\d*$", "", name.lower())
