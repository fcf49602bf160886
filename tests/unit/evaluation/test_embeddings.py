from __future__ import annotations

import math
import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from taskaware.errors import DataError, MissingDependencyError
from taskaware.evaluation.embeddings import project, silhouette
from taskaware.report.figures import (
    INK_COLOURS,
    SERIES_COLOURS,
    LossCurve,
    css_variables,
    loss_figure,
    tsne_figure,
)


def clusters(num_each: int = 12) -> tuple[np.ndarray, list[str]]:
    generator = np.random.default_rng(0)
    centres = 10 * np.eye(3, 8)
    points = [centre + generator.standard_normal((num_each, 8)) for centre in centres]
    labels = [name for name in ("asr", "st", "mt") for _ in range(num_each)]
    return np.concatenate(points), labels


def test_projection_keeps_clusters_apart_and_is_the_same_every_time() -> None:
    embeddings, labels = clusters()
    points = project(embeddings, seed=1)
    assert points.shape == (36, 2)
    assert silhouette(points, labels) > 0.7
    np.testing.assert_array_equal(points, project(embeddings, seed=1))


@pytest.mark.parametrize("num_embeddings", [4, 5, 7])
def test_few_embeddings_can_be_projected(num_embeddings: int) -> None:
    embeddings = clusters()[0][::5][:num_embeddings]
    assert np.isfinite(project(embeddings, seed=0)).all()


def test_embeddings_that_are_equal_within_a_task_can_be_projected() -> None:
    # What an explicit task network gives.
    points = project(np.repeat(np.eye(3, 8), 10, axis=0), seed=0)
    assert np.isfinite(points).all()
    assert silhouette(points, ["a"] * 10 + ["b"] * 10 + ["c"] * 10) > 0.7
    np.testing.assert_array_equal(project(np.ones((9, 4)), seed=0), np.zeros((9, 2)))


def test_too_few_or_not_finite_embeddings_are_refused() -> None:
    with pytest.raises(DataError, match="at least 4 embeddings, but has 3"):
        project(np.eye(3), seed=0)
    with pytest.raises(DataError, match="finite"):
        project(np.full((9, 2), np.nan), seed=0)


def test_silhouette_agrees_with_its_definition() -> None:
    points = np.array([[0.0], [1.0], [5.0], [7.0]])
    # a: mean distance within the group, b: to the other one, s = (b - a) / max(a, b).
    expected = [(6 - 1) / 6, (5 - 1) / 5, (4.5 - 2) / 4.5, (6.5 - 2) / 6.5]
    assert silhouette(points, ["x", "x", "y", "y"]) == pytest.approx(np.mean(expected))


def test_silhouette_is_not_a_number_where_it_is_not_defined() -> None:
    assert math.isnan(silhouette(np.eye(3), ["a", "a", "a"]))
    assert math.isnan(silhouette(np.eye(3), ["a", "b", "c"]))


@pytest.mark.parametrize("module", ["sklearn.manifold", "sklearn.metrics", "matplotlib.figure"])
def test_a_missing_package_is_named_with_what_to_install(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings, labels = clusters(3)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'taskaware\[report\]'"):
        {
            "sklearn.manifold": lambda: project(embeddings, seed=0),
            "sklearn.metrics": lambda: silhouette(embeddings, labels),
            "matplotlib.figure": lambda: tsne_figure(embeddings[:, :2], labels),
        }[module]()


def test_figures_are_well_formed_svg_in_the_colours_of_the_page() -> None:
    embeddings, labels = clusters()
    labels = [label.replace("st", "<st> & 'x'") for label in labels]
    curve = LossCurve(task="<asr>", updates=[1, 2, 3], losses=[3.0, 2.0, 1.0])
    for svg in (tsne_figure(embeddings[:, :2], labels), loss_figure([curve, curve])):
        root = ElementTree.fromstring(svg)
        assert root.tag.endswith("svg")
        assert root.get("aria-label")
        assert root.get("width") is None
        assert "var(--series-1, #d55e00)" in svg
        assert "#0101" not in svg
        assert "#0102" not in svg
        assert "DejaVu" not in svg
        assert "<metadata" not in svg


def test_the_same_figure_is_the_same_text_and_each_task_has_its_own_marker() -> None:
    embeddings, labels = clusters()
    svg = tsne_figure(embeddings[:, :2], labels)
    assert svg == tsne_figure(embeddings[:, :2], labels)
    texts = [element.text for element in ElementTree.fromstring(svg).iter() if element.text]
    assert [text for text in texts if text in {"asr", "st", "mt"}] == ["asr", "st", "mt"]
    shapes = re.findall(r'<path id="[^"]*" d="([^"]*)"', svg)
    assert len(set(shapes)) >= 3


def test_more_tasks_than_styles_can_be_drawn() -> None:
    curves = [LossCurve(task=f"t{i}", updates=[1, 2], losses=[2.0, 1.0]) for i in range(9)]
    assert "t8" in loss_figure(curves)


def test_a_loss_of_one_value_and_of_none_can_be_drawn() -> None:
    for losses in ([1.0], []):
        curve = LossCurve(task="asr", updates=list(range(len(losses))), losses=losses)
        assert ElementTree.fromstring(loss_figure([curve])).tag.endswith("svg")


def relative_luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("dark", "card"), [(False, "#ffffff"), (True, "#1a2028")])
def test_colours_stand_out_from_the_page(dark: bool, card: str) -> None:
    def contrast(colour: str) -> float:
        lights = sorted([relative_luminance(colour), relative_luminance(card)])
        return (lights[1] + 0.05) / (lights[0] + 0.05)

    assert contrast(INK_COLOURS[dark]) > 7
    for colours in SERIES_COLOURS:
        assert contrast(colours[dark]) >= 3
        assert f": {colours[dark]};" in css_variables(dark=dark)
