"""docs/tutorial_pretrained.md works as it stands: each command in order, in a user's empty folder.

The Whisper has random weights and hears two seconds, and the recordings are tones that say numbers.
Only sizes and lengths of the course are overridden.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import taskaware
from documented import ROOT, Page
from taskaware.cli.main import run
from taskaware.run import experiment as experiment_file
from taskaware.run.log import read_log
from tiny_corpus import RATE_HZ, speak, write_corpus
from tiny_whisper import save_whisper

PAGE = Page("tutorial_pretrained.md")
WORDS = {
    "st_en_fr": {"one": "un", "two": "deux", "six": "six", "ten": "dix"},
    "st_en_it": {"one": "uno", "two": "due", "six": "sei", "ten": "dieci"},
}
TOY = {
    **{"training.updates": 4, "training.validate_every": 2, "training.save_every": 2},
    **{"training.log_every": 1, "training.num_threads": 1, "decoding.max_pieces": 3},
}
INTERRUPTED = {**TOY, "training.updates": 200, "training.validate_every": 100}


def of(name: str) -> list[list[str]]:
    """The arguments of the commands of ``taskaware`` that begin with a word."""
    return [words[1:] for words in PAGE.commands() if words[:2] == ["taskaware", name]]


def overridden(arguments: list[str], toy: dict[str, int]) -> list[str]:
    if arguments[0] != "train":
        return arguments
    return [*arguments, *(f"{name}={value}" for name, value in toy.items())]


def write_tables(folder: Path) -> None:
    """Write the user's tables, with the columns that the tutorial's first one has."""
    columns = PAGE.blocks("")[0].splitlines()[0].split()
    for split, path in write_corpus(folder).items():
        header, *lines = (line.split("\t") for line in path.read_text().splitlines())
        rows = [dict(zip(header, line, strict=True)) for line in lines]
        spoken = [row for row in rows if row["audio"]]
        english = [row for row in spoken if row["task"] == "asr_en"]
        new = {
            task: [
                row
                | {"task": task, "target_language": task[-2:]}
                | {"target_text": " ".join(words[word] for word in row["target_text"].split())}
                for row in english
            ]
            for task, words in WORDS.items()
        }
        for name, examples in (
            (f"{split}.tsv", spoken + new["st_en_fr"]),
            (f"italian_{split}.tsv", new["st_en_it"]),
        ):
            cells = [columns, *([example[c] for c in columns] for example in examples)]
            (folder / name).write_text("".join("\t".join(row) + "\n" for row in cells))


def interrupt_soon(folder: Path) -> threading.Thread:
    """Press Ctrl-C once a run's log says that it trains."""

    def press() -> None:
        for _ in range(6_000):
            if (folder / "log.jsonl").is_file() and len(read_log(folder)) > 5:
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(0.01)

    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    return thread


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's folder after all commands; the first training was interrupted and resumed."""
    folder = tmp_path_factory.mktemp("user")
    save_whisper(folder / "whisper-base")
    write_tables(folder)
    soundfile.write(folder / "recording.flac", speak("one two ten"), RATE_HZ)
    stretches = [("audio", "start_seconds", "duration_seconds")]
    stretches += [("recording.flac", "0", "0.8"), ("recording.flac", "0.8", "0.4")]
    (folder / "stretches.tsv").write_text("".join("\t".join(row) + "\n" for row in stretches))
    (folder / "german_french.toml").write_text("".join(PAGE.blocks("toml")))
    before = Path.cwd()
    os.chdir(folder)
    try:
        first = of("train")[0]
        for words in PAGE.commands():
            arguments = words[1:]
            if words[0] != "taskaware":
                continue
            if arguments == first:
                thread = interrupt_soon(folder / "runs" / "german_french")
                assert run(overridden(arguments, INTERRUPTED)) == 130
                thread.join()
                assert run(overridden(arguments, {**INTERRUPTED, "training.updates": 40})) == 0
            else:
                assert run(overridden(arguments, TOY)) == 0, " ".join(words)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def used(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def test_every_command_is_one_of_ours_but_for_the_installation():
    others = [words for words in PAGE.commands() if words[0] != "taskaware"]
    assert others == [["pip", "install", "--editable", ".[pretrained]"]]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert {"pretrained", "tensorboard"} <= set(extras)
    assert {words[1] for words in PAGE.commands() if words[0] == "taskaware"} == {
        *("import", "prepare", "train", "evaluate", "predict")
    }
    assert len(PAGE.commands()) >= 15


def test_the_links_lead_to_files():
    targets = set(re.findall(r"\]\(([\w/.]+\.md)", PAGE.text))
    written_later = {"results/real_speech.md"}
    assert {t for t in targets if not (ROOT / "docs" / t).is_file()} <= written_later
    for document in ("README.md", "docs/pretrained.md"):
        assert "tutorial_pretrained.md" in (ROOT / document).read_text()


def test_the_experiment_is_the_measured_one_but_for_its_length_and_what_it_keeps(tmp_path: Path):
    mine, theirs = tmp_path / "mine.toml", ROOT / "studies" / "experiments" / "real_speech.toml"
    mine.write_text("".join(PAGE.blocks("toml")))
    ours, measured = experiment_file.load(mine), experiment_file.load(theirs)
    for section in ("model", "batching", "optimiser", "objective", "learning", "augmentation"):
        assert getattr(ours, section) == getattr(measured, section), section
    assert ours.start.trains == measured.start.trains
    assert ours.training.updates == measured.training.updates


def test_an_interrupted_training_went_on_to_its_end(used: Path):
    log = read_log(used / "runs" / "german_french")
    updates = [line["update"] for line in log if line["kind"] == "progress"]
    assert updates == list(range(1, 41))


def test_one_model_recognises_and_has_the_two_languages(used: Path):
    model = taskaware.load("runs/german_french", device="cpu")
    assert [task.name for task in model.tasks] == ["asr_en", "st_en_de", "st_en_fr"]
    assert model.feature_settings.padded_seconds == 0
    start = taskaware.load("models/whisper", device="cpu").transformer.state_dict()
    changed = [
        name
        for name, value in model.transformer.state_dict().items()
        if name in start and not torch.equal(value, start[name])
    ]
    assert any(name.startswith("decoder.") for name in changed)
    assert not any(name.startswith(("encoder", "frontends")) for name in changed)


def test_a_language_that_was_added_leaves_the_others_bit_for_bit(used: Path):
    before = taskaware.load("runs/german_french", device="cpu")
    after = taskaware.load("runs/italian", device="cpu")
    assert [task.name for task in after.tasks][3:] == ["st_en_it"]
    for task in before.tasks:
        (old,) = before.run_many(task.name, ["recording.flac"])
        (new,) = after.run_many(task.name, ["recording.flac"])
        assert [(h.token_ids, h.score) for h in new] == [(h.token_ids, h.score) for h in old]
        assert np.isfinite([h.score for h in new]).all()
    assert (used / "runs/italian/evaluation/model/test/results.json").is_file()


def test_all_four_can_be_trained_together_from_the_run(used: Path):
    tasks = [task.name for task in taskaware.load("runs/four", device="cpu").tasks]
    assert tasks == ["asr_en", "st_en_de", "st_en_fr", "st_en_it"]
    validations = [e for e in read_log(used / "runs" / "four") if e["kind"] == "validation"]
    assert set(validations[-1]["values"]) == set(tasks)
