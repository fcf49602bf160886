"""What the embedded corpus holds: its sizes, its voices, its languages and its tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from taskaware.data.embedded.ciphers import MAX_NUM_CIPHERS, ciphers
from taskaware.data.embedded.grammar import MAX_NUM_SENTENCES, MAX_NUM_WORDS, MIN_NUM_WORDS
from taskaware.data.sound.synthesis import voices

if TYPE_CHECKING:
    from collections.abc import Iterator

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
# Language code to the field of ``Sentence``.
TRANSLATIONS = {"de": "german", "tr": "turkish", "ro": "romanian"}


@dataclass(frozen=True, kw_only=True)
class EmbeddedCorpusSettings:
    """What the corpus holds.

    Attributes:
        num_train_sentences: Distinct English sentences to train on.
        num_dev_sentences: Sentences to choose checkpoints by; none occurs in train.
        num_test_sentences: Sentences to score; none occurs in train or dev.
        num_train_voices: Voices that speak the train sentences: the first of ``voices()``. A
            multiple of 4 keeps timbres apart (see ``voices``).
        num_dev_voices: Further voices, for dev.
        num_test_voices: Further voices, for test.
        speech_per_sentence: How many different voices speak each train sentence; dev and test
            sentences are spoken once.
        languages: Languages to translate into, of speech and of text: ``de``, ``tr``, ``ro``.
        seed: Seed of sentences and voices. Test and dev sentences do not depend on the number of
            train sentences.
        sample_rate_hz: Of the recordings (Hz).
        num_ciphers: Cipher languages (see ``ciphers``) to translate into as well: ``c01``,
            ``c02``, ..., at most 99.
        one_dataset_a_task: Whether a train sentence serves one task alone, so that no two tasks
            share an input in training. The sentences are divided among the tasks in turn, and the
            dataset of a task is named after it. Dev and test sentences serve all tasks all the
            same.
        telephone_st: Whether speech translation has recordings of its own, which sound as through
            a telephone, in all splits: a corpus whose sound gives the task away.
        lexicon_share: Share of the grammar's dictionary that sentences are made of: fewer words
            are learnt sooner.
        max_words: English words of a sentence at most, 3 to 9.
    """

    num_train_sentences: int = 12_000
    num_dev_sentences: int = 150
    num_test_sentences: int = 200
    num_train_voices: int = 48
    num_dev_voices: int = 8
    num_test_voices: int = 16
    speech_per_sentence: int = 1
    languages: tuple[str, ...] = ("de",)
    seed: int = 1
    sample_rate_hz: int = 16_000
    num_ciphers: int = 0
    one_dataset_a_task: bool = False
    telephone_st: bool = False
    lexicon_share: float = 1.0
    max_words: int = MAX_NUM_WORDS

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for name in (f"num_{split}_{of}" for split in SPLITS for of in ("sentences", "voices")):
            if getattr(self, name) < 1:
                yield name, f"must be at least 1, but is {getattr(self, name)}"
        num_voices = self.num_train_voices + self.num_dev_voices + self.num_test_voices
        if num_voices > len(voices()):
            yield "num_*_voices", f"must be at most {len(voices())} in all, but are {num_voices}"
        if self.num_sentences > MAX_NUM_SENTENCES:
            most = f"at most {MAX_NUM_SENTENCES} in all"
            yield "num_*_sentences", f"must be {most}, but are {self.num_sentences}"
        if not 1 <= self.speech_per_sentence <= self.num_train_voices:
            most = f"num_train_voices ({self.num_train_voices})"
            yield "speech_per_sentence", f"must be from 1 to {most}"
        distinct = len(set(self.languages)) == len(self.languages)
        if not (self.languages and distinct and set(self.languages) <= set(TRANSLATIONS)):
            yield "languages", f"must be distinct, of {', '.join(TRANSLATIONS)}"
        if self.sample_rate_hz < 8_000:
            yield "sample_rate_hz", f"must be at least 8000, but is {self.sample_rate_hz}"
        if not 0 <= self.num_ciphers <= MAX_NUM_CIPHERS:
            yield "num_ciphers", f"must be from 0 to {MAX_NUM_CIPHERS}, but is {self.num_ciphers}"
        if not 0 < self.lexicon_share <= 1:
            yield "lexicon_share", f"must be above 0 and at most 1, but is {self.lexicon_share}"
        if not MIN_NUM_WORDS <= self.max_words <= MAX_NUM_WORDS:
            yield "max_words", f"must be from {MIN_NUM_WORDS} to {MAX_NUM_WORDS}"
        if self.one_dataset_a_task and self.num_train_sentences < len(self.tasks):
            yield (
                "num_train_sentences",
                f"must be at least the number of tasks ({len(self.tasks)}) with "
                f"`one_dataset_a_task`, but is {self.num_train_sentences}",
            )

    @property
    def num_sentences(self) -> int:
        """Of all splits."""
        return self.num_train_sentences + self.num_dev_sentences + self.num_test_sentences

    @property
    def target_languages(self) -> tuple[str, ...]:
        """Codes of all languages to translate into, the ciphers last."""
        return (*self.languages, *(cipher.code for cipher in ciphers(self.num_ciphers)))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks: recognition, then speech and then text translation."""
        translation = [f"{kind}_en_{to}" for kind in ("st", "mt") for to in self.target_languages]
        return ("asr_en", *translation)
