"""What counts as the same data, and as the same task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conftest import ASR, MT, ST
from taskaware.errors import DataError
from taskaware.run.data import require_same, require_same_tasks

BEFORE = {
    "folder": "data",
    "vocabulary": "v",
    "features": "f",
    "train": "t",
    "dev": "d",
    "tasks": [{"name": "mt"}],
}


def check(before: dict, now: dict) -> None:
    require_same(before, now, folder=Path("runs/mine"), checkpoint=Path("update-00000020"))


def test_the_same_contents_under_another_path_are_the_same_data():
    check(BEFORE, BEFORE | {"folder": "elsewhere"})


@pytest.mark.parametrize("name", ["vocabulary", "features", "train", "dev", "tasks"])
def test_other_contents_under_the_same_path_are_refused_with_both_names(name: str):
    with pytest.raises(DataError, match=r"runs/mine .* data has been .*--to.*--restart") as caught:
        check(BEFORE, BEFORE | {name: "other"})
    words = {"vocabulary": "the vocabulary", "train": "the training examples"}
    assert words.get(name, name) in str(caught.value)


@pytest.mark.parametrize(
    ("task", "other"),
    [
        (MT, replace(MT, target_language="fr")),
        (MT, replace(MT, source_language="fr")),
        (ST, replace(ST, source_modality="text")),
        (ASR, replace(ASR, source_modality="features")),
    ],
)
def test_another_task_of_the_same_name_is_refused_with_both_owners(task, other):
    with pytest.raises(
        DataError, match=rf"'{task.name}' must be the same in the model and in data"
    ):
        require_same_tasks([ASR, task], [other], ours="the model", theirs="data")


def test_a_language_that_one_side_leaves_open_and_tasks_of_other_names_are_no_difference():
    require_same_tasks([MT], [replace(MT, source_language="")], ours="a", theirs="b")
    require_same_tasks([MT, ST], [ASR], ours="a", theirs="b")
