"""Checkpoints: all comes back bit for bit, what does not fit is refused, nothing is pickled."""

from __future__ import annotations

import ast
import errno
import hashlib
import itertools
import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from conftest import MT, NUM_PIECES, ST, TASKS, random_batch, tiny_settings
from killed import killed_at, killed_where
from taskaware.errors import (
    CheckpointError,
    DamagedCheckpointError,
    NotFiniteError,
    WriteError,
)
from taskaware.model.create_model import create_model
from taskaware.training import checkpoint, tensors
from taskaware.training.best import BestWeights
from taskaware.training.checkpoint import (
    TrainState,
    average_weights,
    checkpoints,
    load_state,
    load_tensors,
    save_state,
    tidy,
)
from taskaware.training.joint import LossArguments, Support, batch_loss
from taskaware.training.optimiser import create_optimiser
from taskaware.training.processes import Processes
from taskaware.training.settings import ObjectiveSettings, OptimiserSettings
from taskaware.training.tensors import write_tensors

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = Path(checkpoint.__file__).resolve().parents[1]
ALONE = Processes(rank=0, num_ranks=1, device=torch.device("cpu"))
BATCHES = {"updates": 3, "positions": {"mt_en_de": [0, 3]}}


def new_state(seed: int = 0, *, implicit_rate: float = 0.1, **changes) -> TrainState:
    torch.manual_seed(seed)
    settings = tiny_settings(dropout=0.2, **changes)
    model = create_model(settings, vocabulary_size=NUM_PIECES, tasks=TASKS)
    return TrainState(
        model=model,
        optimiser=create_optimiser(
            OptimiserSettings(learning_rate=1e-2, implicit_rate=implicit_rate), model
        ),
        generator=torch.Generator().manual_seed(seed),
    )


