"""The estimates for many GPUs: the page has what the script prints, and its arithmetic is right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "scale.md"


@pytest.mark.slow
def test_the_tables_of_the_page_are_those_that_the_script_prints():
    command = [sys.executable, ROOT / "benchmarks" / "scale_plan.py"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [line for line in said.splitlines() if line.startswith("|")]
    assert len(rows) == 19
    assert [line for line in PAGE.read_text().splitlines() if line in rows] == rows


def test_a_ring_moves_what_the_page_says():
    sizes = next(
        line for line in PAGE.read_text().splitlines() if line.startswith("| multi_modality | 81.4")
    )
    parameters = 81_380_608
    moved = [2 * (n - 1) / n * 4 * parameters / 1e6 for n in (8, 64)]
    assert [f"{value:,.0f}" for value in moved] == [cell.strip() for cell in sizes.split("|")[4:6]]
