"""Statistics as tables of text, for a terminal or a page, and as JSON."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskaware.data.quality.overlap import RULES
from taskaware.data.quality.statistics import SECOND_EDGES, WORD_EDGES, Distribution
from taskaware.errors import counted
from taskaware.types import TRAIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from taskaware.data.quality.statistics import Group, GroupStatistics, Statistics

_NOT_APPLICABLE = "N/A"  # as in the paper's tables
_BARS = "·▁▂▃▄▅▆▇█"
_MAX_CHARACTERS = 30
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class StatisticsTable:
    """A table of text.

    Attributes:
        title: What it shows.
        header: Names of the columns.
        rows: Its rows, a cell a column.
        num_names: How many of the first columns hold names; the others hold numbers.
        note: What must be known to read it, or empty.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_names: int
    note: str = ""


def to_tables(statistics: Statistics) -> list[StatisticsTable]:
    """Return all tables that have a row, the one in the shape of the paper's Table 7 first."""
    tables = [
        _examples(statistics),
        _lengths(statistics),
        _details(statistics),
        _overlap(statistics),
        _outside(statistics),
    ]
    return [table for table in tables if table.rows]


def to_markdown(statistics: Statistics) -> str:
    """Return all tables as a page."""
    lines = ["# Statistics of the data"]
    for table in to_tables(statistics):
        lines += ["", f"## {table.title}", ""]
        aligns = ["---"] * table.num_names + ["---:"] * (len(table.header) - table.num_names)
        for cells in (table.header, aligns, *table.rows):
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines += ["", table.note] if table.note else []
    for problem in problem_lines(statistics):
        lines += ["", problem]
    return "\n".join(lines) + "\n"


def problem_lines(statistics: Statistics) -> list[str]:
    """Return what could not be counted, a sentence each."""
    lines = [
        f"{split}: {counted(number, 'line')} of the manifests cannot be used; `taskaware prepare` "
        f"lists {'it' if number == 1 else 'them'}"
        for split, number in statistics.problems.items()
    ]
    if statistics.unreadable:
        reasons = "; ".join(statistics.unreadable_reasons)
        lines.append(
            f"{counted(statistics.unreadable, 'example')} with a recording that cannot be read: "
            f"{reasons}"
        )
    return lines


def to_json(statistics: Statistics) -> dict[str, Any]:
    """Return all numbers, for ``json.dumps``."""
    return {
        "groups": [
            {"task": key.task, "dataset": key.dataset, "split": key.split, **_record(group)}
            for key, group in sorted(statistics.groups.items())
        ],
        "overlap": [
            {"split": split, "task": task, "rule": rule, "held_out": held_out, "train": train}
            for split, task, rule, held_out, train in _overlap_rows(statistics)
        ],
        "characters_outside_vocabulary": (
            dict(_all_outside(statistics).most_common()) if statistics.has_vocabulary else None
        ),
        "bad_lines": dict(statistics.problems),
        "unreadable_recordings": statistics.unreadable,
    }


def _record(group: GroupStatistics) -> dict[str, Any]:
    return {
        "kind": group.task.kind,
        "source_language": group.task.source_language,
        "target_language": group.task.target_language,
        "examples": group.examples,
        "synthetic_examples": group.synthetic,
        "hours": _hours(group),
        "synthetic_hours": group.synthetic_seconds.total / _SECONDS_PER_HOUR,
        "examples_of_unknown_length": group.unmeasured,
        "speakers": len(group.speakers),
        "duplicates": group.duplicates,
        "characters": group.characters,
        "characters_outside_vocabulary": group.outside.total(),
        "seconds": _distribution(group.seconds, SECOND_EDGES),
        "source_words": _distribution(group.source_words, WORD_EDGES),
        "target_words": _distribution(group.target_words, WORD_EDGES),
    }


def _distribution(values: Distribution, edges: Sequence[float]) -> dict[str, Any] | None:
    if not values.count:
        return None
    return {
        "total": values.total,
        "mean": values.mean,
        "median": values.quantile(0.5),
        "percentile_95": values.quantile(0.95),
        "longest": values.longest,
        "histogram_edges": list(edges),
        "histogram": values.histogram(edges),
    }


def _hours(group: GroupStatistics) -> float | None:
    return group.seconds.total / _SECONDS_PER_HOUR if group.seconds.count else None


def _examples(statistics: Statistics) -> StatisticsTable:
    """The paper's Tables 5 and 7: corpora by task, synthetic examples in a row of their own."""
    splits = statistics.splits
    header = ["task", "corpus"]
    for split in splits:
        header += [f"{split} hours"] if split == TRAIN else []
        header.append(split if split != TRAIN else f"{split} examples")
    by_corpus: dict[tuple[str, str], dict[str, GroupStatistics]] = {}
    for key, group in sorted(statistics.groups.items()):
        by_corpus.setdefault((key.task, key.dataset), {})[key.split] = group
    rows = []
    for (task, corpus), groups in by_corpus.items():
        rows += _corpus_rows(task, corpus, groups, splits)
    return StatisticsTable(title="Examples", header=tuple(header), rows=tuple(rows), num_names=2)


