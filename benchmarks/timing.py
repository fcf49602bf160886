"""Timing several things in turn, so that whatever slows the machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One of the things compared.

    Attributes:
        name: Its row in the table.
        frames_per_position: How many frames its front end makes one encoder position of.
        num_parameters: Of its model.
        run: Does once what is measured.
    """

    name: str
    frames_per_position: int
    num_parameters: int
    run: Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one contestant.

    Attributes:
        name: As in the contestant.
        frames_per_position: As in the contestant.
        num_parameters: As in the contestant.
        median_ms: Median time of a run: wall-clock, or the processor's (one thread on a CPU).
        quartiles_ms: First and third quartile.
        ratio: Median over repetitions of the first contestant's time over this one's: how many
            times as fast as the first.
    """

    name: str
    frames_per_position: int
    num_parameters: int
    median_ms: float
    quartiles_ms: tuple[float, float]
    ratio: float


def alternate(
    contestants: Sequence[Contestant],
    *,
    repetitions: int,
    warm_up: int,
    device: torch.device,
    settle: int = 0,
) -> list[Row]:
    """Run all contestants in turn (A B C, A B C, ...) and return a row for each.

    The ratio is taken within a repetition, between neighbours in time, before the median.

    Args:
        contestants: The first one is what the others are compared with.
        repetitions: Timed rounds.
        warm_up: Rounds before them that are not timed.
        device: Waited for before and after each run.
        settle: Runs of each, not timed, before the one that is: where what counts is a run after
            others of its own kind, and not after another's, which left the memory otherwise.
    """
    times_ms: list[list[float]] = [[] for _ in contestants]
    for repetition in range(warm_up + repetitions):
        for contestant, times in zip(contestants, times_ms, strict=True):
            for _ in range(settle):
                contestant.run()
            took = _milliseconds(contestant.run, device)
            if repetition >= warm_up:
                times.append(took)
    return [
        Row(
            name=contestant.name,
            frames_per_position=contestant.frames_per_position,
            num_parameters=contestant.num_parameters,
            median_ms=statistics.median(times),
            quartiles_ms=_quartiles(times),
            ratio=statistics.median(a / b for a, b in zip(times_ms[0], times, strict=True)),
        )
        for contestant, times in zip(contestants, times_ms, strict=True)
    ]


def table(title: str, rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        f"**{title}**",
        "",
        "| model | frames a position | parameters | median ms | quartiles ms | times as fast |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        low, high = row.quartiles_ms
        lines.append(
            f"| {row.name} | {row.frames_per_position} | {row.num_parameters / 1e6:.2f} M "
            f"| {row.median_ms:.1f} | {low:.1f} to {high:.1f} | {row.ratio:.2f} |"
        )
    return "\n".join(lines)


def operations(contestant: Contestant) -> int:
    """Return the operations of one run: a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter:
        contestant.run()
    return counter.get_total_flops()


def product_rate(side: int, dtype: torch.dtype, device: torch.device) -> float:
    """Return the operations a second of a product of two square matrices, the median."""
    left, right = torch.randn(2, side, side, device=device).to(dtype)
    product = Contestant(
        name="", frames_per_position=1, num_parameters=0, run=lambda: torch.mm(left, right)
    )
    (row,) = alternate([product], repetitions=9, warm_up=2, device=device)
    return 2 * side**3 / (1e-3 * row.median_ms)


def _milliseconds(run: Callable[[], object], device: torch.device) -> float:
    # One thread alone: the processor's time, which other work on the machine changes little.
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    wait(device)
    began = clock()
    run()
    wait(device)
    return 1e3 * (clock() - began)


def wait(device: torch.device) -> None:
    """Wait until a device has done what it was given; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _quartiles(times: Sequence[float]) -> tuple[float, float]:
    if len(times) < 2:
        return times[0], times[0]
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return low, high
