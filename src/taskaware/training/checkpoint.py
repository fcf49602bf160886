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
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from taskaware.errors import CheckpointError, DamagedCheckpointError, NotFiniteError, WriteError
from taskaware.files import link_or_copy, reporting
from taskaware.folder_exchange import atomic_folder, partial_folder, put_back, remove_folder
from taskaware.training.moments import load_moments, named_moments
from taskaware.training.state_file import FORMAT_VERSION, read_content
from taskaware.training.tensors import (
    check_file,
    file_sha256,
    fill_weights,
    load_tensors,
    weights,
    write_tensors,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.training.processes import Processes
    from taskaware.training.shards import Shards

# A copy that somebody made, `update-00001000-good`, is theirs: not gone on from, not deleted.
_FOLDER = re.compile(r"update-[0-9]{8,}")
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
        shards: What splits the weights and the optimiser's state over the processes, if anything.
    """

    model: TaskAwareTransformer
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    update: int = 0
    batches: dict[str, Any] = field(default_factory=dict)
    retention: dict[str, Any] = field(default_factory=dict)
    best: dict[str, dict[str, float]] = field(default_factory=dict)
    stale: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    shards: Shards | None = None

    def validating(self) -> AbstractContextManager[None]:
        """Have the weights whole in the first process inside; every process must call it."""
        return nullcontext() if self.shards is None else self.shards.validating()


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
    with processes.together():
        require_finite(state)
    moments = _whole_moments(state)
    path = folder / f"update-{state.update:08d}"
    partial = partial_folder(path)
    with ExitStack() as stack:
        with processes.together(), reporting(path):
            if processes.is_first:
                require_in_place(folder.parent)
                tidy(folder)
                stack.enter_context(atomic_folder(path))
                _write_first(state, partial, weights_file, moments)
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


def _whole_moments(state: TrainState) -> dict[str, Tensor]:
    """Return what the optimiser keeps; of what is split, all of it, in the first process alone."""
    own = named_moments(state.model, state.optimiser)
    if state.shards is None:
        return own
    state.shards.refresh()
    return state.shards.gather(own)


def _write_first(
    state: TrainState, partial: Path, weights_file: Path | None, moments: Mapping[str, Tensor]
) -> None:
    if weights_file is None:
        whole = state.model if state.shards is None else state.shards.whole
        write_tensors(partial / "model.safetensors", weights(whole))
    else:
        link_or_copy(weights_file, partial / "model.safetensors")
    write_tensors(partial / "optimiser.safetensors", moments)


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
    tensors, where = load_tensors(path / "model.safetensors"), str(path / "model.safetensors")
    if state.shards is None:
        fill_weights(state.model, tensors, where=where)
    else:
        state.shards.fill(tensors, where=where)
    load_moments(
        state.model,
        state.optimiser,
        load_tensors(path / "optimiser.safetensors"),
        update=content["update"],
        path=path,
        share_like=None if state.shards is None else state.shards.share_like,
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
    moments = named_moments(state.model, state.optimiser)
    tensors: dict[str, Tensor] = {
        f"weight {name}": value for name, value in state.model.named_parameters()
    }
    for key, value in moments.items():
        parameter, _, name = key.rpartition(".")
        tensors[f"the optimiser's {name} of weight {parameter}"] = value
    if state.shards is not None:
        tensors = {name: state.shards.own_share(value) for name, value in tensors.items()}
    # On the device, in one exchange.
    flags = [torch.isfinite(value.detach()).all() for value in tensors.values()]
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
