"""Manifests of sources without targets, and what tells them from lines of text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from taskaware.data.manifest.source_list import ListedSource, looks_like_a_list, read_source_list
from taskaware.errors import ManifestError
from taskaware.types import Speech, Text

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "line",
    [
        "task\taudio\ttarget_text",
        "audio\tstart_seconds",
        "source_text,target_text",
        '"id","source_text"',
        '{"audio": "a.wav"}',
        '{"anything": 1}',
        "[",
        "{",
        '[{"audio": "a.wav"}]',
    ],
)
def test_a_header_or_an_object_begins_a_list(line: str):
    assert looks_like_a_list(line)
    assert looks_like_a_list(f"  {line}\r")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Good morning.",
        "audio",
        "the audio, and the task",
        "task, kind",
        "one\ttwo",
        "source_text\tsomething",
        "{name} was here",
        "[laughs] No.",
        '"audio"',
        "{" * 100_000,
    ],
)
def test_a_sentence_begins_none(line: str):
    assert not looks_like_a_list(line)


def test_a_list_needs_nothing_but_sources(tmp_path: Path):
    path = tmp_path / "list.tsv"
    path.write_text(
        "id\taudio\tstart_seconds\tduration_seconds\tchannel\tsource_text\tfeatures\ttask\n"
        "a\tb/a.wav\t1.5\t2\t2\t\t\tasr\n"
        "b\t\t\t\t\ttalk.m4a\t\t\n"
        "\t\t\t\t\t\tc.npy\tsigns\n"
    )
    audio = Speech(
        path=tmp_path / "b" / "a.wav", start_seconds=1.5, duration_seconds=2.0, channel=2
    )
    assert list(read_source_list(path)) == [
        ListedSource(line=2, id="a", task="asr", modality="speech", source=audio),
        ListedSource(line=3, id="b", modality="text", source=Text("talk.m4a")),
        ListedSource(line=4, task="signs", modality="features", source=tmp_path / "c.npy"),
    ]


def test_a_wrong_line_keeps_its_place(tmp_path: Path):
    path = tmp_path / "list.jsonl"
    lines = [{"audio": "a.wav", "start_seconds": -1}, {"id": "x"}, {"source_text": "one"}, 5]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    found = list(read_source_list(path))
    assert [one.line for one in found] == [1, 2, 3, 4]
    assert [bool(one.problem) for one in found] == [True, True, False, True]
    assert "start_seconds: must be a number of seconds from 0 up" in found[0].problem
    assert found[1].id == "x"


def test_a_list_with_an_unknown_column_is_refused(tmp_path: Path):
    path = tmp_path / "list.jsonl"
    path.write_text('{"audio": "a.wav", "start_second": 1}')
    with pytest.raises(ManifestError, match="did you mean 'start_seconds'"):
        list(read_source_list(path))
