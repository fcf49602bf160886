"""A run and what can happen to it: other data, no numbers, damage, a second command, a death."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

import taskaware
from killed import contents
from taskaware.cli.main import run as command_line
from taskaware.data.prepare import PrepareSettings, prepare
from taskaware.data.prepared import PreparedData
from taskaware.errors import (
    CheckpointError,
    DataError,
    ExperimentError,
    LostProcessError,
    NotFiniteError,
    RunInUseError,
    UserError,
    WriteError,
)
from taskaware.inference.data_fit import other_features, require_tasks
from taskaware.inference.model import load
from taskaware.run import experiment as experiment_file
from taskaware.run import launch, log
from taskaware.run import train as runs
from taskaware.run.launch import train_in_processes
from taskaware.run.lock import lock
from taskaware.run.log import read_log
from taskaware.run.train import train_experiment
from taskaware.training.loop import Validation
from tiny_corpus import Silent, assert_same_models, interrupt_in, tiny_experiment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from taskaware.run.experiment import Experiment
    from taskaware.run.run import Run

WORDS = {"one": "eins", "two": "zwei", "six": "sechs", "ten": "zehn"}
TASKS = {"mt_en_de": ("en", "de"), "mt_de_en": ("de", "en")}


def write_data(
    folder: Path,
    number: int = 24,
    *,
    splits: tuple[str, ...] = ("train", "dev"),
    tasks: Mapping[str, tuple[str, str]] = TASKS,
    size: int = 300,
) -> Path:
    """Write and prepare pairs of texts; the same arguments give the same data."""
    manifests = {}
    pairs = [f"{a} {b} {c}" for a in WORDS for b in WORDS for c in WORDS]
    folder.mkdir(exist_ok=True)
    for index, split in enumerate(splits):
        count = number if split == "train" else 4
        rows = ["task\tsource_text\ttarget_text\tsource_language\ttarget_language"]
        for english in pairs[index * 28 : index * 28 + count]:
            german = " ".join(WORDS[word] for word in english.split())
            for name, (source, target) in tasks.items():
                texts = (english, german) if source == "en" else (german, english)
                rows.append("\t".join((name, *texts, source, target)))
        manifests[split] = [folder / f"{split}.tsv"]
        manifests[split][0].write_text("\n".join(rows) + "\n")
    shutil.rmtree(folder / "data", ignore_errors=True)
    prepare(manifests, folder / "data", PrepareSettings(vocabulary_size=size, num_workers=1))
    return folder / "data"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "text"
    assert train_experiment(text_experiment(data), folder, display=Silent())
    return folder


def text_experiment(data: Path, **changes) -> Experiment:
    return tiny_experiment(data, **({"average_last": 0} | changes))


# --- other data under the same name ---


@pytest.mark.parametrize("updates", [6, 8])
def test_a_run_is_refused_after_its_data_were_prepared_anew(updates: int, tmp_path: Path):
    data = write_data(tmp_path)
    folder = tmp_path / "run"
    assert train_experiment(text_experiment(data), folder, display=Silent())
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}
    write_data(tmp_path, 28)
    with pytest.raises(DataError, match=r"training examples.*start\.model=.*--restart") as caught:
        train_experiment(text_experiment(data, updates=updates), folder, display=Silent())
    assert str(folder) in str(caught.value)
    assert str(data) in str(caught.value)
    assert all(path.read_bytes() == content for path, content in before.items())
    # What the message says works.
    assert train_experiment(text_experiment(data), tmp_path / "new", display=Silent())
    assert train_experiment(text_experiment(data), folder, display=Silent(), restart=True)


def test_the_same_lines_prepared_again_and_splits_that_a_run_does_not_read_are_the_same_data(
    tmp_path: Path,
):
    data = write_data(tmp_path)
    folder = tmp_path / "run"
    assert train_experiment(text_experiment(data), folder, display=Silent())
    before = PreparedData.open(data).fingerprint
    with_test = write_data(tmp_path, splits=("train", "dev", "test"))
    assert PreparedData.open(with_test).fingerprint != before
    assert train_experiment(text_experiment(data, updates=8), folder, display=Silent())


def test_a_vocabulary_of_the_same_size_is_another_vocabulary(tmp_path: Path):
    data = write_data(tmp_path)
    folder = tmp_path / "run"
    experiment = text_experiment(data, updates=2)
    assert train_experiment(experiment, folder, display=Silent())
    checkpoint = sorted((folder / "checkpoints").iterdir())[-1]
    WORDS["one"], kept = "Einhorn", WORDS["one"]
    try:
        write_data(tmp_path)
    finally:
        WORDS["one"] = kept
    with pytest.raises(DataError, match=r"the vocabulary.*--vocabulary .*model/vocabulary\.model"):
        train_experiment(experiment, folder, display=Silent())
    for start in (folder, folder / "best", checkpoint):
        tuned = text_experiment(data, updates=2, start=start)
        with pytest.raises(DataError, match=r"must have the vocabulary of .*vocabulary\.model"):
            train_experiment(tuned, tmp_path / "tuned", display=Silent())


def test_a_task_of_the_same_name_between_other_languages_is_refused(trained: Path, tmp_path: Path):
    other = write_data(tmp_path, tasks={"mt_en_de": ("en", "fr")})
    with pytest.raises(UserError, match=r"'mt_en_de' must be the same .* to text in 'fr'"):
        require_tasks(load(trained), PreparedData.open(other), ())
    tuned = text_experiment(other, start=trained)
    with pytest.raises(UserError, match=r"'mt_en_de' must be the same .* to text in 'fr'"):
        train_experiment(tuned, tmp_path / "tuned", display=Silent())


def test_how_speech_is_heard_is_nothing_to_a_text_task_and_named_where_it_counts(
    trained: Path, tmp_path: Path
):
    data = PreparedData.open(write_data(tmp_path))
    model = load(trained)
    model.feature_settings = replace(model.feature_settings, num_mel_bins=16)
    assert [task.name for task in require_tasks(model, data, ())] == list(TASKS)
    said = other_features(model.feature_settings, data)
    assert said == " (num_mel_bins 80): prepare it with features.num_mel_bins=16"


def test_data_of_a_new_task_with_other_pieces_is_refused_with_the_vocabulary_to_prepare_it_with(
    trained: Path, tmp_path: Path
):
    other = write_data(tmp_path, tasks=TASKS | {"mt_en_fr": ("en", "de")})
    with pytest.raises(DataError, match=r"must have the vocabulary of .*--vocabulary .*\.model"):
        train_experiment(text_experiment(other, start=trained), tmp_path / "t", display=Silent())


def test_task_embeddings_of_other_weights_are_refused(trained: Path, tmp_path: Path):
    folder = shutil.copytree(trained / "model", tmp_path / "model")
    path = folder / "model.safetensors"
    other = {name: value + 1 for name, value in load_file(path).items()}
    path.unlink()  # it has other names in the run
    save_file(other, path)
    with pytest.raises(CheckpointError, match=r"task_embeddings.* other weights"):
        taskaware.load(folder)


# --- what is not finite ---


def explode(monkeypatch: pytest.MonkeyPatch, *, at: int) -> None:
    """Make the gradient of one update infinite, as a rate that is too high does."""
    from taskaware.training.step import Step

    clip = Step._clip
    calls = []

    def too_long(step: Step) -> float:
        calls.append(1)
        return float("inf") if len(calls) == at else clip(step)

    monkeypatch.setattr(Step, "_clip", too_long)


def test_a_gradient_that_is_not_finite_ends_the_run_and_a_lower_rate_goes_on_from_before(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        explode(patch, at=5)
        # The update, the task with its loss, and the examples of the batch are named.
        with pytest.raises(NotFiniteError, match=r"update 5 .*mt_en_de.*its examples: train-\d+, "):
            train_experiment(text_experiment(data), tmp_path, display=Silent())
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir())[-1].endswith("04")
    lower = text_experiment(data, optimiser={"learning_rate": 1e-3})
    display = Silent()
    assert train_experiment(lower, tmp_path, display=display)
    assert display.updates == [5, 6]
    assert "optimiser.learning_rate = 0.001" in display.notes[0]
    (change,) = (line for line in read_log(tmp_path) if line["kind"] == "change")
    assert (change["update"], change["optimiser"]) == (4, {"learning_rate": 1e-3})
    with pytest.raises(ExperimentError, match=r"updates left .*learning_rate = 0\.01.*--to"):
        train_experiment(text_experiment(data), tmp_path, display=Silent())


@pytest.mark.parametrize("at", [1, 6])
def test_the_command_that_is_advised_works(
    at: int,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    import shlex

    path = tmp_path / "text.toml"
    path.write_text(experiment_file.dump(text_experiment(data)))
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        explode(patch, at=at)
        assert command_line(["train", str(path), "--to", str(folder)]) == 1
    said = capsys.readouterr().err
    commands = [shlex.split(line) for line in said.splitlines() if line.startswith("  taskaware")]
    assert len(commands) == (1 if at == 1 else 2)
    for words in commands:
        assert any(word.startswith("optimiser.learning_rate=") for word in words)
        assert command_line(words[1:]) == 0
    assert (folder / "model" / "model.json").is_file()


def test_weights_that_are_not_finite_are_neither_saved_nor_the_best(data: Path, tmp_path: Path):
    class Spoiling(Silent):
        """A display that spoils a weight after the update before a validation."""

        def start(self, run: Run, *, first_update: int) -> None:
            self.model = run.model
            super().start(run, first_update=first_update)

        def on_update(self, update: int) -> None:
            if update == 4:
                with torch.no_grad():
                    next(self.model.parameters()).view(-1)[0] = float("nan")

    with pytest.raises(NotFiniteError, match="all weights must be finite"):
        train_experiment(text_experiment(data), tmp_path, display=Spoiling())
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["update-00000002"]
    best = [path.name for path in (tmp_path / "best_weights").iterdir()]
    assert best == ["update-00000002.safetensors"]


# --- damage ---


@pytest.mark.parametrize("damage", ["truncated", "missing", "state"])
def test_a_damaged_newest_checkpoint_is_passed_over_for_an_older_one(
    damage: str, data: Path, trained: Path, tmp_path: Path
):
    assert not train_experiment(text_experiment(data), tmp_path, display=interrupt_in(5))
    newest = sorted((tmp_path / "checkpoints").iterdir())[-1]
    path = newest / ("state.json" if damage == "state" else "optimiser.safetensors")
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[: len(content) // 2])
    display = Silent()
    assert train_experiment(text_experiment(data), tmp_path, display=display)
    assert display.first_update == 4
    assert newest.name in display.notes[0]
    assert "update-00000004" in display.notes[0]
    assert_same_models(trained, tmp_path)


def test_a_run_whose_checkpoints_are_all_damaged_is_refused_with_what_to_do(
    data: Path, trained: Path, tmp_path: Path
):
    folder = shutil.copytree(trained, tmp_path / "copy")
    for path in (folder / "checkpoints").iterdir():
        (path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"undamaged checkpoint .*--restart.*--to"):
        train_experiment(text_experiment(data, updates=8), folder, display=Silent())


def test_best_weights_that_are_gone_are_looked_for_anew(data: Path, trained: Path, tmp_path: Path):
    folder = shutil.copytree(trained, tmp_path / "copy")
    shutil.rmtree(folder / "best_weights")
    display = Silent()
    assert train_experiment(text_experiment(data, updates=8), folder, display=display)
    assert "looked for again" in display.notes[0]
    assert taskaware.load(folder / "best").provenance["update"] == 8


# --- two commands, several processes ---


@pytest.mark.parametrize("next_written", ["save_every", "validate_every", "log_every"])
def test_a_folder_that_is_moved_while_a_run_trains_in_it_is_not_made_again_and_goes_on_elsewhere(
    next_written: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Moves(Silent):
        def on_update(self, update: int) -> None:
            if update == 3:
                (tmp_path / "run").rename(tmp_path / "moved")

    rarely = dict.fromkeys(("save_every", "validate_every", "log_every"), 9)
    experiment = text_experiment(data, **{**rarely, next_written: 1})
    monkeypatch.setattr(log, "find_spec", lambda name: None)  # without TensorBoard
    with pytest.raises(WriteError, match=r"run must stay where it is .* moved or deleted"):
        train_experiment(experiment, tmp_path / "run", display=Moves())
    assert not (tmp_path / "run").exists()
    assert train_experiment(experiment, tmp_path / "moved", display=Silent())


def test_a_finished_run_without_checkpoints_is_not_begun_anew_unless_that_is_asked_for(
    data: Path, tmp_path: Path
):
    experiment, folder = text_experiment(data, updates=1), tmp_path / "run"
    train_experiment(experiment, folder, display=Silent())
    shutil.rmtree(folder / "checkpoints")
    before = contents(folder)
    with pytest.raises(ExperimentError, match=r"no checkpoint to go on from.*--restart"):
        train_experiment(experiment, folder, display=Silent())
    assert contents(folder) == before
    assert train_experiment(experiment, folder, display=Silent(), restart=True)


def test_a_second_training_in_the_same_folder_is_refused(data: Path, tmp_path: Path):
    with lock(tmp_path), pytest.raises(RunInUseError, match="another command trains in it"):
        train_experiment(text_experiment(data), tmp_path, display=Silent())
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_process_that_is_killed_ends_the_run_with_a_message(data: Path, tmp_path: Path):
    import multiprocessing

    def kill_the_other(update: int) -> None:
        if update == 3:
            (other,) = multiprocessing.active_children()
            os.kill(other.pid or 0, signal.SIGKILL)

    experiment = text_experiment(data, updates=200)
    with pytest.raises(LostProcessError, match=r"process 2 was killed by signal 9.*same command"):
        train_in_processes(experiment, tmp_path, num_processes=2, display=Silent(kill_the_other))
    assert (tmp_path / "checkpoints" / "update-00000002").is_dir()


def test_a_process_that_is_killed_is_named_though_its_connections_close_before_it_is_dead(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def lose_the_connection(*_: object, **__: object) -> None:
        until = time.monotonic() + 300
        while not (tmp_path / "dying").exists():
            assert time.monotonic() < until, "the other process has not begun"
            time.sleep(0.01)
        raise LostProcessError("connection reset by peer")

    monkeypatch.setattr(launch, "train_experiment", lose_the_connection)
    monkeypatch.setattr(launch, "_train_silently", _die_in_half_a_second)
    with pytest.raises(LostProcessError, match=r"process 2 was killed by signal 9.*same command"):
        train_in_processes(text_experiment(data), tmp_path, num_processes=2, display=Silent())


def _die_in_half_a_second(_experiment: Experiment, folder: Path, _seat: object) -> None:
    (folder / "dying").touch()
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("number", [0, -1])
def test_a_number_of_processes_below_one_is_refused(number: int, data: Path, tmp_path: Path):
    with pytest.raises(UserError, match=f"at least 1, but is {number}"):
        train_in_processes(text_experiment(data), tmp_path, num_processes=number, display=Silent())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_where_there_is_none_is_refused_and_so_is_a_setting_from_python(
    data: Path, tmp_path: Path
):
    with pytest.raises(UserError, match=r"training\.device.*finds no CUDA"):
        train_experiment(text_experiment(data, device="cuda"), tmp_path, display=Silent())
    with pytest.raises(ExperimentError, match=r"training\.seed must be at least 0"):
        train_experiment(text_experiment(data, seed=-1), tmp_path, display=Silent())


# --- which weights are kept ---


def validate_as(values: list[float], monkeypatch: pytest.MonkeyPatch, display: Silent) -> None:
    def validate(_run: object) -> Validation:
        return Validation(values={"mt_en_de": values[display.updates[-1] - 1], "mt_de_en": 1.0})

    monkeypatch.setattr(runs, "validate", validate)


LOSSES = [5.0, 3.0, 4.0, 3.5, 3.2, 2.0, 1.0]


@pytest.mark.parametrize("stops", [(), (2,), (2, 4)])
def test_patience_ends_a_run_at_the_same_update_wherever_it_was_stopped(
    stops: tuple[int, ...], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    experiment = text_experiment(data, updates=7, validate_every=1, patience=3)
    for last in stops:
        display = interrupt_in(last)
        validate_as(LOSSES, monkeypatch, display)
        assert not train_experiment(experiment, tmp_path / "run", display=display)
    display = Silent()
    validate_as(LOSSES, monkeypatch, display)
    assert train_experiment(experiment, tmp_path / "run", display=display)
    assert display.updates[-1] == 5
    assert taskaware.load(tmp_path / "run" / "model").provenance["update"] == 2
    again = Silent()
    assert train_experiment(experiment, tmp_path / "run", display=again)
    assert again.updates == []
    more = Silent()
    validate_as(LOSSES, monkeypatch, more)
    patient = text_experiment(data, updates=7, validate_every=1, patience=4)
    assert train_experiment(patient, tmp_path / "run", display=more)
    assert more.updates == [6, 7]
    assert taskaware.load(tmp_path / "run" / "model").provenance["update"] == 7


@pytest.mark.parametrize("final", ["best", "last"])
def test_the_best_is_always_there_by_its_name_and_as_a_start(
    final: str, data: Path, tmp_path: Path
):
    folder = tmp_path / "run"
    assert train_experiment(text_experiment(data, updates=2, final=final), folder, display=Silent())
    assert load(folder, which="best").provenance["update"] == 2
    tuned = text_experiment(data, updates=1, start=folder / "best")
    assert train_experiment(tuned, tmp_path / "tuned", display=Silent())


def test_models_take_no_room_of_their_own_and_those_of_each_task_can_be_left_out(
    data: Path, trained: Path, tmp_path: Path
):
    def inodes(folder: Path, name: str) -> set[int]:
        return {path.stat().st_ino for path in folder.rglob(name)}

    in_checkpoints = inodes(trained / "checkpoints", "model.safetensors")
    assert inodes(trained, "model.safetensors") == in_checkpoints
    assert inodes(trained / "best_weights", "*") <= in_checkpoints
    assert (trained / "taskwise" / "mt_de_en").is_dir()
    experiment = text_experiment(data, taskwise=False)
    assert train_experiment(experiment, tmp_path, display=Silent())
    assert not (tmp_path / "taskwise").exists()
    assert set(json.loads(newest_state(tmp_path).read_text())["best"]) == {"all"}


def newest_state(folder: Path) -> Path:
    return max((folder / "checkpoints").iterdir()) / "state.json"


def test_best_weights_that_nothing_needs_are_deleted(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    display = Silent()
    validate_as([7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], monkeypatch, display)
    experiment = text_experiment(data, updates=7, validate_every=1, keep=2, taskwise=False)
    assert train_experiment(experiment, tmp_path, display=display)
    kept = sorted(path.name for path in (tmp_path / "best_weights").iterdir())
    assert kept == ["update-00000006.safetensors", "update-00000007.safetensors"]


def test_without_dev_examples_the_last_weights_are_the_model(tmp_path: Path):
    data = write_data(tmp_path, splits=("train",))
    assert train_experiment(text_experiment(data), tmp_path / "run", display=Silent())
    assert taskaware.load(tmp_path / "run" / "model").provenance["update"] == 6
    assert not (tmp_path / "run" / "best").exists()


def test_a_run_that_is_still_in_training_is_no_model_yet(data: Path, tmp_path: Path):
    assert not train_experiment(text_experiment(data), tmp_path, display=interrupt_in(3))
    assert command_line(["evaluate", str(tmp_path), "--data", str(data), "--split", "dev"]) == 1
    with pytest.raises(CheckpointError, match="finished run, but has no model yet"):
        load(tmp_path)


def test_every_file_of_a_run_can_be_read_by_whom_the_umask_lets(data: Path, tmp_path: Path):
    before = os.umask(0o027)
    try:
        assert train_experiment(text_experiment(data, updates=2), tmp_path, display=Silent())
    finally:
        os.umask(before)
    modes = {p: p.stat().st_mode & 0o777 for p in tmp_path.rglob("*") if p.is_file()}
    assert {mode for path, mode in modes.items() if "tensorboard" not in path.parts} == {0o640}
    assert json.loads((tmp_path / "model" / "provenance.json").read_text())["update"] == 2


# --- a stranger's checkpoint ---


@pytest.mark.parametrize(
    "said",
    [
        {"tasks": 1},
        {"tasks": [1]},
        {"tasks": [{"name": "mt"}]},
        {"tasks": [{"name": "mt", "kind": [], "source_modality": "text"}]},
        {"tasks": [{"name": "mt", "kind": "mt", "source_modality": "smell"}]},
        {"vocabulary": None},
    ],
)
def test_a_checkpoint_that_says_impossible_things_of_its_tasks_is_no_start(
    said: dict[str, object], data: Path, trained: Path, tmp_path: Path
):
    start = shutil.copytree(sorted((trained / "checkpoints").iterdir())[-1], tmp_path / "start")
    content = json.loads((start / "state.json").read_text())
    content["data"] |= said
    if said.get("vocabulary", "") is None:
        del content["data"]["vocabulary"]
    (start / "state.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="must say of which tasks and vocabulary its weights"):
        train_experiment(text_experiment(data, start=start), tmp_path / "run", display=Silent())
