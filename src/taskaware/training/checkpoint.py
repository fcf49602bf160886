"""Checkpoints: everything a resumed run needs to be bitwise the run that was never stopped.

Tensors in safetensors, the rest in JSON; nothing pickled is ever written or read. A checkpoint's
folder gets its name only once it is complete.

::

    checkpoints/update-00001000/
        model.safetensors       the weights
        optimiser.safetensors   Adam's moments and steps, by parameter
        random-0.safetensors    random states of rank 0 (one file a rank)
        state.json              update, position in the data, best scores, seconds spent
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from taskaware.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from taskaware.training.processes import Processes

FORMAT_VERSION = 1


@dataclass
class TrainState:
    """What changes while training.

    Attributes:
        model: The weights.
        optimiser: Adam.
        generator: Draws the derangements.
        update: Updates done.
        batches: Where the stream of batches stands.
        retention: Where that which keeps the old tasks stands.
        best: Best value so far and its update, by ``"all"`` or a task's name.
        seconds: Time spent training, over all sessions.
    """

    model: nn.Module
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    update: int = 0
    batches: dict[str, Any] = field(default_factory=dict)
    retention: dict[str, Any] = field(default_factory=dict)
    best: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: float = 0.0


def save_state(
    state: TrainState, folder: Path, *, processes: Processes, keep: int, every: int = 1
) -> Path:
    """Write a checkpoint below ``folder`` and delete what is not kept; return its path.

    Every process must call it; the first writes all but the others' random states.

    Args:
        state: What to write.
        folder: Where.
        processes: Which of the processes this is.
        keep: Checkpoints to keep, the newest.
        every: Updates between two checkpoints; others were written by a stop and go with the next.
    """
    path = folder / f"update-{state.update:08d}"
    partial = folder / f".update-{state.update:08d}.partial"
    if processes.is_first:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file(weights(state.model), partial / "model.safetensors")
        save_file(_optimiser_tensors(state.optimiser), partial / "optimiser.safetensors")
        content = {
            "format_version": FORMAT_VERSION,
            "update": state.update,
            "batches": state.batches,
            "retention": state.retention,
            "best": state.best,
            "seconds": state.seconds,
            "num_ranks": processes.num_ranks,
        }
        (partial / "state.json").write_text(json.dumps(content, indent=1))
    processes.wait()
    save_file(_random_states(state.generator), partial / f"random-{processes.rank}.safetensors")
    processes.wait()
    if processes.is_first:
        shutil.rmtree(path, ignore_errors=True)
        partial.replace(path)
        for old in _surplus(checkpoints(folder), keep=keep, every=every):
            shutil.rmtree(old)
    return path


def _surplus(paths: Sequence[Path], *, keep: int, every: int) -> list[Path]:
    """Return what a run that was never stopped would not have, but for the newest.

    The average of the last checkpoints must not depend on where a run was stopped.
    """
    older = paths[:-1]
    planned = [p for p in older if every and int(p.name.removeprefix("update-")) % every == 0]
    kept = planned[max(0, len(planned) - (keep - 1)) :]
    return [path for path in older if path not in kept]


def load_state(state: TrainState, path: Path, *, processes: Processes) -> None:
    """Bring a state to where a checkpoint was written.

    Raises:
        CheckpointError: It is incomplete, of another version, or of another model.
    """
    try:
        content = json.loads((path / "state.json").read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} must be a checkpoint, but state.json: {error}") from error
    if content.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} must have format version {FORMAT_VERSION}, but has "
            f"{content.get('format_version')!r}: it was written by another version of taskaware"
        )
    if content["num_ranks"] != processes.num_ranks:
        raise CheckpointError(
            f"{path} was written by {content['num_ranks']} processes and must be resumed by as "
            f"many, but there are {processes.num_ranks}"
        )
    load_weights(state.model, path / "model.safetensors")
    _load_optimiser(state.optimiser, load_tensors(path / "optimiser.safetensors"))
    _restore_random(state.generator, load_tensors(path / f"random-{processes.rank}.safetensors"))
    state.update = content["update"]
    state.batches = content["batches"]
    state.retention = content.get("retention", {})
    state.best = content["best"]
    state.seconds = content["seconds"]


def checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints below a folder, oldest first."""
    return sorted(folder.glob("update-*")) if folder.is_dir() else []


def average_weights(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Return the mean of the weights of several checkpoints, summed in double precision."""
    if not paths:
        raise CheckpointError("averaging needs at least one checkpoint, but there is none")
    total: dict[str, Tensor] = {}
    for path in paths:
        for name, value in load_tensors(path / "model.safetensors").items():
            total[name] = total[name] + value.double() if name in total else value.double()
    return {name: (value / len(paths)).float() for name, value in total.items()}


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's weights on the CPU, as safetensors wants them."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in model.state_dict().items()
    }


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        CheckpointError: It is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} must be a complete safetensors file, but: {error}"
        ) from error


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a model's weights from a file that must have exactly its names and shapes."""
    fill_weights(model, load_tensors(path), where=str(path))


def fill_weights(model: nn.Module, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Load a model's weights, which must have exactly its names and shapes.

    Raises:
        CheckpointError: Names or shapes differ; the first few are named.
    """
    own = model.state_dict()
    differences = [f"{name} is missing" for name in own if name not in tensors]
    differences += [f"{name} is unknown" for name in tensors if name not in own]
    differences += [
        f"{name} must be {tuple(own[name].shape)}, but is {tuple(value.shape)}"
        for name, value in tensors.items()
        if name in own and own[name].shape != value.shape
    ]
    if differences:
        raise CheckpointError(
            f"{where} must have the weights of this model, but {'; '.join(differences[:5])}"
            + (f"; and {len(differences) - 5} more" if len(differences) > 5 else "")
        )
    model.load_state_dict(dict(tensors))


def _optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{index}.{name}": value.detach().cpu().contiguous()
        for index, moments in optimiser.state_dict()["state"].items()
        for name, value in moments.items()
        if isinstance(value, Tensor)  # SGD without momentum keeps None
    }


def _load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": moments, "param_groups": groups})


def _random_states(generator: torch.Generator) -> dict[str, Tensor]:
    states = {"torch": torch.get_rng_state(), "derangements": generator.get_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _restore_random(generator: torch.Generator, states: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(states["torch"])
    generator.set_state(states["derangements"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
