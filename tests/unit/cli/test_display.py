"""How far long work is: one line that fits any terminal, and whole lines in a pipe."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from taskaware.cli import display
from taskaware.cli.display import StageDisplay, TrainingDisplay
from taskaware.cli.progress_line import (
    PipedConsole,
    ProgressLine,
    duration,
    error_console,
    number,
)
from taskaware.training.loop import Validation

LONG = ProgressLine(
    label="update",
    done=12_345,
    total=200_000,
    seconds=1000.0,
    more=("loss asr_en 2.31", "st_en_de 3.05", "312 examples/s", "padding 9%", "waiting 2%"),
)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
def test_counter_rate_and_time_left_are_shown_first_at_any_width(width: int):
    line = LONG.fitted(width).plain
    assert line.removeprefix("update ").startswith("12,345/200,000  12/s  4.2 h left")
    assert len(line) <= width


def test_what_does_not_fit_is_left_out_whole():
    assert LONG.fitted(36).plain == "12,345/200,000  12/s  4.2 h left"
    assert LONG.fitted(30).plain == "12,345/200,000  4.2 h left", "the rate goes first"
    assert LONG.fitted(72).plain.endswith("left  " + "─" * 16), "nor is the next one in its place"
    assert LONG.fitted(80).plain.endswith("left  " + "─" * 16 + "  loss asr_en 2.31")
    assert LONG.fitted(200).plain.endswith("padding 9%  waiting 2%")


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_long_label_is_shortened_before_figures_are_dropped(width: int):
    line = ProgressLine(
        label="speaking the synthetic corpus", done=12, total=300, seconds=4.0
    ).fitted(width)
    assert len(line.plain) <= width
    assert "12/300" in line.plain
    assert "left" in line.plain
    assert ("speak" in line.plain) == (width > 20)


def test_a_terminal_without_unicode_gets_a_bar_of_ascii():
    assert LONG.fitted(200, is_ascii=True).plain.isascii()


def test_without_colours_the_bar_still_shows_how_far_it_is():
    half = ProgressLine(label="x", done=8, total=16).fitted(80).plain
    assert ("━" * 8 + "─" * 8) in half


def test_numbers_and_durations_are_given_in_the_unit_that_fits():
    assert [number(n) for n in (0, 1234, 9_999_999, 45_600_000)] == [
        "0",
        "1,234",
        "9,999,999",
        "46M",
    ]
    assert ProgressLine(label="x", done=1_500_000, total=90_000_000).counter == "1.5M/90M"
    shown = [duration(s) for s in (3, 89, 90, 3600, 7200, 300_000)]
    assert shown == ["3 s", "89 s", "2 min", "60 min", "2.0 h", "3.5 days"]


# --- training ---


def made_up_run(updates: int, folder: str = "runs/mine") -> Any:
    tasks = [SimpleNamespace(name=f"task_{number}") for number in range(6)]
    experiment = SimpleNamespace(
        model=SimpleNamespace(conditioning=SimpleNamespace(cue="implicit")),
        training=SimpleNamespace(updates=updates),
    )
    return SimpleNamespace(
        remarks=(), experiment=experiment, model=torch.nn.Linear(2, 2), tasks=tasks, folder=folder
    )


def made_up_progress(update: int) -> Any:
    return SimpleNamespace(
        update=update,
        losses={f"task_{number}": 2.0 for number in range(6)},
        ctc_losses={"task_0": 3.0},
        examples_per_second=100.0,
        speech_hours_per_second=0.5,
        memory_mib=512.0,
        padding={"task_0": 0.1},
        waiting=0.02,
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("time.monotonic", lambda: clock.now)
    monkeypatch.setattr("taskaware.model.parameters.parameters_by_part", lambda _: {"all": 1000})
    return clock


def show_training(console: Console, clock: SimpleNamespace, *, folder: str = "runs/mine") -> None:
    shown = TrainingDisplay(console)
    shown.start(made_up_run(40, folder), first_update=20)
    for update in (25, 30, 35, 40):
        clock.now += 10.0
        shown.on_update(update)
        shown.on_progress(made_up_progress(update))
        shown.on_validation(update, Validation(values={"task_0": 1.5, "task_1": 2.5}))
    shown.close()


def test_a_pipe_gets_one_whole_line_an_event(clock: SimpleNamespace):
    file = io.StringIO()
    show_training(Console(file=file, width=80), clock)
    lines = file.getvalue().splitlines()
    assert "\x1b" not in file.getvalue()
    assert [line.partition("  ")[0] for line in lines] == [
        "runs/mine: 1,000 parameters, implicit cue, tasks "
        "task_0, task_1, task_2, task_3, task_4, task_5",
        "resuming from update 20 in runs/mine",
        "update 25/40",
        "update 25: dev loss task_0 1.500",
        "update 30: dev loss task_0 1.500",  # an update is shown every 15 seconds, and the last
        "update 35/40",
        "update 35: dev loss task_0 1.500",
        "update 40/40",
        "update 40: dev loss task_0 1.500",
    ]
    [line] = [line for line in lines if line.startswith("update 35/40")]
    assert line.startswith(
        "update 35/40  0.5/s  10 s left  loss task_0 2.00 (CTC 3.00)  task_1 2.00"
    )
    assert line.endswith("100 examples/s  30.0 min speech/s  padding 10%  waiting 2%")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_on_a_terminal_counter_and_time_left_are_seen(width: int, clock: SimpleNamespace):
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, force_interactive=True)
    show_training(console, clock)
    drawn = file.getvalue().replace("\r", "\n").splitlines()
    [last] = [line for line in drawn if "40/40" in line][-1:]
    assert "0.5/s" in last
    assert "in 40 s" in last


def test_names_in_square_brackets_are_shown_as_they_are(clock: SimpleNamespace):
    file = io.StringIO()
    show_training(Console(file=file, width=80), clock, folder="a [red] b")
    assert file.getvalue().startswith("a [red] b: 1,000 parameters")


# --- stages ---


def test_what_was_done_before_does_not_count_for_the_rate(clock: SimpleNamespace):
    file = io.StringIO()
    with StageDisplay(Console(file=file, width=80)) as show:
        show("translate", 50_000, 80_000)
        clock.now = 105.0
        show("translate", 50_500, 80_000)  # too soon for another line
        clock.now = 120.0
        show("translate", 52_000, 80_000)
        clock.now = 121.0
        show("translate", 80_000, 80_000)
        show("read", 10_000, 0)
        clock.now = 141.0
        show("read", 20_000, 0)
    assert file.getvalue().splitlines() == [
        "translate 52,000/80,000  100/s  5 min left",
        "translate 80,000/80,000  1,429/s  in 21 s",
        "read 20,000  500/s  20 s so far",
    ]


def test_in_a_pipe_every_stage_says_once_how_far_it_came(clock: SimpleNamespace):
    file = io.StringIO()
    with StageDisplay(Console(file=file, width=40)) as show:
        for name in ("read manifests", "a stage whose name is longer than the console is wide"):
            for done in range(0, 101, 10):
                show(name, done, 100)
        show("stopped", 3, 7)
    assert file.getvalue().splitlines() == [
        "read manifests 100/100  done",
        "a stage whose name is longer than the console is wide 100/100  done",
        "stopped 3/7  0 s so far",
    ]


@pytest.mark.parametrize("width", [40, 80])
def test_on_a_terminal_the_line_of_every_stage_stays(width: int, clock: SimpleNamespace):
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, force_interactive=True)
    with StageDisplay(console) as show:
        show("one", 1, 2)
        clock.now += 2
        show("one", 2, 2)
        show("two", 5, 5)
    text = file.getvalue()
    assert "one 2/2  0.5/s  in 2 s" in text
    assert "two 5/5  done" in text


@pytest.mark.parametrize("setting", [{"FORCE_COLOR": "1"}, {"TERM": "dumb"}])
def test_nothing_is_redrawn_where_it_cannot_be(
    setting: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    assert not error_console().is_interactive


def test_rows_of_results_are_not_wrapped_in_a_pipe(capsys: pytest.CaptureFixture[str]):
    display.say("warning: " + "long " * 60)
    assert capsys.readouterr().out.count("\n") == 1
    display.out().print("a name [de] " * 40)
    assert capsys.readouterr().out == "a name [de] " * 40 + "\n"


def test_control_characters_of_a_name_are_shown_and_those_of_colours_obeyed(
    capsys: pytest.CaptureFixture[str],
):
    table = Table(show_header=False)
    table.add_row("task\x1b[2J", "\x9b")
    display.out().print(table)
    display.say("a\x1b]0;title")
    said = capsys.readouterr().out
    assert "task\\x1b[2J" in said
    assert "\\x9b" in said
    assert "a\\x1b]0;title\n" in said
    assert not set(said) & {"\x1b", "\x9b"}
    stream = io.StringIO()
    PipedConsole(file=stream, force_terminal=True, color_system="standard").print(Text("b", "red"))
    assert stream.getvalue() == "\x1b[31mb\x1b[0m\n"


def test_a_broken_pipe_is_left_to_the_command_line(monkeypatch: pytest.MonkeyPatch):
    class Unread(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    for name, console in (("stdout", display.out), ("stderr", error_console)):
        monkeypatch.setattr(sys, name, Unread())
        with pytest.raises(BrokenPipeError):
            console().print("one")
