"""What a measurement says of the machine that it was made on."""

from __future__ import annotations

import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def processor_name() -> str:
    """Return the processor's name; Linux alone says it in a file."""
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def device_name() -> str:
    """Return what torch computes on by default: the CUDA device, or the processor."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else processor_name()
