"""One run, whole: trained, stopped, killed, gone on with; the models and logs that it leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

import taskaware
from taskaware.errors import DataError, ExperimentError
from taskaware.run import experiment as experiment_file
from taskaware.run import finish
from taskaware.run import train as runs
from taskaware.run.launch import train_in_processes
from taskaware.run.log import read_log
from taskaware.run.run import Run
from taskaware.run.train import train_experiment
from taskaware.training.loop import Validation
from taskaware.training.settings import ObjectiveSettings
from tiny_corpus import (
    TASK_NAMES,
    Silent,
    assert_same_models,
    figures,
    interrupt_in,
    prepare_corpus,
    speak,
    tiny_experiment,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MODELS = ("model", "average", "taskwise/asr_en", "taskwise/st_en_de", "taskwise/mt_en_de")
DROPOUT = {"model": {"dropout": 0.2, "attention_dropout": 0.1, "relu_dropout": 0.1}}
COURSES = {
    "plain": {},
    "dropout, accumulated": DROPOUT | {"accumulate": 2},
    "dropout, sampled": DROPOUT
    | {"batching": {"mix": "sampled", "temperature": 2.0, "strategy": "dynamic", "max_tokens": 40}},
    "meta": DROPOUT | {"learning": {"strategy": "meta", "inner_steps": 2}},
    "no cue, final average": {"conditioning": {"cue": "none"}, "final": "average"},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "tiny"
    assert train_experiment(tiny_experiment(data), folder, display=Silent())
    return folder


# --- stopped and gone on with ---


@pytest.mark.parametrize("course", COURSES)
def test_a_run_that_was_stopped_ends_bitwise_as_one_that_never_was(
    course: str, data: Path, tmp_path: Path
):
    experiment = tiny_experiment(data, **COURSES[course])
    assert train_experiment(experiment, tmp_path / "whole", display=Silent())
    for last in (2, 4):
        assert not train_experiment(experiment, tmp_path / "parts", display=interrupt_in(last))
        assert not (tmp_path / "parts" / "model").exists()
    display = Silent()
    assert train_experiment(experiment, tmp_path / "parts", display=display)
    assert (display.first_update, display.updates) == (4, [5, 6])
    assert_same_models(tmp_path / "whole", tmp_path / "parts")
    assert figures(tmp_path / "whole") == figures(tmp_path / "parts")


def test_the_averaged_checkpoints_do_not_depend_on_where_the_run_was_stopped(
    data: Path, trained: Path, tmp_path: Path
):
    experiment = tiny_experiment(data)
    for last in (3, 5):
        assert not train_experiment(experiment, tmp_path, display=interrupt_in(last))
    assert train_experiment(experiment, tmp_path, display=Silent())
    assert_same_models(trained, tmp_path)


def test_the_same_seed_gives_the_same_models_and_another_seed_others(
    data: Path, trained: Path, tmp_path: Path
):
    train_experiment(tiny_experiment(data), tmp_path / "again", display=Silent())
    assert_same_models(trained, tmp_path / "again")
    train_experiment(tiny_experiment(data, seed=2), tmp_path / "other", display=Silent())
    weights = [folder / "model" / "model.safetensors" for folder in (trained, tmp_path / "other")]
    assert weights[0].read_bytes() != weights[1].read_bytes()


def test_a_second_interrupt_ends_the_process_at_once(data: Path, tmp_path: Path):
    def interrupt_twice(update: int) -> None:
        if update == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_experiment(tiny_experiment(data), tmp_path, display=Silent(interrupt_twice))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_that_was_killed_ends_bitwise_as_one_that_never_was(data: Path, tmp_path: Path):
    experiment = tiny_experiment(data, updates=14, save_every=3, **DROPOUT)
    assert train_experiment(experiment, tmp_path / "whole", display=Silent())
    path = tmp_path / "tiny.toml"
    path.write_text(experiment_file.dump(experiment))
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "taskaware", "train", path, "--to", folder]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while len(figures_of_updates(folder)) < 7:
            assert process.poll() is None, "it must be killed before it ends"
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    assert not (folder / "model").exists()
    assert train_experiment(experiment, folder, display=Silent())
    assert_same_models(tmp_path / "whole", folder)
    assert figures(tmp_path / "whole") == figures(folder)


def figures_of_updates(folder: Path) -> list[dict]:
    return [line for line in read_log(folder) if line["kind"] == "progress"]


def test_a_finished_run_is_left_as_it_is(data: Path, trained: Path, tmp_path: Path):
    folder = shutil.copytree(trained, tmp_path / "copy")
    display = Silent()
    assert train_experiment(tiny_experiment(data), folder, display=display)
    assert display.updates == []
    assert_same_models(trained, folder)
    assert figures(trained) == figures(folder)


def test_a_finished_run_goes_on_to_more_updates(data: Path, trained: Path, tmp_path: Path):
    folder = shutil.copytree(trained, tmp_path / "copy")
    display = Silent()
    assert train_experiment(tiny_experiment(data, updates=8), folder, display=display)
    assert (display.first_update, display.updates) == (6, [7, 8])
    assert taskaware.load(folder / "average").provenance["update"] == 8


def test_starting_over_deletes_only_what_a_run_writes(data: Path, trained: Path, tmp_path: Path):
    folder = shutil.copytree(trained, tmp_path / "copy")
    (folder / "notes.txt").write_text("mine")
    display = Silent()
    experiment = tiny_experiment(data, seed=2, updates=2)
    assert train_experiment(experiment, folder, display=display, restart=True)
    assert display.updates == [1, 2]
    assert (folder / "notes.txt").read_text() == "mine"
    assert [line["update"] for line in figures_of_updates(folder)] == [1, 2]


def test_a_folder_of_another_experiment_is_refused_with_the_lines_that_differ(
    data: Path, trained: Path
):
    before = (trained / "experiment.toml").read_text()
    with pytest.raises(ExperimentError, match=r"(?s)d_ff = 48.*--restart"):
        train_experiment(tiny_experiment(data, model={"d_ff": 48}), trained, display=Silent())
    assert (trained / "experiment.toml").read_text() == before


def test_a_missing_data_folder_can_be_corrected_in_the_same_run_folder(data: Path, tmp_path: Path):
    with pytest.raises(DataError, match="does not exist"):
        train_experiment(tiny_experiment(tmp_path / "nowhere"), tmp_path / "run", display=Silent())
    assert train_experiment(tiny_experiment(data, updates=1), tmp_path / "run", display=Silent())


# --- two processes ---


@pytest.mark.parametrize("sharded", [False, True])
def test_two_processes_write_one_model_and_go_on_bitwise(sharded: bool, data: Path, tmp_path: Path):
    experiment = tiny_experiment(
        data, batching={"examples_per_batch": 2}, **DROPOUT, sharded=sharded
    )
    whole, parts = tmp_path / "whole", tmp_path / "parts"

    def run(folder: Path, display: Silent) -> bool:
        return train_in_processes(experiment, folder, num_processes=2, display=display)

    assert run(whole, Silent())
    assert not run(parts, interrupt_in(2))
    newest = max((parts / "checkpoints").iterdir())
    assert {path.name for path in newest.glob("random-*")} == {
        "random-0.safetensors",
        "random-1.safetensors",
    }
    display = Silent()
    assert run(parts, display)
    assert display.updates == [3, 4, 5, 6]
    assert_same_models(whole, parts)
    newest = max((whole / "checkpoints").iterdir())
    seeds = set()
    for rank in (0, 1):
        generator = torch.Generator()
        generator.set_state(load_file(newest / f"random-{rank}.safetensors")["torch"])
        seeds.add(generator.initial_seed())
    assert len(seeds) == 2, "dropout differs between processes"
    assert taskaware.load(whole / "model").run("mt_en_de", "one") is not None
    with pytest.raises(
        taskaware.TaskawareError, match=r"as many processes as .*\(2\), but is by 1"
    ):
        train_experiment(experiment, parts, display=Silent())


@pytest.mark.parametrize("sharded", [False, True])
def test_two_processes_learn_as_one_that_accumulates_two_batches(
    sharded: bool, data: Path, tmp_path: Path
):
    same = {
        "model": {"dropout": 0.0, "attention_dropout": 0.0, "relu_dropout": 0.0},
        "conditioning": {"derange_support": False},
        "updates": 4,
    }
    one, two = tmp_path / "one", tmp_path / "two"
    train_experiment(tiny_experiment(data, **same, accumulate=2), one, display=Silent())
    experiment = tiny_experiment(data, **same, sharded=sharded)
    train_in_processes(experiment, two, num_processes=2, display=Silent())
    found = [[r["values"] for r in read_log(f) if r["kind"] == "validation"] for f in (one, two)]
    assert len(found[0]) == len(found[1]) == 2
    for left, right in zip(*found, strict=True):
        assert left == pytest.approx(right, rel=1e-4)


def test_who_splits_a_model_over_a_single_process_is_told_that_nothing_is_split(
    data: Path, tmp_path: Path
):
    experiment = tiny_experiment(data, updates=1, sharded=True)
    assert train_experiment(experiment, tmp_path / "run", display=Silent())
    about = [line["about"] for line in read_log(tmp_path / "run") if line["kind"] == "remark"]
    assert about == ["training.sharded"]


# --- what a run leaves ---


@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_a_run_loads_and_says_where_it_came_from(name: str, trained: Path):
    model = taskaware.load(trained / name)
    assert [task.name for task in model.tasks] == list(TASK_NAMES)
    assert set(model.task_embeddings) == set(TASK_NAMES)
    assert model.provenance["run"] == trained.name
    assert model.provenance["update"] in (2, 4, 6)
    assert isinstance(model.run("mt_en_de", "one two"), str)


def test_the_best_models_are_those_of_the_lowest_dev_loss_also_after_a_stop(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    losses = {2: (1.0, 5.0, 6.0), 4: (2.0, 3.0, 5.0), 6: (4.0, 4.0, 4.0)}  # mean: 4, 3.33, 4
    display = interrupt_in(5)

    def validate(run: object) -> Validation:
        update = display.updates[-1]
        return Validation(values=dict(zip(TASK_NAMES, losses[update], strict=True)))

    monkeypatch.setattr(runs, "validate", validate)
    assert not train_experiment(tiny_experiment(data), tmp_path, display=display)
    display = Silent()
    assert train_experiment(tiny_experiment(data), tmp_path, display=display)
    best = {"model": 4} | {f"taskwise/{n}": u for n, u in zip(TASK_NAMES, losses, strict=True)}
    for name, update in best.items():
        assert taskaware.load(tmp_path / name).provenance["update"] == update
        found = load_file(tmp_path / name / "model.safetensors")
        saved = load_file(tmp_path / f"checkpoints/update-{update:08d}" / "model.safetensors")
        assert all(found[key].equal(saved[key]) for key in saved)


def test_the_average_is_the_mean_of_the_last_checkpoints(trained: Path):
    last = [load_file(p / "model.safetensors") for p in sorted((trained / "checkpoints").iterdir())]
    average = load_file(trained / "average" / "model.safetensors")
    for name, value in average.items():
        expected = (last[-1][name].double() + last[-2][name].double()) / 2
        assert value.equal(expected.float())


def test_the_last_weights_are_the_model_where_that_is_asked(data: Path, tmp_path: Path):
    assert train_experiment(tiny_experiment(data, final="last"), tmp_path, display=Silent())
    last = load_file(tmp_path / "checkpoints" / "update-00000006" / "model.safetensors")
    final = load_file(tmp_path / "model" / "model.safetensors")
    assert all(final[name].equal(last[name]) for name in last)
    assert (tmp_path / "best" / "model.json").is_file()


def test_a_copied_model_folder_needs_neither_the_data_nor_the_run(tmp_path: Path):
    import soundfile

    (tmp_path / "corpus").mkdir()
    data = prepare_corpus(tmp_path / "corpus")
    run = tmp_path / "run"
    assert train_experiment(tiny_experiment(data, updates=2), run, display=Silent())
    before = taskaware.load(run / "model")
    outputs = run_all(before)
    shutil.copytree(run / "model", tmp_path / "copy")
    shutil.rmtree(tmp_path / "corpus")
    shutil.rmtree(run)
    soundfile.write(tmp_path / "new.wav", speak("six ten"), 16_000)
    model = taskaware.load(tmp_path / "copy")
    assert run_all(model) == outputs
    assert isinstance(model.transcribe(tmp_path / "new.wav"), str)
    assert isinstance(model.translate(str(tmp_path / "new.wav"), to="de"), str)
    assert isinstance(model.translate("six ten", to="de"), str)


def run_all(model: taskaware.TaskAwareModel) -> list[str]:
    sources = [speak("one two"), speak("two"), "two six"]
    return [model.run(task.name, source) for task, source in zip(model.tasks, sources, strict=True)]


def test_nothing_that_a_run_writes_is_pickled(trained: Path):
    files = [path for path in trained.rglob("*") if path.is_file()]
    files = [path for path in files if "tensorboard" not in path.parts and path.name[0] != "."]
    assert {path.suffix for path in files} == {
        ".safetensors",
        ".json",
        ".jsonl",
        ".toml",
        ".model",
        ".md",
    }


# --- logs ---


def test_the_log_has_every_update_once_after_a_stop_and_a_kill(data: Path, tmp_path: Path):
    experiment = tiny_experiment(data)
    train_experiment(experiment, tmp_path, display=interrupt_in(3))
    with (tmp_path / "log.jsonl").open("a") as file:  # as if killed after the checkpoint
        file.write(json.dumps({"kind": "progress", "update": 4, "losses": {}}) + "\n")
        file.write('{"kind": "progress", "upd')
    train_experiment(experiment, tmp_path, display=Silent())
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["update"] for line in lines if line["kind"] == "progress"] == [1, 2, 3, 4, 5, 6]
    assert [line["update"] for line in lines if line["kind"] == "validation"] == [2, 4, 6]
    losses = [line["losses"] for line in lines if line["kind"] == "progress"]
    assert all(set(of_tasks) == set(TASK_NAMES) for of_tasks in losses)
    train_experiment(experiment, tmp_path, display=Silent())  # is finished: nothing goes on
    assert [line["update"] for line in read_log(tmp_path) if line["kind"] == "resumed"] == [3]


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="needs the extra 'tensorboard'")
def test_tensorboard_reads_the_losses_of_every_task(trained: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(trained / "tensorboard"))
    board.Reload()
    tags = board.Tags()["scalars"]
    assert {f"progress/losses/{name}" for name in TASK_NAMES} <= set(tags)
    assert [event.step for event in board.Scalars("progress/losses/asr_en")] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in board.Scalars("validation/values/asr_en")] == [2, 4, 6]


# --- every conditioning ---


@pytest.mark.parametrize(
    "conditioning",
    [
        {"cue": "none"},
        {"cue": "text_label"},
        {"cue": "target_tag"},
        {"cue": "explicit"},
        {"cue": "explicit", "acts_by": "prepend"},
        {"cue": "implicit", "film_scope": "per_block"},
        {"cue": "implicit", "acts_by": "prepend"},
    ],
    ids=lambda conditioning: "-".join(conditioning.values()),
)
def test_every_conditioning_trains_and_predicts(conditioning: dict, data: Path, tmp_path: Path):
    experiment = tiny_experiment(
        data, conditioning=conditioning, updates=2, average_last=0, selection="score"
    )
    assert train_experiment(experiment, tmp_path, display=Silent())
    model = taskaware.load(tmp_path / "model")
    assert bool(model.task_embeddings) == (conditioning["cue"] in ("explicit", "implicit"))
    assert len(run_all(model)) == 3
    [line] = [line for line in read_log(tmp_path) if line["kind"] == "validation"]
    assert set(line["scores"]) == set(TASK_NAMES)


def test_trying_the_largest_batches_first_changes_nothing(data: Path, tmp_path: Path):
    for name in ("always", "never"):
        experiment = tiny_experiment(data, try_largest=name)
        assert train_experiment(experiment, tmp_path / name, display=Silent())
    assert_same_models(tmp_path / "always", tmp_path / "never")


def test_processes_that_read_ahead_change_nothing_and_a_stopped_run_goes_on(
    data: Path, tmp_path: Path
):
    alone = tiny_experiment(data)
    assert train_experiment(alone, tmp_path / "alone", display=Silent())
    helped = tiny_experiment(data, batching={"num_workers": 2})
    stopped = train_experiment(helped, tmp_path / "helped", display=interrupt_in(4))
    assert not stopped
    assert train_experiment(helped, tmp_path / "helped", display=Silent())
    assert_same_models(tmp_path / "alone", tmp_path / "helped")


@pytest.mark.parametrize("learning", [{}, {"strategy": "meta"}], ids=["joint", "meta"])
def test_a_run_whose_task_network_looks_at_other_batches_goes_on_bitwise(
    data: Path, tmp_path: Path, learning: dict[str, str]
):
    own = tiny_experiment(data, learning=learning)
    other = tiny_experiment(data, learning=learning, batching={"cue_examples": 2})
    for name, experiment in (("own", own), ("other", other)):
        assert train_experiment(experiment, tmp_path / name, display=Silent())
    assert not train_experiment(other, tmp_path / "stopped", display=interrupt_in(4))
    assert train_experiment(other, tmp_path / "stopped", display=Silent())
    assert_same_models(tmp_path / "other", tmp_path / "stopped")
    with pytest.raises(AssertionError):
        assert_same_models(tmp_path / "own", tmp_path / "other")


@pytest.mark.parametrize("conditioning", [{"cue": "explicit"}, {"derange_support": False}], ids=str)
def test_examples_that_no_task_network_looks_at_are_not_read(
    data: Path, tmp_path: Path, conditioning: dict[str, object]
):
    for name, batching in (("own", {}), ("other", {"cue_examples": 2})):
        experiment = tiny_experiment(data, conditioning=conditioning, batching=batching)
        assert train_experiment(experiment, tmp_path / name, display=Silent())
    assert_same_models(tmp_path / "own", tmp_path / "other")


def test_the_log_says_how_long_training_waited_and_how_much_was_padding(trained: Path):
    lines = [line for line in read_log(trained) if line["kind"] == "progress"]
    assert lines
    for line in lines:
        assert 0 <= line["waiting"] < 1
        assert set(line["padding"]) == set(TASK_NAMES)
        assert all(0 <= share < 1 for share in line["padding"].values())
        assert line["speech_hours_per_second"] > 0
        assert 100 < line["memory_mib"] < 10_000  # torch alone takes more than the lower one


def test_the_log_tells_the_ctc_loss_of_recognition_from_its_cross_entropy(
    data: Path, trained: Path, tmp_path: Path
):
    [without, *_] = [line for line in read_log(trained) if line["kind"] == "progress"]
    assert without["ctc_losses"] == {}
    for weight, rate in ((0.5, 1e-9), (1.0, 1e-9), (1.0, 0.05)):
        experiment = tiny_experiment(data, optimiser={"learning_rate": rate}, updates=30)
        experiment = replace(experiment, objective=ObjectiveSettings(ctc_weight=weight))
        folder = tmp_path / f"{weight}-{rate}"
        assert train_experiment(experiment, folder, display=Silent())
    folders = [tmp_path / name for name in ("0.5-1e-09", "1.0-1e-09", "1.0-0.05")]
    for kind in ("progress", "validation"):
        half, whole, learnt = (
            [line for line in read_log(folder) if line["kind"] == kind][-1]["ctc_losses"]
            for folder in folders
        )
        assert list(half) == ["asr_en"]
        # Of what is hardly trained, without a weight; float32 has 2e-6 between two numbers at 25.
        assert half == pytest.approx(whole, rel=1e-6)
        assert learnt["asr_en"] < whole["asr_en"] - 0.5


def test_weights_that_are_best_for_several_tasks_become_a_model_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each model has a t_e of every task: made for each task anew, 51 tasks took 51 times 51."""
    made: list[int] = []
    original = Run.finished_model

    def counted(run: Run, tensors, *, update: int):
        made.append(update)
        return original(run, tensors, update=update)

    monkeypatch.setattr(Run, "finished_model", counted)
    experiment = tiny_experiment(data)
    assert train_experiment(experiment, tmp_path / "run", display=Silent())
    state = json.loads(
        (sorted((tmp_path / "run" / "checkpoints").iterdir())[-1] / "state.json").read_text()
    )
    updates = {int(found["update"]) for found in state["best"].values()}
    assert sorted(made) == sorted([*updates, experiment.training.updates])  # and the average
    for folder in MODELS:
        assert taskaware.load(tmp_path / "run" / folder).tasks


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_mean_of_checkpoints_that_is_worse_than_the_last_is_told(
    noise: float, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It was the model of a run that still learnt fast, and nothing said so."""

    def far_apart(checkpoints: Sequence[Path]) -> dict[str, torch.Tensor]:
        last = load_file(checkpoints[-1] / "model.safetensors")
        return {name: value + noise * torch.randn_like(value) for name, value in last.items()}

    monkeypatch.setattr(finish, "average_weights", far_apart)
    display = Silent()
    assert train_experiment(tiny_experiment(data, final="average"), tmp_path, display=display)
    told = [line for line in read_log(tmp_path) if line.get("about") == "training.final"]
    assert len(told) == (noise > 0)
    assert [note for note in display.notes if "checkpoints" in note] == [t["text"] for t in told]
    for line in told:
        assert line["figures"]["average"] > line["figures"]["last"]
        assert "(update-00000004 to update-00000006) becomes the model" in line["text"]
