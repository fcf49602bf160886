"""What a job left is read again, and refused by name where it is damaged."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from taskaware.errors import DataError
from taskaware.evaluation.embedding_points import EmbeddingPoints
from taskaware.study.job import Status, keep_status_current, read_status
from taskaware.study.job_files import read_cost, read_outputs, read_scores
from taskaware.study.plan import Job
from tiny_corpus import tiny_experiment

if TYPE_CHECKING:
    from pathlib import Path

SCORE = {"metric": "wer", "value": 25.0, "signature": "unit:percent", "num_examples": 2}
RESULT = {"task": "asr_en", "language": "en", "scores": [SCORE], "by_dataset": {}}
SCORES = {"results": [{**RESULT, "confusion_rate": None}], "parameters": {"encoder": 3}}
COST = {"updates": 6, "seconds": 2.5, "peak_memory_mib": 300, "device": "a CPU", "later": 1}
OUTPUT = {"task": "asr_en", "reference": "one\u2028two", "text": "", "score": -1.0}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job whose files are good."""
    job = Job(
        name="toy",
        seed=1,
        experiment=tiny_experiment(tmp_path),
        num_tasks=0,
        folder=tmp_path,
        start=None,
        data="main",
        variants=("model",),
        split="test",
    )
    job.result_path("model").parent.mkdir(parents=True)
    (tmp_path / "cost.json").write_text(json.dumps(COST))
    job.result_path("model").write_text(json.dumps({**SCORES, "silhouette": None}))
    outputs = [json.dumps({**OUTPUT, "id": id}, ensure_ascii=False) for id in ("a", "b")]
    job.outputs_path("model").write_text("".join(f"{line}\n" for line in outputs))
    return job


def test_what_a_job_left_is_read_as_it_was_written(job: Job):
    assert read_cost(job.folder).seconds == 2.5
    scores = read_scores(job, "model")
    assert scores.by_task["asr_en"].main.value == 25.0
    pair = ("one\u2028two", "")
    assert read_outputs(job, "model", scores) == {"asr_en": {"a": pair, "b": pair}}


def test_what_an_older_version_did_not_write_is_not_known(job: Job):
    old = read_scores(job, "model")
    assert (old.parameters_of_one_task, old.num_bytes, old.results[0].seconds) == (None, None, None)
    new = {"parameters_of_one_task": 0, "num_bytes": 9, "silhouette": None}
    results = [{**RESULT, "confusion_rate": None, "seconds": 1.5}]
    job.result_path("model").write_text(json.dumps({**SCORES, **new, "results": results}))
    scores = read_scores(job, "model")
    assert (scores.parameters_of_one_task, scores.num_bytes, scores.results[0].seconds) == (
        0,
        9,
        1.5,
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "\udcff",
        '{"updates": 1}',
        json.dumps({**COST, "seconds": "x"}),
        json.dumps({**COST, "seconds": float("nan")}),
        json.dumps({**COST, "updates": -1}),
        json.dumps({**COST, "updates": 10**30}),
    ],
)
def test_a_damaged_cost_is_named_with_what_to_do(text: str, job: Job):
    (job.folder / "cost.json").write_text(text, errors="surrogateescape")
    with pytest.raises(DataError, match=r"cost.json must be as the study wrote it.*delete .*cost"):
        read_cost(job.folder)


@pytest.mark.parametrize(
    "change",
    [
        {"results": 3},
        {"results": [3]},
        {"results": [{**RESULT, "confusion_rate": 2.0}]},
        {"results": [{**RESULT, "confusion_rate": None, "scores": []}]},
        {"results": [{**RESULT, "confusion_rate": None, "scores": [{**SCORE, "metric": "x"}]}]},
        {"results": [{**RESULT, "confusion_rate": None, "by_dataset": {"tones": []}}]},
        {"results": [{**RESULT, "confusion_rate": None, "seconds": -1.0}]},
        {"num_bytes": -1},
        {"parameters_of_one_task": -1},
        {"parameters": "x"},
        {"silhouette": "x"},
    ],
)
def test_damaged_scores_are_named_with_what_to_do(change: dict, job: Job):
    content = {**SCORES, "silhouette": None, **change}
    job.result_path("model").write_text(json.dumps(content))
    with pytest.raises(
        DataError, match=r"study.json must be as the study wrote it.*delete .*study"
    ):
        read_scores(job, "model")


@pytest.mark.parametrize(
    "text",
    ["hello\n", "[]\n", "{}\n", "", json.dumps({**OUTPUT, "id": "a"}) + "\n"],
)
def test_outputs_that_are_not_those_that_were_scored_are_named(text: str, job: Job):
    job.outputs_path("model").write_text(text)
    with pytest.raises(DataError, match=r"study_outputs.jsonl must be as.*delete .*study.json"):
        read_outputs(job, "model", read_scores(job, "model"))


@pytest.mark.parametrize("size", [0, 1, 300])
def test_a_damaged_archive_of_task_embeddings_is_named(size: int, tmp_path: Path):
    path = tmp_path / "embeddings.npz"
    points = np.zeros((2, 3), dtype=np.float32)
    EmbeddingPoints(embeddings=points, tasks=("a", "b"), datasets=("x", "x")).save(path)
    assert EmbeddingPoints.load(path).tasks == ("a", "b")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"embeddings.npz must hold task embeddings"):
        EmbeddingPoints.load(path)


def test_task_embeddings_that_do_not_fit_their_tasks_are_named(tmp_path: Path):
    path = tmp_path / "embeddings.npz"
    points = np.zeros((2, 3), dtype=np.float32)
    EmbeddingPoints(embeddings=points, tasks=("a",), datasets=("x", "x")).save(path)
    with pytest.raises(DataError, match=r"its arrays do not fit each other"):
        EmbeddingPoints.load(path)


@pytest.mark.parametrize("text", ['{"state": 7, "update": "x"}', "[]", '{"state": "training"'])
def test_a_damaged_status_is_that_of_a_job_that_waits(text: str, job: Job):
    (job.folder / "status.json").write_text(text)
    assert read_status(job) == Status(state="waiting")


def test_a_job_that_has_nothing_new_to_say_is_not_taken_for_stopped(job: Job):
    """Writing the models of 51 tasks, or scoring them, took minutes and was called stopped."""
    path = job.folder / "status.json"
    path.write_text(json.dumps(vars(Status(state="scoring", update=2, updates=2))))
    os.utime(path, (0, 0))
    assert not read_status(job).is_current
    keep_status_current(job)
    assert read_status(job).is_current
    path.unlink()
    keep_status_current(job)  # of a job that has said nothing yet
    assert not path.exists()
