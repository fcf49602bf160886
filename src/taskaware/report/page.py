"""The report of a run: one HTML page that holds all it shows and asks nothing of any network."""

from __future__ import annotations

import base64
import difflib
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from taskaware.data.writing_systems import has_unseparated_words, words
from taskaware.errors import counted
from taskaware.evaluation.metrics import LOWER_IS_BETTER, METRIC_NAMES
from taskaware.report.contents import (
    EmbeddingPicture,
    ModelLosses,
    PartParameters,
    ReportContents,
    ScoreRow,
    ShownExample,
    ShownOutput,
)
from taskaware.report.figures import css_variables, loss_figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "HIGH_CONFUSION",
    "SYNTHETIC_BADGE",
    "EmbeddingPicture",
    "ModelLosses",
    "PartParameters",
    "ReportContents",
    "ScoreRow",
    "ShownExample",
    "ShownOutput",
    "figure_card",
    "html_page",
    "provenance_section",
    "render_html",
    "section",
    "table_card",
]

HIGH_CONFUSION = 0.05  # from here on the rate is shown in red
_MAX_TILES = 6
_ABSENT = "\u2013"
SYNTHETIC_BADGE = '<span class="badge synthetic">Synthetic data</span>'
# Whatever a page may be made to hold, it loads nothing and runs nothing.
_CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"


def render_html(contents: ReportContents) -> str:
    """The report as HTML.

    Raises:
        MissingDependencyError: There are losses to draw, and Matplotlib is not installed.
    """
    # One picture of each kind: side by side.
    pair = "pair" if len(contents.embeddings) == len(contents.losses) == 1 else "figure-sections"
    sections = (
        _tiles(contents.scores),
        _scores(contents.scores),
        f'<div class="{pair}">',
        _embeddings(contents.embeddings),
        _losses(contents.losses),
        "</div>",
        _examples(contents.examples),
        _parameters(contents.parameters),
        provenance_section(contents.provenance),
    )
    badges = SYNTHETIC_BADGE if contents.synthetic else ""
    return html_page(contents.title, contents.summary, badges, "".join(sections))


def html_page(title: str, lead: str, badges: str, body: str, style: str = "") -> str:
    """A page in the report's style that holds all it shows, runs nothing and loads nothing.

    Args:
        title: As text.
        lead: What stands below the title, as text.
        badges: What stands above it, as HTML.
        body: The sections, as HTML.
        style: CSS besides the report's.
    """
    report_style = files("taskaware.report").joinpath("page.css").read_text(encoding="utf-8")
    report_style = report_style.replace("/* figure colours: light */", css_variables(dark=False))
    report_style = report_style.replace("/* figure colours: dark */", css_variables(dark=True))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_CONTENT_POLICY}">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>
{report_style}{style}</style>
</head>
<body>
{badges}
<h1>{escape(title)}</h1>
<p class="lead">{escape(lead)}</p>
<main>
{body}</main>
</body>
</html>
"""


def _tiles(scores: Sequence[ScoreRow]) -> str:
    """The first model's first score on each task, large."""
    if not scores:
        return ""
    model = scores[0].model
    first: dict[str, ScoreRow] = {}
    for row in scores:
        if row.model == model:
            first.setdefault(row.task, row)
    name = f" \u00b7 {escape(model)}" if len(_models(scores)) > 1 else ""
    tiles = [
        f'<li class="card"><span class="what">{escape(row.task)}{name}</span> '
        f'<span class="figure">{_score(row)}</span> '
        f'<span class="what">{_metric(row.metric)}</span></li>'
        for row in list(first.values())[:_MAX_TILES]
    ]
    rates = [row.confusion_rate for row in first.values() if row.confusion_rate is not None]
    if rates:
        tiles.append(
            f'<li class="card"><span class="what">all tasks{name}</span> '
            f'<span class="figure">{_percent(sum(rates) / len(rates))}</span> '
            '<span class="what">mean confusion rate \u2193</span></li>'
        )
    return f'<ul class="tiles" aria-label="Scores of {escape(model)}">{"".join(tiles)}</ul>\n'


