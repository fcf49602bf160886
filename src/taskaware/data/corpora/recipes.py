"""The recipes of ``taskaware data``, by name: each reads a corpus as it is distributed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.data.corpora import (
    collection,
    common_voice,
    covost,
    europarl_st,
    fleurs,
    iwslt_ted,
    kaldi,
    lhotse_cuts,
    librispeech,
    mtedx,
    multi30k,
    must_c,
    opus,
    table,
    ted_lium,
    wmt,
)
from taskaware.errors import UserError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskaware.data.corpora.rows import Found, Request

SPEECH = (
    *("must_c", "ted_lium", "librispeech", "common_voice", "europarl_st", "iwslt_ted", "covost"),
    *("mtedx", "fleurs", "lhotse", "kaldi"),
)
TEXT = (
    *("wmt", "europarl", "news_commentary", "common_crawl", "opus", "setimes2"),
    *("opensubtitles2018", "multi30k", "table"),
)
NAMES = (*SPEECH, *TEXT, "collection")


def read_corpus(name: str, request: Request) -> Iterator[Found]:
    """Yield the rows of a corpus, in the order of its files.

    Args:
        name: One of ``NAMES``; hyphens serve for underscores.
        request: What is asked of it.

    Raises:
        UserError: There is no recipe of this name.
        CorpusError: The folder is not laid out as the corpus's release.
    """
    match name.replace("-", "_"):
        case "must_c":
            return must_c.read(request)
        case "ted_lium":
            return ted_lium.read(request)
        case "librispeech":
            return librispeech.read(request)
        case "common_voice":
            return common_voice.read(request)
        case "europarl_st":
            return europarl_st.read(request)
        case "iwslt_ted":
            return iwslt_ted.read(request)
        case "covost":
            return covost.read(request)
        case "mtedx":
            return mtedx.read(request)
        case "fleurs":
            return fleurs.read(request)
        case "lhotse":
            return lhotse_cuts.read(request)
        case "kaldi":
            return kaldi.read(request)
        case "wmt":
            return wmt.read(request)
        case "europarl":
            return wmt.read(request, wmt.EUROPARL)
        case "news_commentary":
            return wmt.read(request, wmt.NEWS_COMMENTARY)
        case "common_crawl":
            return wmt.read(request, wmt.COMMON_CRAWL)
        case "opus":
            return opus.read(request)
        case "setimes2" | "opensubtitles2018":
            return opus.read(request, name)
        case "multi30k":
            return multi30k.read(request)
        case "table":
            return table.read(request)
        case "collection":
            return collection.read(request)
        case _:
            raise UserError(
                f"the corpus must be one of {', '.join(NAMES)}, but is '{name}'"
                f"{nearest(name, NAMES)}; your own data goes into a manifest (docs/data.md)"
            )
