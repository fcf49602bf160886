"""What comes out of a recording: segments and words with their times and confidence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskaware.types import Hypothesis

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word, as it stands between spaces, its punctuation included.

    Of languages that do not separate words, it is a piece of the model's vocabulary.

    Attributes:
        text: The word, without spaces around it.
        start_seconds: When it begins, from the beginning of the recording.
        end_seconds: When it ends.
        confidence: From 0 to 1: the geometric mean of the probabilities that the model gave its
            pieces. A model is often surer than it is right: compare words of one model, no more.
    """

    text: str
    start_seconds: float
    end_seconds: float
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of a recording that was decoded by itself.

    Attributes:
        text: What the model wrote.
        start_seconds: When it begins, from the beginning of the recording.
        end_seconds: When it ends.
        confidence: From 0 to 1: as of a word, over all pieces of the segment and its end.
        words: Its words; empty where their times were not asked for.
    """

    text: str
    start_seconds: float
    end_seconds: float
    confidence: float
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """How often the guards against what models invent did something.

    Attributes:
        num_stretches: Stretches of the recording that were decoded.
        num_repeating: Those that repeated themselves and were decoded again without repeats.
        num_silent: Those whose text was left out, as nobody seems to speak there.
        silent_seconds: How much of the recording was not decoded, as nobody speaks there.
    """

    num_stretches: int = 0
    num_repeating: int = 0
    num_silent: int = 0
    silent_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """The output of one task for a recording of any length.

    Attributes:
        task: The task's name.
        segments: In the order of their times; none where nobody speaks.
        duration_seconds: How long the recording is.
        separator: What stands between the texts of two segments: a space, or nothing in languages
            that do not separate words.
        log_prob: Natural logarithm of the probability of all that was decoded (nats), before
            overlaps were joined.
        guarded: What the guards did.
        warnings: Why the output may be worth nothing; most often empty.
    """

    task: str
    segments: tuple[Segment, ...]
    duration_seconds: float
    separator: str = " "
    log_prob: float = 0.0
    guarded: Guarded = Guarded()
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The whole text, in one line."""
        return self.separator.join(segment.text for segment in self.segments if segment.text)

    def as_hypothesis(self) -> Hypothesis:
        """Return the text as one output, which has no pieces of its own."""
        return Hypothesis(token_ids=(), text=self.text, log_prob=self.log_prob, score=self.log_prob)

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all segments."""
        return tuple(word for segment in self.segments for word in segment.words)

    @property
    def confidence(self) -> float:
        """From 0 to 1: the geometric mean over the segments, by their duration; 1 without any."""
        pairs = [
            (one.confidence, max(one.end_seconds - one.start_seconds, 1e-3))
            for one in self.segments
        ]
        return geometric_mean(pairs)


def geometric_mean(pairs: Iterable[tuple[float, float]]) -> float:
    """Return the geometric mean of numbers from 0 to 1 with their weights; 1 of none."""
    total = weight_of_all = 0.0
    for number, weight in pairs:
        if number <= 0:
            return 0.0
        total += weight * math.log(number)
        weight_of_all += weight
    return math.exp(total / weight_of_all) if weight_of_all else 1.0
