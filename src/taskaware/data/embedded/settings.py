"""What the embedded corpus holds: its sizes, its voices, its languages and its tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from taskaware import errors
from taskaware.data.embedded.ciphers import MAX_NUM_CIPHERS, ciphers
from taskaware.data.embedded.grammar import MAX_NUM_SENTENCES, MAX_NUM_WORDS, MIN_NUM_WORDS
from taskaware.data.sound.synthesis import voices

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
            share an input in training. The sentences are dealt out to the tasks in turn, and the
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

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be written.

        Raises:
            UserError: A field has an impossible value.
        """
        for name in (f"num_{split}_{of}" for split in SPLITS for of in ("sentences", "voices")):
            _must(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        num_voices = self.num_train_voices + self.num_dev_voices + self.num_test_voices
        there_are = len(voices())
        _must(num_voices <= there_are, "num_*_voices", f"at most {there_are} in all", num_voices)
        num_sentences = self.num_sentences
        most = f"at most {MAX_NUM_SENTENCES} in all"
        _must(num_sentences <= MAX_NUM_SENTENCES, "num_*_sentences", most, num_sentences)
        of_train = f"in 1..num_train_voices ({self.num_train_voices})"
        speech = self.speech_per_sentence
        _must(1 <= speech <= self.num_train_voices, "speech_per_sentence", of_train, speech)
        known = set(self.languages) <= set(TRANSLATIONS) and len(self.languages) > 0
        distinct = len(set(self.languages)) == len(self.languages)
        _must(known and distinct, "languages", "distinct, of de, tr, ro", self.languages)
        _must(self.sample_rate_hz >= 8_000, "sample_rate_hz", "at least 8000", self.sample_rate_hz)
        most = f"in 0..{MAX_NUM_CIPHERS}"
        _must(0 <= self.num_ciphers <= MAX_NUM_CIPHERS, "num_ciphers", most, self.num_ciphers)
        share, words = self.lexicon_share, self.max_words
        _must(0 < share <= 1, "lexicon_share", "above 0 and at most 1", share)
        in_range = MIN_NUM_WORDS <= words <= MAX_NUM_WORDS
        _must(in_range, "max_words", f"in {MIN_NUM_WORDS}..{MAX_NUM_WORDS}", words)
        if self.one_dataset_a_task:
            num_tasks, num_train = len(self.tasks), self.num_train_sentences
            one_each = f"at least the number of tasks ({num_tasks}) with `one_dataset_a_task`"
            _must(num_train >= num_tasks, "num_train_sentences", one_each, num_train)

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


def _must(holds: bool, field: str, rule: str, value: object) -> None:
    if not holds:
        raise errors.UserError(
            f"Embedded corpus: `{field}` must be {rule}, but is {value} instead."
        )
