"""Which languages of a corpus a user wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Collection

    from taskaware.data.corpora.rows import Request


def wanted_languages(request: Request, there: Collection[str]) -> set[str]:
    """Return those languages of a folder that the user asks for; all where the user names none.

    Args:
        request: What the user asks.
        there: The languages that the folder has.

    Raises:
        CorpusError: The folder has not all of them.
    """
    missing = [language for language in request.languages if language not in there]
    if missing:
        raise CorpusError(
            f"{request.folder} must have the language '{missing[0]}', but has "
            f"{', '.join(sorted(there))}: unpack that language too, or leave it out"
        )
    return set(request.languages or there)
