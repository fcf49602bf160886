"""What a study file may not say, each with the place and what must be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from taskaware.errors import ExperimentError
from taskaware.study.settings import load, support_number

if TYPE_CHECKING:
    from pathlib import Path

STUDY = """
name = "toy"
title = "Toy"
question = "Does it run?"
runs = [
    { name = "vanilla", group = "short" },
    { name = "then_st", start = "vanilla", tasks = ["st_en_de"] },
    { name = "implicit", support_examples = [1] },
]
rows = [
    { label = "first", run = "vanilla" },
    { label = "second", run = "implicit", which = "average", against = "first" },
]
matrices = [{ label = "chain", stages = ["vanilla", "then_st"] }]

[sizes.tiny]
experiment = "toy_experiment.toml"
groups.short = ["training.updates=2"]
data.main.folder = "prepared"
"""
NO_NAME = "must be a word or words without a slash"


def load_text(folder: Path, text: str):
    path = folder / "toy.toml"
    path.write_text(text)
    return load(path)


def test_the_file_that_the_others_are_made_of_is_good(tmp_path: Path):
    assert load_text(tmp_path, STUDY).rows[1].which == "average"


@pytest.mark.parametrize("which", ["averge", "support-x", "support-0", "support--1", "../x"])
def test_a_row_of_a_model_that_no_run_has_is_refused(which: str, tmp_path: Path):
    with pytest.raises(ExperimentError, match=f"which must be one of .*but is '{which}'"):
        load_text(tmp_path, STUDY.replace('"average"', f'"{which}"'))


def test_the_number_of_support_examples_stands_behind_the_word():
    assert support_number("support-16") == 16
    assert [support_number(word) for word in ("model", "support-", "support-٣")] == [0, 0, 0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"toy"', '"../../escaped"', f"name {NO_NAME}"),
        ('"toy"', '""', f"name {NO_NAME}"),
        ('"toy"', '"a\\nb"', f"name {NO_NAME}"),
        ('"toy"', f'"{"a" * 151}"', "at most 150 bytes"),
        ('"implicit"', '"../implicit"', rf"runs\[2\].name {NO_NAME}"),
        ("sizes.tiny", 'sizes."../tiny"', f"sizes '../tiny' {NO_NAME}"),
        ("data.main", 'split = "/etc"\ndata.main', f"split {NO_NAME}"),
        ("[1]", "[0]", "support_examples must be numbers from 1"),
        ('tasks = ["st_en_de"]', "num_tasks = -1", "num_tasks must be at least 0, but is -1"),
        ('tasks = ["st_en_de"]', 'tasks = ["x"], num_tasks = 1', "num_tasks must be set, or"),
        ('tasks = ["st_en_de"]', 'tasks = ["x", "x"]', "tasks must name each task once"),
        ('group = "short"', 'group = "shrt"', r"but is of 'shrt' \(did you mean 'short'\?\)"),
        ('against = "first"', 'against = "second"', "against must be another row"),
        ('["vanilla", "then_st"]', '["vanilla", "implicit"]', "starts from one before"),
        ("data.main", "data.main.vocabulary_size = 0\ndata.main", "vocabulary_size must be at"),
        ('"prepared"', '"a\\u0000b"', "folder must be a path, but has a null character"),
    ],
)
def test_a_study_file_that_says_what_cannot_be_is_refused(
    old: str, new: str, message: str, tmp_path: Path
):
    with pytest.raises(ExperimentError, match=message):
        load_text(tmp_path, STUDY.replace(old, new))


@pytest.mark.parametrize("name", ["runs", "rows", "sizes"])
def test_a_study_without_runs_rows_or_sizes_is_refused(name: str, tmp_path: Path):
    parts = {"runs": "[]", "rows": "[]", "sizes": "{}"}
    text = 'name = "toy"\ntitle = "Toy"\nquestion = "?"\n'
    text += "".join(f"{part} = {value}\n" for part, value in parts.items())
    with pytest.raises(ExperimentError, match=f"{name} must have at least one"):
        load_text(tmp_path, text)
