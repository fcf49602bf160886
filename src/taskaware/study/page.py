"""The page of a study: one HTML file with its tables and figures, and no script in it."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from taskaware.report.page import (
    HIGH_CONFUSION,
    SYNTHETIC_BADGE,
    figure_card,
    html_page,
    provenance_section,
    section,
    table_card,
)
from taskaware.study.figures import (
    curves_figure,
    embedding_figure,
    forgetting_figure,
    scores_figures,
)
from taskaware.study.summary import (
    ABSENT,
    SIGNIFICANCE_MARK,
    Column,
    Entry,
    best_row,
    budget_line,
    columns_of,
    corpus_entries,
    cost_columns,
    entries_of,
    metric_of_task,
    number,
    paper_kinds,
    part_columns,
    percent,
    silhouette_texts,
    table_legend,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskaware.study.figures import StudyFigure, Toggles
    from taskaware.study.results import (
        EmbeddingFigure,
        ForgettingMatrix,
        LearningCurve,
        Row,
        StudyResults,
    )

_MAX_TILES = 6


def render_page(results: StudyResults) -> str:
    """The study's page as HTML.

    Raises:
        MissingDependencyError: There are figures to draw, and Matplotlib is not installed.
    """
    embeddings = [embedding_figure(shown) for shown in results.embeddings]
    runs = list(dict.fromkeys(curve.run for curve in results.curves))
    by_task: dict[str, list[LearningCurve]] = {}
    for curve in results.curves:
        by_task.setdefault(curve.task, []).append(curve)
    curves = [curves_figure(group, runs) for group in by_task.values()]
    body = (
        _tiles(results),
        _results(results),
        _scores(scores_figures(results)),
        _by_corpus(results),
        _forgetting(results.matrices),
        _embeddings(results.embeddings, embeddings),
        _curves(list(by_task), curves),
        _costs(results.rows),
        provenance_section(_provenance(results)),
        _signatures(results.signatures),
    )
    badges = [f'<span class="badge">{escape(text)}</span>' for text in budget_line(results)[:3]]
    badges = [SYNTHETIC_BADGE, *badges] if results.synthetic else badges
    style = files("taskaware.study").joinpath("page.css").read_text(encoding="utf-8")
    return html_page(
        results.title,
        results.question,
        f'<div class="badges">{"".join(badges)}</div>',
        "".join(body),
        style + _toggle_style([*embeddings, *curves]),
    )


def _tiles(results: StudyResults) -> str:
    """The numbers of the row with the most points, large."""
    best = best_row(results)
    if best is None:
        return ""
    label = escape(results.rows[best].label)
    tiles, rates = [], []
    for column, entry in zip(columns_of(results), entries_of(results)[best], strict=True):
        if entry is None:
            continue
        mean, deviation = _split(entry.text)
        tiles.append(_tile(escape(column.name), mean, f"{deviation} {column.unit}".strip()))
        if entry.confusion is not None:
            rates.append(entry.confusion)
    tiles = tiles[:_MAX_TILES]
    if rates:
        tiles.append(_tile("all tasks", percent(sum(rates) / len(rates)), "confusion rate \u2193"))
    return (
        f'<p class="winner">Most points over all tasks: <strong>{label}</strong></p>\n'
        f'<ul class="tiles" aria-label="Numbers of {label}">{"".join(tiles)}</ul>\n'
    )


def _tile(what: str, figure: str, unit: str) -> str:
    return (
        f'<li class="card"><span class="what">{what}</span> <span class="figure">{figure}</span> '
        f'<span class="what">{unit}</span></li>'
    )


def _results(results: StudyResults) -> str:
    """The main table; what the paper reports stands in the same rows."""
    columns, kinds = columns_of(results), paper_kinds(results.rows)
    heads = '<th class="text" scope="col">Model</th>' + "".join(
        f'<th scope="col">{escape(column.name)}<br><span class="unit">{column.unit}</span></th>'
        for column in columns
    )
    heads += "".join(
        f'<th scope="col" class="paper">{escape(kind)}<br><span class="unit">paper</span></th>'
        for kind in kinds
    )
    body, notes = "", []
    for row, entries in zip(results.rows, entries_of(results), strict=True):
        mark = ""
        if row.note:
            notes.append(f'<li id="note-{len(notes) + 1}">{escape(row.note)}</li>')
            mark = f'<sup><a href="#note-{len(notes)}">{len(notes)}</a></sup>'
        cells = "".join(
            _cell(entry, results.seeds, column)
            for entry, column in zip(entries, columns, strict=True)
        )
        cells += "".join(
            f'<td class="paper">{escape(row.paper.get(kind, ABSENT))}</td>' for kind in kinds
        )
        body += f'<tr><th scope="row">{escape(row.label)}{mark}</th>{cells}</tr>'
    legend = f'<p class="legend">{escape(table_legend(results))}</p>'
    listed = f'<ol class="notes">{"".join(notes)}</ol>' if notes else ""
    return section("Results", "", table_card(heads, body) + legend + listed)


def _cell(entry: Entry | None, seeds: Sequence[int], column: Column | None = None) -> str:
    if entry is None:
        return f"<td>{ABSENT}</td>"
    mean, deviation = _split(entry.text)
    mark = f"<sup>{SIGNIFICANCE_MARK}</sup>" if entry.significant else ""
    small = ""
    if entry.confusion is not None:
        high = ' class="high"' if entry.confusion >= HIGH_CONFUSION else ""
        small = f"<small{high}>{percent(entry.confusion)} confused</small>"
    if column and entry.num_tasks < len(column.tasks):
        small += f"<small>{entry.num_tasks} of {len(column.tasks)} tasks</small>"
    pairs = zip(seeds, entry.values, strict=True)
    title = "; ".join(f"seed {seed}: {value:.2f}" for seed, value in pairs)
    best = ' class="best"' if entry.best else ""
    spread = f'<span class="unit">{deviation}</span>' if deviation else ""
    return f'<td{best} title="{title}">{mean}{spread}{mark}{small}</td>'


def _split(text: str) -> tuple[str, str]:
    """The mean, and `` ± `` with the deviation where there is one."""
    mean, sign, deviation = text.partition(" ± ")
    return mean, f" ± {deviation}" if sign else ""


def _by_corpus(results: StudyResults) -> str:
    table = corpus_entries(results)
    if not table:
        return ""
    shown = [index for index, row in enumerate(results.rows) if row.by_dataset]
    heads = '<th class="text" scope="col">Task and corpus</th>' + "".join(
        f'<th scope="col">{escape(results.rows[index].label)}</th>' for index in shown
    )
    body = ""
    for (task, dataset), entries in table.items():
        unit = Column(name=task, metric=metric_of_task(results, task), tasks=(task,)).unit
        cells = "".join(_cell(entries[index], results.seeds) for index in shown)
        head = f'{escape(task)}, {escape(dataset)} <span class="unit">{unit}</span>'
        body += f'<tr><th scope="row">{head}</th>{cells}</tr>'
    return section("By corpus", "", table_card(heads, body))


def _scores(drawn: Mapping[str, StudyFigure]) -> str:
    if not drawn:
        return ""
    note = "What rows reach, and how many parameters one task has alone."
    figures = "".join(
        figure_card(figure.svg, f"<strong>{escape(kind)}</strong>")
        for kind, figure in drawn.items()
    )
    return section("Score and parameters of a task", note, f'<div class="figures">{figures}</div>')


def _forgetting(matrices: Sequence[ForgettingMatrix]) -> str:
    if not matrices:
        return ""
    note = (
        "Points on every task after every stage of training: 100, light, is best. What a stage "
        "trained is framed; \u21c4 is the confusion rate, from 5\u202f% on. Average forgetting: "
        "how far tasks fell below their best. Backward transfer: what later stages changed."
    )
    figures = ""
    for matrix in matrices:
        caption = f"<strong>{escape(matrix.label)}</strong>"
        if matrix.average_forgetting:
            caption += f": average forgetting {number(matrix.average_forgetting)} points"
        if matrix.backward_transfer:
            caption += f", backward transfer {number(matrix.backward_transfer)} points"
        figures += figure_card(forgetting_figure(matrix).svg, caption)
    return section("Forgetting", note, f'<div class="figures">{figures}</div>')


def _embeddings(shown: Sequence[EmbeddingFigure], drawn: Sequence[StudyFigure]) -> str:
    if not shown:
        return ""
    note = (
        "A point is the task embedding of one example, in two dimensions by t\u2011SNE: groups "
        "mean something, distances between them do not. Silhouette, in the full space: 1 is "
        "apart, 0 is mixed."
    )
    figures = ""
    for embedding, figure in zip(shown, drawn, strict=True):
        caption = f"<strong>{escape(embedding.title)}</strong>"
        silhouettes = silhouette_texts(embedding)
        if silhouettes:
            caption += f": silhouette of {escape('; '.join(silhouettes))}"
        toggles = "".join(_toggles(each) for each in figure.toggles)
        figures += figure_card(figure.svg, caption + toggles)
    return section("Task embeddings", note, f'<div class="figures">{figures}</div>')


def _curves(tasks: Sequence[str], drawn: Sequence[StudyFigure]) -> str:
    """A figure a task; their runs are shown and hidden together."""
    if not drawn:
        return ""
    note = "Training loss: the mean over seeds, in a band from the lowest to the highest."
    figures = "".join(
        figure_card(figure.svg, f"<strong>{escape(task)}</strong>")
        for task, figure in zip(tasks, drawn, strict=True)
    )
    toggles = "".join(_toggles(each) for each in drawn[0].toggles)
    body = f'<div class="shared">{toggles}<div class="figures">{figures}</div></div>'
    return section("Learning curves", note, body)


def _toggles(toggles: Toggles) -> str:
    boxes = "".join(
        f'<label><input type="checkbox" class="{toggles.prefix}{index}" checked> '
        f"{escape(name)}</label>"
        for index, name in enumerate(toggles.names)
    )
    return f'<fieldset class="toggles"><legend>Show {toggles.title}</legend>{boxes}</fieldset>'


def _toggle_style(figures: Sequence[StudyFigure]) -> str:
    """What check boxes hide, and what is dimmed while the pointer rests on something else."""
    counts: dict[str, int] = {}
    for toggles in (each for figure in figures for each in figure.toggles):
        counts[toggles.prefix] = max(counts.get(toggles.prefix, 0), len(toggles.names))
    rules = ""
    for name in (f"{prefix}{i}" for prefix, count in counts.items() for i in range(count)):
        rules += (
            f":is(figure, .shared):has(input.{name}:not(:checked)) svg .{name} "
            "{ display: none; }\n"
        )
        if name.startswith("t"):
            rules += f"figure svg:has(.{name}:hover) .mark:not(.{name}) {{ opacity: .15; }}\n"
    return rules


def _costs(rows: Sequence[Row]) -> str:
    note = "Updates and time include what a row starts from. Parameters are those of one model."
    parts = _columns_table(rows, part_columns(rows))
    by_part = f"<details><summary>Parameters by part</summary>{parts}</details>"
    return section("Budget", note, _columns_table(rows, cost_columns(rows)) + by_part)


def _columns_table(rows: Sequence[Row], columns: Mapping[str, Sequence[str]]) -> str:
    heads = '<th class="text" scope="col">Model</th>' + "".join(
        f'<th scope="col">{escape(name)}</th>' for name in columns
    )
    body = ""
    for index, row in enumerate(rows):
        cells = "".join(f"<td>{escape(texts[index])}</td>" for texts in columns.values())
        body += f'<tr><th scope="row">{escape(row.label)}</th>{cells}</tr>'
    return table_card(heads, body)


def _provenance(results: StudyResults) -> dict[str, str]:
    seeds = ", ".join(str(seed) for seed in results.seeds)
    own = {"command": results.command, "seeds": seeds, "split": results.split}
    return {name: text for name, text in own.items() if text} | dict(results.provenance)


def _signatures(signatures: Mapping[str, str]) -> str:
    if not signatures:
        return ""
    facts = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in signatures.items()
    )
    return section("Signatures of the metrics", "", f'<dl class="card facts">{facts}</dl>')
