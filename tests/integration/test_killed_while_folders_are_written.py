"""Commands that write folders, killed at operations on files: given again, they leave the same."""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest

from conftest import MT
from killed import contents, in_a_fork, killed_at, killed_where
from taskaware.augment.blocks import Made, claim_recordings, write_in_blocks
from taskaware.data.embedded import corpus
from taskaware.data.embedded.settings import EmbeddedCorpusSettings
from taskaware.export.folder import write_into
from taskaware.export.onnx_files import write_onnx
from taskaware.output_folder import LOCK_NAME, RECORD_NAME
from taskaware.study import write as tables
from taskaware.study.results import StudyResults
from tiny_models import random_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
EVERY = 4
SMALL = EmbeddedCorpusSettings(
    num_train_sentences=2,
    num_dev_sentences=1,
    num_test_sentences=1,
    num_train_voices=1,
    num_dev_voices=1,
    num_test_voices=1,
    speech_per_sentence=1,
)


def left_by(folder: Path) -> dict[str, bytes]:
    """Return all that is there, but for records and locks."""
    ours = (RECORD_NAME, LOCK_NAME)
    return {name: of for name, of in contents(folder).items() if not name.endswith(ours)}


def assert_given_again_it_leaves_the_same(
    command: Callable[[Path], object],
    tmp_path: Path,
    before: Callable[[Path], object] | None = None,
) -> None:
    """Kill a command at every few operations, and give it again."""

    def made(name: str) -> Path:
        (tmp_path / name).mkdir()
        if before is not None:
            before(tmp_path / name)
        return tmp_path / name

    whole = made("whole")
    command(whole)
    number, folder = 1, made("killed1")
    while killed_at(partial(command, folder), folder, number):
        assert not in_a_fork(partial(command, folder))
        assert left_by(folder) == left_by(whole), number
        number += EVERY
        folder = made(f"killed{number}")
    assert number > 5 * EVERY


def test_the_demos_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("espeakng_loader", reason="the extra `demo` is not installed")

    def speak(folder: Path, recordings: Sequence[corpus.Recording], *_: object) -> float:
        for name in (name for each in recordings for name in each.audios(SMALL)):
            (folder / name).write_bytes(name.encode())
        return 1.0

    monkeypatch.setattr(corpus, "_speak", speak)
    assert_given_again_it_leaves_the_same(
        lambda folder: corpus.write(folder / "corpus", SMALL), tmp_path
    )


def test_the_tables_of_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "render_page", lambda results: results.title)
    monkeypatch.setattr(tables, "rendered", lambda figure, form: form.encode())
    monkeypatch.setattr(tables, "_figures", lambda results: [("curves_1_a", None)])
    results = StudyResults(
        name="toy",
        title="Toy",
        question="Does it run?",
        size="tiny",
        command="taskaware study toy.toml",
        split="test",
        seeds=(1,),
        tasks={},
        rows=(),
    )
    assert_given_again_it_leaves_the_same(
        lambda folder: tables.write_all(results, folder / "toy-tiny"), tmp_path
    )


@pytest.mark.parametrize("earlier", [(), ("export.json", "encoder_text.onnx")])
def test_an_export(earlier: tuple[str, ...], tmp_path: Path):
    def export(folder: Path, *names: str) -> None:
        def make(place: Path) -> None:
            for name in names:
                (place / name).write_text(f"{name} of {len(names)}")

        if names:
            write_into(folder / "out", "export.json", make)

    assert_given_again_it_leaves_the_same(
        lambda folder: export(folder, "decode.py", "decoder.onnx", "export.json"),
        tmp_path,
        before=lambda folder: export(folder, *earlier),
    )


def test_synthetic_texts_and_recordings(tmp_path: Path):
    """What ``augment translate`` and ``augment speak`` have in common."""

    def speak(folder: Path) -> None:
        recordings = folder / "out"

        def make(block: Sequence[int], first: int) -> Made:
            for number in block:
                (recordings / f"{number}.flac").write_bytes(b"sound")
            lines = [f"{first} {number}\n" for number in block]
            return Made(lines=lines, counts=Counter({("data", "written"): len(lines)}))

        claim_recordings(folder / "out.jsonl", recordings)
        write_in_blocks(folder / "out.jsonl", {"step": "test"}, range(5), make, block_size=2)

    assert_given_again_it_leaves_the_same(speak, tmp_path)


@pytest.mark.slow
def test_the_graphs_of_an_export(tmp_path: Path):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the extra `export` is not installed")
    model = random_model(tasks=(MT,), num_encoder_layers=1, num_decoder_layers=1)
    folder = tmp_path / "exported"

    def export() -> None:
        write_into(folder, "export.json", lambda place: write_onnx(model, place))

    assert killed_where(export, folder, lambda event, path: path.name == "decoder.onnx")
    assert not [path for path in folder.iterdir() if not path.name.startswith(".")]
    assert not in_a_fork(export)
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {
        *("encoder_text.onnx", "decoder.onnx", "decode.py", "export.json")
    }
