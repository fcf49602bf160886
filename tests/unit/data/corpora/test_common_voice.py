"""Common Voice in miniature: tables of several releases, and what is missing or broken in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from taskaware.data.corpora import common_voice
from taskaware.data.corpora.rows import LeftOut, Request, Row, write_manifests
from taskaware.data.manifest.read import read_manifest
from taskaware.data.sound import audio
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path

RELEASE_3 = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent"
RELEASE_5 = f"{RELEASE_3}\tlocale\tsegment"
RELEASE_17 = (
    "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tdown_votes\tage\tgender\t"
    "accents\tvariant\tlocale\tsegment"
)


def line(header: str, **cells: str) -> str:
    return "\t".join(cells.get(column, "") for column in header.split("\t"))


def write_table(folder: Path, split: str, header: str, *lines: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{text}\n" for text in (header, *lines))
    (folder / f"{split}.tsv").write_text(text, encoding="utf-8")


def write_clip(folder: Path, name: str) -> None:
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(0).normal(size=32_000).astype(np.float32) * 0.1
    soundfile.write(folder / "clips" / f"{name}.mp3", samples, 32_000, format="MP3")


def found_rows(folder: Path, **wanted: tuple[str, ...]) -> list[Row]:
    found = common_voice.read(Request(folder=folder, **wanted))
    return [item for item in found if isinstance(item, Row)]


@pytest.fixture
def english(tmp_path: Path) -> Path:
    folder = tmp_path / "cv-corpus-5.1-2020-06-22" / "en"
    for split in ("train", "dev", "test", "validated", "other", "invalidated"):
        name = f"common_voice_en_{split}"
        write_table(
            folder,
            split,
            RELEASE_5,
            line(RELEASE_5, client_id="abc", path=f"{name}.mp3", sentence=f"In {split}."),
        )
        write_clip(folder, name)
    return folder


def test_train_dev_and_test_are_read_and_no_other_table(english: Path):
    rows = found_rows(english)
    assert [(row.split, row.target_text) for row in rows] == [
        ("train", "In train."),
        ("dev", "In dev."),
        ("test", "In test."),
    ]
    assert rows[0].id == "common_voice_en_train"
    assert rows[0].speaker == "abc"
    assert (rows[0].source_language, rows[0].target_language) == ("en", "en")
    for row in rows:
        assert row.audio is not None
        assert len(audio.read(row.audio, sample_rate_hz=16_000)) == pytest.approx(16_000, abs=1600)


@pytest.mark.parametrize(
    ("header", "path"),
    [(RELEASE_3, "0a1b2c"), (RELEASE_5, "0a1b2c.mp3"), (RELEASE_17, "0a1b2c.mp3")],
)
def test_the_columns_of_every_release_are_found_by_name(tmp_path: Path, header: str, path: str):
    folder = tmp_path / "cy"
    cells = {"client_id": "abc", "path": path, "sentence": "Bore da.", "sentence_id": "wrong"}
    write_table(folder, "train", header, line(header, **cells))
    [row] = found_rows(folder)
    assert (row.id, row.target_text, row.speaker) == ("0a1b2c", "Bore da.", "abc")
    assert row.audio == folder / "clips" / "0a1b2c.mp3"


def test_a_quotation_mark_that_is_never_closed_swallows_no_line(tmp_path: Path):
    lines = [
        line(RELEASE_5, path=f"{number}.mp3", sentence=sentence)
        for number, sentence in enumerate(['"Hello, world!', "Second.", 'He said "no".'])
    ]
    write_table(tmp_path / "en", "train", RELEASE_5, *lines)
    assert [row.target_text for row in found_rows(tmp_path)] == [
        '"Hello, world!',
        "Second.",
        'He said "no".',
    ]


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ('"""Good-bye,"" said the boy."', '"Good-bye," said the boy.'),
        ('"Das Prinzip heißt ""teile und herrsche""."', 'Das Prinzip heißt "teile und herrsche".'),
        # CSV never quotes a cell without a quotation mark in it: these marks are the sentence's.
        ('"Probier\'s mal mit Gemütlichkeit!"', '"Probier\'s mal mit Gemütlichkeit!"'),
        ('"Yes," he said, "no."', '"Yes," he said, "no."'),
        ('"', '"'),
    ],
)
def test_quoting_of_csv_is_undone_and_all_other_quotation_marks_are_text(
    tmp_path: Path, cell: str, sentence: str
):
    write_table(tmp_path / "en", "train", RELEASE_5, line(RELEASE_5, path="1.mp3", sentence=cell))
    assert [row.target_text for row in found_rows(tmp_path)] == [sentence]


def test_what_is_not_used_is_named_by_line_and_reason(english: Path):
    write_table(
        english,
        "train",
        RELEASE_5,
        line(RELEASE_5, path="1.mp3", sentence="  "),
        line(RELEASE_5, path="", sentence="Lost."),
        "abc\t4.mp3\tToo few cells.",
        line(RELEASE_5, path="5.mp3", sentence="Good."),
    )
    found = [f for f in common_voice.read(Request(folder=english)) if f.split == "train"]
    left_out = [item for item in found if isinstance(item, LeftOut)]
    assert [item.reason for item in left_out] == [
        "no transcript",
        "no recording",
        "another number of cells than the header",
    ]
    assert left_out[0].place.endswith("train.tsv, line 2")
    assert [item.id for item in found if isinstance(item, Row)] == ["5"]


def test_the_folder_may_be_a_language_a_release_or_the_one_above(english: Path):
    rows = found_rows(english)
    assert found_rows(english.parent) == rows
    assert found_rows(english.parent.parent) == rows


def test_languages_are_chosen_by_code(english: Path):
    write_table(
        english.parent / "zh-CN",
        "train",
        RELEASE_5,
        line(RELEASE_5, path="common_voice_zh-CN_1.mp3", sentence="你好。"),
    )
    assert {row.source_language for row in found_rows(english.parent)} == {"en", "zh-CN"}
    [row] = found_rows(english.parent, languages=("zh-CN",))
    assert row.target_text == "你好。"
    with pytest.raises(CorpusError, match=r"must have the language 'de', but has en, zh-CN"):
        found_rows(english.parent, languages=("de",))


def test_other_kinds_give_nothing(english: Path):
    assert found_rows(english, kinds=("st", "mt")) == []


def test_two_releases_of_a_language_are_refused(english: Path, tmp_path: Path):
    write_table(tmp_path / "cv-corpus-7.0-2021-07-21" / "en", "train", RELEASE_5)
    with pytest.raises(CorpusError, match=r"must have one release, but has .*5\.1.* and .*7\.0"):
        found_rows(tmp_path)


def test_a_folder_without_splits_is_refused(tmp_path: Path):
    write_table(tmp_path / "cv-corpus-12.0-delta-2022-12-07" / "de", "validated", RELEASE_5)
    with pytest.raises(CorpusError, match="must be the folder of a language"):
        found_rows(tmp_path)


def test_a_table_without_sentences_is_refused(tmp_path: Path):
    write_table(tmp_path / "en", "train", "client_id\tpath\ttext")
    with pytest.raises(CorpusError, match=r"train.tsv, line 1 must name the column 'sentence'"):
        found_rows(tmp_path)


def test_the_manifests_read_back_without_a_problem(english: Path, tmp_path: Path):
    found = common_voice.read(Request(folder=english))
    assert write_manifests(found, tmp_path / "manifests").examples["dev", "asr_en"] == 1
    assert read_manifest(tmp_path / "manifests" / "train.jsonl").problems == ()
