"""How far a study is, on the terminal: a table that lives, or a line for every run that ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.live import Live
from rich.table import Table
from rich.text import Text

from taskaware.cli.progress_line import error_console
from taskaware.study.job import read_status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskaware.study.plan import Job, Plan

_SECONDS_BETWEEN_TABLES = 1.0
_SECONDS_BETWEEN_LINES = 60.0


class StudyDisplay:
    """Shows all runs of a study; a context."""

    def __init__(self) -> None:
        self._console = error_console()
        self._live: Live | None = None
        self._last = 0.0
        self._done: set[str] | None = None
        self._began = time.monotonic()
        self._work_before: float | None = None

    def __enter__(self) -> StudyDisplay:
        if self._console.is_interactive:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, plan: Plan, *, running: Sequence[Job], failed: Mapping[str, str]) -> None:
        """Show how far every job is."""
        now = time.monotonic()
        if self._live is not None:
            if now - self._last >= _SECONDS_BETWEEN_TABLES or not running:
                self._last = now
                left = self._time_left(plan, now)
                self._live.update(overview_table(plan, failed=failed, left=left), refresh=True)
            return
        done = {job.title for job in plan.jobs if job.is_complete}
        news = done - self._done if self._done is not None else set()
        self._done = done
        if news or now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            names = ", ".join(f"{job.title} ({_shown(job, failed)})" for job in running)
            left = self._time_left(plan, now)
            ended = f"done: {', '.join(sorted(news))}; " if news else ""
            line = (
                f"{len(done)}/{len(plan.jobs)} runs, {(now - self._began) / 60:.1f} min{left}; "
                f"{ended}running: {names or 'none'}"
            )
            self._console.print(Text(line), soft_wrap=True)

    def _time_left(self, plan: Plan, now: float) -> str:
        """Return how long the rest takes at the pace so far, as words for the end of a line."""
        done = sum(_share_done(job) * job.work for job in plan.jobs)
        if self._work_before is None:
            self._work_before = done
        rest = sum(job.work for job in plan.jobs) - done
        here = done - self._work_before
        if here <= 0 or rest <= 0:
            return ""
        return f", about {rest / here * (now - self._began) / 60:.0f} min left"


def _share_done(job: Job) -> float:
    status = read_status(job)
    if status.state in ("complete", "scoring"):
        return 1.0
    return status.update / max(status.updates, 1)


def overview_table(plan: Plan, *, failed: Mapping[str, str], left: str = "") -> Table:
    """Return a table: a row a run, a column a seed."""
    done = sum(job.is_complete for job in plan.jobs)
    table = Table(
        title=Text(
            f"{plan.study.name}, {plan.size_name}: {done} of {len(plan.jobs)} runs done{left}"
        ),
        box=None,
        pad_edge=False,
        title_justify="left",
    )
    table.add_column("run")
    for seed in plan.size.seeds:
        table.add_column(f"seed {seed}")
    for run in plan.study.runs:
        cells = [_shown(plan.job(run.name, seed), failed) for seed in plan.size.seeds]
        table.add_row(Text(run.name), *cells)
    return table


def _shown(job: Job, failed: Mapping[str, str]) -> Text:
    if job.folder.name in failed:
        return Text("failed", style="red")
    status = read_status(job)
    match status.state:
        case "complete":
            return Text("done", style="green")
        case "training":
            share = status.update / max(status.updates, 1)
            left = f"{status.seconds_left / 60:.1f} min left"
            if status.update >= status.updates:
                left = "writing its models"
            return Text(f"{share:.0%}, {left if status.is_current else 'stopped'}")
        case "scoring":
            return Text("scoring" if status.is_current else "scoring, stopped")
        case _:
            return Text("waiting", style="dim")
