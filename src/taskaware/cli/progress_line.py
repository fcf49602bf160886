"""One line that says how far long work is, as wide as the terminal and never wider.

The counter, the rate and the time left come first; what does not fit is left out.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from taskaware.cli.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import ConsoleOptions, RenderableType
    from rich.segment import Segment

_GAP = 2
_BAR_WIDTH = 16
_SHORTEST_LABEL = 6
_MANY = 10_000_000  # from here on numbers are given in millions

# What is dropped last to what is dropped first, where not all of it fits.
_COUNTER, _LEFT, _RATE, _LABEL, _BAR, _MORE = range(6)


class PipedConsole(Console):
    """A console that leaves a broken pipe to the command line; rich's own ends with code 1.

    It obeys no control characters but those of rich.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            is_text = not segment.control
            yield segment._replace(text=printable(segment.text)) if is_text else segment

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)  # before its width is measured

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def error_console() -> Console:
    """The console on standard error.

    It is redrawn on a terminal alone: FORCE_COLOR makes colours in a pipe, not a moving bar.
    """
    console = PipedConsole(stderr=True)
    is_redrawn = sys.stderr.isatty() and not console.is_dumb_terminal
    return PipedConsole(stderr=True, force_interactive=is_redrawn)


@dataclass(kw_only=True)
class ProgressLine:
    """How far something is; rich renders it.

    Attributes:
        label: What is done.
        done: How much of it is done.
        total: How much there is; 0: unknown.
        first: How much was done before this command, which says nothing of its rate.
        began: When this command began with it, by ``time.monotonic``.
        seconds: How long it had worked on it when this much was done.
        more: Other figures, the most important first.
    """

    label: str
    done: int = 0
    total: int = 0
    first: int = 0
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    more: tuple[str, ...] = field(default=())

    @property
    def is_complete(self) -> bool:
        """Whether all of it is done."""
        return self.total > 0 and self.done >= self.total

    @property
    def rate(self) -> float:
        """How much is done in a second; 0: not known yet, or over at once."""
        here = self.done - self.first
        is_known = here > 0 and self.seconds > (1.0 if self.is_complete else 0.0)
        return here / self.seconds if is_known else 0.0

    @property
    def counter(self) -> str:
        """How much is done, of how much."""
        largest = max(self.done, self.total)
        done = number(self.done, largest)
        return f"{done}/{number(self.total, largest)}" if self.total else done

    @property
    def left(self) -> str:
        """The time left, or the time spent where nothing is left or nothing can be said."""
        if self.is_complete:
            return f"in {duration(self.seconds)}" if self.seconds >= 1 else "done"
        if self.rate and self.total:
            return f"{duration((self.total - self.done) / self.rate)} left"
        return f"{duration(time.monotonic() - self.began)} so far"

    def plain(self) -> str:
        """All of it in one line, for a file or a pipe."""
        parts = [self.counter, *([_rate(self.rate)] if self.rate else []), self.left, *self.more]
        return "  ".join((f"{self.label} {parts[0]}", *parts[1:]))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Render it in the width that there is."""
        is_ascii = not (console.encoding or "").lower().startswith("utf")
        yield self.fitted(options.max_width, is_ascii=is_ascii)

    def fitted(self, width: int, *, is_ascii: bool = False) -> Text:
        """Return as much of it as fits, the most important parts first."""
        parts: list[tuple[int, Text]] = [(_COUNTER, Text(self.counter))]
        if self.rate:
            parts.append((_RATE, Text(_rate(self.rate))))
        parts.append((_LEFT, Text(self.left)))
        if self.total and not self.is_complete:
            parts.append((_BAR, self._bar(is_ascii)))
        parts += [(_MORE, Text(text)) for text in self.more]
        chosen: set[int] = set()
        room = width
        # The label is shortened to what the parts before it leave.
        label = Text()
        for place in sorted(range(len(parts)), key=lambda place: parts[place][0]):
            rank, part = parts[place]
            if rank > _LABEL and not label:
                label = _shortened(self.label, room - 1)
                room -= len(label) + 1 if label else 0
            size = len(part) + (_GAP if chosen else 0)
            if size <= room:
                chosen.add(place)
                room -= size
            elif rank == _MORE:
                break  # not the next one in its place, which may be less important
        label = label or _shortened(self.label, room - 1)
        line = Text(" " * _GAP).join([parts[place][1] for place in sorted(chosen)])
        line = Text.assemble(label, " ", line) if label else line
        line.no_wrap, line.overflow = True, "crop"
        return line

    def _bar(self, is_ascii: bool) -> Text:
        full = int(min(self.done / self.total, 1.0) * _BAR_WIDTH)
        done, rest = ("#", "-") if is_ascii else ("━", "─")
        return Text.assemble((done * full, "green"), (rest * (_BAR_WIDTH - full), "dim"))


def _shortened(label: str, room: int) -> Text:
    if len(label) <= room:
        return Text(label)
    return Text(f"{label[: room - 3]}...") if room >= _SHORTEST_LABEL else Text()


def _rate(rate: float) -> str:
    return f"{number(round(rate))}/s" if rate >= 10 else f"{rate:.2g}/s"


def number(value: int, largest: int = 0) -> str:
    """Return a number as it is read best, in the unit of the largest beside it."""
    if max(value, largest) >= _MANY:
        return f"{value / 1e6:,.0f}M" if value >= _MANY else f"{value / 1e6:.1f}M"
    return f"{value:,}"


def duration(seconds: float) -> str:
    """Return a duration in the unit that fits."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
