from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskaware.evaluation.metrics import bleu, character_error_rate, chrf, word_error_rate
from taskaware.evaluation.significance import library_metric, paired_bootstrap

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskaware.evaluation.metrics import Metric, Score

WORDS = ("the", "old", "dog", "sees", "a", "small", "cat", "near", "our", "house", "today", "sings")
METRICS: tuple[Metric, ...] = ("wer", "bleu", "chrf")


def sentences(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(5, 12))) for _ in range(count)]


def with_errors(references: list[str], rate: float, seed: int) -> list[str]:
    """The references, with each word replaced by a wrong one at this rate."""
    draw = random.Random(seed)
    return [
        " ".join("wrong" if draw.random() < rate else word for word in reference.split())
        for reference in references
    ]


words = st.lists(st.sampled_from(["A", "b,", "c", "..."]), max_size=5).map(" ".join)


@given(st.lists(st.tuples(words, words), min_size=1, max_size=5))
def test_word_error_rate_in_the_test_is_exactly_the_metrics_own(
    pairs: list[tuple[str, str]],
) -> None:
    hypotheses = [hypothesis for hypothesis, _ in pairs]
    references = [reference for _, reference in pairs]
    score = library_metric("wer", references).corpus_score(hypotheses, [references]).score
    assert score == word_error_rate(hypotheses, references).value


@pytest.mark.parametrize("language", ["zh", "th"])
def test_languages_without_spaces_are_tested_by_the_metric_that_they_are_scored_by(
    language: str,
) -> None:
    letters = {"zh": "今天气很好我们去公园", "th": "กขคงจฉชซฌญ"}[language]
    references = ["".join(random.Random(i).choices(letters, k=12)) for i in range(60)]
    bad = [text[:8] + "x" + text[9:] for text in references]
    good = [text if i % 3 else bad[i] for i, text in enumerate(references)]
    owns: dict[Metric, Callable[..., Score]] = {"cer": character_error_rate, "bleu": bleu}
    for metric, own in owns.items():
        library = library_metric(metric, references, language)
        assert library.corpus_score(bad, [references]).score == own(bad, references, language).value
        assert paired_bootstrap(metric, references, bad, good, language) < 0.01


def test_bleu_and_chrf_in_the_test_are_exactly_the_metrics_own() -> None:
    references = sentences(40, seed=1)
    outputs = with_errors(references, 0.3, seed=2)
    scores: dict[Metric, float] = {
        "bleu": bleu(outputs, references).value,
        "chrf": chrf(outputs, references).value,
    }
    for name, score in scores.items():
        assert library_metric(name, references).corpus_score(outputs, [references]).score == score
        assert 0 < score < 100


@pytest.mark.parametrize("metric", METRICS)
def test_a_clearly_better_or_worse_system_is_significant(metric: Metric) -> None:
    references = sentences(200, seed=1)
    bad = with_errors(references, 0.4, seed=2)
    good = with_errors(references, 0.1, seed=3)
    assert paired_bootstrap(metric, references, bad, good) < 0.01
    assert paired_bootstrap(metric, references, good, bad) < 0.01


@pytest.mark.parametrize("metric", METRICS)
def test_systems_that_make_as_many_errors_do_not_differ(metric: Metric) -> None:
    references = sentences(200, seed=1)
    one = with_errors(references, 0.2, seed=2)
    other = with_errors(references, 0.2, seed=3)
    assert paired_bootstrap(metric, references, one, other) > 0.1


@pytest.mark.parametrize("metric", METRICS)
def test_a_system_does_not_differ_from_itself(metric: Metric) -> None:
    references = sentences(50, seed=1)
    outputs = with_errors(references, 0.2, seed=2)
    assert paired_bootstrap(metric, references, outputs, outputs) == 1.0


def test_the_same_outputs_give_the_same_p_value() -> None:
    references = sentences(60, seed=1)
    systems = with_errors(references, 0.2, seed=2), with_errors(references, 0.25, seed=3)
    first = paired_bootstrap("wer", references, *systems)
    assert 0 < first < 1
    assert paired_bootstrap("wer", references, *systems) == first


def test_outputs_that_are_not_as_many_are_refused() -> None:
    with pytest.raises(ValueError, match="but have 1, 2 and 1"):
        paired_bootstrap("bleu", ["a"], ["a", "b"], ["a"])
    with pytest.raises(ValueError, match="at least one"):
        paired_bootstrap("bleu", [], [], [])
