"""LibriSpeech in miniature: the release's folders, and what is missing or broken in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from taskaware.data.corpora import librispeech
from taskaware.data.corpora.rows import LeftOut, Request, Row
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for part, text in (
        ("train-clean-100", "A MAN"),
        ("dev-clean", "TWO MEN"),
        ("test-other", "NO MEN"),
    ):
        chapter = tmp_path / "LibriSpeech" / part / "84" / "121123"
        chapter.mkdir(parents=True)
        (chapter / "84-121123.trans.txt").write_text(
            f"84-121123-0000 {text}\n84-121123-0001\n", encoding="utf-8"
        )
        samples = np.random.default_rng(0).normal(size=16_000).astype(np.float32) * 0.1
        soundfile.write(chapter / "84-121123-0000.flac", samples, 16_000)
    return tmp_path


def test_every_part_is_read_into_its_split(corpus: Path):
    rows = [found for found in librispeech.read(Request(folder=corpus)) if isinstance(found, Row)]
    assert {(row.split, row.target_text) for row in rows} == {
        ("train", "A MAN"),
        ("dev", "TWO MEN"),
        ("test-other", "NO MEN"),
    }
    assert all(row.audio is not None and row.audio.is_file() for row in rows)
    assert {row.speaker for row in rows} == {"84"}


def test_a_line_without_a_transcript_is_left_out_and_named(corpus: Path):
    left_out = [f for f in librispeech.read(Request(folder=corpus)) if isinstance(f, LeftOut)]
    assert [item.reason for item in left_out] == ["no transcript"] * 3
    assert "84-121123.trans.txt, line 2" in left_out[0].place


def test_a_folder_that_is_not_librispeech_is_refused(tmp_path: Path):
    with pytest.raises(CorpusError, match="must hold parts such as train-clean-100"):
        list(librispeech.read(Request(folder=tmp_path)))
    with pytest.raises(CorpusError, match="does not exist"):
        list(librispeech.read(Request(folder=tmp_path / "nothing")))
