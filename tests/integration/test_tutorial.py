"""docs/tutorial.md works as it stands: each command in order, in a user's folder.

The demo's model has random weights, the recordings are tones that say numbers, and the course of a
training is two updates.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import taskaware
from documented import ROOT, Page
from taskaware.cli.main import run
from tiny_corpus import write_corpus, write_new_task
from tiny_models import random_model

PAGE = Page("tutorial.md")
TOY = ("training.updates=2", "training.num_threads=1", "decoding.max_pieces=3", "model.d_model=16")
# Of tones, whose utterances have few frames.
TOY_MODEL = ("model.num_heads=2", "model.d_ff=16", "objective.ctc_weight=0")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's folder after all commands."""
    folder = tmp_path_factory.mktemp("user")
    random_model().save(folder / "runs" / "demo" / "implicit")
    write_corpus(folder)
    for split, path in write_new_task(folder).items():
        shutil.move(path, folder / f"new_{split}.tsv")
    (folder / "audio").mkdir()
    shutil.copy(folder / "test0.wav", folder / "audio" / "001.flac")
    (folder / "mine.toml").write_text("".join(PAGE.blocks("toml")))
    before = Path.cwd()
    os.chdir(folder)
    try:
        for _, *arguments in PAGE.commands("taskaware"):
            toy = TOY + TOY_MODEL if arguments[0] == "train" else ()
            prepares = ["--vocabulary-size", "300"] if arguments[-1] == "prepared" else []
            given = [*arguments, *(prepares if arguments[0] == "prepare" else toy)]
            assert run(given) == 0, " ".join(given)
    finally:
        os.chdir(before)
    return folder


def test_every_command_is_one_of_ours_or_begins_the_demo():
    others = [words for words in PAGE.commands() if words[0] != "taskaware"]
    assert others == [["scripts/demo"], [".", ".venv/bin/activate"]]
    assert (ROOT / "scripts" / "demo").is_file()
    assert {words[1] for words in PAGE.commands("taskaware")} == {
        *("predict", "inspect", "prepare", "data", "train", "evaluate", "compare")
    }


def test_one_model_learns_the_three_tasks_and_another_is_told_none(place: Path):
    models = [taskaware.load(place / "runs" / name, device="cpu") for name in ("mine", "untold")]
    assert [m.settings.conditioning.cue for m in models] == ["implicit", "none"]
    for model in models:
        assert [task.name for task in model.tasks] == ["asr_en", "st_en_de", "mt_en_de"]


def test_a_task_that_is_added_leaves_the_others_bit_for_bit(place: Path):
    before = taskaware.load(place / "runs" / "mine", device="cpu")
    after = taskaware.load(place / "runs" / "more", device="cpu")
    assert [task.name for task in after.tasks][3:] == ["mt_de_en"]
    for name in ("mt_en_de", "st_en_de"):
        source = "one two" if name.startswith("mt") else place / "audio" / "001.flac"
        found = [model.run_many(name, [source])[0][0] for model in (before, after)]
        assert (found[0].token_ids, found[0].score) == (found[1].token_ids, found[1].score)
