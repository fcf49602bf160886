"""The memory that this process holds, or held at most. Imports no torch before it is asked."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_STATM = Path("/proc/self/statm")  # Linux: its second number is the pages that are in memory
# Linux: what getrusage says there begins with what the process held that started this one.
_STATUS = Path("/proc/self/status")


def held_mib(device: torch.device | None = None) -> float:
    """Return the memory that is held now, MiB: torch's of a CUDA device, else all of the process.

    Where the system has no file that says it, the largest so far; NaN where it says nothing.
    """
    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.memory_reserved(device) / 2**20
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return peak_mib()


def peak_mib(device: torch.device | None = None) -> float:
    """Return the most memory that was held so far, MiB: of what ``held_mib`` says.

    Of a CUDA device, what torch gave to tensors. NaN where neither the system nor Python's library
    tells it.
    """
    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    if os.name != "posix":
        return float("nan")
    import resource  # not there on every system

    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
