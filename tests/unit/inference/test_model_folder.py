"""A run or its model: found by one rule, and what is there is named."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from conftest import MT
from taskaware.cli.main import run as command
from taskaware.errors import CheckpointError, UserError
from taskaware.inference.model import load
from taskaware.inference.model_folder import find_model
from tiny_models import random_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    for name in ("model", "best", "taskwise/asr_en"):
        (run / name).mkdir(parents=True)
        (run / name / "model.json").write_text("{}")
    (run / "experiment.toml").write_text("")
    return run


@pytest.mark.parametrize("which", ["model", "best", "taskwise/asr_en"])
def test_a_runs_models_are_found_by_word_and_by_place(which: str, run: Path):
    assert find_model(run, which) == run / which
    assert find_model(run / which) == run / which


def test_a_model_that_was_copied_elsewhere_is_itself(run: Path, tmp_path: Path):
    (run / "model").rename(tmp_path / "copy")
    assert find_model(tmp_path / "copy") == tmp_path / "copy"


@pytest.mark.parametrize("which", ["average", "taskwise/nothing", "bset"])
def test_a_model_that_a_run_does_not_have_is_refused_with_those_that_it_has(which: str, run: Path):
    for asked in ((run, which), (run / which, "model")):
        with pytest.raises(CheckpointError, match=r"has model, best, taskwise/asr_en"):
            find_model(*asked)


def test_a_run_that_is_not_finished_is_named_as_that(tmp_path: Path):
    (tmp_path / "experiment.toml").write_text("")
    (tmp_path / "checkpoints" / "update-00000020").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"finished run, but has no model yet.*00000020"):
        find_model(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(
        CheckpointError, match="nowhere must be a model folder or a run's, but does not"
    ):
        find_model(tmp_path / "nowhere")


def test_a_model_whose_folders_name_is_not_utf_8_is_told_so_and_not_called_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    random_model(tasks=(MT,)).save(tmp_path / "mine")
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        (tmp_path / "mine").rename(folder)
    except OSError:
        pytest.skip("this file system takes no names that are not UTF-8")
    assert command(["predict", str(folder), "--text", "a house"]) == 2
    assert "must have a name in UTF-8" in capsys.readouterr().err
    with pytest.raises(UserError, match="must have a name in UTF-8"):
        random_model(tasks=(MT,)).save(folder)


def test_a_folder_that_models_and_runs_are_in_names_them(run: Path, tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"neither .*: give one that is in it, \S*/run$"):
        find_model(tmp_path)
    for number in range(9):
        (tmp_path / f"run{number}").mkdir()
        (tmp_path / f"run{number}" / "experiment.toml").touch()
    with pytest.raises(CheckpointError, match=r"/run, \S*/run0, \S*/run1, \S*/run2, \.\.\.$"):
        find_model(tmp_path)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(CheckpointError, match=r"neither model\.json nor experiment\.toml$"):
        find_model(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (("prepared.json", "vocabulary.model"), "is prepared data: give a run"),
        (("export.json", "model.bin", "config.json"), "is an export for other programs"),
        (("config.json", "model.safetensors"), "Hugging Face's: import it"),
    ],
)
def test_a_folder_of_something_else_is_called_what_it_is(
    names: tuple[str, ...], what: str, tmp_path: Path
):
    for name in names:
        (tmp_path / name).write_text("{}")
    with pytest.raises(CheckpointError, match=what):
        find_model(tmp_path)


def test_a_file_of_a_model_names_its_folder_and_any_other_is_called_a_file(
    run: Path, tmp_path: Path
):
    with pytest.raises(CheckpointError, match=r"is a file: give its folder, .*/run/model$"):
        find_model(run / "model" / "model.json")
    (tmp_path / "a.wav").touch()
    with pytest.raises(CheckpointError, match=r"a\.wav must be a model .* but is a file$"):
        find_model(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/home/jane/secret/runs/mine", "mine"),
        ("/home/jane/secret/runs/mine/", "mine"),
        (r"C:\Users\Jane\runs\mine", "mine"),
        ("runs/mine", "runs/mine"),
        ("mine", "mine"),
        ("s3://bucket/data", "s3://bucket/data"),
        ("", ""),
        (7, 7),
    ],
)
def test_a_folder_of_a_model_keeps_no_place_of_a_machine(
    given: object, kept: object, tmp_path: Path
):
    model = replace(random_model(), provenance={"data": given, "update": 3})
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").provenance == {"data": kept, "update": 3}
    assert "jane" not in "".join(
        path.read_text("utf-8", "replace").casefold()
        for path in (tmp_path / "model").iterdir()
        if path.is_file()
    )


@pytest.mark.parametrize(
    "name", ["/../../../there", "../there", "a/b", "a b", "", "all", "st\x1b[31m", "mt_en_de"]
)
def test_a_strangers_model_whose_tasks_could_not_be_trained_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture
):
    # Subtitles are files named after tasks: one called /../../../there was written there.
    random_model().save(tmp_path / "model")
    description = json.loads((tmp_path / "model" / "model.json").read_text())
    description["tasks"][0]["name"] = name
    (tmp_path / "model" / "model.json").write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match=r"model.json must describe a model, but: .*must "):
        load(tmp_path / "model")
    assert command(["inspect", str(tmp_path / "model")]) == 1
    assert "name" in capsys.readouterr().err


def test_a_model_whose_task_has_a_name_that_none_may_have_is_not_saved(tmp_path: Path):
    model = random_model(tasks=(replace(MT, name="../there"),))
    with pytest.raises(UserError, match="can be loaded, but a task's name must be a name of lett"):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_model_is_loaded_without_drawing_numbers(tmp_path: Path):
    saved = random_model()
    saved.save(tmp_path / "model")
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    loaded = load(tmp_path / "model").transformer.state_dict()
    assert torch.equal(torch.rand(3), wanted)
    for name, value in saved.transformer.state_dict().items():
        assert torch.equal(loaded[name], value), name


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_found_and_a_sum_that_overflows_is_none(
    number: float, tmp_path: Path
):
    model = random_model()
    large = model.transformer.token_embedding.weight
    with torch.no_grad():
        large.fill_(3e38)
    model.save(tmp_path / "large")
    assert torch.equal(load(tmp_path / "large").transformer.token_embedding.weight, large)
    with torch.no_grad():
        large[0, 0] = number
    model.save(tmp_path / "broken")
    with pytest.raises(CheckpointError, match="must have finite numbers, but token_embedding"):
        load(tmp_path / "broken")
