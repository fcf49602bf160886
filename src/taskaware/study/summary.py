"""The numbers that a table shows: means over seeds, the best of a column, what is significant.

Error rates are percentages, as the paper prints them; the other metrics go to 100.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from taskaware.evaluation.metrics import LOWER_IS_BETTER, METRIC_NAMES
from taskaware.study.results import Spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from taskaware.evaluation.metrics import Metric
    from taskaware.study.results import Cell, EmbeddingFigure, ForgettingMatrix, Row, StudyResults

ABSENT = "\u2013"
MAX_TASK_COLUMNS = 8  # with more tasks, the columns are their kinds
SIGNIFICANCE_LEVEL = 0.05
SIGNIFICANCE_MARK = "\u2020"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the main table: one task, or all tasks of a kind.

    Attributes:
        name: The task or the kind.
        metric: What its values are.
        tasks: The tasks that it is the mean of.
    """

    name: str
    metric: Metric
    tasks: tuple[str, ...]

    @property
    def unit(self) -> str:
        """Metric and where better is."""
        arrow = "\u2193" if self.metric in LOWER_IS_BETTER else "\u2191"
        return f"{METRIC_NAMES[self.metric]} {arrow}"

    @property
    def heading(self) -> str:
        """Name, metric and where better is."""
        return f"{self.name} {self.unit}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What stands in one cell of a table.

    Attributes:
        values: By seed.
        points: By seed, 0 to 100.
        confusion: The mean rate over seeds and tasks; ``None`` where there is none.
        num_tasks: How many tasks it is the mean of.
        best: No other row's number, as printed, is better.
        significant: It differs from the row that it is compared with, in every seed.
    """

    values: tuple[float, ...]
    points: tuple[float, ...]
    confusion: float | None
    num_tasks: int = 1
    best: bool = False
    significant: bool = False

    @property
    def text(self) -> str:
        """Mean ± sample standard deviation."""
        return number(self.values)


def columns_of(results: StudyResults) -> list[Column]:
    """A column for each task, or for each kind of task where there are more than eight."""
    metrics: dict[str, Metric] = {}
    for task, kind in results.tasks.items():
        cells = (row.cells[task] for row in results.rows if task in row.cells)
        found = next(cells, None)
        metrics[task] = found.metric if found else ("wer" if kind == "asr" else "bleu")
    if len(results.tasks) <= MAX_TASK_COLUMNS:
        return [Column(name=task, metric=metrics[task], tasks=(task,)) for task in results.tasks]
    groups: dict[tuple[str, Metric], list[str]] = {}
    for task, kind in results.tasks.items():
        groups.setdefault((kind, metrics[task]), []).append(task)
    return [
        Column(name=kind, metric=metric, tasks=tuple(tasks))
        for (kind, metric), tasks in groups.items()
    ]


def entries_of(results: StudyResults) -> list[list[Entry | None]]:
    """For each row and column what stands there; ``None`` where the row has no such task.

    A mean over fewer tasks than the column has is neither the best nor significant: it is a mean
    of other tasks than its neighbours'. Nor is a mean of several tasks significant, for the test
    is made task by task.
    """
    columns = columns_of(results)
    table: list[list[Entry | None]] = [[] for _ in results.rows]
    for column in columns:
        found = [_entry(row, column, results.rows) for row in results.rows]
        whole = [
            entry if entry and entry.num_tasks == len(column.tasks) else None for entry in found
        ]
        marks = _best_marks(whole, column.metric)
        for line, entry, best in zip(table, found, marks, strict=True):
            line.append(_marked(entry, best=best))
    return table


def corpus_entries(results: StudyResults) -> dict[tuple[str, str], list[Entry | None]]:
    """For each task and corpus what each row reaches there, where rows tell corpora apart."""
    table: dict[tuple[str, str], list[Entry | None]] = {}
    for task in results.tasks:
        by_row = [row.by_dataset.get(task, {}) for row in results.rows]
        for dataset in dict.fromkeys(name for datasets in by_row for name in datasets):
            cells = [datasets.get(dataset) for datasets in by_row]
            metric: Metric = next(cell.metric for cell in cells if cell)
            found = [_entry_of_cells([cell]) if cell else None for cell in cells]
            marks = _best_marks(found, metric)
            table[task, dataset] = [
                _marked(entry, best=best) for entry, best in zip(found, marks, strict=True)
            ]
    return table


def metric_of_task(results: StudyResults, task: str) -> Metric:
    """The main metric of a task."""
    return next(column.metric for column in columns_of(results) if task in column.tasks)


def best_row(results: StudyResults) -> int | None:
    """The position of the row with the most points over all columns; rows with gaps count not."""
    columns, best, most = columns_of(results), None, -math.inf
    for index, entries in enumerate(entries_of(results)):
        whole = [
            entry
            for entry, column in zip(entries, columns, strict=True)
            if entry and entry.num_tasks == len(column.tasks)
        ]
        if whole and len(whole) == len(columns):
            points = statistics.fmean(statistics.fmean(entry.points) for entry in whole)
            if points > most:
                best, most = index, points
    return best


def stage_entry(matrix: ForgettingMatrix, stage: int, task: str) -> Entry | None:
    """A task's points after a stage; ``None`` where it was not scored."""
    points = matrix.points[stage].get(task)
    if not points:
        return None
    rates = matrix.confusion[stage].get(task, ())
    confusion = statistics.fmean(rates) if rates else None
    return Entry(values=points, points=points, confusion=confusion)


