"""What counts as the same data, and as the same task."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskaware.errors import DataError
from taskaware.run.data import require_same

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
