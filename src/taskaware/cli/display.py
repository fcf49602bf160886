"""Progress on the terminal: a bar with losses, speed and the time left; plain lines without one."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

if TYPE_CHECKING:
    from rich.progress import TaskID

    from taskaware.runs import Run
    from taskaware.training.loop import Validation
    from taskaware.training.progress import Progress

_SECONDS_BETWEEN_LINES = 15.0


class TrainingDisplay:
    """Shows a run: updates, loss by task, examples a second, time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None
        self._bar: TaskID | None = None
        self._last_line = 0.0
        self._num_updates = 0
        self._first_update = 0
        self._began = 0.0
        self._remarks: set[str] = set()

    def start(self, run: Run, *, first_update: int) -> None:
        """Say what is trained, and from where it goes on."""
        from taskaware.run_models import parameters_by_part

        total = sum(parameters_by_part(run.model).values())
        names = ", ".join(task.name for task in run.tasks)
        settings = run.experiment
        self._console.print(
            f"[bold]{run.folder}[/bold]: {total:,} parameters, "
            f"{settings.model.conditioning.cue} cue, tasks {names}"
        )
        if first_update:
            self._console.print(f"going on from update {first_update:,} in {run.folder}")
        for remark in run.remarks:
            self._console.print(
                f"note: {remark.text}", markup=False, highlight=False, soft_wrap=True
            )
        self._num_updates = settings.training.updates
        self._first_update = first_update
        self._began = time.monotonic()
        if self._console.is_terminal:
            self._bars = Bars(
                TextColumn("training"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}"),
                console=self._console,
            )
            self._bars.start()
            self._bar = self._bars.add_task(
                "", total=self._num_updates, completed=first_update, figures=""
            )

    def note(self, text: str) -> None:
        """Say what the person should know."""
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)

    def on_update(self, update: int) -> None:
        """Move the bar."""
        if self._bars is not None and self._bar is not None:
            self._bars.update(self._bar, completed=update)

    def on_progress(self, progress: Progress) -> None:
        """Show the newest losses."""
        losses = "  ".join(f"{task} {loss:.2f}" for task, loss in progress.losses.items())
        figures = f"loss {losses}  {progress.examples_per_second:.0f} examples/s"
        if progress.speech_hours_per_second:
            figures += f"  {60 * progress.speech_hours_per_second:.1f} min speech/s"
        padding = max(progress.padding.values(), default=0.0)
        figures += f"  padding {padding:.0%}  waiting {progress.waiting:.0%}"
        if self._bars is not None and self._bar is not None:
            self._bars.update(self._bar, figures=figures)
            return
        now = time.monotonic()
        done = progress.update == self._num_updates
        if now - self._last_line >= _SECONDS_BETWEEN_LINES or done:
            self._last_line = now
            rate = (progress.update - self._first_update) / max(now - self._began, 1e-9)
            left = (self._num_updates - progress.update) / max(rate, 1e-9)
            self._console.print(
                f"update {progress.update:,}/{self._num_updates:,}  {figures}  "
                f"{left / 60:.1f} min left",
                highlight=False,
            )

    def on_validation(self, update: int, validation: Validation) -> None:
        """Show what the validation found."""
        if not validation.values:
            return
        shown = validation.scores or validation.values
        what = "score" if validation.scores else "loss"
        digits = 1 if validation.scores else 3
        figures = "  ".join(f"{task} {value:.{digits}f}" for task, value in shown.items())
        self._console.print(f"update {update:,}: dev {what} {figures}", highlight=False)
        for remark in validation.remarks:
            if remark not in self._remarks:  # said once a training; the log has them all
                self._remarks.add(remark)
                self._console.print(f"update {update:,}: {remark}", highlight=False)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


@contextmanager
def training_display() -> Iterator[TrainingDisplay]:
    """A display on standard error, closed at the end whatever happens."""
    display = TrainingDisplay(Console(stderr=True))
    try:
        yield display
    finally:
        display.close()


class StageDisplay:
    """Shows work in stages: a bar for each, with the time left."""

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._stages: dict[str, TaskID] = {}

    def __enter__(self) -> StageDisplay:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Move the bar of a stage."""
        if stage not in self._stages:
            self._stages[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._stages[stage], completed=done, total=total)


def stage_display() -> StageDisplay:
    """A display of stages on standard error."""
    return StageDisplay(Console(stderr=True))


def out() -> Console:
    """The console for results, on standard output; as wide as it must be where that is a file."""
    return Console(width=None if sys.stdout.isatty() else 120)
