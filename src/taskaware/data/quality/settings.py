"""Which texts of the training data are left out, and how the rest is rewritten."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class LanguageSettings:
    """When a text is in another language than its task says (py3langid).

    The shorter a text, the less can be told of its language: the defaults are meant to keep nearly
    all texts in the right language, at the price of short ones in another.

    Attributes:
        min_characters: Shorter texts are not looked at, as they cannot be identified.
        min_probability: A text is left out where the probability of its task's language among
            ``among`` is below this, from 0 to 1.
        among: Codes of the languages that a text may be in, beside its task's: the fewer, the more
            short texts are kept, and those of all other languages are missed.
    """

    min_characters: int = 40
    min_probability: float = 0.1
    among: tuple[str, ...] = (
        *("ar", "bg", "ca", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "he", "hr"),
        *("hu", "it", "ja", "ko", "lt", "lv", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl"),
        *("sr", "sv", "tr", "uk", "zh"),
    )


@dataclass(frozen=True, kw_only=True)
class CleaningSettings:
    """How the texts of training examples are cleaned; by default they are left as they are.

    ``None`` turns a limit off.

    Attributes:
        normalise: Bring texts into Unicode's normal form C, so that equal letters are equal.
        white_space: Remove control and format characters (but the joiners that Persian and Indic
            scripts need), and make any run of white space one space, none at the ends.
        min_words: Least number of words of a text. Words are separated by white space; where a
            script does not separate them, 2 signs of Chinese or Japanese, or 4 letters of Thai,
            Lao, Khmer, Burmese or Tibetan, count as a word (``writing.count_words``).
        max_words: Largest number of words.
        min_characters: Least number of characters of a text.
        max_characters: Largest number of characters.
        max_length_ratio: Largest ratio of the longer of source and target text to the shorter, in
            characters; in words where one of the texts does not separate words.
        max_copied_share: Largest share of the target text's words that may be the source text's,
            from 0 to below 1, each word as often as it is in both (0.99: equal texts alone). Texts
            without a letter are never copies, nor are those of a task with one language.
        identify_language: Leave out texts that are in another language than their task says; needs
            py3langid.
        language: How languages are identified.
        drop_duplicates: Leave out a pair of source and target text that an earlier example of the
            same task has as well, by letter.
    """

    normalise: bool = False
    white_space: bool = False
    min_words: int | None = None
    max_words: int | None = None
    min_characters: int | None = None
    max_characters: int | None = None
    max_length_ratio: float | None = None
    max_copied_share: float | None = None
    identify_language: bool = False
    language: LanguageSettings = field(default_factory=LanguageSettings)
    drop_duplicates: bool = False
