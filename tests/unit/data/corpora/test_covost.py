"""CoVoST 2 in miniature: its tables, made or not yet made, beside the clips of Common Voice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from taskaware.data.corpora import covost
from taskaware.data.corpora.rows import LeftOut, Request, Row
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path

_CLIPS = ("common_voice_en_1", "common_voice_en_2", "common_voice_en_3")
_SENTENCES = {_CLIPS[0]: 'He said "no".', _CLIPS[1]: "Two men.", _CLIPS[2]: "Three men."}


def _write_clips(folder: Path) -> None:
    (folder / "clips").mkdir(parents=True)
    samples = np.random.default_rng(0).normal(size=16_000).astype(np.float32) * 0.1
    for clip in _CLIPS:
        soundfile.write(folder / "clips" / f"{clip}.mp3", samples, 16_000)


@pytest.fixture
def split_tables(tmp_path: Path) -> Path:
    """What CoVoST's own script makes, with clips and tables in one folder."""
    _write_clips(tmp_path)
    for target in ("de", "zh-CN"):
        for split, clip in zip(("train", "dev", "test"), _CLIPS, strict=True):
            sentence = _SENTENCES[clip].replace('"', '\\"')
            (tmp_path / f"covost_v2.en_{target}.{split}.tsv").write_text(
                "path\tsentence\ttranslation\tclient_id\n"
                f'{clip}.mp3\t{sentence}\t{target}: \\\\ \\"{split}\\"\tspeaker\n',
                encoding="utf-8",
            )
    return tmp_path


@pytest.fixture
def whole_table(tmp_path: Path) -> Path:
    """What is downloaded: CoVoST's table beside the folder of Common Voice."""
    _write_clips(tmp_path / "en")
    (tmp_path / "en" / "validated.tsv").write_text(
        "client_id\tpath\tsentence\tup_votes\n"
        + "".join(f"s{i}\t{clip}.mp3\t{_SENTENCES[clip]}\t2\n" for i, clip in enumerate(_CLIPS))
        + "s9\tcommon_voice_en_9.mp3\tNot translated.\t2\n",
        encoding="utf-8",
    )
    (tmp_path / "covost_v2.en_de.tsv").write_text(
        "path\ttranslation\tsplit\n"
        f"{_CLIPS[2]}.mp3\tDrei Männer.\ttest\n"
        f'{_CLIPS[0]}.mp3\tEr sagte \\"nein\\".\ttrain_covost\n'
        f"{_CLIPS[1]}.mp3\tZwei Männer.\tdev_covost\n"
        "common_voice_en_8.mp3\tWeg.\tdev\n",
        encoding="utf-8",
    )
    return tmp_path


def _rows(request: Request) -> list[Row]:
    return [found for found in covost.read(request) if isinstance(found, Row)]


def test_a_clips_three_tasks_stand_together_and_escapes_are_undone(split_tables: Path):
    rows = _rows(Request(folder=split_tables, languages=("de",)))
    assert [(row.split, row.kind, row.source_text, row.target_text) for row in rows[:3]] == [
        ("train", "asr", None, 'He said "no".'),
        ("train", "st", None, 'de: \\ "train"'),
        ("train", "mt", 'He said "no".', 'de: \\ "train"'),
    ]
    assert [row.split for row in rows] == ["train"] * 3 + ["dev"] * 3 + ["test"] * 3
    assert len({row.utterance for row in rows[:3]}) == 1
    assert all(row.audio.is_file() for row in rows if row.audio is not None)
    assert [row.audio is None for row in rows[:3]] == [False, False, True]


def test_recognition_comes_once_for_all_pairs_out_of_a_language(split_tables: Path):
    rows = _rows(Request(folder=split_tables))
    assert [row.kind for row in rows].count("asr") == 3
    assert {row.target_language for row in rows if row.kind == "st"} == {"de", "zh-CN"}
    assert len({(row.split, row.id) for row in rows}) == len(rows) == 3 + 2 * 6
    rows = _rows(Request(folder=split_tables, languages=("zh-CN",), kinds=("asr",)))
    assert len(rows) == 3


def test_a_whole_table_is_joined_with_common_voices_sentences(whole_table: Path):
    rows = _rows(Request(folder=whole_table))
    assert [(row.split, row.kind, row.target_text, row.speaker) for row in rows] == [
        ("train", "asr", 'He said "no".', "s0"),
        ("train", "st", 'Er sagte "nein".', "s0"),
        ("train", "mt", 'Er sagte "nein".', "s0"),
        ("test", "asr", "Three men.", "s2"),
        ("test", "st", "Drei Männer.", "s2"),
        ("test", "mt", "Drei Männer.", "s2"),
    ]
    assert all(row.audio.is_file() for row in rows if row.audio is not None)


def test_what_cannot_be_joined_is_left_out_and_named(whole_table: Path):
    left_out = [f for f in covost.read(Request(folder=whole_table)) if isinstance(f, LeftOut)]
    assert {(item.split, item.reason) for item in left_out} == {
        ("dev_covost", "the split 'dev_covost' is not one of CoVoST 2"),
        ("dev", "a clip that Common Voice's table does not have"),
    }
    assert {item.place.rpartition(", ")[2] for item in left_out} == {"line 4", "line 5"}


def test_a_line_that_lacks_something_loses_only_the_tasks_that_need_it(split_tables: Path):
    (split_tables / "covost_v2.en_de.train.tsv").write_text(
        "path\tsentence\ttranslation\tclient_id\n"
        f"{_CLIPS[0]}.mp3\t\tda\ts\n{_CLIPS[1]}.mp3\there\t\ts\n{_CLIPS[2]}.mp3\tbroken\n",
        encoding="utf-8",
    )
    found = [
        item
        for item in covost.read(Request(folder=split_tables, languages=("de",)))
        if item.split == "train"
    ]
    assert [item.kind if isinstance(item, Row) else item.reason for item in found] == [
        "no transcript",
        "st",
        "no translation",
        "asr",
        "another number of cells than the header",
    ]


def test_folders_that_are_not_complete_are_refused(split_tables: Path, tmp_path: Path):
    (tmp_path / "clips").rename(tmp_path / "elsewhere")
    with pytest.raises(CorpusError, match="must contain Common Voice's clips"):
        list(covost.read(Request(folder=split_tables)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="must contain tables such as"):
        list(covost.read(Request(folder=tmp_path / "empty")))
    (tmp_path / "empty" / "covost_v2.en_de.tsv.tar.gz").write_bytes(b"")
    with pytest.raises(CorpusError, match="unpack it with tar"):
        list(covost.read(Request(folder=tmp_path / "empty")))
    with pytest.raises(CorpusError, match="must have the language 'fr'"):
        list(covost.read(Request(folder=split_tables, languages=("fr",))))


def test_a_whole_table_without_common_voices_is_refused(whole_table: Path):
    (whole_table / "en" / "validated.tsv").unlink()
    with pytest.raises(CorpusError, match=r"must contain Common Voice's validated\.tsv"):
        list(covost.read(Request(folder=whole_table)))
