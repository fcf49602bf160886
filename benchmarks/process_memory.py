"""What a model's updates hold in memory, measured in a process of its own (Linux)."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from taskaware.held_memory import held_mib, peak_mib

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from timing import Contestant

_UPDATES = 3


def beyond_libraries_mib(make: Callable[[], Contestant]) -> float:
    """Return what a model and its updates held at most, beyond what this process held before."""
    before = held_mib()
    contestant = make()
    for _ in range(_UPDATES):
        contestant.run()
    return peak_mib() - before


def last_number(command: Sequence[str]) -> float:
    """Run a command and return the last word that it printed, a number."""
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(output.split()[-1])
