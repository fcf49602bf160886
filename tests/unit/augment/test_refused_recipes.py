"""What of a recipe can be known to be wrong is refused before its first step; damage is named."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from scripted_models import ScriptedModel, asr, install, mt, numbered, st, write_lines

from taskaware.augment.blocks import Made, complete_manifest, write_in_blocks
from taskaware.augment.recipe import run_recipe
from taskaware.augment.settings import RecipeSettings, TranslationSettings, load
from taskaware.augment.translate import translate
from taskaware.errors import DataError, ExperimentError, UserError

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = """
to = "{folder}/out"
[[models]]
folder = "{folder}/models/a"
[translation]
task = "mt_en_de"
[speech]
language = "en"
[signal]
echo = false
[datasets.talks]
manifests = ["{folder}/talks.jsonl"]
top = 1
"""


@pytest.fixture
def recipe_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(monkeypatch, tmp_path / "models", {"a": ScriptedModel(numbered("A"))})
    write_lines(tmp_path / "talks.jsonl", asr("a", "a sentence"), mt("c", "text", "Text"))
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(folder=tmp_path))
    return path


def changed(path: Path, old: str, new: str) -> RecipeSettings:
    path.write_text(path.read_text().replace(old, new))
    return load(path)


def test_the_recipe_that_the_others_are_made_of_is_good(recipe_file: Path):
    assert run_recipe(load(recipe_file)).train.is_file()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("top = 1", "top = 1\nvoices = 19", r"talks.voices must be at most 18.*is 19"),
        ('"mt_en_de"', '"mt_en_de"\nas_task = "../x"', "as_task must be a name of letters"),
        ('"mt_en_de"', '"mt_en_de"\nas_task = "model"', "as_task must not be a reserved word"),
        ('"en"', '"en"\nsample_rate_hz = 9999999', "sample_rate_hz must be from 8000"),
        (
            "echo = false",
            "echo = false\nspeed = false\ntempo = false\n[datasets.x]\n"
            'manifests = ["x"]\nsignals_of_originals = 1',
            "signal must change speed, tempo or echo",
        ),
    ],
)
def test_a_recipe_that_says_what_cannot_be_is_refused(
    old: str, new: str, message: str, recipe_file: Path
):
    with pytest.raises(ExperimentError, match=message):
        changed(recipe_file, old, new)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("top = 1", "top = 1\nsignals_of_originals = 1", "with speech of the kind st to change"),
        ("top = 1", "top = 1\nvoices = 1", "must be tasks with text in 'xx' to speak"),
        ('"mt_en_de"', '"mt_en_de"\nas_task = "asr_en"', "which must be the same everywhere"),
    ],
)
def test_a_step_without_a_task_is_refused_before_any_other_step(
    old: str, new: str, message: str, recipe_file: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("taskaware.augment.recipe.require_packages", lambda *_: None)
    changed(recipe_file, old, new)
    recipe = changed(recipe_file, 'language = "en"', 'language = "xx"')
    with pytest.raises(UserError, match=message):
        run_recipe(recipe)
    assert not list(recipe.to.rglob("*.jsonl*"))


def test_what_a_recipe_writes_is_not_one_of_its_manifests(recipe_file: Path):
    train = run_recipe(load(recipe_file)).train
    before = train.read_bytes()
    recipe = changed(recipe_file, "datasets.talks", "datasets.again")
    recipe = changed(recipe_file, f"{recipe_file.parent}/talks.jsonl", str(train))
    with pytest.raises(UserError, match="must not be both read and written"):
        run_recipe(recipe)
    assert train.read_bytes() == before
    assert not (recipe.to / "again").exists()


def test_new_examples_of_two_kinds_get_no_name_together(recipe_file: Path):
    recipe = load(recipe_file)
    settings = TranslationSettings(task="mt_en_de", of=("asr_en", "mt_en_de"), as_task="new")
    manifests, to = recipe.datasets["talks"].manifests, recipe_file.parent / "new.jsonl"
    with pytest.raises(UserError, match=r"'new' \(mt, .*also st, .*another name"):
        translate(manifests, to, recipe.models, settings)
    assert not to.exists()


def test_a_name_that_the_manifests_have_for_the_same_task_is_good(recipe_file: Path):
    recipe = load(recipe_file)
    write_lines(recipe_file.parent / "talks.jsonl", asr("a", "a sentence"), st("b", "ein Satz"))
    to = recipe_file.parent / "new.jsonl"
    manifests = recipe.datasets["talks"].manifests
    settings = TranslationSettings(task="mt_en_de", as_task="st_en_de")
    assert translate(manifests, to, recipe.models, settings).path == to


@pytest.mark.parametrize(
    "change",
    [
        {"num_inputs": "x"},
        {"num_inputs": -1},
        {"num_bytes": 3.5},
        {"num_bytes": -5},
        {"num_bytes": 1 << 80},
        {"num_bytes": "x"},
        {"complete": "yes"},
        {"counts": 3},
    ],
)
def test_a_journal_that_says_what_cannot_be_is_named(change: dict, tmp_path: Path):
    path = tmp_path / "new.jsonl"
    write_in_blocks(path, {}, "abc", lambda block, _: Made(lines=block, counts=Counter()),
                    block_size=2)  # fmt: skip
    assert complete_manifest(path, {}) is not None
    journal = tmp_path / "new.journal.json"
    journal.write_text(json.dumps(json.loads(journal.read_text()) | change))
    with pytest.raises(DataError, match=r"must be the journal of new.jsonl, but is not"):
        complete_manifest(path, {})
