"""The tables of `taskaware data stats` on a terminal: rows stay rows where it is narrow."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from taskaware.cli.data import _shown
from taskaware.data.quality.statistics_tables import StatisticsTable

LENGTHS = StatisticsTable(
    title="Lengths",
    header=(
        "split",
        "task",
        "corpus",
        "of",
        "total",
        "mean",
        "median",
        "95 %",
        "longest",
        "histogram",
    ),
    rows=(
        (
            "train",
            "st_en_de",
            "mine",
            "target words",
            "12.50 h",
            "4.0",
            "4",
            "7",
            "12",
            "·█········",
        ),
    ),
    num_names=4,
)
DETAILS = StatisticsTable(
    title="Details",
    header=(
        *("split", "task", "corpus", "examples", "synthetic", "speakers", "duplicates"),
        *("of unknown length", "characters outside"),
    ),
    rows=(("train", "st_en_de", "mine", "1,234", "0", "N/A", "12", "0", "7 (16.667%)"),),
    num_names=3,
)


def printed(table: StatisticsTable, width: int) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=width, markup=False, highlight=False)
    console.print(_shown(table, console))
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("table", [LENGTHS, DETAILS], ids=lambda table: table.title)
def test_a_row_is_one_line_of_a_terminal_of_80_columns(table: StatisticsTable):
    lines = printed(table, 80)
    assert max(map(len, lines)) <= 80
    assert lines[-1].split() == " ".join(table.rows[0]).split()


@pytest.mark.parametrize("table", [LENGTHS, DETAILS], ids=lambda table: table.title)
def test_on_a_narrower_one_names_are_broken_and_numbers_are_not(table: StatisticsTable):
    text = "\n".join(printed(table, 70))
    assert all(cell in text for cell in table.rows[0][table.num_names :])


@pytest.mark.parametrize("table", [LENGTHS, DETAILS], ids=lambda table: table.title)
def test_where_there_is_room_two_spaces_stand_between_columns(table: StatisticsTable):
    lines = printed(table, 10_000)
    assert len(lines) == 3
    assert "train  st_en_de  mine  " in lines[-1]
