"""Which of two validations is the better one, where a score chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from taskaware.evaluation.metrics import Score
from taskaware.run.validation import validation_by_score

if TYPE_CHECKING:
    from taskaware.training.loop import Validation


def bleu(value: float) -> Score:
    return Score(metric="bleu", value=value, signature="", num_examples=9)


def cer(value: float) -> Score:
    return Score(metric="cer", value=value, signature="", num_examples=9)


def mean(validation: Validation) -> float:
    return sum(validation.values.values()) / len(validation.values)


def test_the_higher_score_is_better_whatever_the_loss() -> None:
    low = validation_by_score({"a": bleu(50.0)}, {"a": 0.1})
    high = validation_by_score({"a": bleu(50.001)}, {"a": 9.0})
    assert mean(high) < mean(low)
    assert high.scores == {"a": 50.001}
    assert high.losses == {"a": 9.0}
    assert not high.remarks


@pytest.mark.parametrize("score", [bleu(0.0), bleu(37.5), bleu(100.0), cer(100.0), cer(0.0)])
def test_of_equal_scores_the_lower_loss_is_better(score: Score) -> None:
    first = validation_by_score({"a": score, "b": score}, {"a": 2.0, "b": 1.0})
    later = validation_by_score({"a": score, "b": score}, {"a": 1.999, "b": 1.0})
    assert mean(later) < mean(first)


def test_an_error_rate_beyond_100_percent_never_chooses() -> None:
    first = validation_by_score({"a": cer(140.0)}, {"a": 2.0})
    later = validation_by_score({"a": cer(250.0)}, {"a": 1.9})
    assert later.values["a"] < first.values["a"]


def test_a_score_at_the_end_of_its_scale_is_remarked_on() -> None:
    scores = {"a": bleu(0.0), "b": cer(130.0), "c": bleu(12.0)}
    [remark] = validation_by_score(scores, dict.fromkeys(scores, 1.0)).remarks
    assert remark.startswith("the dev score of a, b is at the end of its scale")
    assert "lower dev loss is better" in remark


def test_a_score_that_says_little_is_remarked_on() -> None:
    score = Score(metric="bleu", value=50.0, signature="", num_examples=9, warning="few words")
    assert validation_by_score({"a": score}, {"a": 1.0}).remarks == ("a: few words",)
