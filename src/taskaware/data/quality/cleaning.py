"""Cleaning of training texts, one example at a time.

Memory grows only where duplicates are dropped, by 27 to 54 bytes an example.

The order of the rules is fixed, and a later rule sees what an earlier one has written: normal form,
white space, empty texts, words, characters, length ratio, copies, language, duplicates. Of all
rules that an example breaks, the first one is named.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from taskaware.data.hashes import FirstSeen, hash_texts
from taskaware.data.quality.checks import Finding
from taskaware.data.quality.language_identification import LanguageIdentifier
from taskaware.data.quality.overlap import bare
from taskaware.data.writing_systems import count_words, has_unseparated_words, language_code, words
from taskaware.settings.typed import require_valid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskaware.data.quality.settings import CleaningSettings
    from taskaware.types import Example, Task

# U+200C and U+200D, which are of category Cf, change how Persian and Indic words are written.
_JOINERS = "\u200c\u200d"


class _RuleError(Exception):
    """A rule is broken; becomes a ``Finding``."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.finding = Finding(field=field, reason=reason)


class Cleaner:
    """Cleans the examples of train in their order; the same examples give the same results.

    Examples with a source text are cleaned on both sides. Of speech and features only the target
    text is, by the rules that look at one text alone.
    """

    def __init__(self, settings: CleaningSettings) -> None:
        """Make a cleaner.

        Raises:
            ExperimentError: A setting has an impossible value.
            MissingDependencyError: Languages are to be identified and py3langid is not installed.
        """
        require_valid(settings, where="cleaning")
        self._settings = settings
        self._identifier = (
            LanguageIdentifier(settings.language) if settings.identify_language else None
        )
        self._seen = FirstSeen()
        self._numbers: Counter[str] = Counter()  # of examples seen, by task

    def clean(self, example: Example, task: Task) -> Example | Finding:
        """Return the example with clean texts, or why it is left out.

        Args:
            example: An example of train.
            task: The task that ``example.task`` names.
        """
        self._numbers[task.name] += 1
        source = None if example.source_text is None else self._rewritten(example.source_text)
        cleaned = replace(
            example, source_text=source, target_text=self._rewritten(example.target_text)
        )
        try:
            for name, text, _ in _texts(cleaned, task):
                self._check_length(name, text)
            if source is not None:
                self._check_pair(source, cleaned.target_text, task)
            for name, text, language in _texts(cleaned, task):
                self._check_language(name, text, language)
            if source is not None:
                self._check_duplicate(source, cleaned.target_text, task)
        except _RuleError as broken:
            return broken.finding
        return cleaned

    def _rewritten(self, text: str) -> str:
        if self._settings.normalise:
            text = unicodedata.normalize("NFC", text)
        if self._settings.white_space:
            text = without_control_characters(text)
        return text

    def _check_length(self, name: str, text: str) -> None:
        settings = self._settings
        if not text.strip():
            raise _RuleError(name, "must contain more than white space")
        num_words = count_words(text)
        limits = (
            ("words", num_words, settings.min_words, settings.max_words),
            ("characters", len(text), settings.min_characters, settings.max_characters),
        )
        for unit, number, least, most in limits:
            if least is not None and number < least:
                reason = f"must have {least} {unit} or more, but has {number}"
            elif most is not None and number > most:
                reason = f"must have at most {most} {unit}, but has {number}"
            else:
                continue
            raise _RuleError(name, reason)

    def _check_pair(self, source: str, target: str, task: Task) -> None:
        settings = self._settings
        # A Chinese text has a third of the characters of its translation, but as many words.
        unit, measure = "characters", len
        if has_unseparated_words(source) or has_unseparated_words(target):
            unit, measure = "words", count_words
        lengths = measure(source), measure(target)
        shorter, longer = sorted(lengths)
        most = settings.max_length_ratio
        if most is not None and longer > most * shorter:
            raise _RuleError(
                "target_text",
                f"the longer of source and target text may be at most {most:g} times as long as "
                f"the other, but they have {lengths[0]} and {lengths[1]} {unit}",
            )
        most = settings.max_copied_share
        own, other = language_code(task.source_language), language_code(task.target_language)
        if most is None or (own and own == other):
            return
        share = copied_share(source, target)
        if share > most:
            reason = f"at most {most:.0%} of the words may be the source's, but {share:.0%} are"
            raise _RuleError("target_text", reason)

    def _check_language(self, name: str, text: str, language: str) -> None:
        if self._identifier is None:
            return
        other = self._identifier.other_language(text, language)
        if other is not None:
            reason = f"must be in the language '{language}', but is in '{other}', as it seems"
            raise _RuleError(name, reason)

    def _check_duplicate(self, source: str, target: str, task: Task) -> None:
        if not self._settings.drop_duplicates:
            return
        number = self._numbers[task.name]
        place = self._seen.put(hash_texts(task.name, source, target), number)
        if place is not None:
            raise _RuleError(
                "target_text",
                f"the pair must be new, but the task's example {place:,} has it as well",
            )


def without_control_characters(text: str) -> str:
    """Return a text without control and format characters, and with single spaces alone.

    Line ends and tabs, which are control characters, count as white space.
    """
    # Split first, so that a tab parts words; again, as a sign alone between spaces may be gone.
    spaced = " ".join(text.split())
    kept = "".join(
        c for c in spaced if c in _JOINERS or unicodedata.category(c) not in ("Cc", "Cf")
    )
    return " ".join(kept.split())


def copied_share(source: str, target: str) -> float:
    """The share of a target text's words that are the source text's, from 0 to 1.

    Words are compared by ``bare``, each as often as it is in both; signs alone are no words, and
    where words are not separated by white space each sign or letter is one. 1 where both texts are
    the same to ``bare``, however they are cut into words; 0 where the target text has no letter at
    all, as numbers are the same in most languages.
    """
    if not any(map(str.isalpha, target)):
        return 0.0
    if bare(source) == bare(target):
        return 1.0
    counted = _words(target)
    return (counted & _words(source)).total() / counted.total()


def _words(text: str) -> Counter[str]:
    return Counter(bare(word) for word in words(text) if any(map(str.isalnum, word)))


def _texts(example: Example, task: Task) -> Iterator[tuple[str, str, str]]:
    """Yield manifest field, text and language of each text of an example."""
    if example.source_text is not None:
        yield "source_text", example.source_text, task.source_language
    yield "target_text", example.target_text, task.target_language