def _scores(scores: Sequence[ScoreRow]) -> str:
    if not scores:
        return ""
    note = (
        "Arrows point to where better is. WER and CER are percentages, BLEU and chrF go to 100. "
        "The confusion rate is the share of outputs that belong to another task on the same input."
    )
    every = _score_table(scores)
    models = _models(scores)
    if len(models) > 1:
        every = (
            _comparison(scores, models)
            + f"<details><summary>Every figure, by model</summary>{every}</details>"
        )
    signatures = dict.fromkeys((row.metric, row.signature) for row in scores if row.signature)
    rows = "".join(
        f"<dt>{_metric(metric, arrow=False)}</dt><dd>{escape(signature)}</dd>"
        for metric, signature in signatures
    )
    if rows:
        facts = f'<dl class="card facts">{rows}</dl>'
        every += f"<details><summary>Signatures of the metrics</summary>{facts}</details>"
    return section("Scores", note, every)


def _comparison(scores: Sequence[ScoreRow], models: Sequence[str]) -> str:
    """Tasks down, models across, the best of each row marked."""
    table: dict[tuple[str, str], dict[str, ScoreRow]] = {}
    for row in scores:
        table.setdefault((row.task, row.metric), {})[row.model] = row
    body = ""
    for (task, metric), by_model in table.items():
        chosen = min if metric in LOWER_IS_BETTER else max
        best = chosen(row.score for row in by_model.values())
        cells = "".join(_comparison_cell(by_model.get(model), best) for model in models)
        unit = f'<span class="unit">{_metric(metric)}</span>'
        body += f'<tr><th scope="row">{escape(task)} {unit}</th>{cells}</tr>'
    heads = "".join(f'<th scope="col">{escape(model)}</th>' for model in models)
    return table_card(f'<th class="text" scope="col">Task</th>{heads}', body)


def _comparison_cell(row: ScoreRow | None, best: float) -> str:
    if row is None:
        return f"<td>{_ABSENT}</td>"
    rate, small = row.confusion_rate, ""
    if rate is not None:
        high = ' class="high"' if rate >= HIGH_CONFUSION else ""
        small = f"<small{high}>{_percent(rate)} confused</small>"
    best_class = ' class="best"' if row.score == best else ""
    return f"<td{best_class}>{_score(row)}{small}</td>"


def _score_table(scores: Sequence[ScoreRow]) -> str:
    body = ""
    for model in _models(scores):
        rows = [row for row in scores if row.model == model]
        head = f'<th scope="rowgroup" rowspan="{len(rows)}">{escape(model)}</th>'
        for row in rows:
            seconds = _ABSENT if row.seconds is None else f"{row.seconds:,.1f}"
            body += (
                f'<tr>{head}<td class="text">{escape(row.task)}</td>'
                f'<td class="text">{_metric(row.metric)}</td><td>{_score(row)}</td>'
                f"<td>{_percent(row.confusion_rate)}</td><td>{row.num_examples:,}</td>"
                f"<td>{seconds}</td></tr>"
            )
            head = ""
    names = ("Model", "Task", "Metric", "Score", "Confusion", "Examples", "Seconds")
    heads = "".join(
        f'<th scope="col"{" class=text" if index < 3 else ""}>{name}</th>'
        for index, name in enumerate(names)
    )
    return table_card(heads, body)


def _examples(examples: Sequence[ShownExample]) -> str:
    if not examples:
        return ""
    cards = "".join(_example(example) for example in examples)
    note = "Words that the reference does not have at that place are underlined."
    return section("Decoded examples", note, f'<div class="examples">{cards}</div>')


def _example(example: ShownExample) -> str:
    source = f"<div>{escape(example.source_text)}</div>" if example.source_text else ""
    if example.audio:
        data = base64.b64encode(example.audio).decode("ascii")
        address = f"data:{escape(example.audio_type)};base64,{data}"
        source = f'<audio controls preload="metadata" src="{address}"></audio>{source}'
    models = {output.model for output in example.outputs}
    outputs = "".join(
        f'<dt class="written">{escape(output.model if len(models) > 1 else "output")}</dt>'
        f'<dd class="written" dir="auto">{_output(output, example.reference)}</dd>'
        for output in example.outputs
    )
    origin = f'<span class="origin">{escape(example.origin)}</span>' if example.origin else ""
    return (
        f'<article class="card example"><header><span class="task">{escape(example.task)}</span>'
        f'{origin}</header><dl><dt>source</dt><dd dir="auto">{source}</dd>'
        f'<dt>reference</dt><dd dir="auto">{escape(example.reference)}</dd>{outputs}</dl>'
        "</article>\n"
    )


def _output(output: ShownOutput, reference: str) -> str:
    """An output with its verdict, in words as well as in colour."""
    text = escape(output.text) if output.text else '<span class="empty">nothing</span>'
    if output.confused:
        return f'{text} <span class="badge confused">\u21c4 another task\u2019s output</span>'
    if output.wrong:
        marked = _marked_words(output.text, reference) or text
        return f'{marked} <span class="badge wrong">\u2260 not the reference</span>'
    return f'{text} <span class="badge good">\u2713 right</span>'


