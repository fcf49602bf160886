"""A study's figures: scores, task embeddings, learning curves, forgetting; for page and papers.

In the page every part has a tooltip, and its classes let check boxes hide it without any script:
``t0``, ``t1``, ... are tasks or runs, ``d0``, ``d1``, ... are corpora.
"""

from __future__ import annotations

import io
import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from taskaware.errors import counted
from taskaware.evaluation.metrics import LOWER_IS_BETTER, METRIC_NAMES
from taskaware.report.figures import (
    SERIES_COLOURS,
    Mark,
    add_legend,
    new_figure,
    series_style,
    to_svg,
    use_real_colours,
)
from taskaware.study.summary import ABSENT, number, percent, stage_entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from taskaware.study.results import (
        EmbeddingFigure,
        ForgettingMatrix,
        LearningCurve,
        StudyResults,
    )

_INK, _MUTED, _LINE = "#010101", "#010102", "#010103"  # stand-ins of evaluation.figures
_NUM_COLOURS = len(SERIES_COLOURS)
_DOTS_PER_INCH = 150
_HIGH_CONFUSION = 0.05
_WIDTH_INCHES = 5.2


@dataclass(frozen=True, kw_only=True)
class Toggles:
    """What check boxes can hide in a figure.

    Attributes:
        title: What the names are: tasks, corpora, runs.
        prefix: The class of the part with the i-th name is this letter and i.
        names: In order.
    """

    title: str
    prefix: str
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StudyFigure:
    """A figure, drawn.

    Attributes:
        description: What it shows, in words.
        svg: For the page: its colours and font, tooltips, classes.
        figure: The same for a paper: in the colours of a white page.
        toggles: What can be hidden in the page.
    """

    description: str
    svg: str
    figure: Figure
    toggles: tuple[Toggles, ...] = ()


