"""Several processes that learn together: as one process with the whole batch, equal, killed."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import pad
from torch.profiler import ProfilerActivity, profile

from conftest import ASR, MT, NUM_PIECES, ST, TASKS, random_batch, tiny_settings
from taskaware.model.create_model import create_model
from taskaware.training.checkpoint import TrainState
from taskaware.training.moments import named_moments
from taskaware.training.optimiser import create_optimiser
from taskaware.training.processes import Processes, Seat, join
from taskaware.training.progress import Meter
from taskaware.training.settings import (
    LearningSettings,
    ObjectiveSettings,
    OptimiserSettings,
    TrainingSettings,
)
from taskaware.training.shards import Shards
from taskaware.training.step import Recipe, create_step
from taskaware.training.trainable import freeze_all_but

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from taskaware.model.conditioning_settings import Cue
    from taskaware.training.settings import Trains
    from taskaware.types import Batch, Task

NUM_UPDATES = 4
PIECES = 20  # of every batch: then the mean of two batches' means is the mean of both
# The lengths of the targets are what is drawn first, the same for all tasks.
SEEDS = [s for s in range(400) if int(random_batch(MT, seed=s).target_lengths.sum()) == PIECES]


@dataclass(frozen=True)
class Case:
    """A way to learn, and which tasks' batches an update has."""

    cue: Cue = "implicit"
    strategy: Literal["joint", "meta"] = "joint"
    accumulate: int = 1
    second_order: bool = False
    ctc_weight: float = 0.0
    is_retained: bool = False
    trains: Trains = "everything"
    num_updates: int = NUM_UPDATES
    tasks: tuple[Task, ...] = TASKS  # the last one's front end is the last to be used
    num_text_encoder_layers: int = 0
    max_gradient_norm: float = 0.0


_STRATEGIES: tuple[Literal["joint", "meta"], ...] = ("joint", "meta")
_CUES: tuple[Cue, ...] = ("explicit", "implicit")
ALIKE = {
    f"{strategy}, {cue}, {accumulate} accumulated": Case(cue, strategy, accumulate)
    for strategy in _STRATEGIES
    for cue in _CUES
    for accumulate in (1, 2)
} | {
    "joint without a cue": Case("none"),
    "joint, CTC": Case(ctc_weight=0.5),
    "joint, speech last": Case(tasks=(MT, ST)),
    "joint, text alone": Case(tasks=(MT,)),
    "joint, retained": Case(is_retained=True, accumulate=2, tasks=(MT,)),
    "task network and norms": Case(trains="task_network_and_norms"),
    "task network": Case(trains="task_network", accumulate=2),
    "meta, second order": Case("explicit", "meta", second_order=True, tasks=(MT, ASR)),
}
SHARDED = {
    "sharded, implicit, accumulated": Case(accumulate=2),
    "sharded, without a cue, CTC": Case("none", ctc_weight=0.5),
    "sharded, text alone, clipped": Case(tasks=(MT,), max_gradient_norm=0.1),
    "sharded, task network": Case(trains="task_network"),
    "sharded, an encoder of texts": Case("explicit", num_text_encoder_layers=1),
}