def _marked_words(text: str, reference: str) -> str:
    """The text, its words that the reference does not have at that place marked."""
    written, expected = words(text), words(reference)
    space = "" if has_unseparated_words(text) else " "
    parts: list[str] = []
    matcher = difflib.SequenceMatcher(a=expected, b=written, autojunk=False)
    for kind, _, _, start, end in matcher.get_opcodes():
        chunk = escape(space.join(written[start:end]))
        if chunk:
            parts.append(chunk if kind == "equal" else f'<mark class="other">{chunk}</mark>')
    return space.join(parts)


def _embeddings(pictures: Sequence[EmbeddingPicture]) -> str:
    if not pictures:
        return ""
    note = (
        "A point is the task embedding of one example, in two dimensions by t\u2011SNE: groups "
        "mean something, distances between them do not. Silhouette, in the full space: 1 is "
        "apart, 0 is mixed."
    )
    figures = ""
    for picture in pictures:
        caption = f"{escape(picture.model)}, {counted(picture.num_embeddings, 'embedding')}"
        if picture.silhouette is not None:
            caption += f", silhouette {picture.silhouette:.2f}"
        figures += figure_card(picture.svg, caption)
    return section("Task embeddings", note, f'<div class="figures">{figures}</div>')


def _losses(losses: Sequence[ModelLosses]) -> str:
    if not losses:
        return ""
    note = "Training loss by task: a running mean, with the measured values faint behind it."
    # One scale for all models, so that their figures compare.
    highest = max((max(curve.losses) for each in losses for curve in each.curves), default=None)
    figures = "".join(
        figure_card(loss_figure(each.curves, max_loss=highest), escape(each.model))
        for each in losses
    )
    return section("Loss", note, f'<div class="figures">{figures}</div>')


def _parameters(parameters: Sequence[PartParameters]) -> str:
    if not parameters:
        return ""
    models = _models(parameters)
    counts = {(each.model, each.part): each.num_parameters for each in parameters}
    totals = [sum(each.num_parameters for each in parameters if each.model == m) for m in models]
    body = ""
    for part in dict.fromkeys(each.part for each in parameters):
        cells = (counts.get((model, part)) for model in models)
        row = "".join(f"<td>{_ABSENT if n is None else format(n, ',')}</td>" for n in cells)
        body += f'<tr><th scope="row">{escape(part)}</th>{row}</tr>'
    total = "".join(f"<td><strong>{n:,}</strong></td>" for n in totals)
    body += f'<tr><th scope="row">total</th>{total}</tr>'
    heads = "".join(f'<th scope="col">{escape(model)}</th>' for model in models)
    table = table_card(f'<th class="text" scope="col">Part</th>{heads}', body)
    return section("Parameters", "", table)


def provenance_section(provenance: Mapping[str, str]) -> str:
    """How the figures came to be, name by name; nothing where nothing is known."""
    if not provenance:
        return ""
    facts = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in provenance.items()
    )
    return section("Provenance", "", f'<dl class="card facts">{facts}</dl>')


def section(title: str, note: str, body: str) -> str:
    """A part of a page: its title, what one must know to read it, and its contents, as HTML."""
    note = f'<p class="note">{note}</p>\n' if note else ""
    return f"<section>\n<h2>{title}</h2>\n{note}{body}\n</section>\n"


def table_card(heads: str, body: str) -> str:
    """A table that scrolls inside its card where the page is too narrow; cells and rows as HTML."""
    return (
        f'<div class="card scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def figure_card(svg: str, caption: str) -> str:
    """A figure in its card; both as HTML."""
    return f'<figure class="card">{svg}<figcaption>{caption}</figcaption></figure>'


def _models(rows: Iterable[ScoreRow | PartParameters]) -> list[str]:
    return list(dict.fromkeys(row.model for row in rows))


def _metric(metric: str, *, arrow: bool = True) -> str:
    name = escape(METRIC_NAMES.get(metric, metric))
    direction = "\u2193" if metric in LOWER_IS_BETTER else "\u2191"
    return f"{name} {direction}" if arrow else name


def _score(row: ScoreRow) -> str:
    return f"{row.score:.1f}"


def _percent(fraction: float | None) -> str:
    return _ABSENT if fraction is None else f"{100 * fraction:.1f}\u202f%"
