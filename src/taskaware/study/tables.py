"""What a study found as text: Markdown for readers, CSV for other programs, JSON for everything."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from taskaware.study.summary import (
    ABSENT,
    SIGNIFICANCE_MARK,
    Column,
    Entry,
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
    stage_entry,
    table_legend,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from taskaware.study.results import Cell, EmbeddingFigure, ForgettingMatrix, Row, StudyResults

CSV_COLUMNS = (
    *("study", "row", "task", "kind", "dataset", "seed", "metric", "value", "points"),
    *("confusion_rate", "p_value", "against", "num_examples", "num_models", "parameters"),
    *("task_parameters", "updates", "seconds", "peak_memory_mib", "silhouette"),
    *("parameters_of_one_task", "num_bytes", "decoding_seconds"),
)


def to_markdown(results: StudyResults) -> str:
    """The study's tables as GitHub-flavoured Markdown."""
    head = [f"# {_inline(results.title)}"]
    if results.synthetic:
        head.append("**Synthetic data**")
    head.append(_inline(results.question))
    if results.command:
        head.append(_code_block(results.command))
    head.append(_inline(" \u00b7 ".join(budget_line(results))))
    parts = [
        *head,
        _main_table(results),
        _inline(table_legend(results)),
        *_notes(results.rows),
        *_paper(results.rows),
        *_by_corpus(results),
        *_parts(results.rows),
        *(part for matrix in results.matrices for part in _forgetting(matrix)),
        *_embeddings(results.embeddings),
        *_signatures(results.signatures),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def to_csv(results: StudyResults) -> str:
    """One line for each row, task, corpus (empty: the whole task) and seed.

    Values are as they are: error rates in percent.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in results.rows:
        for task, dataset, cell in _cells(row, results.tasks):
            for index, seed in enumerate(results.seeds):
                writer.writerow(
                    [
                        *(results.name, row.label, task, results.tasks.get(task, ""), dataset),
                        *(seed, cell.metric, cell.values[index], cell.points[index]),
                        *(_at(cell.confusion_rates, index), _at(cell.p_values, index)),
                        *(row.against, cell.num_examples, row.num_models),
                        *(sum(row.parameters.values()), row.task_parameters, row.updates),
                        *(_at(row.seconds, index), row.peak_memory_mib),
                        _at(row.silhouettes, index),
                        *(row.parameters_of_one_task, row.num_bytes),
                        _at(row.decoding_seconds, index),
                    ]
                )
    return buffer.getvalue()


def to_json(results: StudyResults) -> str:
    """Everything, unrounded, in the order of its fields; a number that is none (NaN) is null."""
    return json.dumps(_plain(results), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _main_table(results: StudyResults) -> str:
    columns, costs = columns_of(results), cost_columns(results.rows)
    heads = ["", *(column.heading for column in columns), *costs]
    notes = {row.label: index for index, row in enumerate(_with_notes(results.rows), start=1)}
    lines = []
    for index, (row, entries) in enumerate(zip(results.rows, entries_of(results), strict=True)):
        cells = [_cell(entry, column) for entry, column in zip(entries, columns, strict=True)]
        note = f" [{notes[row.label]}]" if row.label in notes else ""
        label = _inline(row.label + note)
        lines.append([label, *cells, *(values[index] for values in costs.values())])
    return _table([_inline(head) for head in heads], lines)


def _cell(entry: Entry | None, column: Column | None = None) -> str:
    if entry is None:
        return ABSENT
    text = f"**{entry.text}**" if entry.best else entry.text
    if entry.significant:
        text += f" {SIGNIFICANCE_MARK}"
    if entry.confusion is not None:
        text += f" ({_inline(percent(entry.confusion))} confused)"
    if column and entry.num_tasks < len(column.tasks):
        text += f" ({entry.num_tasks} of {len(column.tasks)} tasks)"
    return text


def _with_notes(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.note]


def _notes(rows: Sequence[Row]) -> list[str]:
    noted = _with_notes(rows)
    return ["\n".join(f"{i}. {_inline(row.note)}" for i, row in enumerate(noted, start=1))]


def _paper(rows: Sequence[Row]) -> list[str]:
    kinds = paper_kinds(rows)
    if not kinds:
        return []
    lines = [
        [_inline(row.label), *(_inline(row.paper.get(kind, ABSENT)) for kind in kinds)]
        for row in rows
        if row.paper
    ]
    return ["## The paper's", _table(["", *map(_inline, kinds)], lines)]


def _parts(rows: Sequence[Row]) -> list[str]:
    columns = part_columns(rows)
    if not columns:
        return []
    lines = [
        [_inline(row.label), *(texts[index] for texts in columns.values())]
        for index, row in enumerate(rows)
    ]
    return ["## Parameters by part", _table(["", *map(_inline, columns)], lines)]


def _by_corpus(results: StudyResults) -> list[str]:
    table = corpus_entries(results)
    shown = [index for index, row in enumerate(results.rows) if row.by_dataset]
    if not table:
        return []
    lines = []
    for (task, dataset), entries in table.items():
        heading = Column(name=task, metric=metric_of_task(results, task), tasks=(task,)).heading
        lines.append([_inline(f"{heading}: {dataset}"), *(_cell(entries[i]) for i in shown)])
    return ["## By corpus", _table(["", *(_inline(results.rows[i].label) for i in shown)], lines)]


def _forgetting(matrix: ForgettingMatrix) -> list[str]:
    lines = []
    for index, (stage, trained) in enumerate(zip(matrix.stages, matrix.trained, strict=True)):
        cells = []
        for task in matrix.tasks:
            entry = stage_entry(matrix, index, task)
            text = _cell(entry)
            cells.append(f"{text} \\*" if task in trained and entry else text)
        lines.append([_inline(stage), *cells])
    figures = "; ".join(
        f"{name} {number(values)} points"
        for name, values in (
            ("average forgetting", matrix.average_forgetting),
            ("backward transfer", matrix.backward_transfer),
        )
        if values
    )
    legend = r"Points (100 is best) after each stage; \* the stage trained the task."
    return [
        f"## Forgetting: {_inline(matrix.label)}",
        _table(["", *map(_inline, matrix.tasks)], lines),
        f"{legend} {figures[:1].upper()}{figures[1:]}." if figures else legend,
    ]


def _embeddings(figures: Sequence[EmbeddingFigure]) -> list[str]:
    lines = [
        f"- {_inline(figure.title)}: {_inline('; '.join(silhouettes))}"
        for figure in figures
        if (silhouettes := silhouette_texts(figure))
    ]
    return ["## Task embeddings: silhouette", "\n".join(lines)] if lines else []


def _signatures(signatures: Mapping[str, str]) -> list[str]:
    lines = [f"- {_inline(name)}: {_inline(text)}" for name, text in signatures.items()]
    return ["## Signatures of the metrics", "\n".join(lines)] if lines else []


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)], *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _inline(text: str) -> str:
    """Text that Markdown shows as it is, on one line, also inside a table."""
    text = " ".join(text.split())
    text = re.sub(r"([\\`*|\[\]~])", r"\\\1", text)
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _code_block(text: str) -> str:
    """A fenced block whose fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{text}\n{fence}"


def _cells(row: Row, tasks: Iterable[str]) -> Iterable[tuple[str, str, Cell]]:
    for task in tasks:
        if task in row.cells:
            yield task, "", row.cells[task]
        for dataset, cell in row.by_dataset.get(task, {}).items():
            yield task, dataset, cell


def _at(values: Sequence[float], index: int) -> float | str:
    return values[index] if index < len(values) else ""


def _plain(value: Any) -> Any:
    """The value as what JSON has."""
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
