from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskaware.errors import DataError
from taskaware.evaluation.metrics import (
    bleu,
    chrf,
    normalise_transcript,
    score_task,
    word_error_rate,
)
from taskaware.types import Task


def edit_distance(source: list[str], target: list[str]) -> int:
    """Levenshtein distance, the textbook table: an oracle."""
    row = list(range(len(target) + 1))
    for i, word in enumerate(source, start=1):
        previous, row[0] = row[0], i
        for j, other in enumerate(target, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (word != other))
    return row[-1]


def task(kind: str) -> Task:
    return Task(name=kind, kind=kind, source_modality="text")


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  Hello,\u00a0World!\t\n", "hello world"),
        ("IT’S the dogs' “day”", "it's the dogs day"),
        ("well-known — 'quoted'", "well known quoted"),
        ("u\u0308ber ¿Qué? U.S.", "über qué us"),
        ("snake_case 3,5 $5", "snakecase 35 $5"),
        ("...", ""),
    ],
)
def test_transcripts_are_compared_as_lower_case_words_alone(text: str, normal: str) -> None:
    assert normalise_transcript(text) == normal


@given(st.text())
def test_normalising_a_transcript_twice_changes_nothing(text: str) -> None:
    once = normalise_transcript(text)
    assert once == " ".join(once.split())
    assert normalise_transcript(once) == once


sentences = st.lists(st.sampled_from(["a", "b", "c"]), max_size=5)


@given(st.lists(st.tuples(sentences, sentences), min_size=1, max_size=4))
def test_word_error_rate_is_edit_distance_over_reference_words(
    pairs: list[tuple[list[str], list[str]]],
) -> None:
    edits = sum(edit_distance(hypothesis, reference) for hypothesis, reference in pairs)
    num_words = sum(len(reference) for _, reference in pairs)
    score = word_error_rate([" ".join(h) for h, _ in pairs], [" ".join(r) for _, r in pairs])
    assert score.value == pytest.approx(edits / max(num_words, 1))
    assert score.num_examples == len(pairs)


def test_word_error_rate_is_a_fraction_over_all_words_not_a_mean_over_sentences() -> None:
    score = word_error_rate(["A, b c d", "x"], ["a b c d", "y"])
    assert score.value == 1 / 5
    assert score.metric == "wer"
    assert score.signature.startswith("case:lower|norm:NFC|punctuation:none|jiwer:")


def test_empty_references_count_their_outputs_as_insertions() -> None:
    assert word_error_rate(["a b", "c"], ["", "c"]).value == 2.0
    assert word_error_rate(["a b"], ["..."]).value == 2.0
    assert word_error_rate([""], [""]).value == 0.0


def test_words_may_be_separated_by_any_white_space() -> None:
    assert word_error_rate(["a\u00a0b\u2003c"], ["a b c"]).value == 0.0


def test_perfect_translations_score_100_and_case_counts() -> None:
    references = ["The old man sees the small dog.", "Der Hund schläft heute im Garten."]
    assert bleu(references, references).value == pytest.approx(100)
    assert chrf(references, references).value == pytest.approx(100)
    assert bleu([text.lower() for text in references], references).value < 90


def test_scores_carry_the_signature_of_sacrebleu() -> None:
    reference = ["a b c d e"]
    assert "case:mixed" in bleu(reference, reference).signature
    assert "tok:13a" in bleu(reference, reference).signature
    assert "version:" in chrf(reference, reference).signature


def test_speech_recognition_is_scored_by_wer_and_all_else_by_bleu_then_chrf() -> None:
    text = ["a b c d e"]
    assert [score.metric for score in score_task(task("asr"), text, text)] == ["wer"]
    for kind in ("st", "mt", "captioning"):
        scores = score_task(task(kind), text, text)
        assert [score.metric for score in scores] == ["bleu", "chrf"]


def test_scoring_nothing_or_unequal_numbers_is_refused() -> None:
    with pytest.raises(DataError, match="at least one example"):
        score_task(task("asr"), [], [])
    with pytest.raises(ValueError, match="1 hypotheses and 2 references"):
        bleu(["a"], ["a", "b"])
