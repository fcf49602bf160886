"""The recipes by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.data.corpora import librispeech
from taskaware.errors import UserError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskaware.data.corpora.rows import Found, Request

NAMES = ("librispeech",)


def read_corpus(name: str, request: Request) -> Iterator[Found]:
    """Yield the rows of a corpus, in the order of its files.

    Raises:
        UserError: There is no recipe of this name.
        CorpusError: The folder is not laid out as the corpus's release.
    """
    match name:
        case "librispeech":
            return librispeech.read(request)
        case _:
            raise UserError(
                f"the corpus must be one of {', '.join(NAMES)}, but is '{name}'"
                f"{nearest(name, NAMES)}; your own data goes into a manifest (docs/data.md)"
            )
