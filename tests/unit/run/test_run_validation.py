"""Which of two validations is the better one, and what a validation warns of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from taskaware.evaluation.metrics import Score
from taskaware.run.run import set_up
from taskaware.run.validation import same_task_embeddings, validate, validation_by_score
from taskaware.training.processes import Processes
from tiny_corpus import TASK_NAMES, prepare_corpus, tiny_experiment

if TYPE_CHECKING:
    from pathlib import Path

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


def test_task_embeddings_that_have_moved_together_are_named() -> None:
    initial, moved = torch.zeros(4), torch.full((1, 4), 3.0)
    apart = {"a": moved, "b": moved + 1.0, "c": moved - 1.0}
    assert same_task_embeddings(apart, initial) == ()
    [remark] = same_task_embeddings({**apart, "d": moved + 1e-4}, initial)
    assert remark.startswith("the task embeddings of a, d are the same")
    # New ones lie near one another, and have gone nowhere yet.
    assert same_task_embeddings({"a": moved * 1e-3, "b": moved * 2e-3}, initial) == ()


@pytest.mark.parametrize("selection", ["loss", "score"])
def test_a_task_network_whose_last_hidden_layer_is_shut_is_told_of(
    selection: str, tmp_path: Path
) -> None:
    data = prepare_corpus(tmp_path)
    experiment = tiny_experiment(data, conditioning={"cue": "implicit"}, selection=selection)
    alone = Processes(rank=0, num_ranks=1, device=torch.device("cpu"))
    run = set_up(experiment, tmp_path / "run", alone)
    network = run.model.task_network
    with torch.no_grad():
        network.output.bias.add_(1.0)
        network.output.weight.mul_(1000.0)
        before = validate(run)
        network.hidden.bias.fill_(-100.0)
        after = validate(run)
    told = [remark for remark in after.remarks if "are the same" in remark]
    assert len(told) == 1
    assert ", ".join(TASK_NAMES) in told[0]
    assert not [remark for remark in before.remarks if "are the same" in remark]
