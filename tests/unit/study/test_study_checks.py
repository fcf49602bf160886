"""What a study asks of its runs and data is known before the first training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from taskaware.errors import DataError, ExperimentError, UnknownTaskError, UserError
from taskaware.run import experiment as experiment_file
from taskaware.study.plan import make_plan
from taskaware.study.scheduler import make_data
from taskaware.study.settings import load
from tiny_corpus import prepare_corpus, tiny_experiment

if TYPE_CHECKING:
    from pathlib import Path

STUDY = """
name = "toy"
title = "Toy"
question = "Does it run?"
runs = [
    { name = "recognition", tasks = ["asr_en"] },
    { name = "all", overrides = ["training.log_every=1"] },
]
rows = [
    { label = "one", runs = { asr_en = "recognition" } },
    { label = "several", run = "all", which = "model" },
]
embeddings = [{ title = "Tasks", run = "all", kinds = ["asr"] }]

[sizes.tiny]
experiment = "toy_experiment.toml"
seeds = [1, 2]
data.main.folder = "DATA"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checked_study")
    (folder / "corpus").mkdir()
    data = prepare_corpus(folder / "corpus")
    (folder / "toy_experiment.toml").write_text(experiment_file.dump(tiny_experiment(data)))
    (folder / "toy.toml").write_text(STUDY.replace("DATA", str(data)))
    return folder


def plan(folder: Path, old: str = "", new: str = "", **changes):
    path = folder / "changed.toml"
    path.write_text((folder / "toy.toml").read_text().replace(old, new, 1))
    made = make_plan(load(path), path, "tiny", folder / "studies", **changes)
    make_data(made)  # before any training
    return made


def test_a_study_that_fits_its_data_is_planned_and_writes_nothing(folder: Path):
    assert len(plan(folder).jobs) == 4
    assert not (folder / "studies").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('tasks = ["asr_en"]', 'tasks = ["asr_ne"]', "asr_ne.*did you mean 'asr_en'"),
        ("runs = { asr_en", "runs = { asr_ne", "the row 'one'.*asr_ne"),
        ("runs = { asr_en", "runs = { st_en_de", r"those of the run 'recognition'.*\(asr_en\)"),
    ],
)
def test_a_task_that_the_data_or_the_run_do_not_have_is_refused(
    old: str, new: str, message: str, folder: Path
):
    with pytest.raises(UnknownTaskError, match=message):
        plan(folder, old, new)


def test_a_split_that_the_data_do_not_have_is_refused(folder: Path):
    with pytest.raises(DataError, match=r"'tset'.*did you mean 'test'"):
        plan(folder, split="tset")


@pytest.mark.parametrize(
    ("old", "new", "changes", "message"),
    [
        ("", "", {"split": "../../x"}, "the split must be a word or words without a slash"),
        ("", "", {"seeds": (1, 2, 1)}, "the seeds must be different numbers, but are 1, 2, 1"),
        ('tasks = ["asr_en"]', "num_tasks = 9", {}, r"at most the number of tasks.*\(3\).*is 9"),
        ('kinds = ["asr"]', 'kinds = ["asx"]', {}, "'Tasks' must be of asr.*one is 'asx'"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(
    old: str, new: str, changes: dict, message: str, folder: Path
):
    with pytest.raises(UserError, match=message):
        plan(folder, old, new, **changes)


@pytest.mark.parametrize("field", ["data.folder=elsewhere", "training.seed=7"])
def test_an_override_of_what_the_study_decides_is_refused(field: str, folder: Path):
    name = field.partition("=")[0]
    with pytest.raises(ExperimentError, match=f"'recognition' must leave {name} to the study"):
        plan(folder, overrides=[field])
    with pytest.raises(ExperimentError, match=f"'all' must leave {name} to the study"):
        plan(folder, "training.log_every=1", field)


@pytest.mark.parametrize(
    ("which", "field", "message"),
    [
        ("average", "training.average_last=0", "a `training.average_last` of at least 1"),
        ("taskwise", "training.taskwise=false", "`training.taskwise`"),
        ("support-1", "model.conditioning.cue=none", "the `model.conditioning.cue` 'implicit'"),
    ],
)
def test_a_row_of_a_model_that_its_run_does_not_leave_is_refused(
    which: str, field: str, message: str, folder: Path
):
    new = f'which = "{which}"'
    assert plan(folder, 'which = "model"', new).jobs
    with pytest.raises(ExperimentError, match=f"the run 'all' of the row 'several'.*{message}"):
        plan(folder, 'which = "model"', new, overrides=[field])
