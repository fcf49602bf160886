"""Progress on standard error: a line that is redrawn on a terminal, one line an event elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.live import Live
from rich.text import Text

from taskaware.cli.progress_line import PipedConsole, ProgressLine, error_console

if TYPE_CHECKING:
    from rich.console import Console

    from taskaware.run.run import Run
    from taskaware.training.loop import Validation
    from taskaware.training.progress import TrainingProgress

_SECONDS_BETWEEN_LINES = 15.0
_WIDE = 10_000  # a table in a file or a pipe has one line a row


class _Lines:
    """Lines that stay, above one that is redrawn where the console allows it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    @property
    def is_redrawn(self) -> bool:
        return self._console.is_interactive

    def say(self, text: str) -> None:
        # Not wrapped: a terminal breaks long lines itself, and a pipe wants them whole.
        self._console.print(Text(text), soft_wrap=True)

    def redraw(self, line: ProgressLine) -> None:
        if not self.is_redrawn:
            return
        if self._live is None:
            self._live = Live(line, console=self._console, refresh_per_second=5)
            self._live.start()
        self._live.update(line)

    def close(self) -> None:
        """Leave the terminal as it was, the redrawn line as it stands."""
        if self._live is not None:
            self._live.stop()
            self._live = None


class TrainingDisplay:
    """Shows a run: updates, rate, time left, loss by task, examples a second."""

    def __init__(self, console: Console) -> None:
        self._lines = _Lines(console)
        self._line = ProgressLine(label="update")
        self._last_line = 0.0
        self._remarks: set[str] = set()

    def start(self, run: Run, *, first_update: int) -> None:
        """Say what is trained, and from where it is resumed."""
        from taskaware.model.parameters import parameters_by_part

        total = sum(parameters_by_part(run.model).values())
        names = ", ".join(task.name for task in run.tasks)
        settings = run.experiment
        self._lines.say(
            f"{run.folder}: {total:,} parameters, {settings.model.conditioning.cue} cue, "
            f"tasks {names}"
        )
        if first_update:
            self._lines.say(f"resuming from update {first_update:,} in {run.folder}")
        for remark in run.remarks:
            self._lines.say(f"note: {remark.text}")
        self._line = ProgressLine(
            label="update",
            done=first_update,
            first=first_update,
            total=settings.training.updates,
            began=time.monotonic(),
        )
        self._lines.redraw(self._line)

    def note(self, text: str) -> None:
        """Say what the person should know."""
        self._lines.say(text)

    def on_update(self, update: int) -> None:
        """Move the bar."""
        self._line.done = update
        self._line.seconds = time.monotonic() - self._line.began
        self._lines.redraw(self._line)

    def on_progress(self, progress: TrainingProgress) -> None:
        """Show the newest losses."""
        ctc = {task: f" (CTC {loss:.2f})" for task, loss in progress.ctc_losses.items()}
        losses = [f"{task} {loss:.2f}{ctc.get(task, '')}" for task, loss in progress.losses.items()]
        speech = progress.speech_hours_per_second
        padding = max(progress.padding.values(), default=0.0)
        self._line.more = (
            *(f"{'' if number else 'loss '}{loss}" for number, loss in enumerate(losses)),
            f"{progress.examples_per_second:,.0f} examples/s",
            *([f"{60 * speech:.1f} min speech/s"] if speech else []),
            f"padding {padding:.0%}",
            f"waiting {progress.waiting:.0%}",
        )
        self.on_update(progress.update)
        now = time.monotonic()
        is_due = now - self._last_line >= _SECONDS_BETWEEN_LINES
        is_over = progress.update == self._line.total
        if not self._lines.is_redrawn and (is_due or is_over):
            self._last_line = now
            self._lines.say(self._line.plain())

    def on_validation(self, update: int, validation: Validation) -> None:
        """Show what the validation found."""
        if not validation.values:
            return
        shown = validation.scores or validation.values
        what = "score" if validation.scores else "loss"
        digits = 1 if validation.scores else 3
        figures = "  ".join(f"{task} {value:.{digits}f}" for task, value in shown.items())
        self._lines.say(f"update {update:,}: dev {what} {figures}")
        for remark in validation.remarks:
            if remark not in self._remarks:  # said once a training; the log has them all
                self._remarks.add(remark)
                self._lines.say(f"update {update:,}: {remark}")

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._lines.close()


@contextmanager
def training_display() -> Iterator[TrainingDisplay]:
    """A display on standard error, closed at the end whatever happens."""
    display = TrainingDisplay(error_console())
    try:
        yield display
    finally:
        display.close()


class StageDisplay:
    """Shows work in stages, one after another: done, rate, time left; a context.

    It is called with the stage, what is done and the total (0: unknown). What was done before the
    first call of a stage does not count for its rate.
    """

    def __init__(self, console: Console) -> None:
        self._lines = _Lines(console)
        self._line: ProgressLine | None = None
        self._last = 0.0
        self._is_said = False

    def __enter__(self) -> StageDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_stage()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage is."""
        now = time.monotonic()
        if self._line is None or stage != self._line.label:
            self._end_stage()
            is_whole = total and done >= total
            self._line = ProgressLine(label=stage, first=0 if is_whole else done, began=now)
            self._last = now
        line = self._line
        if (done, total) == (line.done, line.total):
            return
        line.done, line.total, line.seconds = done, total, now - line.began
        self._is_said = False
        if now - self._last >= _SECONDS_BETWEEN_LINES or (total and done >= total):
            self._last = now
            self._say()
        self._lines.redraw(line)

    def _say(self) -> None:
        if self._line is not None and not self._lines.is_redrawn and not self._is_said:
            self._is_said = True
            self._lines.say(self._line.plain())

    def _end_stage(self) -> None:
        """Leave a line that says how far the stage has come."""
        if self._line is not None:
            self._say()
            self._lines.close()
            self._line = None


def stage_display() -> StageDisplay:
    """A display of stages on standard error."""
    return StageDisplay(error_console())


def out() -> Console:
    """The console for results, on standard output; in a file or a pipe every row is one line.

    Names are printed as they are: ``[de]`` in a name is no markup.
    """
    width = None if sys.stdout.isatty() else _WIDE
    return PipedConsole(width=width, markup=False, highlight=False)


def say(text: str) -> None:
    """Print a line on standard output, or several; none is broken in two."""
    out().print(Text(text), soft_wrap=True)
