"""Whether a text is in the language that it should be in, by py3langid (without the network)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from taskaware.data.writing_systems import language_code
from taskaware.errors import MissingDependencyError, UserError, nearest

if TYPE_CHECKING:
    from taskaware.data.quality.settings import LanguageSettings


class LanguageIdentifier:
    """Tells the language of texts; py3langid knows 140 languages by the bytes that they use.

    About 10,000 texts a second on one core.
    """

    def __init__(self, settings: LanguageSettings) -> None:
        """Load the model that py3langid brings (half a second).

        Raises:
            MissingDependencyError: py3langid is not installed.
            UserError: One of ``settings.among`` is no language that py3langid knows.
        """
        self._settings = settings
        self._whole = _load()
        self._known = frozenset(self._whole.labels)
        for language in settings.among:
            if language not in self._known:
                raise UserError(
                    f"py3langid must know all languages of `among`, but does not know "
                    f"'{language}'{nearest(language, self._known)}"
                )
        self._restricted: dict[str, Any] = {}

    def other_language(self, text: str, language: str) -> str | None:
        """Return the language that a text is in if it is not ``language``, else ``None``.

        ``None`` as well where that cannot be told: the text is too short, ``language`` is empty or
        not known to py3langid. A region (``pt-BR``) is not looked at.
        """
        language = language_code(language)
        if len(text) < self._settings.min_characters or language not in self._known:
            return None
        if language not in self._restricted:
            self._restricted[language] = self._among(language)
        ranked: list[tuple[str, float]] = self._restricted[language].rank(text)
        if dict(ranked)[language] >= self._settings.min_probability:
            return None
        best = ranked[0][0]
        return None if best == language else best

    def _among(self, language: str) -> Any:
        """An identifier for one language and those of the settings, whatever was asked before."""
        restricted = copy.copy(self._whole)
        restricted.set_languages(sorted({language, *self._settings.among}))
        return restricted


def _load() -> Any:
    try:
        from py3langid.langid import MODEL_FILE
        from py3langid.langid import LanguageIdentifier as Model
    except ImportError as error:
        raise MissingDependencyError(
            "Language identification needs the package py3langid, which is not installed. "
            "Install it with: pip install 'taskaware[cleaning]'"
        ) from error
    return Model.from_model_file(MODEL_FILE, norm_probs=True)
