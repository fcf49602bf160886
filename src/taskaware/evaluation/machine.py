"""What a measurement says of the machine that it was made on."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def processor_name() -> str:
    """Return the processor's name; Linux alone says it in a file."""
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def peak_memory_mib() -> float:
    """Return the largest memory of this process so far, MiB: torch's on a CUDA device, else all."""
    import resource  # not there on every system

    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def device_name() -> str:
    """Return what torch computes on by default: the CUDA device, or the processor."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else processor_name()
