"""Names of tasks, and whether two places mean the same task."""

from __future__ import annotations

from dataclasses import replace

import pytest

from taskaware.data.manifest.tasks import (
    describe,
    name_problem,
    require_good_names,
    require_same_tasks,
)
from taskaware.errors import DataError, UserError
from taskaware.types import Task

MT = Task(
    name="mt_en_de", kind="mt", source_modality="text", source_language="en", target_language="de"
)


@pytest.mark.parametrize(
    "name", ["asr", "mt_en_de", "st.en-de+x", "überall", "all2", "_", "console"]
)
def test_ordinary_names_are_good(name: str):
    assert name_problem(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        *("", "a b", "a/b", "a\\b", "..", ".", ".a", "a.", "-x", "all", "All", "none", "taskwise"),
        *("CON", "com1", "lpt9.txt", "x" * 101, "ü" * 51),
    ],
)
def test_names_that_a_folder_or_a_word_of_ours_could_be_taken_for_are_not(name: str):
    assert name_problem(name).startswith("must ")
    with pytest.raises(DataError, match=r"prepared: a task's name must .*prepare the manifests"):
        require_good_names(["mt", name], "prepared")


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "st"},
        {"source_modality": "speech"},
        {"source_language": "fr"},
        {"target_language": "en"},
    ],
)
def test_a_name_that_means_two_tasks_is_refused_with_both_described(change: dict):
    other = replace(MT, **change)
    with pytest.raises(UserError) as caught:
        require_same_tasks([MT], [other], where="runs/a", others_where="prepared")
    for part in ("mt_en_de", "runs/a", "prepared", describe(MT), describe(other)):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"source_language": "en-GB"},
        {"target_language": "deu"},
        {"target_language": ""},
        {"name": "other", "source_modality": "speech"},
    ],
)
def test_a_name_that_can_mean_one_task_is_taken(change: dict):
    require_same_tasks([MT], [replace(MT, **change)], where="a", others_where="b")