def update(state: TrainState, num_updates: int = 1) -> None:
    """Change the weights, drawing dropout and permutations from the random states."""
    for _ in range(num_updates):
        state.model.train()
        state.optimiser.zero_grad()
        for group in state.optimiser.param_groups:
            group["lr"] = 1e-2  # a function of the update alone: the loop sets it
        for index, task in ((1, ST), (2, MT)):
            batch = random_batch(task, seed=state.update)
            loss = batch_loss(
                state.model,  # type: ignore[arg-type]
                batch,
                Support(batch, torch.randperm(4, generator=state.generator)),
                LossArguments(
                    task_index=index,
                    gradient_reaches_shared_layers=False,
                    objective=ObjectiveSettings(),
                ),
            )
            loss.total.backward()
        state.optimiser.step()
        state.update += 1


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint after two updates; copy it before changing it."""
    state = new_state()
    update(state, 2)
    state.batches = BATCHES
    state.best = {"all": {"value": 0.1 + 0.2, "update": 2}}
    state.seconds = 1.0 / 3.0
    return save_state(state, tmp_path_factory.mktemp("run"), processes=ALONE, keep=5)


@pytest.fixture
def copied(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / written.name)


def assert_equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_everything_comes_back_bit_for_bit(written: Path):
    state = new_state(seed=7)
    torch.manual_seed(99)
    load_state(state, written, processes=ALONE)
    assert (state.update, state.batches, state.seconds) == (2, BATCHES, 1.0 / 3.0)
    assert state.best == {"all": {"value": 0.1 + 0.2, "update": 2}}
    expected = new_state()
    update(expected, 2)
    assert_equal(dict(state.model.state_dict()), dict(expected.model.state_dict()))
    moments = expected.optimiser.state_dict()["state"]
    loaded = state.optimiser.state_dict()["state"]
    assert moments.keys() == loaded.keys()
    for index in moments:
        assert_equal(loaded[index], moments[index])


def test_the_updates_after_it_are_those_of_a_training_that_never_stopped(written: Path):
    never_stopped = new_state()
    update(never_stopped, 5)
    gone_on = new_state(seed=7)
    load_state(gone_on, written, processes=ALONE)
    update(gone_on, 3)
    assert_equal(dict(gone_on.model.state_dict()), dict(never_stopped.model.state_dict()))


def test_only_the_newest_stay(tmp_path: Path):
    state = new_state()
    for number in (5, 10, 100, 20_000):
        state.update = number
        save_state(state, tmp_path, processes=ALONE, keep=2)
    assert [path.name for path in checkpoints(tmp_path)] == ["update-00000100", "update-00020000"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "update-00000100",
        "update-00020000",
    ]


def test_a_copy_that_somebody_made_and_a_checkpoint_with_their_notes_stay(tmp_path: Path):
    state = new_state()
    state.update = 5
    written = save_state(state, tmp_path, processes=ALONE, keep=1)
    copy = shutil.copytree(written, tmp_path / "update-00000005-good")
    (written / "notes.txt").write_text("the best so far")
    save_state(state, tmp_path, processes=ALONE, keep=1)  # the same update again
    for number in (10, 15):
        state.update = number
        save_state(state, tmp_path, processes=ALONE, keep=1)
    names = [path.name for path in checkpoints(tmp_path)]
    assert names == ["update-00000005", "update-00000015"]  # no copy is gone on from
    assert (written / "notes.txt").read_text() == "the best so far"
    assert (copy / "state.json").exists()


def test_copies_of_the_best_weights_that_somebody_made_stay(tmp_path: Path):
    best = BestWeights(tmp_path)
    best.write(new_state().model, 5)
    shutil.copy(best.path(5), tmp_path / "update-00000005-good.safetensors")
    best.prune({}, [])
    assert [path.name for path in tmp_path.iterdir()] == ["update-00000005-good.safetensors"]


def test_a_checkpoint_that_is_written_again_replaces_the_old_one(tmp_path: Path):
    state = new_state()
    save_state(state, tmp_path, processes=ALONE, keep=2)
    state.seconds = 5.0
    path = save_state(state, tmp_path, processes=ALONE, keep=2)
    assert json.loads((path / "state.json").read_text())["seconds"] == 5.0


@pytest.mark.parametrize("num_files_before", [0, 1, 2])
def test_a_crash_while_writing_leaves_the_older_checkpoint_the_newest(
    num_files_before: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    state = new_state()
    update(state)
    older = save_state(state, tmp_path, processes=ALONE, keep=1)
    files = []

    def crash(path: Path, tensors: dict[str, Tensor]) -> None:
        if len(files) == num_files_before:
            raise KeyboardInterrupt
        files.append(path)
        write_tensors(path, tensors)

    state.update = 2
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_tensors", crash)
        with pytest.raises(KeyboardInterrupt):
            save_state(state, tmp_path, processes=ALONE, keep=1)
    assert checkpoints(tmp_path) == [older]
    load_state(new_state(), older, processes=ALONE)
    newer = save_state(state, tmp_path, processes=ALONE, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == [newer.name]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_notes_in_a_checkpoint_outlive_a_process_that_is_killed_while_it_writes_it_again(
    number: int, tmp_path: Path
):
    state = new_state()
    path = save_state(state, tmp_path, processes=ALONE, keep=1)
    (path / "notes.txt").write_text("mine")

    def save() -> None:
        save_state(state, tmp_path, processes=ALONE, keep=1)

    renames = itertools.count(1)
    assert killed_where(
        save, tmp_path, lambda event, _: event == "os.rename" and next(renames) == number
    )
    save()
    assert [path.name for path in tmp_path.iterdir()] == [path.name]
    assert (path / "notes.txt").read_text() == "mine"


def test_what_killed_processes_left_of_other_checkpoints_goes_with_the_next_one(tmp_path: Path):
    for name in (".update-00000007.partial", ".update-00000005.old", ".update-00000005-mine.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text("half")
    state = new_state()
    state.update = 10
    path = save_state(state, tmp_path, processes=ALONE, keep=1)
    assert {each.name for each in tmp_path.iterdir()} == {path.name, ".update-00000005-mine.old"}


def test_a_checkpoint_is_there_again_where_a_process_was_killed_while_it_exchanged_it(
    tmp_path: Path,
):
    state = new_state()
    path = save_state(state, tmp_path, processes=ALONE, keep=1)
    path.rename(tmp_path / f".{path.name}.old")
    tidy(tmp_path)
    assert checkpoints(tmp_path) == [path]
    load_state(new_state(), path, processes=ALONE)


def test_a_checkpoint_that_somebody_put_elsewhere_behind_a_link_is_not_deleted(tmp_path: Path):
    state, folder = new_state(), tmp_path / "checkpoints"
    path = save_state(state, folder, processes=ALONE, keep=1)
    elsewhere = path.rename(tmp_path / "elsewhere")
    path.symlink_to(elsewhere)
    state.update = 10
    save_state(state, folder, processes=ALONE, keep=1)
    assert path.is_symlink()
    again = new_state()
    load_state(again, path, processes=ALONE)
    assert again.update == int(path.name.removeprefix("update-"))


def test_killed_at_every_third_operation_there_is_a_checkpoint_and_the_next_save_puts_all_right(
    tmp_path: Path,
):
    state = new_state()
    before = tmp_path / "before"
    save_state(state, before, processes=ALONE, keep=2)
    update(state)
    notes = save_state(state, before, processes=ALONE, keep=2) / "notes.txt"
    notes.write_text("mine")

    def save_in(folder: Path) -> Path:
        return save_state(state, folder, processes=ALONE, keep=1)

    number, folder = 1, shutil.copytree(before, tmp_path / "killed1")
    while killed_at(partial(save_in, folder), folder, number):
        tidy(folder)
        load_state(new_state(), checkpoints(folder)[-1], processes=ALONE)
        path = save_in(folder)
        assert list(folder.iterdir()) == [path]
        load_state(new_state(), path, processes=ALONE)
        assert (path / "notes.txt").read_text() == "mine"
        number += 3
        folder = shutil.copytree(before, tmp_path / f"killed{number}")
    assert number > 20


def test_a_folder_without_checkpoints_has_none(tmp_path: Path):
    assert checkpoints(tmp_path) == []
    assert checkpoints(tmp_path / "missing") == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_and_moments_that_are_not_finite_are_never_saved_and_push_out_nothing(
    value: float, tmp_path: Path
):
    state = new_state()
    update(state)
    good = save_state(state, tmp_path, processes=ALONE, keep=1)
    before = state.model.state_dict()["token_embedding.weight"].clone()
    state.update += 1
    with torch.no_grad():
        state.model.token_embedding.weight[3, 3] = value  # type: ignore[union-attr, operator]
    with pytest.raises(NotFiniteError, match=r"token_embedding\.weight is not"):
        save_state(state, tmp_path, processes=ALONE, keep=1)
    with torch.no_grad():
        state.model.token_embedding.weight.copy_(before)  # type: ignore[union-attr, operator]
    moments = next(iter(state.optimiser.state.values()))
    moments["exp_avg_sq"].view(-1)[0] = value
    with pytest.raises(NotFiniteError, match="exp_avg_sq"):
        save_state(state, tmp_path, processes=ALONE, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == [good.name]
    load_state(new_state(), good, processes=ALONE)


def test_a_full_disk_is_said_and_leaves_the_older_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    state = new_state()
    older = save_state(state, tmp_path, processes=ALONE, keep=1)
    state.update = 2

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tensors, "_header", fail)
    with pytest.raises(WriteError, match=r"No space left .*same command again"):
        save_state(state, tmp_path, processes=ALONE, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == [older.name]


def test_every_file_has_the_mode_of_the_umask(tmp_path: Path):
    before = os.umask(0o027)
    try:
        path = save_state(new_state(), tmp_path, processes=ALONE, keep=1)
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o640}


# --- what is refused ---


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimiser.safetensors", "random-0.safetensors"]
)
def test_one_changed_byte_is_refused_by_the_files_name(name: str, copied: Path):
    content = bytearray((copied / name).read_bytes())
    content[-3] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(DamagedCheckpointError, match=f"{name} must be as it was written"):
        load_state(new_state(), copied, processes=ALONE)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimiser.safetensors", "random-0.safetensors", "state.json"]
)
def test_a_missing_or_damaged_file_is_refused_by_name(name: str, copied: Path):
    content = (copied / name).read_bytes()
    (copied / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=name):
        load_state(new_state(), copied, processes=ALONE)
    (copied / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_state(new_state(), copied, processes=ALONE)


def change_state(path: Path, **fields: object) -> None:
    content = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(content | fields))


def with_right_sum(file: Path) -> None:
    content = json.loads((file.parent / "state.json").read_text())
    content["sha256"][file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    (file.parent / "state.json").write_text(json.dumps(content))


@pytest.mark.parametrize("version", [99, "1", 1.0, True, None])
def test_another_version_is_refused_by_number(version: object, copied: Path):
    change_state(copied, format_version=version)
    with pytest.raises(CheckpointError, match=rf"version 1, but has {version!r}:"):
        load_state(new_state(), copied, processes=ALONE)


@pytest.mark.parametrize("name", ["model", "optimiser", "random-0"])
def test_a_file_without_its_checksum_is_not_believed(name: str, copied: Path):
    sums = json.loads((copied / "state.json").read_text())["sha256"]
    del sums[f"{name}.safetensors"]
    change_state(copied, sha256=sums)
    with pytest.raises(DamagedCheckpointError, match=rf"{name}.* must have its SHA-256"):
        load_state(new_state(), copied, processes=ALONE)


def test_a_checkpoint_without_checksums_is_damaged(copied: Path):
    content = json.loads((copied / "state.json").read_text())
    del content["sha256"]
    (copied / "state.json").write_text(json.dumps(content))
    with pytest.raises(DamagedCheckpointError, match=r"must say .*sha256"):
        load_state(new_state(), copied, processes=ALONE)


def test_another_number_of_processes_is_refused(copied: Path):
    change_state(copied, num_ranks=3)
    with pytest.raises(CheckpointError, match=r"as many processes as .*\(3\), but is by 1"):
        load_state(new_state(), copied, processes=ALONE)


def test_another_models_weights_are_refused_by_shape(copied: Path):
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*must be \(.*but is \("):
        load_state(new_state(d_ff=48), copied, processes=ALONE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors | {"extra": torch.zeros(1)}, "extra is unknown"),
        (lambda tensors: dict(list(tensors.items())[1:]), "is missing"),
    ],
)
def test_unknown_and_missing_weights_are_refused_by_name(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str, copied: Path
):
    path = copied / "model.safetensors"
    save_file(change(load_file(path)), path)
    with_right_sum(path)
    with pytest.raises(CheckpointError, match=message):
        load_state(new_state(), copied, processes=ALONE)


def without(tensors: dict[str, Tensor], ending: str) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if not name.endswith(ending)}


def first_changed(
    tensors: dict[str, Tensor], ending: str, change: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    name = next(name for name in tensors if name.endswith(ending))
    return tensors | {name: change(tensors[name])}


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("optimiser", lambda _: {}, "must have Adam's moments"),
        ("optimiser", lambda kept: without(kept, ".step"), "must have exp_avg, exp_avg_sq, step"),
        (
            "optimiser",  # the step would write past its end
            lambda kept: first_changed(kept, ".exp_avg", lambda value: value.flatten()[:1].clone()),
            "as 'exp_avg' of .*, but has float32 .1.",
        ),
        (
            "optimiser",
            lambda kept: first_changed(kept, ".exp_avg_sq", lambda value: value.to(torch.int32)),
            "must have float32 .* but has int32",
        ),
        ("optimiser", lambda kept: kept | {"nothing": torch.zeros(1)}, "has that of ''"),
        ("random-0", lambda kept: without(kept, "torch"), "states of random numbers"),
        (
            "random-0",
            lambda kept: first_changed(kept, "torch", lambda value: value[:10].clone()),
            "states of random numbers",
        ),
        ("random-0", lambda kept: first_changed(kept, "torch", Tensor.float), "states of random"),
    ],
)
def test_what_the_optimiser_or_random_numbers_cannot_go_on_from_is_refused(
    file: str, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str, copied: Path
):
    path = copied / f"{file}.safetensors"
    save_file(change(load_file(path)), path)
    with_right_sum(path)
    with pytest.raises(CheckpointError, match=message):
        load_state(new_state(), copied, processes=ALONE)


def test_a_checkpoint_that_says_another_update_than_its_name_is_damaged(copied: Path):
    named = copied.rename(copied.with_name("update-00000007"))
    change_state(named, update=10**15)
    with pytest.raises(DamagedCheckpointError, match=r"update that its name says.* 10{15}"):
        load_state(new_state(), named, processes=ALONE)


# --- averaging ---


def test_the_average_is_the_mean_of_the_weights(tmp_path: Path):
    state, values = new_state(), []
    for _ in range(3):
        update(state)
        save_state(state, tmp_path, processes=ALONE, keep=3)
        values.append({name: value.clone() for name, value in state.model.state_dict().items()})
    mean = average_weights(checkpoints(tmp_path))
    for name, value in mean.items():
        expected = torch.stack([one[name].double() for one in values]).mean(dim=0)
        torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-8)
        assert value.dtype == torch.float32
    one = average_weights(checkpoints(tmp_path)[:1])
    assert_equal(one, values[0])


def test_an_average_of_nothing_is_refused():
    with pytest.raises(CheckpointError, match="at least one"):
        average_weights([])


# --- nothing pickled ---


def test_a_checkpoint_holds_safetensors_and_json_only(written: Path):
    assert {path.suffix for path in written.iterdir()} == {".safetensors", ".json"}


def test_no_source_file_pickles_or_unpickles():
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    found = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    bad = any(name.name.split(".")[0] in forbidden for name in names)
                case ast.ImportFrom(module=str(module), names=names):
                    bad = module.split(".")[0] in forbidden
                    bad |= module == "torch" and any(
                        name.name in ("load", "save") for name in names
                    )
                case ast.Attribute(value=ast.Name(id="torch"), attr=name):
                    bad = name in ("load", "save")
                case ast.keyword(arg="allow_pickle", value=value):
                    bad = not (isinstance(value, ast.Constant) and value.value is False)
                case _:
                    bad = False
            if bad:
                found.append(f"{path.relative_to(SOURCE)}:{getattr(node, 'lineno', '?')}")
    assert found == []


def test_what_may_not_be_read_is_not_called_missing(written: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refused)
        with pytest.raises(DamagedCheckpointError, match=r"but: .*Permission denied"):
            load_tensors(written / "model.safetensors")


def moments_by_place(path: Path, state: TrainState) -> None:
    """Name the moments by their place in the optimiser, as checkpoints of before did."""
    file = path / "optimiser.safetensors"
    names = {id(p): name for name, p in state.model.named_parameters()}
    order = [names[id(p)] for g in state.optimiser.param_groups for p in g["params"]]
    tensors = {
        f"{order.index(key.rsplit('.', 1)[0])}.{key.rsplit('.', 1)[1]}": value
        for key, value in load_file(file).items()
    }
    save_file(tensors, file)
    with_right_sum(file)


def test_moments_by_place_of_older_checkpoints_come_back_where_all_learns_at_one_rate(
    tmp_path: Path,
):
    before, after = new_state(implicit_rate=1.0), new_state(seed=7, implicit_rate=1.0)
    update(before, 2)
    path = save_state(before, tmp_path, processes=ALONE, keep=5)
    moments_by_place(path, before)
    load_state(after, path, processes=ALONE)
    wanted, found = (s.optimiser.state_dict()["state"] for s in (before, after))
    assert wanted.keys() == found.keys()
    for place, moments in wanted.items():
        assert_equal(moments, found[place])


def test_moments_by_place_are_refused_where_the_order_may_be_another(copied: Path):
    state = new_state()
    moments_by_place(copied, state)
    with pytest.raises(CheckpointError, match=r"go on with optimiser.implicit_rate=1"):
        load_state(state, copied, processes=ALONE)


def test_moments_are_stored_by_the_names_of_parameters(written: Path):
    state = new_state()
    names = {key.rsplit(".", 1)[0] for key in load_file(written / "optimiser.safetensors")}
    assert names == {name for name, _ in state.model.named_parameters()}
