"""Europarl-ST in miniature: the release's folders, and what is missing or broken in them."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from taskaware.data.corpora import europarl_st
from taskaware.data.corpora.rows import LeftOut, Request, Row, write_manifests
from taskaware.data.manifest.read import read_manifest
from taskaware.data.sound import audio
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path

SPEECHES = ("en.20080924.31.3-213", "en.20080924.31.3-243")
SEGMENTS = [f"{SPEECHES[0]} 0.0 0.77", f"{SPEECHES[0]} 0.77 2.0", f"{SPEECHES[1]} 0.5 1.5"]
ENGLISH = ["Madam President ,", "I do not agree .", "The whole world ."]
GERMAN = ["Frau Präsidentin!", "Ich stimme nicht zu.", "Die ganze Welt."]


def write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_split(
    release: Path,
    pair: str,
    split: str = "train",
    segments: list[str] | None = None,
    sources: list[str] | None = None,
    targets: list[str] | None = None,
) -> Path:
    source, target = pair.split("-")
    folder = release / source / target / split
    write_lines(folder / "segments.lst", segments or SEGMENTS)
    write_lines(folder / f"segments.{source}", sources or ENGLISH)
    write_lines(folder / f"segments.{target}", targets or GERMAN)
    write_lines(folder / "speeches.lst", list(SPEECHES))
    write_lines(folder / "speakers.lst", ["Ann_Smith_101", "Bob_Brown_102"])
    return folder


def write_audio(release: Path, source: str = "en", ending: str = "flac") -> None:
    audios = release / source / "audios"
    audios.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(0).normal(size=2 * 16_000).astype(np.float32) * 0.1
    for speech in SPEECHES:
        soundfile.write(audios / f"{speech}.{ending}", samples, 16_000)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    for split in ("train", "train-noisy", "dev", "test"):
        write_split(tmp_path / "v1.1", "en-de", split)
    write_audio(tmp_path / "v1.1")
    return tmp_path / "v1.1"


def found_rows(folder: Path, **wanted: tuple[str, ...]) -> list[Row]:
    found = europarl_st.read(Request(folder=folder, **wanted))
    return [item for item in found if isinstance(item, Row)]


def test_each_segment_gives_recognition_translation_of_speech_and_of_text_next_to_each_other(
    release: Path,
):
    rows = [row for row in found_rows(release) if row.split == "train"]
    assert [row.kind for row in rows] == ["asr", "st", "mt"] * 3
    asr, st, mt = rows[3:6]
    assert asr.id == "en.20080924.31.3-213-00002-asr-de"
    assert (asr.source_language, asr.target_language) == ("en", "en")
    assert (st.source_language, st.target_language) == ("en", "de")
    assert (asr.target_text, st.target_text) == ("I do not agree .", "Ich stimme nicht zu.")
    assert (mt.source_text, mt.target_text) == ("I do not agree .", "Ich stimme nicht zu.")
    assert asr.utterance == st.utterance == mt.utterance
    assert [row.speaker for row in rows] == ["Ann_Smith_101"] * 6 + ["Bob_Brown_102"] * 3


@pytest.mark.parametrize("ending", ["flac", "wav", "ogg", "mp3"])
def test_converted_recordings_are_found_and_hold_the_segments(tmp_path: Path, ending: str):
    write_split(tmp_path, "en-de")
    write_audio(tmp_path, ending=ending)
    rows = found_rows(tmp_path, kinds=("st",))
    assert [(row.start_seconds, row.duration_seconds) for row in rows] == [
        (0.0, 0.77),
        (0.77, 1.23),
        (0.5, 1.0),
    ]
    for row in rows:
        assert row.audio is not None
        assert row.duration_seconds is not None
        waveform = audio.read(
            row.audio,
            sample_rate_hz=16_000,
            start_seconds=row.start_seconds,
            duration_seconds=row.duration_seconds,
        )
        assert len(waveform) == pytest.approx(16_000 * row.duration_seconds, abs=1)


def test_all_splits_are_read_under_their_names(release: Path):
    assert list(dict.fromkeys(row.split for row in found_rows(release))) == [
        "train",
        "train-noisy",
        "dev",
        "test",
    ]
    assert found_rows(release.parent) == found_rows(release)


def test_the_folder_may_be_one_source_language(release: Path):
    expected = found_rows(release)
    write_split(release, "fr-de", sources=["Un.", "Deux.", "Trois."])
    assert found_rows(release / "en") == expected


def test_recordings_that_are_not_converted_are_refused_with_the_loop_that_converts_them(
    tmp_path: Path,
):
    release = tmp_path / "a folder" / "v1.1"
    write_split(release, "en-de")
    write_audio(release)
    for path in (release / "en" / "audios").iterdir():
        path.rename(path.with_name(path.name.removesuffix(".flac") + ".m4a"))
    with pytest.raises(
        CorpusError, match="must be converted first, as M4A cannot be read"
    ) as error:
        found_rows(release)
    # In place of ffmpeg, a script that copies the file after -i to the last argument.
    converter = tmp_path / "bin" / "ffmpeg"
    converter.parent.mkdir()
    converter.write_text(
        "#!/bin/sh\n"
        'while [ "$#" -gt 1 ]; do [ "$1" = -i ] && input="$2"; shift; done\n'
        'cp "$input" "$1"\n'
    )
    converter.chmod(0o755)
    loop = str(error.value).splitlines()[-1]
    path = f"{converter.parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["sh", "-c", loop], check=True, env={**os.environ, "PATH": path})
    assert len(found_rows(release)) == 9


def test_text_translation_needs_no_recording(tmp_path: Path):
    write_split(tmp_path, "en-de")
    (tmp_path / "en" / "audios").mkdir()
    (tmp_path / "en" / "audios" / f"{SPEECHES[0]}.m4a").touch()
    assert [row.kind for row in found_rows(tmp_path, kinds=("mt",))] == ["mt"] * 3


def test_speech_without_a_recording_is_left_out_while_its_text_stays(release: Path):
    (release / "en" / "audios" / f"{SPEECHES[1]}.flac").unlink()
    found = [f for f in europarl_st.read(Request(folder=release)) if f.split == "dev"]
    left_out = [item for item in found if isinstance(item, LeftOut)]
    assert [item.reason for item in left_out] == ["no recording"]
    assert left_out[0].place.endswith("segments.lst, line 3")
    kinds = [item.kind for item in found if isinstance(item, Row)]
    assert kinds == ["asr", "st", "mt", "asr", "st", "mt", "mt"]


def test_languages_are_target_languages_from_all_sources(release: Path):
    write_split(release, "en-fr", targets=["Un.", "Deux.", "Trois."])
    write_split(release, "fr-de", sources=["Un.", "Deux.", "Trois."])
    write_audio(release, "fr")
    pairs = {
        (row.source_language, row.target_language)
        for row in found_rows(release, languages=("de",))
        if row.kind == "st"
    }
    assert pairs == {("en", "de"), ("fr", "de")}
    with pytest.raises(CorpusError, match=r"must have the language 'ro', but has de, fr"):
        found_rows(release, languages=("ro",))


def test_a_transcript_that_another_pair_gave_is_not_repeated(release: Path):
    write_split(release, "en-fr", targets=["Un.", "Deux.", "Trois."])
    rows = [row for row in found_rows(release) if row.split == "train"]
    assert [row.target_text for row in rows if row.kind == "asr"] == ENGLISH
    assert len([row for row in rows if row.kind == "st"]) == 6
    assert len({row.id for row in rows}) == len(rows)


def test_segments_that_cannot_be_are_left_out(tmp_path: Path):
    segments = [f"{SPEECHES[0]} 1.0 0.5", f"{SPEECHES[0]} -0.5 1.0", SEGMENTS[2]]
    write_split(tmp_path, "en-de", segments=segments, targets=["Eins.", "Zwei.", ""])
    write_audio(tmp_path)
    found = list(europarl_st.read(Request(folder=tmp_path)))
    assert [item.reason for item in found if isinstance(item, LeftOut)] == [
        "the segment is shorter than 0.1 s",
        "the segment starts before its recording",
        "no translation",
    ]
    assert [item.kind for item in found if isinstance(item, Row)] == ["mt", "mt", "asr"]


@pytest.mark.parametrize("line", ["", "en.1 0.5", "en.1 zero one", "en.1 0.0 inf"])
def test_a_line_that_is_no_segment_is_refused_by_file_and_line(tmp_path: Path, line: str):
    write_split(tmp_path, "en-de", segments=[SEGMENTS[0], line, SEGMENTS[2]])
    write_audio(tmp_path)
    with pytest.raises(CorpusError, match=r"segments.lst, line 2 must be a speech, a start"):
        found_rows(tmp_path)


def test_texts_of_another_length_than_the_segments_are_refused(tmp_path: Path):
    write_split(tmp_path, "en-de", targets=GERMAN[:2])
    write_audio(tmp_path)
    with pytest.raises(CorpusError, match=r"segments.de must have as many lines as"):
        found_rows(tmp_path)


def test_speakers_may_be_missing(release: Path):
    (release / "en" / "de" / "dev" / "speakers.lst").unlink()
    assert {row.speaker for row in found_rows(release) if row.split == "dev"} == {""}


def test_a_folder_that_is_not_europarl_st_is_refused(tmp_path: Path):
    with pytest.raises(CorpusError, match="must contain files such as en/de/train"):
        found_rows(tmp_path)


def test_the_manifests_read_back_without_a_problem(release: Path, tmp_path: Path):
    found = europarl_st.read(Request(folder=release))
    counts = write_manifests(found, tmp_path / "manifests")
    assert counts.examples["train-noisy", "st_en_de"] == 3
    assert read_manifest(tmp_path / "manifests" / "test.jsonl").problems == ()
