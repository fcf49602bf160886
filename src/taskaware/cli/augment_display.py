"""How far long work is: done, rate, time left; a bar, or lines where there is no terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

if TYPE_CHECKING:
    from rich.progress import TaskID

_SECONDS_BETWEEN_LINES = 15.0
_SECONDS_BETWEEN_BARS = 0.2


class RateDisplay:
    """Shows stages one after another; a context, called with stage, done and total (0: unknown).

    What was done before the first call of a stage does not count for its rate.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._stage = ""
        self._bar: TaskID | None = None
        self._began = self._last = 0.0
        self._first = 0

    def __enter__(self) -> RateDisplay:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage is."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._began, self._last, self._first = stage, now, now, done
            self._bar = self._bars.add_task(stage, total=total or None, figures="")
        is_done = total > 0 and done >= total
        seconds = _SECONDS_BETWEEN_BARS if self._console.is_terminal else _SECONDS_BETWEEN_LINES
        if now - self._last < seconds and not is_done:
            return
        self._last = now
        figures = _figures(done, total, done - self._first, now - self._began)
        if self._console.is_terminal and self._bar is not None:
            self._bars.update(self._bar, completed=done, total=total or None, figures=figures)
        else:
            self._console.print(f"{stage}: {figures}", highlight=False, soft_wrap=True)


def _figures(done: int, total: int, here: int, seconds: float) -> str:
    shown = f"{done:,}/{total:,}" if total else f"{done:,}"
    if here <= 0 or seconds <= 0:
        return shown
    rate = here / seconds
    shown += f"  {rate:,.0f} a second" if rate >= 10 else f"  {rate:.2g} a second"
    if done < total:
        shown += f"  {_duration((total - done) / rate)} left"
    return shown


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
