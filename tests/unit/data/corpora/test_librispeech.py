"""LibriSpeech in miniature: the release's folders, and what is missing or broken in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from taskaware.data.corpora import librispeech
from taskaware.data.corpora.rows import LeftOut, Request, Row, write_manifests
from taskaware.data.manifest.read import read_manifest
from taskaware.data.sound import audio
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


def test_what_a_mac_leaves_beside_every_file_is_passed_over(corpus: Path):
    expected = list(librispeech.read(Request(folder=corpus)))
    for path in [path for path in corpus.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\x05\x16\x07\0\2\0\0")
    assert list(librispeech.read(Request(folder=corpus))) == expected


def test_every_part_of_the_release_and_of_the_mini_release_goes_into_its_split(tmp_path: Path):
    expected = {
        "train-clean-5": "train",
        "train-clean-100": "train",
        "train-clean-360": "train",
        "train-other-500": "train",
        "dev-clean": "dev",
        "dev-clean-2": "dev-clean-2",
        "dev-other": "dev-other",
        "test-clean": "test",
        "test-other": "test-other",
    }
    for number, part in enumerate(expected):
        chapter = tmp_path / part / str(number) / "7"
        chapter.mkdir(parents=True)
        (chapter / f"{number}-7.trans.txt").write_text(f"{number}-7-0000 {part}\n")
    (tmp_path / "intro-disclaimers").mkdir()
    (tmp_path / "SPEAKERS.TXT").touch()
    rows = [f for f in librispeech.read(Request(folder=tmp_path)) if isinstance(f, Row)]
    assert {row.target_text: row.split for row in rows} == expected


def test_a_row_holds_what_the_release_says_of_its_utterance(corpus: Path):
    row = next(iter(librispeech.read(Request(folder=corpus / "LibriSpeech"))))
    assert isinstance(row, Row)
    assert (row.id, row.utterance) == ("84-121123-0000", "84-121123-0000")
    assert (row.kind, row.source_language, row.target_language) == ("asr", "en", "en")
    assert row.audio is not None
    assert row.audio.name == "84-121123-0000.flac"
    assert len(audio.read(row.audio, sample_rate_hz=16_000)) == 16_000
    assert (row.start_seconds, row.duration_seconds) == (0.0, None)


def test_the_folder_may_be_the_release_or_the_one_above(corpus: Path):
    above = list(librispeech.read(Request(folder=corpus)))
    assert list(librispeech.read(Request(folder=corpus / "LibriSpeech"))) == above


def test_other_kinds_and_languages_give_nothing(corpus: Path):
    assert list(librispeech.read(Request(folder=corpus, kinds=("st", "mt")))) == []
    assert list(librispeech.read(Request(folder=corpus, languages=("de",)))) == []
    assert list(librispeech.read(Request(folder=corpus, languages=("de", "en")))) != []


def test_the_manifests_read_back_without_a_problem(corpus: Path, tmp_path: Path):
    counts = write_manifests(librispeech.read(Request(folder=corpus)), tmp_path / "manifests")
    assert counts.examples == {(s, "asr_en"): 1 for s in ("train", "dev", "test-other")}
    assert read_manifest(tmp_path / "manifests" / "train.jsonl").problems == ()


def test_a_line_without_a_transcript_is_left_out_and_named(corpus: Path):
    left_out = [f for f in librispeech.read(Request(folder=corpus)) if isinstance(f, LeftOut)]
    assert [item.reason for item in left_out] == ["no transcript"] * 3
    assert "84-121123.trans.txt, line 2" in left_out[0].place


def test_a_folder_that_is_not_librispeech_is_refused(tmp_path: Path):
    with pytest.raises(CorpusError, match="must contain parts such as train-clean-100"):
        list(librispeech.read(Request(folder=tmp_path)))
    with pytest.raises(CorpusError, match="does not exist"):
        list(librispeech.read(Request(folder=tmp_path / "nothing")))
