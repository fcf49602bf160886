from __future__ import annotations

import io
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from made_up import HOSTILE, curves, embeddings, many_tasks, matrix, study

from taskaware.study.figures import (
    StudyFigure,
    curves_figure,
    embedding_figure,
    forgetting_figure,
    rendered,
    scores_figures,
)
from taskaware.study.results import EmbeddingFigure, ForgettingMatrix, LearningCurve

SVG = "{http://www.w3.org/2000/svg}"
STAND_IN = re.compile(r"#0[12]0[12]\w\w")


def titles(figure: StudyFigure) -> dict[str, list[str]]:
    """The tooltips by classes, from SVG that any XML reader takes."""
    found: dict[str, list[str]] = {}
    for group in ElementTree.fromstring(figure.svg).iter(f"{SVG}g"):
        title = group.find(f"{SVG}title")
        if title is not None:
            found.setdefault(group.get("class", ""), []).append(title.text or "")
    return found


def one_task(*runs: str) -> list[LearningCurve]:
    return [curve for curve in curves(*runs) if curve.task == "asr_en"]


def test_points_tell_their_task_and_corpus_and_can_be_hidden_by_either() -> None:
    figure = embedding_figure(embeddings())
    assert titles(figure) == {
        "mark t0 d0": ["asr_en, grammar: 1 example"],
        "mark t0 d1": ["asr_en, talks: 1 example"],
        "mark t1 d0": ["st_en_de, grammar: 1 example"],
        "mark t1 d1": ["st_en_de, talks: 2 examples"],
    }
    assert [(each.prefix, each.names) for each in figure.toggles] == [
        ("t", ("asr_en", "st_en_de")),
        ("d", ("grammar", "talks")),
    ]


def test_scores_stand_against_the_parameters_of_one_task() -> None:
    figure = scores_figures(study())["asr"]  # of the other two kinds one row alone is known
    assert titles(figure) == {
        "mark t2": ["implicit: 1.0 with 0 of one task alone"],
        "mark t3": ["speech alone: 2.0 with 1,234,567 of one task alone"],
    }
    (axes,) = figure.figure.axes
    shown = np.concatenate([np.asarray(points.get_offsets()) for points in axes.collections])
    assert shown == pytest.approx(np.array([(0, 1.0), (1_234_567, 2.0)]))
    assert list(axes.get_xticks()) == [0, 10**6, 10**7]
    assert axes.get_ylabel() == "WER % (lower is better)"


def test_a_kind_of_task_is_a_mean_over_its_tasks_of_rows_that_have_all() -> None:
    first, second = many_tasks().rows
    known = [replace(first, parameters_of_one_task=8), replace(second, parameters_of_one_task=64)]
    figures = scores_figures(replace(many_tasks(), rows=tuple(known)))
    assert list(figures) == ["asr"]  # the second row lacks a translation
    known.append(replace(first, label="third", parameters_of_one_task=0))
    figures = scores_figures(replace(many_tasks(), rows=tuple(known)))
    assert titles(figures["st"]) == {
        "mark t0": ["low: 18.5 with 8 of one task alone"],
        "mark t2": ["third: 18.5 with 0 of one task alone"],
    }
    assert figures["st"].figure.axes[0].get_ylabel() == "BLEU, mean of 8 tasks (higher is better)"


def test_where_tasks_have_equally_many_parameters_there_is_no_figure_of_them() -> None:
    same = tuple(replace(row, parameters_of_one_task=3) for row in study().rows)
    unknown = tuple(replace(row, parameters_of_one_task=None) for row in study().rows)
    assert scores_figures(study(rows=same)) == scores_figures(study(rows=unknown)) == {}


def test_colours_can_mean_corpora() -> None:
    by_dataset = replace(embeddings(), colour_by="dataset")
    assert titles(embedding_figure(by_dataset)) == titles(embedding_figure(embeddings()))
    assert embedding_figure(by_dataset).svg != embedding_figure(embeddings()).svg


def test_a_corpus_for_each_task_needs_no_boxes_of_its_own() -> None:
    figure = EmbeddingFigure(
        title="t", points=np.zeros((2, 2)), tasks=("a", "b"), datasets=("x", "y")
    )
    assert [each.prefix for each in embedding_figure(figure).toggles] == ["t"]


def test_more_tasks_than_colours_still_look_different() -> None:
    names = tuple(f"task_{index}" for index in range(14))
    points = np.arange(28, dtype=np.float32).reshape(14, 2)
    shown = EmbeddingFigure(title="t", points=points, tasks=names, datasets=("x",) * 14)
    looks = {
        (
            np.asarray(collection.get_facecolor()).tobytes(),
            np.asarray(collection.get_edgecolor()).tobytes(),
            np.asarray(collection.get_paths()[0].vertices).tobytes(),
        )
        for collection in embedding_figure(shown).figure.axes[0].collections
    }
    assert len(looks) == 14


