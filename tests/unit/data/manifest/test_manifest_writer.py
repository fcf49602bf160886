"""Examples written as lines of a manifest come back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskaware.data.manifest.line import ManifestLine
from taskaware.data.manifest.read import iterate_manifest
from taskaware.data.manifest.write import to_line
from taskaware.types import Example, Speech, Task

ST = Task(
    name="st_en_de", kind="st", source_modality="speech", source_language="en", target_language="de"
)
MT = Task(name="mt", kind="mt", source_modality="text")
SIGNS = Task(name="signs", kind="other", source_modality="features", target_language="en")
TEXT = 'Tab\there, "quotes",\nlines, \u2028 and 文字 🜁'

CASES = {
    "segment of a recording": (
        ST,
        Example(
            id="a-1", task="st_en_de", dataset="talks", target_text=TEXT, speaker="anna",
            speech=Speech(path=Path("/a.wav"), start_seconds=0.1 + 0.2, duration_seconds=0.1),
            utterance="u1", origin="translation by A, beam 2",
        ),
    ),
    "whole recording": (
        ST,
        Example(
            id="7", task="st_en_de", dataset="talks", target_text="x", utterance="u",
            speech=Speech(path=Path("/corpus/a.wav")),
        ),
    ),
    "text": (
        MT,
        Example(id="m", task="mt", dataset="web", target_text="b", source_text=TEXT, utterance="u"),
    ),
    "features": (
        SIGNS,
        Example(
            id="f", task="signs", dataset="s", target_text="b", features_path=Path("/f.npy"),
            utterance="u",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_written_line_is_read_as_the_same_task_and_example(name: str, tmp_path: Path):
    task, example = CASES[name]
    path = tmp_path / "elsewhere.jsonl"
    path.write_text(to_line(example, task), encoding="utf-8")
    (found,) = iterate_manifest(path)
    assert isinstance(found, ManifestLine)
    assert (found.task, found.example) == (task, example)


def test_a_line_ends_with_its_only_line_feed_and_has_no_empty_field():
    task, example = CASES["whole recording"]
    line = to_line(example, task)
    assert line.index("\n") == len(line) - 1
    assert "null" not in line
    assert '""' not in line


def test_a_relative_recording_is_named_by_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    example = Example(
        id="a", task="st_en_de", dataset="d", target_text="x", speech=Speech(path=Path("a.wav"))
    )
    assert f'"audio": "{tmp_path / "a.wav"}"' in to_line(example, ST)
