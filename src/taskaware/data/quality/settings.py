"""Which examples are left out, and how the texts of the others are rewritten. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

OverlapAction = Literal["refuse", "drop", "allow"]


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

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if self.min_characters < 0:
            yield "min_characters", f"must be at least 0, but is {self.min_characters}"
        if not 0 <= self.min_probability <= 1:
            yield "min_probability", f"must be from 0 to 1, but is {self.min_probability}"
        if not self.among:
            yield "among", "must name at least one language"


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
            same task has as well, letter by letter.
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

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for name in ("min_words", "max_words", "min_characters", "max_characters"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                yield name, f"must be 1 or more, but is {limit}: leave it out for no limit"
        for unit in ("words", "characters"):
            least, most = getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}")
            if least is not None and most is not None and least > most:
                yield f"min_{unit}", f"must be at most max_{unit} ({most}), but is {least}"
        ratio, share = self.max_length_ratio, self.max_copied_share
        if ratio is not None and not ratio >= 1:
            yield "max_length_ratio", f"must be 1 or more, but is {ratio}"
        if share is not None and not 0 <= share < 1:
            yield (
                "max_copied_share",
                f"must be from 0 to below 1, but is {share}: leave it out for no limit",
            )


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """When an example is left out.

    Attributes:
        min_seconds: Shortest segment of speech, in seconds.
        max_seconds: Longest segment of speech, in seconds (40: LibriSpeech's longest is 35).
        min_sample_rate_hz: Lowest sample rate of a recording, in Hz (8,000: the telephone's).
        min_peak: A segment whose samples all lie closer than this to their mean is silent; full
            scale is 1 (0.001: -60 dB).
        min_frames_per_piece: Least number of feature frames for each piece of the target text (4:
            25 pieces a second at 10 ms a frame, more than anyone says, even letter by letter).
        max_pieces: Longest source or target text, in pieces.
    """

    min_seconds: float = 0.1
    max_seconds: float = 40.0
    min_sample_rate_hz: int = 8_000
    min_peak: float = 0.001
    min_frames_per_piece: float = 4.0
    max_pieces: int = 500

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for name in ("min_seconds", "min_peak", "min_frames_per_piece", "min_sample_rate_hz"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                yield name, f"must be a number from 0 up, but is {value}"
        if not self.min_seconds <= self.max_seconds < math.inf or self.max_seconds <= 0:
            yield "max_seconds", f"must be above 0 and min_seconds, but is {self.max_seconds}"
        if self.max_pieces < 1:
            yield "max_pieces", f"must be at least 1, but is {self.max_pieces}"


@dataclass(frozen=True, kw_only=True)
class OverlapSettings:
    """What to do with a train example that another split has as well.

    Attributes:
        action: ``"refuse"``: nothing is prepared; ``"drop"``: the example is left out and listed;
            ``"allow"``: it is trained on, and a warning counts it.
        min_words: Least number of words of a target text of speech that two recordings share (4:
            shorter sentences, "Yes, of course", recur naturally). Words are counted by
            ``writing.count_words``, where words are not separated too.
        min_pair_words: Least number of words of both texts of a pair. Shorter pairs recur by
            nature: of the dialogue of Beneath a Steel Sky (English with German, French, Swedish),
            of a random tenth, 0 to 25 % of the pairs of one word and 6 to 12 % of those of two are
            in the rest as well, 1 to 3 % of those of three, 1 % of longer ones.
    """

    action: OverlapAction = "refuse"
    min_words: int = 4
    min_pair_words: int = 3

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for name in ("min_words", "min_pair_words"):
            if getattr(self, name) < 1:
                yield name, f"must be at least 1, but is {getattr(self, name)}"
