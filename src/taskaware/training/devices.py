"""Where to compute: the device that a name stands for, or why there is none."""

from __future__ import annotations

import torch

from taskaware.errors import UserError


def device_named(name: str | torch.device) -> torch.device:
    """Return ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or for ``"auto"`` CUDA where there is a device.

    Raises:
        UserError: The name is another, or this machine has no such device.
    """
    name = str(name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or not (number.isdecimal() or name == kind):
        raise UserError(f"the device must be auto, cpu, cuda or cuda:NUMBER, but is '{name}'")
    if kind == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(
            f"the device must be one that this machine has, but is '{name}' and torch "
            f"{torch.__version__} finds no CUDA device: take `auto` or `cpu`, or install a build "
            "of torch for your GPU"
        )
    count = torch.cuda.device_count()
    if number and int(number) >= count:
        raise UserError(f"the device must be from cuda:0 to cuda:{count - 1}, but is '{name}'")
    return torch.device(name)
