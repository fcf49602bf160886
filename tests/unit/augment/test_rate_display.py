"""What long work says of itself: rate and time left, counted from where it went on."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console

from taskaware.cli.augment_display import RateDisplay

if TYPE_CHECKING:
    import pytest


def test_what_was_done_before_does_not_count_for_the_rate(monkeypatch: pytest.MonkeyPatch):
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    file = io.StringIO()
    with RateDisplay(Console(file=file, width=200)) as display:
        display("translate", 50_000, 80_000)
        now = 105.0
        display("translate", 50_500, 80_000)  # too soon for another line
        now = 120.0
        display("translate", 52_000, 80_000)
        now = 121.0
        display("translate", 80_000, 80_000)
        display("read", 10_000, 0)
        now = 141.0
        display("read", 20_000, 0)
    assert file.getvalue().splitlines() == [
        "translate: 52,000/80,000  100 a second  5 min left",
        "translate: 80,000/80,000  1,429 a second",
        "read: 20,000  500 a second",
    ]
