"""Figures as SVG text that follows the page: its font, its light and its dark colours.

Matplotlib draws with stand-in colours, which are then replaced by CSS variables (with the light
colour to fall back on where there is no page). Series differ in marker and dash as well.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from taskaware.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Light and dark: after Okabe and Ito (2008), each at least 3:1 against its page.
SERIES_COLOURS = (
    ("#0072b2", "#56b4e9"),
    ("#d55e00", "#ff9d5c"),
    ("#00856a", "#2fd3a5"),
    ("#a8437f", "#f09cc8"),
    ("#8a6d00", "#f0e442"),
    ("#5b4bb5", "#b3a7ff"),
    ("#5c6670", "#c3cad1"),
)
INK_COLOURS = ("#1c2430", "#e8ebf0")
MUTED_COLOURS = ("#5f6b7a", "#9aa6b5")
LINE_COLOURS = ("#d9dee5", "#333c49")

_MARKERS = "os^DvPX"
_DASHES = ((), (5, 1.5), (1.5, 1.5), (6, 1.5, 1.5, 1.5), (3, 1), (8, 2), (1, 1))
_INK, _MUTED, _LINE = "#010101", "#010102", "#010103"
_SERIES = tuple(f"#0102{index:02x}" for index in range(len(SERIES_COLOURS)))
_NUM_SMOOTHING_WINDOWS = 25
_SIZE_INCHES = (5.2, 3.4)


@dataclass(frozen=True, kw_only=True)
class LossCurve:
    """The training loss of one task.

    Attributes:
        task: Which one.
        updates: When it was measured, ascending.
        losses: Nats a target piece.
    """

    task: str
    updates: Sequence[int]
    losses: Sequence[float]


def loss_figure(curves: Sequence[LossCurve], *, max_loss: float | None = None) -> str:
    """Losses by task over updates, as SVG: a running mean, with what was measured faint behind it.

    Args:
        curves: One a task.
        max_loss: The top of the scale; by default what the curves need.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    figure, axes = new_figure()
    for index, curve in enumerate(curves):
        style = series_style(index)
        updates = np.asarray(curve.updates, dtype=float)
        losses = np.asarray(curve.losses, dtype=float)
        width = max(1, len(losses) // _NUM_SMOOTHING_WINDOWS)
        axes.plot(updates, losses, color=style.colour, linewidth=0.8, alpha=0.25)
        axes.plot(
            updates,
            _running_mean(losses, width),
            color=style.colour,
            linewidth=1.9,
            dashes=style.dashes,
            label=curve.task,
        )
    axes.set_xlabel("updates")
    axes.set_ylabel("loss (nats a target piece)")
    axes.set_ylim(0, None if max_loss is None else 1.03 * max_loss)
    axes.margins(x=0.01)
    axes.grid(axis="y", color=_LINE, linewidth=0.8)
    add_legend(axes, num_columns=max(1, min(4, len(curves))))
    return to_svg(figure, f"Training loss by task: {', '.join(curve.task for curve in curves)}")


@dataclass(frozen=True, kw_only=True)
class SeriesStyle:
    """How one series is told from the others, for those who see few colours as well."""

    colour: str
    marker: str
    dashes: tuple[float, ...]


def series_style(index: int) -> SeriesStyle:
    """The style of the series of this number. Styles repeat after seven."""
    return SeriesStyle(
        colour=_SERIES[index % len(_SERIES)],
        marker=_MARKERS[index % len(_MARKERS)],
        dashes=_DASHES[index % len(_DASHES)],
    )


def new_figure(size_inches: tuple[float, float] = _SIZE_INCHES) -> tuple[Figure, Axes]:
    """An empty figure without any window behind it, in the report's style.

    Args:
        size_inches: Width and height.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "figures need matplotlib: pip install 'taskaware[report]'"
        ) from error
    figure = Figure(figsize=size_inches, layout="constrained")
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.tick_params(colors=_MUTED, length=0, labelsize=9)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=_MUTED, fontsize=9)
    for side, spine in axes.spines.items():
        spine.set(visible=side == "bottom", color=_LINE)
    return figure, axes


def add_legend(axes: Axes, *, num_columns: int, handles: Sequence[Artist] | None = None) -> None:
    """A frameless legend above the axes, at the left; by default of all that has a label."""
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=num_columns,
        frameon=False,
        labelcolor=_INK,
        fontsize=9.5,
        handlelength=2.2,
        borderaxespad=0.2,
        borderpad=0.2,
    )


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What a page knows of one part of a figure.

    Attributes:
        classes: Its CSS classes.
        title: What is shown where the pointer rests on it.
    """

    classes: str
    title: str


def to_svg(figure: Figure, description: str, *, marks: Mapping[str, Mark] | None = None) -> str:
    """The figure as an ``<svg>`` element: real text, CSS colours, no background, no date.

    Args:
        figure: What is drawn.
        description: What it shows, in words.
        marks: Classes and tooltips of artists, by the name that ``Artist.set_gid`` gave them.
    """
    import html

    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": description}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for name, mark in (marks or {}).items():
        classes, title = html.escape(mark.classes, quote=True), html.escape(mark.title)
        group = f'<g class="{classes}"><title>{title}</title>'
        svg = svg.replace(f'<g id="{name}">', group)
    # Names of groups would be there twice where a page holds two figures; nothing refers to them.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    # The page's font, in both forms that Matplotlib writes.
    svg = re.sub(r"(font: [^;\"]*?[\d.]+px )[^;\"]*", r"\1var(--font, sans-serif)", svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: var(--font, sans-serif)", svg)
    for stand_in, name, (light, _) in _stand_ins():
        svg = svg.replace(stand_in, f"var(--{name}, {light})")
    label = html.escape(description, quote=True)
    size = r'<svg (.*?)width="[^"]*"(.*?)height="[^"]*"'
    return re.sub(size, rf'<svg role="img" aria-label="{label}" \1\2', svg, count=1)


def use_real_colours(figure: Figure) -> None:
    """Replace the stand-in colours by those of the light page, for a file that stands alone."""
    from matplotlib.colors import same_color, to_rgba

    real = {stand_in: light for stand_in, _, (light, _) in _stand_ins()}

    def replaced(colour: object) -> object:
        """The real colour, with the same alpha; of many colours, each."""
        if isinstance(colour, np.ndarray) and colour.ndim == 2:
            return [replaced(tuple(each)) for each in colour]
        rgba = to_rgba(colour)  # pyright: ignore[reportArgumentType]
        for stand_in, light in real.items():
            if same_color(rgba[:3], stand_in):
                return (*to_rgba(light)[:3], rgba[3])
        return rgba

    # Ticks come into being when they are drawn.
    figure.draw_without_rendering()
    for artist in figure.findobj():
        # A line's colour first: it is that of its markers as well, unless they have their own.
        for part in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            getter = getattr(artist, f"get_{part}", None)
            if getter is None:
                continue
            colour = getter()
            if not isinstance(colour, str) or colour not in ("none", "auto"):
                getattr(artist, f"set_{part}")(replaced(colour))


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """The mean of each value and its neighbours, as many on either side, fewer at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    positions = np.arange(len(values))
    reach = np.minimum(np.minimum(positions, positions[::-1]), width // 2)
    return (sums[positions + reach + 1] - sums[positions - reach]) / (2 * reach + 1)


def css_variables(*, dark: bool) -> str:
    """The colours of all figures as CSS declarations."""
    return " ".join(f"--{name}: {colours[dark]};" for _, name, colours in _stand_ins())


def _stand_ins() -> list[tuple[str, str, tuple[str, str]]]:
    series = [
        (stand_in, f"series-{index}", colours)
        for index, (stand_in, colours) in enumerate(zip(_SERIES, SERIES_COLOURS, strict=True))
    ]
    return [
        (_INK, "ink", INK_COLOURS),
        (_MUTED, "muted", MUTED_COLOURS),
        (_LINE, "line", LINE_COLOURS),
        *series,
    ]


def tsne_figure(points: np.ndarray, labels: Sequence[str]) -> str:
    """The projected embeddings as SVG, a colour and a marker a task.

    Args:
        points: ``[N, 2]``, from ``project``.
        labels: The task of each; tasks appear in the legend in the order of first appearance.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    figure, axes = new_figure()
    tasks = list(dict.fromkeys(labels))
    for index, task in enumerate(tasks):
        style = series_style(index)
        chosen = points[[label == task for label in labels]]
        axes.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=26,
            c=style.colour,
            marker=style.marker,
            alpha=0.75,
            linewidths=0,
            label=task,
        )
    # The axes of t-SNE have no meaning: no ticks, and one scale for both.
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_aspect("equal", adjustable="datalim")
    add_legend(axes, num_columns=max(1, min(4, len(tasks))))
    return to_svg(figure, f"Task embeddings in two dimensions (t-SNE): {', '.join(tasks)}")