class Pull:
    """Retention that pulls every weight towards zero, whatever is trained."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model

    def add_gradient(
        self, batches: Sequence[Batch], generator: torch.Generator, *, share: float
    ) -> None:
        for parameter in self._model.parameters():
            if parameter.grad is not None:
                parameter.grad = parameter.grad + share * parameter.detach()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def groups_of(case: Case, update: int, rank: int) -> list[list[Batch]]:
    """The batches of an update in one of two processes; meta-learning has one support for both."""
    groups: list[list[Batch]] = []
    for number in range(case.accumulate):
        first = 40 * update + 10 * number
        group: list[Batch] = []
        for place, task in enumerate(case.tasks):
            if case.strategy == "meta":
                group.append(random_batch(task, seed=SEEDS[(first + 3 * place) % len(SEEDS)]))
            seed = SEEDS[(first + 3 * place + 1 + rank) % len(SEEDS)]
            group.append(random_batch(task, seed=seed))
        groups.append(group)
    return groups


def joined(left: Batch, right: Batch) -> Batch:
    """One batch with the examples of two."""

    def together(name: str) -> torch.Tensor:
        pair = getattr(left, name), getattr(right, name)
        longest = max(value.shape[1] for value in pair)
        zeros = (0, 0) if pair[0].dim() == 3 else ()
        return torch.cat([pad(v, (*zeros, 0, longest - v.shape[1])) for v in pair])

    padded = {name: together(name) for name in ("source", "target_input", "target_output")}
    lengths = {
        name: torch.cat([getattr(left, name), getattr(right, name)])
        for name in ("source_lengths", "target_lengths")
    }
    return replace(left, **padded, **lengths, example_ids=left.example_ids + right.example_ids)


def learn(
    case: Case, processes: Processes, *, doubled: bool = False, sharded: bool = False
) -> dict[str, torch.Tensor]:
    """Do some updates; return the loss of each by task, and the weights and gradients after."""
    torch.manual_seed(7)
    cue = {"cue": case.cue, "derange_support": False}
    settings = tiny_settings(conditioning=cue, num_text_encoder_layers=case.num_text_encoder_layers)
    model = create_model(settings, vocabulary_size=NUM_PIECES, tasks=TASKS)
    freeze_all_but(model, case.trains, task_indices=range(len(TASKS)))
    optimiser = OptimiserSettings(
        schedule="linear",
        learning_rate=1e-3,
        warmup_updates=0,
        max_gradient_norm=case.max_gradient_norm,
    )
    shards = Shards(model, processes) if sharded else None
    recipe = Recipe(
        training=TrainingSettings(precision="float32", updates=NUM_UPDATES),
        optimiser=optimiser,
        objective=ObjectiveSettings(ctc_weight=case.ctc_weight),
        learning=LearningSettings(strategy=case.strategy, second_order=case.second_order),
        conditioning=settings.conditioning,
    )
    state = TrainState(
        model, create_optimiser(optimiser, model), torch.Generator().manual_seed(1), shards=shards
    )
    step = create_step(model, TASKS, recipe, processes, shards)
    found: dict[str, torch.Tensor] = {}
    for update in range(case.num_updates):
        groups = groups_of(case, update, processes.rank)
        if doubled:
            other = groups_of(case, update, 1)
            groups = [
                [joined(*pair) for pair in zip(*halves, strict=True)]
                for halves in zip(groups, other, strict=True)
            ]
        meter = Meter(num_ranks=1)
        _, norm = step(state, groups, meter, Pull(model) if case.is_retained else None)
        state.update += 1
        losses = meter.read(state, rate=0.0, norm=norm, epochs={}, memory_mib=0.0).losses
        found |= {f"loss.{update}.{name}": torch.tensor(v) for name, v in losses.items()}
        found[f"norm.{update}"] = torch.tensor(norm)
    whole = torch.Tensor.clone if shards is None else shards.whole_of
    found |= {f"weight.{n}": whole(p.detach()) for n, p in model.named_parameters()}
    return found | {
        f"gradient.{n}": whole(p.grad) for n, p in model.named_parameters() if p.grad is not None
    }


def exchanged(processes: Processes, accumulate: int) -> torch.Tensor:
    """The numbers that the exchanges of gradients of one update have, one entry an exchange."""
    case = Case(accumulate=accumulate, num_updates=1)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiled:
        learn(case, processes)
    shapes = [e.input_shapes for e in profiled.events() or () if e.name == "gloo:all_reduce"]
    return torch.tensor([sum(torch.Size(s).numel() for s in shape if s) for shape in shapes])


def kept_share(processes: Processes) -> torch.Tensor:
    """The share that one process keeps of all weights, and of Adam's means and gradients."""
    torch.manual_seed(7)
    settings = tiny_settings(conditioning={"cue": "implicit"})
    model = create_model(settings, vocabulary_size=NUM_PIECES, tasks=TASKS)
    numbers = sum(p.numel() for p in model.parameters())
    shards = Shards(model, processes)
    optimiser = create_optimiser(OptimiserSettings(), model)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    means = [v for n, v in named_moments(model, optimiser).items() if n.endswith("exp_avg")]
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return torch.tensor(
        [
            sum(shards.own_share(tensor).numel() for tensor in tensors) / numbers
            for tensors in (list(model.parameters()), means, gradients)
        ]
    )