def paper_kinds(rows: Iterable[Row]) -> list[str]:
    """The kinds of task for which the paper has numbers."""
    return list(dict.fromkeys(kind for row in rows for kind in row.paper))


def number(values: Sequence[float], digits: int = 1) -> str:
    """Mean ± sample standard deviation, or the value alone where there is one."""
    if not values or not all(math.isfinite(value) for value in values):
        return ABSENT
    spread = Spread.of(values)
    mean = f"{spread.mean:.{digits}f}"
    if float(mean) == 0:
        mean = mean.removeprefix("-")
    mean = mean.replace("-", "\u2212")
    return mean if spread.deviation is None else f"{mean} ± {spread.deviation:.{digits}f}"


def percent(rate: float) -> str:
    """A rate in a few characters, but never 0 where it is not."""
    value = 100 * rate
    if value in (0, 100) or value >= 9.95:
        return f"{value:.0f}\u202f%"
    return f"{value:.1f}\u202f%" if value >= 0.05 else "<0.1\u202f%"


def duration(values: Sequence[float]) -> str:
    """The mean time in words."""
    if not values:
        return ABSENT
    seconds = statistics.fmean(values)
    if seconds < 99.5:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def count(value: float, unit: str = "") -> str:
    """A whole number with its thousands apart, or a dash for none."""
    return f"{value:,.0f}{unit}" if value else ABSENT


def budget_line(results: StudyResults) -> list[str]:
    """Size, seeds, split and machine."""
    seeds = ", ".join(str(seed) for seed in results.seeds)
    machine = next((v for k, v in results.provenance.items() if k.lower() == "machine"), "")
    parts = [
        f"size {results.size}",
        f"{'seed' if len(results.seeds) == 1 else 'seeds'} {seeds or ABSENT}",
        f"{results.split} split",
    ]
    return [*parts, f"machine: {machine}"] if machine else parts


def cost_columns(rows: Sequence[Row]) -> dict[str, list[str]]:
    """What each row cost: heading to one text a row."""
    columns = {
        "models": [count(row.num_models) for row in rows],
        "parameters": [count(sum(row.parameters.values())) for row in rows],
        "of which task network": [count(row.task_parameters) for row in rows],
        "of one task alone": [_count_or_none(row.parameters_of_one_task) for row in rows],
        "on disk": [_megabytes(row.num_bytes) for row in rows],
        "updates": [count(row.updates) for row in rows],
        "training time": [duration(row.seconds) for row in rows],
        "decoding time": [duration(row.decoding_seconds) for row in rows],
        "peak memory": [count(row.peak_memory_mib, " MiB") for row in rows],
    }
    if any(row.silhouettes for row in rows):
        columns["silhouette"] = [number(row.silhouettes, digits=2) for row in rows]
    return columns


def part_columns(rows: Sequence[Row]) -> dict[str, list[str]]:
    """The parameters of each row's model: part to one text a row."""
    parts = dict.fromkeys(part for row in rows for part in row.parameters)
    return {part: [count(row.parameters.get(part, 0)) for row in rows] for part in parts}


