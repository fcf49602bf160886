from __future__ import annotations

import pytest

from taskaware.evaluation.forgetting import average_forgetting, backward_transfer

FIGURES = pytest.mark.parametrize("figure", [average_forgetting, backward_transfer])


def test_one_task_a_stage_is_the_equation_of_the_papers() -> None:
    points = [
        {"asr": 80.0, "st": 10.0, "mt": 0.0},
        {"asr": 70.0, "st": 90.0, "mt": 5.0},
        {"asr": 40.0, "st": 60.0, "mt": 95.0},
    ]
    trained = [["asr"], ["st"], ["mt"]]
    # ((80 - 40) + (90 - 60)) / 2, and the same downwards.
    assert average_forgetting(points, trained) == 35.0
    assert backward_transfer(points, trained) == -35.0


def test_after_a_joint_stage_every_task_but_the_last_stages_own_counts() -> None:
    points = [{"asr": 90.0, "st": 80.0, "mt": 100.0}, {"asr": 93.0, "st": 20.0, "mt": 70.0}]
    trained = [["asr", "st", "mt"], ["asr"]]
    # ((80 - 20) + (100 - 70)) / 2
    assert average_forgetting(points, trained) == 45.0
    assert backward_transfer(points, trained) == -45.0


def test_forgetting_looks_at_the_best_stage_and_transfer_at_the_latest_that_trained() -> None:
    # asr: 50 after its first training, 60 after its second, best (75) after a stage between.
    points = [
        {"asr": 50.0, "st": 0.0},
        {"asr": 75.0, "st": 30.0},
        {"asr": 60.0, "st": 20.0},
        {"asr": 45.0, "st": 40.0},
    ]
    trained = [["asr"], ["st"], ["asr"], ["st"]]
    assert average_forgetting(points, trained) == 75.0 - 45.0
    assert backward_transfer(points, trained) == 45.0 - 60.0


def test_a_task_that_no_earlier_stage_trained_is_left_out() -> None:
    points = [{"asr": 80.0, "st": 10.0, "mt": 7.0}, {"asr": 60.0, "st": 90.0, "mt": 99.0}]
    trained = [["asr"], ["st"]]
    assert average_forgetting(points, trained) == 20.0
    assert backward_transfer(points, trained) == -20.0


def test_a_task_that_later_stages_improve_is_forgotten_less_than_nothing() -> None:
    points = [{"asr": 60.0, "st": 0.0}, {"asr": 72.5, "st": 50.0}]
    trained = [["asr"], ["st"]]
    assert average_forgetting(points, trained) == -12.5
    assert backward_transfer(points, trained) == 12.5


@FIGURES
def test_where_nothing_can_be_forgotten_there_is_no_figure(figure) -> None:
    once = {"asr": 50.0, "st": 60.0}
    with pytest.raises(ValueError, match="an earlier stage must have trained a task"):
        figure([once], [["asr", "st"]])
    with pytest.raises(ValueError, match="an earlier stage must have trained a task"):
        figure([once, once], [["asr"], ["asr", "st"]])


@FIGURES
def test_stages_that_do_not_fit_are_refused(figure) -> None:
    with pytest.raises(ValueError, match="as many stages, but have 1 and 2"):
        figure([{"asr": 1.0}], [["asr"], []])
    with pytest.raises(ValueError, match="stage 2 has None for 'st'"):
        figure([{"asr": 1.0, "st": 1.0}, {"asr": 1.0}], [["asr"], ["st"]])
    with pytest.raises(ValueError, match="stage 2 has nan for 'asr'"):
        figure([{"asr": 1.0}, {"asr": float("nan")}], [["asr"], []])
