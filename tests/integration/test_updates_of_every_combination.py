"""One update of every way to learn, cued in every way, whatever the sizes of batch and cue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from taskaware.run.feed import training_batches
from taskaware.run.retention import create_retention
from taskaware.run.run import set_up
from taskaware.run.validation import validate
from taskaware.training.checkpoint import TrainState
from taskaware.training.optimiser import create_optimiser
from taskaware.training.processes import Processes
from taskaware.training.progress import Meter
from taskaware.training.step import Recipe, create_step
from tiny_corpus import prepare_corpus, tiny_experiment

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.run.experiment import Experiment

ALONE = Processes(rank=0, num_ranks=1, device=torch.device("cpu"))
CONDITIONINGS: dict[str, dict[str, Any]] = {
    "none": {"cue": "none"},
    "explicit": {"cue": "explicit"},
    "implicit": {"cue": "implicit"},
    "implicit prepended": {"cue": "implicit", "acts_by": "prepend"},
}
RETENTIONS = ("replay", "distillation", "ewc")
WAYS: dict[str, dict[str, Any]] = {
    "joint": {},
    "meta": {"learning": {"strategy": "meta"}},
    **{name: {"retention": {"method": name, "memory_examples": 6}} for name in RETENTIONS},
}
SMALL, LARGE = {"examples_per_batch": 2}, {"examples_per_batch": 12}
VARIED: dict[str, Any] = {"strategy": "dynamic", "max_tokens": 60, "max_frames": 500}
# Cue examples, batches smaller and larger than that, whether another example's t_e is given.
_COMBINATIONS: tuple[tuple[int, dict[str, Any], bool], ...] = (
    (0, SMALL, True),
    (1, LARGE, True),
    (8, LARGE, True),
    (8, SMALL, True),
    (8, VARIED, True),
    (0, LARGE, True),
    (8, LARGE, False),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module", params=CONDITIONINGS)
def started(request: pytest.FixtureRequest, data: Path, tmp_path_factory):
    """A way to cue, and a model with new weights that is cued so."""
    conditioning = CONDITIONINGS[request.param]
    folder = tmp_path_factory.mktemp("start")
    run = set_up(tiny_experiment(data, conditioning=conditioning), folder, ALONE)
    run.finished_model(run.model.state_dict(), update=0).save(folder / "model")
    return conditioning, folder


def change_once(experiment: Experiment, folder: Path, *, rank: int, num_ranks: int) -> None:
    """Do one update of two groups on a rank's batches, and validate."""
    run = set_up(experiment, folder, Processes(rank=rank, num_ranks=num_ranks, device=ALONE.device))
    batches, retention = training_batches(run), create_retention(run)
    state = TrainState(
        model=run.model,
        optimiser=create_optimiser(experiment.optimiser, run.model),
        generator=torch.Generator().manual_seed(1),
    )
    recipe = Recipe(
        training=experiment.training,
        optimiser=experiment.optimiser,
        objective=experiment.objective,
        learning=experiment.learning,
        conditioning=experiment.model.conditioning,
    )
    before = [parameter.detach().clone() for parameter in run.model.parameters()]
    step = create_step(run.model, run.tasks, recipe, ALONE)
    step(state, [next(batches) for _ in range(2)], Meter(num_ranks=1), retention)
    after = list(run.model.parameters())
    assert all(bool(torch.isfinite(parameter).all()) for parameter in after)
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    run.model.eval()
    losses = validate(run).values
    assert losses.keys() == {task.name for task in run.trained_tasks}
    assert all(0 < loss < 100 for loss in losses.values())


@pytest.mark.parametrize("way", WAYS)
def test_an_update_works_whatever_the_sizes_of_batch_and_cue(
    way: str, started: tuple[dict[str, Any], Path], data: Path, tmp_path: Path
):
    conditioning, start = started
    for number, (cue_examples, batching, derange) in enumerate(_COMBINATIONS):
        experiment = tiny_experiment(
            data,
            conditioning=conditioning | {"derange_support": derange},
            batching=batching | {"cue_examples": cue_examples},
            start=start,
            tasks=("st_en_de",) if way in RETENTIONS else (),
            validation_examples=2,
            **WAYS[way],
        )
        # Every other one as the second of two processes.
        change_once(experiment, tmp_path, rank=number % 2, num_ranks=1 + number % 2)