def _corpus_rows(
    task: str, corpus: str, groups: dict[str, GroupStatistics], splits: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    """Yield the row of what people made and that of what they did not."""
    num_synthetic = sum(group.synthetic for group in groups.values())
    num_original = sum(group.examples for group in groups.values()) - num_synthetic
    for is_synthetic, total in ((False, num_original), (True, num_synthetic)):
        if not total:
            continue
        cells = [task, f"{corpus}, synthetic" if is_synthetic else corpus]
        for split in splits:
            group = groups.get(split)
            number = 0
            hours = _NOT_APPLICABLE
            if group is not None:
                number = group.synthetic if is_synthetic else group.examples - group.synthetic
                part = group.synthetic_seconds.total
                seconds = part if is_synthetic else group.seconds.total - part
                hours = f"{seconds / _SECONDS_PER_HOUR:,.1f}" if seconds else hours
            cells += [hours] if split == TRAIN else []
            cells.append(f"{number:,}" if number else _NOT_APPLICABLE)
        yield tuple(cells)


def _lengths(statistics: Statistics) -> StatisticsTable:
    rows = []
    for key, group in _in_order(statistics):
        for name, values, edges in (
            ("seconds", group.seconds, SECOND_EDGES),
            ("source words", group.source_words, WORD_EDGES),
            ("target words", group.target_words, WORD_EDGES),
        ):
            if not values.count:
                continue
            is_time = name == "seconds"
            shown = [
                f"{value:,.1f}" if is_time else f"{value:,.0f}"
                for value in (values.quantile(0.5), values.quantile(0.95), values.longest)
            ]
            total = values.total / _SECONDS_PER_HOUR if is_time else values.total
            rows.append(
                (
                    *(key.split, key.task, key.dataset, name),
                    f"{total:,.2f} h" if is_time else f"{total:,.0f}",
                    *(f"{values.mean:,.1f}", *shown),
                    sparkline(values.histogram(edges)),
                )
            )
    return StatisticsTable(
        title="Lengths",
        header=(
            *("split", "task", "corpus", "of", "total"),
            *("mean", "median", "95 %", "longest", "histogram"),
        ),
        rows=tuple(rows),
        num_names=4,
        note=f"Bins of the histograms end before {_listed(SECOND_EDGES)} seconds and "
        f"{_listed(WORD_EDGES)} words; the last one has no end. Words are separated by white "
        "space.",
    )


def sparkline(numbers: Sequence[int]) -> str:
    """Return a bar of eight heights for each number, the largest being full; a dot for 0."""
    most = max(numbers)
    return "".join(_BARS[-(-8 * number // most)] if number else _BARS[0] for number in numbers)


def _details(statistics: Statistics) -> StatisticsTable:
    rows = []
    for key, group in _in_order(statistics):
        cells = [
            *(key.split, key.task, key.dataset),
            *(f"{group.examples:,}", f"{group.synthetic:,}"),
            f"{len(group.speakers):,}" if len(group.speakers) else _NOT_APPLICABLE,
            f"{group.duplicates:,}",
            f"{group.unmeasured:,}" if group.task.modality.is_recording else _NOT_APPLICABLE,
        ]
        if statistics.has_vocabulary:
            share = group.outside.total() / max(group.characters, 1)
            cells.append(f"{group.outside.total():,} ({share:.3%})")
        rows.append(tuple(cells))
    header = (
        *("split", "task", "corpus"),
        *("examples", "synthetic", "speakers", "duplicates", "of unknown length"),
    )
    return StatisticsTable(
        title="Details",
        header=(*header, "characters outside") if statistics.has_vocabulary else header,
        rows=tuple(rows),
        num_names=3,
        note="A duplicate has the task, source and target text of an earlier example of its split."
        + (
            " Characters outside are those that are not pieces of the vocabulary."
            if statistics.has_vocabulary
            else ""
        ),
    )


def _overlap(statistics: Statistics) -> StatisticsTable:
    return StatisticsTable(
        title="Overlap with train",
        header=("split", "task", "what is shared", "examples", "train examples"),
        rows=tuple(
            (split, task, rule, f"{held_out:,}", f"{train:,}")
            for split, task, rule, held_out, train in _overlap_rows(statistics)
        ),
        num_names=3,
        note="Each example is counted once, under the first of these that applies: the same "
        "segment of a recording, the same pair of texts, the same transcript of four words or "
        "more in the same task, one text only. Texts are compared by letters, digits and symbols.",
    )


def _overlap_rows(statistics: Statistics) -> Iterator[tuple[str, str, str, int, int]]:
    """Yield split, task, rule, how many examples of the split, and how many of train."""
    for split, counts in statistics.held_out.counts().items():
        met = set(counts.train) | set(counts.held_out)
        for task, rule in sorted(met, key=lambda key: (key[0], RULES.index(key[1]))):
            yield split, task, rule, counts.held_out[task, rule], counts.train[task, rule]


def _outside(statistics: Statistics) -> StatisticsTable:
    counts = _all_outside(statistics)
    rest = len(counts) - _MAX_CHARACTERS
    return StatisticsTable(
        title="Characters outside the vocabulary",
        header=("character", "code point", "name", "times"),
        rows=tuple(
            (
                character if character.isprintable() and not character.isspace() else "",
                f"U+{ord(character):04X}",
                unicodedata.name(character, "").lower(),
                f"{number:,}",
            )
            for character, number in counts.most_common(_MAX_CHARACTERS)
        ),
        num_names=3,
        note=(f"And {rest:,} more. " if rest > 0 else "")
        + "Each is written as the bytes of its UTF-8, up to four pieces.",
    )


def _all_outside(statistics: Statistics) -> Counter[str]:
    total: Counter[str] = Counter()
    for group in statistics.groups.values():
        total.update(group.outside)
    return Counter(dict(sorted(total.items())))  # equally frequent ones by code point


def _in_order(statistics: Statistics) -> list[tuple[Group, GroupStatistics]]:
    splits = statistics.splits
    return sorted(
        statistics.groups.items(), key=lambda item: (splits.index(item[0].split), item[0])
    )


def _listed(edges: Sequence[float]) -> str:
    return ", ".join(f"{edge:g}" for edge in edges)
