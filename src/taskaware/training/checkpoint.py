"""Checkpoints: everything a resumed run needs to be bitwise the run that was never stopped.

Tensors in safetensors, the rest in JSON; nothing pickled is ever written or read. A checkpoint's
folder gets its name only once it is complete.

::

    checkpoints/update-00001000/
        model.safetensors       the weights
        optimiser.safetensors   Adam's moments and steps, by parameter
        random-0.safetensors    random states of rank 0 (one file a rank)
        state.json              update, position in the data, best scores, what the data was, and
                                the other files' checksums

A checkpoint is complete, undamaged and finite, or it is not used.
"""

from __future__ import annotations

import json
import re
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from taskaware.errors import CheckpointError, DamagedCheckpointError, NotFiniteError, WriteError
from taskaware.files import link_or_copy, reporting
from taskaware.folder_exchange import atomic_folder, partial_folder, put_back, remove_folder
from taskaware.training.optimiser import RATE_SHARE
from taskaware.training.state_file import FORMAT_VERSION, read_content
from taskaware.training.tensors import (
    check_file,
    file_sha256,
    load_tensors,
    load_weights,
    weights,
    write_tensors,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from taskaware.training.processes import Processes

# A copy that somebody made, `update-00001000-good`, is theirs: not gone on from, not deleted.
_FOLDER = re.compile(r"update-[0-9]{8,}")
_OF_ADAM = {"step", "exp_avg", "exp_avg_sq"}
_OF_SGD = {"momentum_buffer"}
_FILE = re.compile(r"(model|optimiser|random-[0-9]+)\.safetensors|state\.json")


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
        stale: Validations since the best over all tasks.
        data: What the data is that it trains on (``run.data.describe``).
        seconds: Time spent training, over all sessions.
    """

    model: nn.Module
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    update: int = 0
    batches: dict[str, Any] = field(default_factory=dict)
    retention: dict[str, Any] = field(default_factory=dict)
    best: dict[str, dict[str, float]] = field(default_factory=dict)
    stale: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def save_state(
    state: TrainState,
    folder: Path,
    *,
    processes: Processes,
    keep: int,
    every: int = 1,
    weights_file: Path | None = None,
) -> Path:
    """Write a checkpoint below ``folder`` and delete what is not kept; return its path.

    Every process must call it; the first writes all but the others' random states. Where it fails,
    the checkpoints that were there before are left as they were.

    Args:
        state: What to write.
        folder: Where.
        processes: Which of the processes this is.
        keep: Checkpoints to keep, the newest.
        every: Updates between two checkpoints; others were written by a stop and go with the next.
        weights_file: A file that holds these weights already, and need not be written twice.

    Raises:
        NotFiniteError: A weight or a moment is not finite; nothing is written.
        WriteError: The disk is full, for example, or ``folder`` is in none that is there.
    """
    require_finite(state)
    path = folder / f"update-{state.update:08d}"
    partial = partial_folder(path)
    with ExitStack() as stack:
        with processes.together(), reporting(path):
            if processes.is_first:
                require_in_place(folder.parent)
                tidy(folder)
                stack.enter_context(atomic_folder(path))
                _write_first(state, partial, weights_file)
        with processes.together(), reporting(path):
            random_path = partial / f"random-{processes.rank}.safetensors"
            write_tensors(random_path, _random_states(state.generator))
        with processes.together(), reporting(path):
            if processes.is_first:
                _write_content(state, partial, processes.num_ranks)
                stack.close()  # it gets its name
                for old in _surplus(checkpoints(folder), keep=keep, every=every):
                    if not _is_somebodys(old):
                        remove_folder(old)
    return path


def _write_first(state: TrainState, partial: Path, weights_file: Path | None) -> None:
    if weights_file is None:
        write_tensors(partial / "model.safetensors", weights(state.model))
    else:
        link_or_copy(weights_file, partial / "model.safetensors")
    write_tensors(partial / "optimiser.safetensors", _optimiser_tensors(state))


def _write_content(state: TrainState, partial: Path, num_ranks: int) -> None:
    content = {
        "format_version": FORMAT_VERSION,
        "update": state.update,
        "batches": state.batches,
        "retention": state.retention,
        "best": state.best,
        "stale": state.stale,
        "data": state.data,
        "seconds": state.seconds,
        "num_ranks": num_ranks,
        "sha256": {file.name: file_sha256(file) for file in sorted(partial.iterdir())},
    }
    (partial / "state.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def require_in_place(run: Path) -> None:
    """Require that the folder of a run, which was there when it began, is there still.

    Raises:
        WriteError: It was moved or deleted, and would be made again, with a part of the run in it.
    """
    if not run.exists():
        raise WriteError(
            f"{run} must stay where it is while a run trains in it, but was moved or deleted: move "
            "it back and give the same command again, or give its new place with --to; the run "
            "goes on from its newest checkpoint"
        )


def tidy(folder: Path) -> None:
    """Put right what killed processes left of checkpoints below a folder.

    Raises:
        OSError: It cannot be moved.
    """
    for hidden in folder.glob(".update-*"):
        path = hidden.with_name(hidden.stem[1:])
        if _FOLDER.fullmatch(path.name) and hidden.suffix == ".partial":
            shutil.rmtree(hidden, ignore_errors=True)
        elif _FOLDER.fullmatch(path.name) and hidden.suffix == ".old":
            put_back(path)


def _is_somebodys(path: Path) -> bool:
    """Whether a checkpoint is a link, or somebody put something into it, notes for example."""
    return path.is_symlink() or not all(_FILE.fullmatch(file.name) for file in path.iterdir())


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
        DamagedCheckpointError: It is incomplete, damaged or not finite.
        CheckpointError: It is of another version, of another model, or of more processes.
    """
    content = read_content(path)
    if _FOLDER.fullmatch(path.name) and content["update"] != int(path.name.partition("-")[2]):
        raise DamagedCheckpointError(
            f"{path} must be of the update that its name says, but state.json says "
            f"{content['update']}"
        )
    if content["num_ranks"] != processes.num_ranks:
        raise CheckpointError(
            f"{path} must be resumed by as many processes as have written it "
            f"({content['num_ranks']}), but is by {processes.num_ranks}"
        )
    random_name = f"random-{processes.rank}.safetensors"
    for name in ("model.safetensors", "optimiser.safetensors", random_name):
        check_file(path / name, content["sha256"])
    load_weights(state.model, path / "model.safetensors")
    _load_optimiser(
        state, load_tensors(path / "optimiser.safetensors"), update=content["update"], path=path
    )
    _restore_random(state.generator, load_tensors(path / random_name), path=path / random_name)
    try:
        require_finite(state)
    except NotFiniteError as error:
        raise DamagedCheckpointError(f"{path} must be finite, but is not: {error}") from error
    state.update = content["update"]
    state.batches = content["batches"]
    state.retention = content.get("retention", {})
    state.best = content["best"]
    state.stale = content.get("stale", 0)
    state.data = content.get("data", {})
    state.seconds = content["seconds"]


def require_finite(state: TrainState) -> None:
    """Look at all weights and moments.

    Raises:
        NotFiniteError: One is infinite or not a number; the first is named.
    """
    named = dict(state.model.named_parameters())
    moments = {
        f"the optimiser's {name} of weight {parameter}": value
        for parameter, values in _moments(state).items()
        for name, value in values.items()
    }
    tensors = {f"weight {name}": value.detach() for name, value in named.items()} | moments
    # On the device, in one exchange.
    flags = [torch.isfinite(value).all() for value in tensors.values()]
    if all(bool(torch.stack([f for f in flags if f.device == d]).all()) for d in _devices(flags)):
        return
    wrong = [name for name, flag in zip(tensors, flags, strict=True) if not flag]
    raise NotFiniteError(
        f"all weights must be finite, but {wrong[0]} is not"
        + (f" (and {len(wrong) - 1:,} more)" if wrong[1:] else "")
    )


def _devices(tensors: Sequence[Tensor]) -> set[torch.device]:
    return {tensor.device for tensor in tensors}  # Adam counts its steps on the CPU


def checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints below a folder, oldest first."""
    return sorted(path for path in folder.glob("update-*") if _FOLDER.fullmatch(path.name))


def average_weights(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Return the mean of the weights of several checkpoints, summed in double precision."""
    if not paths:
        raise CheckpointError("averaging needs at least one checkpoint, but there is none")
    total: dict[str, Tensor] = {}
    for path in paths:
        for name, value in load_tensors(path / "model.safetensors").items():
            total[name] = total[name] + value.double() if name in total else value.double()
    return {name: (value / len(paths)).float() for name, value in total.items()}


def _parameter_names(state: TrainState) -> list[str]:
    """Return the names of what the optimiser changes, in the optimiser's own order."""
    names = {id(parameter): name for name, parameter in state.model.named_parameters()}
    groups = state.optimiser.param_groups
    return [names[id(parameter)] for group in groups for parameter in group["params"]]


def _moments(state: TrainState) -> dict[str, dict[str, Tensor]]:
    """Return what the optimiser keeps, by the name of a parameter and its own name."""
    names = _parameter_names(state)
    return {
        names[index]: {
            name: value.detach()
            for name, value in moments.items()
            if isinstance(value, Tensor)  # SGD without momentum keeps None
        }
        for index, moments in state.optimiser.state_dict()["state"].items()
    }


def _optimiser_tensors(state: TrainState) -> dict[str, Tensor]:
    return {
        f"{parameter}.{name}": value.cpu().contiguous()
        for parameter, moments in _moments(state).items()
        for name, value in moments.items()
    }


def _load_optimiser(
    state: TrainState, tensors: Mapping[str, Tensor], *, update: int, path: Path
) -> None:
    names = _parameter_names(state)
    places = {name: place for place, name in enumerate(names)}
    if tensors and all(key.split(".", 1)[0].isdecimal() for key in tensors):
        # As checkpoints were before parameters could learn at a share of the rate: by place.
        if any(group[RATE_SHARE] != 1 for group in state.optimiser.param_groups):
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
    _require_whole(moments, state, update=update, path=path)
    groups = state.optimiser.state_dict()["param_groups"]
    state.optimiser.load_state_dict({"state": moments, "param_groups": groups})


def _require_whole(
    moments: Mapping[int, Mapping[str, Tensor]], state: TrainState, *, update: int, path: Path
) -> None:
    """Require that moments are those of the optimiser, of the shapes of their parameters.

    Args:
        moments: By the place of a parameter; one that no batch has reached yet has none.
        state: Whose optimiser they are for.
        update: Updates done: after the first one, Adam has some.
        path: The checkpoint.

    Raises:
        DamagedCheckpointError: They are not; with another shape the optimiser's step would read
            past their end.
    """
    groups = state.optimiser.param_groups
    parameters = [parameter for group in groups for parameter in group["params"]]
    names, where = _parameter_names(state), path / "optimiser.safetensors"
    is_adam = isinstance(state.optimiser, torch.optim.AdamW)
    if is_adam and update and not moments:
        raise DamagedCheckpointError(f"{where} must have Adam's moments, but has none")
    wanted = _OF_ADAM if is_adam else _OF_SGD
    for place, kept in moments.items():
        if set(kept) != wanted:
            raise DamagedCheckpointError(
                f"{where} must have {', '.join(sorted(wanted))} of {names[place]}, but has "
                f"{', '.join(sorted(kept))}"
            )
        for name, value in kept.items():
            shape = torch.Size() if name == "step" else parameters[place].shape
            if value.shape != shape or value.dtype != torch.float32:
                raise DamagedCheckpointError(
                    f"{where} must have float32 {list(shape)} as '{name}' of {names[place]}, but "
                    f"has {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
                )


def _random_states(generator: torch.Generator) -> dict[str, Tensor]:
    states = {"torch": torch.get_rng_state(), "derangements": generator.get_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _restore_random(
    generator: torch.Generator, states: Mapping[str, Tensor], *, path: Path
) -> None:
    try:
        torch.set_rng_state(states["torch"])
        generator.set_state(states["derangements"])
        if "cuda" in states and torch.cuda.is_available():
            torch.cuda.set_rng_state(states["cuda"])
    except (KeyError, RuntimeError, TypeError) as error:
        raise DamagedCheckpointError(
            f"{path} must have the states of random numbers as they were written, but: {error}"
        ) from error