def test_a_curve_is_the_mean_of_its_seeds_in_a_band_from_min_to_max() -> None:
    figure = curves_figure(one_task("vanilla", "tag"))
    line = figure.figure.axes[0].lines[0]
    assert np.asarray(line.get_ydata()).tolist() == [5.0, 2.0]
    band = np.asarray(figure.figure.axes[0].collections[0].get_paths()[0].vertices)
    assert {tuple(point) for point in band.tolist()} >= {(10, 4), (10, 6), (20, 1), (20, 3)}
    # The line, what lies wide and unseen around it, and the band.
    assert titles(figure) == {
        "mark t0": ["vanilla, asr_en, 2 at the end"] * 3,
        "mark t1": ["tag, asr_en, 2 at the end"] * 3,
    }


def test_a_run_looks_the_same_in_every_figure() -> None:
    alone = curves_figure(one_task("tag"), runs=["vanilla", "tag"])
    both = curves_figure(one_task("vanilla", "tag"))
    assert list(titles(alone)) == ["mark t1"]
    colours = [each.figure.axes[0].lines[at].get_color() for each, at in ((alone, 0), (both, 2))]
    assert colours[0] == colours[1]


def test_more_runs_than_colours_still_look_different() -> None:
    axes = curves_figure(one_task(*(f"run {index}" for index in range(14)))).figure.axes[0]
    lines = [line for line in axes.lines if line.get_alpha() is None]
    looks = {(line.get_color(), str(vars(line)["_dash_pattern"])) for line in lines}
    assert len(looks) == len(lines) == 14


def test_one_seed_has_no_band() -> None:
    curve = LearningCurve(run="a", task="b", updates=(1, 2), losses=((2.0, 1.0),))
    assert len(titles(curves_figure([curve]))["mark t0"]) == 2


def test_every_cell_of_the_heat_map_has_its_number_and_says_it_exactly() -> None:
    figure = forgetting_figure(matrix())
    assert titles(figure) == {
        "mark cell": [
            "asr_en after joint: 91.0 ± 1.0 points, trained here",
            "st_en_de after joint: 80.0 ± 0.0 points, trained here",
            "mt_en_de after joint: not scored, trained here",
            "asr_en after then speech: 95.0 ± 0.0 points, trained here",
            "st_en_de after then speech: 20.0 ± 10.0 points, 90 % confused",
            "mt_en_de after then speech: 7.0 ± 0.0 points",
        ]
    }
    shown = [text.get_text() for text in figure.figure.axes[0].texts]
    assert shown == ["91.0", "80.0", "–", "95.0", "20.0", "⇄ 90 %", "7.0"]


@pytest.mark.parametrize(
    "figure",
    [
        embedding_figure(
            EmbeddingFigure(
                title=HOSTILE, points=np.zeros((1, 2)), tasks=(HOSTILE,), datasets=("_x",)
            )
        ),
        curves_figure(one_task(HOSTILE, "_hidden")),
        forgetting_figure(
            ForgettingMatrix(
                label=HOSTILE,
                stages=(HOSTILE,),
                trained=((),),
                tasks=(HOSTILE,),
                points=[{HOSTILE: (50.0,)}],
                confusion=[{}],
                average_forgetting=(),
                backward_transfer=(),
            )
        ),
    ],
)
def test_any_name_can_be_drawn(figure: StudyFigure) -> None:
    (tooltip, *_) = next(iter(titles(figure).values()))
    assert "<script>" in tooltip
    assert "<script" not in figure.svg


@pytest.mark.parametrize(
    "figure",
    [
        embedding_figure(embeddings()),
        curves_figure(one_task("vanilla", "tag")),
        forgetting_figure(matrix()),
    ],
)
def test_a_figure_is_for_the_page_in_its_colours_and_for_papers_in_real_ones(
    figure: StudyFigure,
) -> None:
    from matplotlib.image import imread

    assert "var(--" in figure.svg
    assert not STAND_IN.search(figure.svg)
    assert "<script" not in figure.svg
    text = rendered(figure, "svg").decode()
    ElementTree.fromstring(text)
    assert "var(--" not in text
    assert not STAND_IN.search(text)
    assert rendered(figure, "svg").decode() == text
    image = imread(io.BytesIO(rendered(figure, "png")))
    assert image[0, 0].tolist() == [1.0, 1.0, 1.0, 1.0]
    assert image.shape[1] == pytest.approx(150 * figure.figure.get_size_inches()[0], abs=1)
