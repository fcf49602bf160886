"""Scores of a task's outputs: word error rate, BLEU and chrF, each with its signature."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from taskaware.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.types import Task

Metric = Literal["wer", "bleu", "chrf"]

_APOSTROPHES = "'’ʼ"


@dataclass(frozen=True, kw_only=True)
class Score:
    """One figure for one task.

    Attributes:
        metric: What it measures.
        value: ``wer`` as a fraction (0 is best, it can exceed 1); ``bleu`` and ``chrf`` from 0 to
            100 (best).
        signature: Everything one must know to compute the same figure.
        num_examples: How many sentences it is over.
    """

    metric: Metric
    value: float
    signature: str
    num_examples: int

    @property
    def points(self) -> float:
        """The value on one scale for all metrics: 0 to 100, 100 is best (word accuracy for WER)."""
        return 100.0 * max(0.0, 1.0 - self.value) if self.metric == "wer" else self.value


def normalise_transcript(text: str) -> str:
    """What word error rate compares: words alone, in one spelling.

    Lower case; Unicode NFC; dashes become spaces; all other punctuation (Unicode category P) is
    removed, except an apostrophe between two letters or digits, which becomes ``'``; white space of
    any kind becomes one space, none at the ends.
    """
    text = unicodedata.normalize("NFC", text.lower())
    kept: list[str] = []
    for position, character in enumerate(text):
        category = unicodedata.category(character)
        around = text[position - 1 : position] + text[position + 1 : position + 2]
        if character in _APOSTROPHES and len(around) == 2 and around.isalnum():
            kept.append("'")
        elif category == "Pd":
            kept.append(" ")
        elif not category.startswith("P"):
            kept.append(character)
    # Once more: a removed sign may have stood between a letter and its accent.
    return unicodedata.normalize("NFC", " ".join("".join(kept).split()))


def word_error_rate(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Substituted, inserted and deleted words over the words of the references, a fraction (jiwer).

    Edits and words are summed over all sentences before they are divided, after
    ``normalise_transcript``. Where a reference is empty, its output's words are insertions.
    Where no reference has a word at all, the edits are divided by 1.

    Raises:
        DataError: There is nothing to score.
    """
    _check_lengths(hypotheses, references)
    import jiwer

    # Empty references are counted here, so that jiwer's treatment of them does not matter.
    pairs = [
        (normalise_transcript(hypothesis), normalise_transcript(reference))
        for hypothesis, reference in zip(hypotheses, references, strict=True)
    ]
    edits = sum(len(hypothesis.split()) for hypothesis, reference in pairs if not reference)
    spoken = [(hypothesis, reference) for hypothesis, reference in pairs if reference]
    if spoken:
        result = jiwer.process_words(
            [reference for _, reference in spoken], [hypothesis for hypothesis, _ in spoken]
        )
        edits += result.substitutions + result.deletions + result.insertions
    num_words = sum(len(reference.split()) for _, reference in spoken)
    signature = f"case:lower|norm:NFC|punctuation:none|jiwer:{_version('jiwer')}"
    return Score(
        metric="wer", value=edits / max(num_words, 1), signature=signature, num_examples=len(pairs)
    )


def bleu(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Detokenised, cased corpus BLEU, 0 to 100 (sacreBLEU, Post 2018).

    Raises:
        DataError: There is nothing to score.
    """
    _check_lengths(hypotheses, references)
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU()
    value = metric.corpus_score(hypotheses, [references]).score
    return Score(
        metric="bleu",
        value=value,
        signature=str(metric.get_signature()),
        num_examples=len(references),
    )


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Cased corpus chrF2, 0 to 100: overlap of character n-grams (sacreBLEU; Popović 2015).

    Raises:
        DataError: There is nothing to score.
    """
    _check_lengths(hypotheses, references)
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF()
    value = metric.corpus_score(hypotheses, [references]).score
    return Score(
        metric="chrf",
        value=value,
        signature=str(metric.get_signature()),
        num_examples=len(references),
    )


def score_task(task: Task, hypotheses: Sequence[str], references: Sequence[str]) -> list[Score]:
    """The scores of a task's outputs, the one that counts first: WER for ``asr``, else BLEU, chrF.

    Raises:
        DataError: There is nothing to score.
    """
    match task.kind:
        case "asr":
            return [word_error_rate(hypotheses, references)]
        case _:
            return [bleu(hypotheses, references), chrf(hypotheses, references)]


def _check_lengths(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    if len(hypotheses) != len(references):
        counts = f"{len(hypotheses)} hypotheses and {len(references)} references"
        raise ValueError(f"hypotheses and references must be as many, but are {counts}")
    if not references:
        raise DataError("a score must be over at least one example, but there is none")


def _version(distribution: str) -> str:
    from importlib.metadata import version

    return version(distribution)