def table_legend(results: StudyResults) -> str:
    """What one must know to read the main table."""
    lines, several = [], len(results.seeds) > 1
    if several:
        lines.append(f"Mean ± sample standard deviation over {len(results.seeds)} seeds.")
    lines.append("Arrows show whether higher or lower is better; the best of a column is bold.")
    for metric in ("wer", "cer"):
        if any(column.metric == metric for column in columns_of(results)):
            lines.append(f"{metric.upper()} is a percentage.")
    if len(results.tasks) > MAX_TASK_COLUMNS:
        lines.append(
            f"Columns are means over the tasks of a kind; all {len(results.tasks)} tasks are in "
            "the CSV and JSON files."
        )
    compared = _comparisons(results)
    if compared:
        seeds = " in every seed" if several else ""
        lines.append(
            f"{SIGNIFICANCE_MARK} Differs significantly (paired bootstrap, "
            f"p < {SIGNIFICANCE_LEVEL}{seeds}): {'; '.join(compared)}."
        )
    lines += [f"{warning}." for warning in results.warnings]
    return " ".join(lines)


def silhouette_texts(figure: EmbeddingFigure) -> list[str]:
    """How well tasks, and corpora inside a task, stand apart, in words."""
    values = {} if figure.task_silhouette is None else {"tasks": figure.task_silhouette}
    values |= {f"corpora of {task}": value for task, value in figure.dataset_silhouettes.items()}
    return [f"{name} {number([value], digits=2)}" for name, value in values.items()]


def _count_or_none(value: int | None) -> str:
    return ABSENT if value is None else f"{value:,}"


def _megabytes(num_bytes: int | None) -> str:
    return ABSENT if num_bytes is None else f"{num_bytes / 1e6:,.1f} MB"


def _comparisons(results: StudyResults) -> list[str]:
    """Which row is compared with which, in words, for the legend of the mark."""
    marked = {
        row.label: row.against
        for row, entries in zip(results.rows, entries_of(results), strict=True)
        if any(entry and entry.significant for entry in entries)
    }
    groups: dict[str, list[str]] = {}
    for label, against in marked.items():
        groups.setdefault(against, []).append(label)
    # Labels hold commas of their own, so each stands in quotation marks.
    return [
        f"{', '.join(f'“{label}”' for label in labels)} against “{against}”"
        for against, labels in groups.items()
    ]


def _entry(row: Row, column: Column, rows: Sequence[Row]) -> Entry | None:
    cells = [row.cells[task] for task in column.tasks if task in row.cells]
    if not cells:
        return None
    significant = False
    if len(column.tasks) == 1:
        against = next((each for each in rows if each.label == row.against), None)
        significant = _differs(cells[0], against.cells.get(column.tasks[0]) if against else None)
    return _entry_of_cells(cells, significant=significant)


def _entry_of_cells(cells: Sequence[Cell], *, significant: bool = False) -> Entry:
    """The mean over cells, seed by seed, so that the deviation is that of the mean."""
    rates = [statistics.fmean(cell.confusion_rates) for cell in cells if cell.confusion_rates]
    return Entry(
        values=_means([cell.values for cell in cells]),
        points=_means([cell.points for cell in cells]),
        confusion=statistics.fmean(rates) if rates else None,
        num_tasks=len(cells),
        significant=significant,
    )


def _means(by_cell: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(statistics.fmean(values) for values in zip(*by_cell, strict=True))


def _differs(cell: Cell, other: Cell | None) -> bool:
    """Significant in every seed; and, where the other is known, each time in the same direction."""
    if not cell.p_values or max(cell.p_values) >= SIGNIFICANCE_LEVEL:
        return False
    if other is None or len(other.values) != len(cell.values):
        return True
    return (
        len({value > against for value, against in zip(cell.values, other.values, strict=True)})
        == 1
    )


def _best_marks(entries: Sequence[Entry | None], metric: Metric) -> list[bool]:
    """Whether an entry is the best, by what is printed; one alone is not marked."""
    means = {
        index: round(statistics.fmean(entry.values), 1)
        for index, entry in enumerate(entries)
        if entry
    }
    if len(means) < 2:
        return [False] * len(entries)
    best = (min if metric in LOWER_IS_BETTER else max)(means.values())
    return [means.get(index) == best for index in range(len(entries))]


def _marked(entry: Entry | None, *, best: bool) -> Entry | None:
    return replace(entry, best=best) if entry else None