def work(rank: int, meeting_place: str, folder: Path) -> None:
    """All that one of two processes does."""
    torch.set_num_threads(1)
    with join("cpu", Seat(rank=rank, num_ranks=2, meeting_place=meeting_place)) as processes:
        for name, case in (ALIKE | SHARDED).items():
            save_file(
                learn(case, processes, sharded=name in SHARDED),
                folder / f"{name} {rank}.safetensors",
            )
        save_file({"kept": kept_share(processes)}, folder / f"kept {rank}.safetensors")
        counts = {str(number): exchanged(processes, number) for number in (1, 3)}
        save_file(counts, folder / f"exchanged {rank}.safetensors")


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes found that learnt together."""
    folder = tmp_path_factory.mktemp("two")
    context = multiprocessing.get_context("spawn")
    place = f"file://{folder / 'meeting'}"
    pair = [context.Process(target=work, args=(rank, place, folder)) for rank in range(2)]
    for process in pair:
        process.start()
    for process in pair:
        process.join(timeout=300)
        process.kill()
    assert [process.exitcode for process in pair] == [0, 0]
    return folder


@pytest.mark.parametrize("name", [*ALIKE, *SHARDED])
def test_two_processes_learn_as_one_with_the_whole_batch(name: str, learnt: Path):
    first, second = (load_file(learnt / f"{name} {rank}.safetensors") for rank in range(2))
    alone = learn(
        (ALIKE | SHARDED)[name],
        Processes(rank=0, num_ranks=1, device=torch.device("cpu")),
        doubled=True,
    )
    assert first.keys() == second.keys() == alone.keys()
    for key, value in alone.items():
        if key.startswith("loss"):
            mean = (first[key] + second[key]) / 2
            torch.testing.assert_close(mean, value, rtol=1e-5, atol=0.0)
        else:
            assert torch.equal(first[key], second[key]), f"the processes differ in {key}"
        if key.startswith("gradient"):  # of the last update
            scale = float(value.abs().max())
            torch.testing.assert_close(first[key], value, rtol=1e-3, atol=1e-4 * scale + 1e-7)
    assert any(not torch.equal(first[k], second[k]) for k in alone if k.startswith("loss"))


def test_of_two_processes_each_keeps_half_of_what_is_sharded(learnt: Path):
    for rank in range(2):
        kept = load_file(learnt / f"kept {rank}.safetensors")["kept"]
        # Rows are split; of an odd number of them one process has one more.
        torch.testing.assert_close(kept, torch.full((3,), 0.5), rtol=0.0, atol=0.02)


def test_gradients_are_exchanged_once_an_update_however_many_batches_it_has(learnt: Path):
    once, accumulated = (load_file(learnt / "exchanged 0.safetensors")[n] for n in ("1", "3"))
    numbers = load_file(learnt / "joint, implicit, 1 accumulated 0.safetensors")
    trained = sum(v.numel() for key, v in numbers.items() if key.startswith("weight."))
    # Torch sends off which parameters were used beside the gradients, in no order of its own.
    assert sorted(once.tolist()) == sorted(accumulated.tolist())
    flags = sum(key.startswith("weight.") for key in numbers)  # which have a gradient at all
    assert trained < int(once.sum()) <= trained + flags + 2
