"""The study of real speech, all its rows, from a Whisper of random weights at a size of seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from taskaware.cli.main import run
from taskaware.errors import CheckpointError
from taskaware.study import settings as study_file
from taskaware.study.collect import collect
from taskaware.study.job import do_job
from taskaware.study.plan import make_plan
from taskaware.study.settings import DataSource
from tiny_corpus import write_corpus
from tiny_whisper import save_whisper

STUDY = Path(__file__).resolve().parents[2] / "studies" / "real_speech.toml"
TOY = (
    'data.tasks=["asr_en", "st_en_de"]',
    "batching.strategy=static",
    "batching.examples_per_batch=4",
    "training.updates=2",
    "training.validate_every=1",
    "training.save_every=1",
    "training.validation_examples=2",
    "decoding.beam=1",
    "decoding.max_pieces=3",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper of random weights, and a corpus prepared by its encoder."""
    folder = tmp_path_factory.mktemp("real_speech")
    manifests = write_corpus(folder)
    save_whisper(folder / "theirs")
    model, data = folder / "whisper", folder / "data"
    assert run(["import", str(folder / "theirs"), "--to", str(model), "--hears-seconds", "0"]) == 0
    splits = [word for name, path in manifests.items() for word in (f"--{name}", str(path))]
    assert run(["prepare", *splits, "--encoder", str(model), "--to", str(data)]) == 0
    return folder


def test_all_rows_of_the_study_come_out(place: Path, tmp_path: Path):
    study = study_file.load(STUDY)
    size = replace(study.sizes["tiny"], data={"main": DataSource(folder=place / "data")})
    known = ("asr_en", "st_en_de")
    there = {*known, "mt_en_de"}
    runs = tuple(
        replace(r, tasks=tuple(task for task in r.tasks if task in there))
        for r in study.runs
        if not r.tasks or there & set(r.tasks)
    )
    names = {r.name for r in runs}
    rows = tuple(
        replace(row, runs={task: name for task, name in row.runs.items() if name in names})
        for row in study.rows
    )
    study = replace(study, sizes={"tiny": size}, runs=runs, rows=rows)
    overrides = (*TOY[:1], f"start.model={place / 'whisper'}", *TOY[1:])
    plan = make_plan(study, STUDY, "tiny", tmp_path, overrides=overrides)
    assert all(job.experiment.model.d_model == 16 for job in plan.jobs)  # the start's own
    for job in plan.jobs:
        assert do_job(job) == "complete"
    results = collect(plan, command="taskaware study")
    assert [row.label for row in results.rows] == [row.label for row in study.rows]
    for row in results.rows:
        assert set(row.cells) == ({*known, "mt_en_de"} if "13 tasks" in row.label else set(known))


def test_a_run_is_another_where_the_model_that_it_starts_from_is(place: Path, tmp_path: Path):
    study = study_file.load(STUDY)
    size = replace(study.sizes["tiny"], data={"main": DataSource(folder=place / "data")})
    study = replace(study, sizes={"tiny": size})

    def folders(model: Path) -> list[Path]:
        plan = make_plan(study, STUDY, "tiny", tmp_path, overrides=(f"start.model={model}",))
        return [job.folder for job in plan.jobs]

    other = tmp_path / "other"
    theirs = str(place / "theirs")
    assert run(["import", theirs, "--to", str(other), "--hears-seconds", "1"]) == 0
    assert not set(folders(place / "whisper")) & set(folders(other))
    with pytest.raises(CheckpointError, match="must be a model that the study starts from"):
        folders(tmp_path / "nowhere")
