"""What an optimiser keeps of each parameter (Adam's two means), as tensors by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from taskaware.errors import CheckpointError, DamagedCheckpointError
from taskaware.training.optimiser import RATE_SHARE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch.optim import Optimizer

_OF_ADAM = {"step", "exp_avg", "exp_avg_sq"}
_OF_SGD = {"momentum_buffer"}


def named_moments(model: nn.Module, optimiser: Optimizer) -> dict[str, Tensor]:
    """Return what an optimiser keeps, by names such as ``"decoder.0.norm.weight.exp_avg"``."""
    names = _parameter_names(model, optimiser)
    return {
        f"{names[index]}.{name}": value.detach()
        for index, moments in optimiser.state_dict()["state"].items()
        for name, value in moments.items()
        if isinstance(value, Tensor)  # SGD without momentum keeps None
    }


def load_moments(
    model: nn.Module,
    optimiser: Optimizer,
    tensors: Mapping[str, Tensor],
    *,
    update: int,
    path: Path,
    share_like: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> None:
    """Give an optimiser what ``named_moments`` returned.

    Args:
        model: What it changes.
        optimiser: Changed in place.
        tensors: By name; whole.
        update: Updates done: after the first one, Adam has some.
        path: The checkpoint that they are from.
        share_like: Returns this process's share of a whole tensor, given the parameter that it is
            of, where parameters are split over processes.

    Raises:
        CheckpointError: They are of other parameters, or of another time (see the message).
        DamagedCheckpointError: They are not those of this optimiser, or not of the shapes of its
            parameters.
    """
    names = _parameter_names(model, optimiser)
    places = {name: place for place, name in enumerate(names)}
    if tensors and all(key.split(".", 1)[0].isdecimal() for key in tensors):
        # As checkpoints were before parameters could learn at a share of the rate: by place.
        if any(group[RATE_SHARE] != 1 for group in optimiser.param_groups):
            raise CheckpointError(
                f"{path} was written when everything learnt at the same rate; go on with "
                "optimiser.implicit_rate=1 and optimiser.frontend_rate=1, or start over with "
                "--restart"
            )
        places = {str(place): place for place in range(len(names))}
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        parameter, _, name = key.rpartition(".")
        if parameter not in places:
            raise CheckpointError(
                f"{path} must have the optimiser's state of the parameters that are trained, but "
                f"has that of {parameter!r}: was what trains changed?"
            )
        moments.setdefault(places[parameter], {})[name] = value
    groups = optimiser.param_groups
    parameters = [parameter for group in groups for parameter in group["params"]]
    where = path / "optimiser.safetensors"
    if isinstance(optimiser, torch.optim.AdamW) and update and not moments:
        raise DamagedCheckpointError(f"{where} must have Adam's moments, but has none")
    for place, kept in moments.items():
        _require_whole(kept, optimiser, parameters[place], name=names[place], where=where)
        if share_like is not None:
            moments[place] = {n: share_like(value, parameters[place]) for n, value in kept.items()}
    described = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": moments, "param_groups": described})


def _parameter_names(model: nn.Module, optimiser: Optimizer) -> list[str]:
    """Return the names of what the optimiser changes, in the optimiser's own order."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = optimiser.param_groups
    return [names[id(parameter)] for group in groups for parameter in group["params"]]


def _require_whole(
    kept: Mapping[str, Tensor], optimiser: Optimizer, parameter: Tensor, *, name: str, where: Path
) -> None:
    """Require that moments are those of the optimiser, of the shape of their parameter.

    With another shape the optimiser's step would read past their end.
    """
    wanted = _OF_ADAM if isinstance(optimiser, torch.optim.AdamW) else _OF_SGD
    if set(kept) != wanted:
        raise DamagedCheckpointError(
            f"{where} must have {', '.join(sorted(wanted))} of {name}, but has "
            f"{', '.join(sorted(kept))}"
        )
    for moment, value in kept.items():
        shape = torch.Size() if moment == "step" else parameter.shape
        if value.shape != shape or value.dtype != torch.float32:
            raise DamagedCheckpointError(
                f"{where} must have float32 {list(shape)} as '{moment}' of {name}, but has "
                f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
            )
