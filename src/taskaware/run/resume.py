"""Where a run stands: at its newest undamaged checkpoint, or at its beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from taskaware.errors import CheckpointError, DamagedCheckpointError
from taskaware.run import data as run_data
from taskaware.training.checkpoint import TrainState, checkpoints, load_state, read_content
from taskaware.training.optimiser import create_optimiser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from taskaware.data.batches.stream import TrainingBatches
    from taskaware.run.run import Run
    from taskaware.training.best import BestWeights
    from taskaware.training.retention.interface import Retention


def resume(
    run: Run,
    batches: TrainingBatches,
    retention: Retention | None,
    best_weights: BestWeights,
    note: Callable[[str], None],
) -> TrainState:
    """Return the state of a run, with batches and retention brought to where it stands.

    A damaged checkpoint is passed over for an older one, which leads to the same weights.

    Args:
        run: The run; the weights of its model are changed in place.
        batches: Its updates.
        retention: What keeps its old tasks.
        best_weights: The weights of its best validations.
        note: Is told what the user should know.

    Raises:
        CheckpointError: All its checkpoints are damaged, or they are of another model.
        DataError: The data is not what the run began with.
    """
    seed = run.experiment.training.seed
    trained = run.model if run.shards is None else run.shards.model
    state = TrainState(
        model=trained,
        optimiser=create_optimiser(run.experiment.optimiser, trained),
        generator=torch.Generator().manual_seed(seed + run.processes.rank),
        shards=run.shards,
    )
    start = "" if run.start is None else run.start.digest
    data = run_data.describe(run.data, run.experiment, run.tasks, start=start)
    found = checkpoints(run.folder / "checkpoints")
    if found:
        _load_newest(state, found, run, data, note)
        batches.load_state_dict(state.batches)
        if retention is not None:
            retention.load_state_dict(state.retention)
        _forget_missing(state, best_weights, note)
    state.data = data
    return state


def _load_newest(
    state: TrainState,
    found: Sequence[Path],
    run: Run,
    data: Mapping[str, Any],
    note: Callable[[str], None],
) -> None:
    """Load the newest checkpoint that is undamaged in every process."""
    reasons: list[str] = []
    for path in reversed(found):
        error: DamagedCheckpointError | None = None
        with run.processes.together():
            try:
                before = read_content(path).get("data", {})
                # First: weights for another vocabulary may not even have the same shape.
                run_data.require_same(before, data, folder=run.folder, checkpoint=path)
                load_state(state, path, processes=run.processes)
            except DamagedCheckpointError as caught:
                error = caught
        if not run.processes.any(error is not None):
            if reasons:
                note(f"{'; '.join(reasons)}. Resuming from {path.name}, the newest undamaged one")
            return
        reasons.append(str(error or f"another process cannot read {path}"))
    raise CheckpointError(
        f"{run.folder} must have an undamaged checkpoint to resume from, but {'; '.join(reasons)}. "
        "Start over with --restart, or in another folder with --to"
    )


def _forget_missing(
    state: TrainState, best_weights: BestWeights, note: Callable[[str], None]
) -> None:
    """Look for the best again where its weights are gone."""
    missing = best_weights.missing(state.best)
    for name in missing:
        del state.best[name]
    if missing:
        note(
            f"the weights of the best validation so far are missing or damaged (for "
            f"{', '.join(missing)}): the best is looked for again from here on"
        )