def embedding_figure(shown: EmbeddingFigure) -> StudyFigure:
    """Points in two dimensions: a colour a task and a marker a corpus, or the other way round.

    Where colours alone tell all (one corpus a task), markers repeat what they say.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    tasks, datasets = _names(shown.tasks), _names(shown.datasets)
    pairs = list(dict.fromkeys(zip(shown.tasks, shown.datasets, strict=True)))
    by_task = shown.colour_by != "dataset"
    colours, markers = (tasks, datasets) if by_task else (datasets, tasks)
    alone = len(pairs) == len(colours)
    legend = _legend_inches(colours if alone else [*colours, *markers])
    figure, axes = new_figure((_WIDTH_INCHES, 3.4 + legend))
    marks = {}
    for index, (task, dataset) in enumerate(pairs):
        colour, marker = (task, dataset) if by_task else (dataset, task)
        chosen = [pair == (task, dataset) for pair in zip(shown.tasks, shown.datasets, strict=True)]
        at = colours.index(colour)
        points = axes.scatter(
            *np.asarray(shown.points)[chosen].T,
            s=28,
            alpha=0.75,
            marker=series_style(at if alone else markers.index(marker)).marker,
            # Past the last colour they come again, now hollow.
            facecolors=series_style(at).colour if at < _NUM_COLOURS else "none",
            edgecolors=series_style(at).colour,
            linewidths=0 if at < _NUM_COLOURS else 1.3,
        )
        points.set_gid(f"points-{index}")
        marks[f"points-{index}"] = Mark(
            classes=f"mark t{tasks.index(task)} d{datasets.index(dataset)}",
            title=f"{task}, {dataset}: {counted(sum(chosen), 'example')}",
        )
    # The axes of t-SNE have no meaning: no ticks, and one scale for both.
    axes.set(xticks=[], yticks=[])
    axes.spines["bottom"].set_visible(False)
    axes.set_aspect("equal", adjustable="datalim")
    handles = [_dot(name, index, index if alone else 0) for index, name in enumerate(colours)]
    if not alone:
        handles += [_dot(name, None, index) for index, name in enumerate(markers)]
    _add_legend(axes, handles)
    toggles = [Toggles(title="tasks", prefix="t", names=tuple(tasks))]
    if len(pairs) > len(tasks):
        toggles.append(Toggles(title="corpora", prefix="d", names=tuple(datasets)))
    return _finished(figure, f"Task embeddings (t-SNE): {shown.title}", marks, toggles)


def curves_figure(
    curves: Sequence[LearningCurve], runs: Sequence[str] | None = None
) -> StudyFigure:
    """The losses of one task over updates: a line a run, the mean, in a band from min to max.

    Args:
        curves: At most one a run.
        runs: All runs of the study, so that a run looks the same in every figure; by default those
            of ``curves``.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    runs = list(runs) if runs is not None else _names([curve.run for curve in curves])
    legend = _legend_inches([curve.run for curve in curves])
    figure, axes = new_figure((_WIDTH_INCHES, 3.1 + legend))
    marks, handles, highest = {}, [], 0.0
    for curve in curves:
        index = runs.index(curve.run)
        style = series_style(index)
        # Past the last colour they come again, with other dashes.
        dashes = series_style(index + index // _NUM_COLOURS).dashes
        losses = np.asarray(curve.losses, dtype=float)
        mean = losses.mean(axis=0)
        highest = max(highest, float(losses.max(initial=0.0)))
        look = {"color": style.colour, "dashes": dashes, "linewidth": 1.9}
        (line,) = axes.plot(curve.updates, mean, label=_plain(curve.run), **look)
        # Unseen and wide, so that a pointer finds the line.
        (reach,) = axes.plot(curve.updates, mean, color=style.colour, linewidth=9, alpha=0)
        parts: list[Artist] = [reach, line]
        if len(losses) > 1:
            low, high = losses.min(axis=0), losses.max(axis=0)
            band = axes.fill_between(
                curve.updates, low, high, color=style.colour, alpha=0.16, linewidth=0
            )
            parts.append(band)
        last = f", {mean[-1]:.3g} at the end" if mean.size else ""
        for number_of_part, part in enumerate(parts):
            part.set_gid(f"curve-{index}-{number_of_part}")
            marks[f"curve-{index}-{number_of_part}"] = Mark(
                classes=f"mark t{index}", title=f"{curve.run}, {curve.task}{last}"
            )
        handles.append(line)
    axes.set_xlabel("updates")
    axes.set_ylabel("loss (nats a target piece)")
    axes.set_ylim(0, 1.03 * highest or None)
    axes.margins(x=0.01)
    axes.grid(axis="y", color=_LINE, linewidth=0.8)
    _add_legend(axes, handles)
    task = curves[0].task if curves else ""
    toggles = [Toggles(title="runs", prefix="t", names=tuple(runs))]
    return _finished(figure, f"Learning curves: {task}", marks, toggles)


def scores_figures(results: StudyResults) -> dict[str, StudyFigure]:
    """What rows reach against the parameters that one task has alone, by kind of task.

    A point a row, the mean over the kind's tasks and the seeds. Rows that lack a task, or of which
    these parameters are not known, are left out, and a kind where fewer than two of the numbers
    that are left differ, so that there is nothing to see.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    drawn = {kind: _scores_figure(results, kind) for kind in dict.fromkeys(results.tasks.values())}
    return {kind: figure for kind, figure in drawn.items() if figure is not None}


def _scores_figure(results: StudyResults, kind: str) -> StudyFigure | None:
    tasks = [task for task, its_kind in results.tasks.items() if its_kind == kind]
    rows = {
        index: row
        for index, row in enumerate(results.rows)
        if row.parameters_of_one_task is not None and all(task in row.cells for task in tasks)
    }
    numbers = [row.parameters_of_one_task or 0 for row in rows.values()]
    metrics = {row.cells[task].metric for row in rows.values() for task in tasks}
    if len(set(numbers)) < 2 or len(metrics) > 1:
        return None
    (metric,) = metrics
    legend = _legend_inches([row.label for row in rows.values()])
    figure, axes = new_figure((_WIDTH_INCHES, 3.1 + legend))
    marks, handles = {}, []
    for (index, row), of_a_task in zip(rows.items(), numbers, strict=True):
        value = float(np.mean([row.cells[task].values for task in tasks]))
        style = series_style(index)
        point = axes.scatter(
            [of_a_task],
            [value],
            s=48,
            marker=style.marker,
            facecolors=style.colour if index < _NUM_COLOURS else "none",
            edgecolors=style.colour,
        )
        point.set_gid(f"row-{index}")
        marks[f"row-{index}"] = Mark(
            classes=f"mark t{index}",
            title=f"{row.label}: {value:.1f} with {of_a_task:,} of one task alone",
        )
        handles.append(_dot(row.label, index, index))
    # Powers of ten, and a place for zero, which has no logarithm.
    low, high = (math.log10(end(n for n in numbers if n)) for end in (min, max))
    ticks = [10.0**power for power in range(math.floor(low), math.ceil(high) + 1)]
    axes.set_xscale("symlog", linthresh=ticks[0])
    axes.set_xticks([0.0, *ticks] if 0 in numbers else ticks)
    axes.margins(0.05, 0.1)
    axes.set_xlabel("parameters of one task alone")
    arrow = "lower" if metric in LOWER_IS_BETTER else "higher"
    mean = f", mean of {counted(len(tasks), 'task')}" if len(tasks) > 1 else ""
    axes.set_ylabel(f"{METRIC_NAMES[metric]}{mean} ({arrow} is better)")
    axes.grid(axis="y", color=_LINE, linewidth=0.8)
    _add_legend(axes, handles)
    return _finished(figure, f"Score and parameters of a task: {kind}", marks, ())


def forgetting_figure(matrix: ForgettingMatrix) -> StudyFigure:
    """Points after every stage (down) on every task (across) as a heat map, 0 dark, 100 light.

    What a stage trained is framed; the confusion rate stands in a cell from 5 % on.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    num_stages, num_tasks = len(matrix.stages), len(matrix.tasks)
    stages = [textwrap.fill(_plain(stage), 20) for stage in matrix.stages]
    tasks = [textwrap.shorten(_plain(task), 40, placeholder="\u2026") for task in matrix.tasks]
    rotated = any(len(task) > 10 for task in tasks)
    # The room that labels take, in inches; a letter is about 0.075 wide.
    left = 0.075 * max(len(line) for stage in stages for line in stage.split("\n"))
    longest = 0.075 * max(len(task) for task in tasks) if rotated else 0.0
    width = max(_WIDTH_INCHES, 0.3 + left + 0.62 * num_tasks + 0.7 * longest)
    figure, axes = new_figure((width, 0.62 * num_stages + 0.4 + 0.5 * longest))
    marks = {}
    for down, stage in enumerate(matrix.stages):
        for across, task in enumerate(matrix.tasks):
            trained = task in matrix.trained[down]
            title = _heat_cell(axes, matrix, (down, across), framed=trained)
            how = ", trained here" if trained else ""
            marks[f"cell-{down}-{across}"] = Mark(
                classes="mark cell", title=f"{task} after {stage}: {title}{how}"
            )
    axes.set(xlim=(-0.52, num_tasks - 0.48), ylim=(num_stages - 0.48, -0.52))
    axes.set_xticks(range(num_tasks), tasks)
    axes.set_yticks(range(num_stages), stages)
    axes.tick_params(top=False, labeltop=True, labelbottom=False, labelsize=9, colors=_INK)
    if rotated:
        for label in axes.get_xticklabels():
            label.set(rotation=30, ha="left", rotation_mode="anchor")
    axes.spines["bottom"].set_visible(False)
    return _finished(figure, f"Points after each stage: {matrix.label}", marks, ())


def rendered(drawn: StudyFigure, kind: Literal["svg", "png"]) -> bytes:
    """Return a figure for a paper, on white, as the bytes of a file of this kind."""
    from matplotlib import rc_context

    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    file = io.BytesIO()
    with rc_context({"svg.hashsalt": drawn.description}):
        drawn.figure.savefig(
            file, format=kind, dpi=_DOTS_PER_INCH, facecolor="white", metadata=metadata
        )
    return file.getvalue()


def _heat_cell(
    axes: Axes, matrix: ForgettingMatrix, where: tuple[int, int], *, framed: bool
) -> str:
    """Draw one cell of the heat map and return what it says."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    down, across = where
    entry = stage_entry(matrix, down, matrix.tasks[across])
    mean = sum(entry.points) / len(entry.points) if entry else 0.0
    # Cividis: even steps of lightness, for all kinds of colour vision (Nuñez et al. 2018).
    fill = colormaps["cividis"](min(max(mean, 0.0), 100.0) / 100) if entry else "none"
    corner, size = (across - 0.45, down - 0.43), (0.9, 0.86)
    cell = axes.add_patch(Rectangle(corner, *size, facecolor=fill, edgecolor="none"))
    cell.set_gid(f"cell-{down}-{across}")
    if framed:
        corner, size = (across - 0.485, down - 0.475), (0.97, 0.95)
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=_INK, linewidth=1.4))
    if entry is None:
        axes.text(across, down, ABSENT, ha="center", va="center", color=_MUTED, fontsize=10)
        return "not scored"
    ink = "#10161d" if mean > 50 else "#ffffff"
    confused = entry.confusion is not None and entry.confusion >= _HIGH_CONFUSION
    at = down - (0.13 if confused else 0)
    axes.text(across, at, f"{mean:.1f}", ha="center", va="center", color=ink, fontsize=10.5)
    said = f"{number(entry.points)} points"
    if entry.confusion is None:
        return said
    rate = percent(entry.confusion).replace("\u202f", " ")
    if confused:
        small = f"\u21c4 {rate}"
        axes.text(across, down + 0.24, small, ha="center", va="center", color=ink, fontsize=7.5)
    return f"{said}, {rate} confused"


def _finished(
    figure: Figure, description: str, marks: Mapping[str, Mark], toggles: Sequence[Toggles]
) -> StudyFigure:
    svg = to_svg(figure, description, marks=marks)
    use_real_colours(figure)
    # Every draw would move the axes a little: a figure that is written again must be the same.
    figure.set_layout_engine("none")
    return StudyFigure(
        description=description,
        svg=svg,
        figure=figure,
        toggles=tuple(each for each in toggles if len(each.names) > 1),
    )


def _dot(name: str, colour: int | None, marker: int) -> Artist:
    """A legend's entry; without a colour of its own where it explains a marker."""
    from matplotlib.lines import Line2D

    hollow = colour is not None and colour >= _NUM_COLOURS
    shown = _MUTED if colour is None else series_style(colour).colour
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=series_style(marker).marker,
        markersize=5.5,
        markerfacecolor="none" if hollow else shown,
        markeredgecolor=shown,
        markeredgewidth=1.3 if hollow else 0,
        color=shown,
        label=_plain(name),
    )


def _add_legend(axes: Axes, handles: Sequence[Artist]) -> None:
    columns = _legend_columns([str(handle.get_label()) for handle in handles])
    add_legend(axes, num_columns=columns, handles=handles)


def _legend_columns(names: Sequence[str]) -> int:
    """As many columns as the names leave room for; a letter is about 0.079 inches wide."""
    longest = max((len(name) for name in names), default=1)
    return max(1, min(4, int((_WIDTH_INCHES - 0.3) / (0.079 * longest + 0.62)), len(names)))


def _legend_inches(names: Sequence[str]) -> float:
    """The height of the legend."""
    return 0.2 * math.ceil(len(names) / _legend_columns(names))


def _names(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _plain(text: str) -> str:
    """Text that Matplotlib draws as it is: no mathematics, and not hidden from legends."""
    text = " ".join(text.split()).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
