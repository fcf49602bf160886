"""Every study that comes with taskaware, all its rows, at a size of seconds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from taskaware.study import settings as study_file
from taskaware.study.collect import collect
from taskaware.study.job import do_job
from taskaware.study.plan import make_plan
from taskaware.study.settings import DataSource
from taskaware.study.write import write_all
from tiny_corpus import prepare_corpus

STUDIES = sorted(
    path
    for path in (Path(__file__).resolve().parents[2] / "studies").glob("*.toml")
    if path.stem != "real_speech"  # test_study_from_a_pretrained_model.py has it
)
TOY = (
    "model.d_model=16",
    "model.num_heads=2",
    "model.d_ff=32",
    "model.num_encoder_layers=1",
    "model.num_decoder_layers=1",
    "model.conditioning.d_task=8",
    "model.conditioning.num_task_heads=2",
    "batching.strategy=static",
    "batching.examples_per_batch=4",
    "training.updates=2",
    "training.validate_every=1",
    "training.save_every=1",
    "training.keep=2",
    "training.average_last=2",
    "training.validation_examples=2",
    "training.support_examples=4",
    "decoding.beam=1",
    "decoding.extra_pieces=2",
)
# These studies name tasks that the toy corpus does not have.
TASKS = dict.fromkeys(("table2", "cue_examples"), ('data.tasks=["mt_en_de", "st_en_de"]',))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_all_rows_of_the_study_come_out(path: Path, data: Path, tmp_path: Path):
    study = study_file.load(path)
    size = study.sizes["tiny"]
    sources = {name: DataSource(folder=data) for name in size.data}
    study = replace(study, sizes={"tiny": replace(size, data=sources, seeds=(1,))})
    overrides = (*TOY, *TASKS.get(study.name, ()))
    plan = make_plan(study, path, "tiny", tmp_path, overrides=overrides)
    for job in plan.jobs:
        assert do_job(job) == "complete"
    results = collect(plan, command="taskaware study")
    assert [row.label for row in results.rows] == [row.label for row in study.rows]
    assert all(row.cells for row in results.rows)
    assert len(results.matrices) == len(study.matrices)
    written = write_all(results, plan.folder)
    assert written.warning == ""
    found = json.loads((plan.folder / "results.json").read_text())
    assert len(found["rows"]) == len(study.rows)
    table = (plan.folder / "table.md").read_text()
    for row in study.rows:
        assert row.label in table
