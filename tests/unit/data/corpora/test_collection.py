"""A collection of small corpora in miniature."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from taskaware.data.corpora import collection
from taskaware.data.corpora.rows import LeftOut, Request, Row, write_manifests
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    folder = tmp_path / "corpora"
    samples = np.random.default_rng(0).normal(size=16_000).astype(np.float32) * 0.1
    for name, ending in (("librispeech_mini", "mp3"), ("steel_sky", "flac")):
        (folder / name / "audio").mkdir(parents=True)
        for number in (1, 2):
            soundfile.write(folder / name / "audio" / f"{number}.{ending}", samples, 16_000)
    _write(
        folder / "librispeech_mini" / "manifest.tsv",
        "split\tid\taudio\tduration_seconds\tspeaker\tsex\ten\n"
        "train\t1\taudio/1.mp3\t1.000\t84\tF\tA MAN\ndev\t2\taudio/2.mp3\t1.000\t85\tM\tTWO MEN\n",
    )
    _write(
        folder / "steel_sky" / "manifest.tsv",
        "split\tid\taudio\tduration_seconds\ten\tde\tfr\n"
        "train\t1\taudio/1.flac\t1.000\tHey!\tHe!\tEh !\n"
        "test\t2\taudio/2.flac\t1.000\tNo.\tNein.\t\ntest\tbroken\n",
    )
    for name in ("train", "val", "test_2016_flickr"):
        for language in ("en", "de", "cs"):
            _write(folder / "multi30k" / f"{name}.{language}.gz", f"{language} 1\n{language} 2 \n")
    for split in ("train", "dev", "test"):
        _write(folder / "text" / f"wesnoth.en-tr.{split}.tsv", f"en\ttr\nA {split}\tBir\nB\t\n")
    for name, language in (("newstest2016", "ro"), ("newstest2016", "tr"), ("newstest2018", "de")):
        _write(folder / "wmt" / f"{name}.en-{language}.en", "One\nTwo\n")
        _write(folder / "wmt" / f"{name}.en-{language}.{language}", "1\n2\n")
    _write(folder / "README.md", "Not a corpus.\n")
    return folder


def _rows(request: Request) -> list[Row]:
    return [found for found in collection.read(request) if isinstance(found, Row)]


def test_every_corpus_that_is_there_is_read_into_its_splits(corpora: Path, tmp_path: Path):
    counts = write_manifests(collection.read(Request(folder=corpora)), tmp_path / "manifests")
    assert counts.examples == {
        ("train", "asr_en"): 2,
        ("dev", "asr_en"): 1,
        ("test", "asr_en"): 1,
        ("train", "st_en_de"): 1,
        ("train", "st_en_fr"): 1,
        ("test", "st_en_de"): 1,
        ("train", "mt_en_de"): 1 + 2,
        ("train", "mt_en_fr"): 1,
        ("test", "mt_en_de"): 1 + 2,
        ("dev", "mt_en_de"): 2,
        **{(split, "mt_en_cs"): 2 for split in ("train", "dev", "test")},
        ("train", "mt_en_tr"): 1,
        ("dev", "mt_en_tr"): 1 + 2,
        ("test", "mt_en_tr"): 1,
        ("test", "mt_en_ro"): 2,
        ("newstest2018", "mt_en_de"): 2,
    }
    assert counts.left_out == {
        ("test", "no translation"): 1 + 2,
        ("train", "another number of cells than the header"): 1,
        ("train", "no translation"): 1,
        ("dev", "no translation"): 1,
    }


def test_a_line_of_dialogue_gives_its_tasks_side_by_side(corpora: Path):
    rows = [row for row in _rows(Request(folder=corpora)) if row.dataset == "steel_sky"]
    assert [(row.kind, row.target_language, row.target_text) for row in rows[:5]] == [
        ("asr", "en", "Hey!"),
        ("st", "de", "He!"),
        ("st", "fr", "Eh !"),
        ("mt", "de", "He!"),
        ("mt", "fr", "Eh !"),
    ]
    assert {row.utterance for row in rows[:5]} == {"steel_sky-1"}
    assert all(row.audio.is_file() for row in rows if row.audio is not None)


def test_transcripts_in_capitals_stay_and_name_their_speakers(corpora: Path):
    rows = [row for row in _rows(Request(folder=corpora)) if row.dataset == "librispeech_mini"]
    assert [(row.split, row.target_text, row.speaker) for row in rows] == [
        ("train", "A MAN", "84"),
        ("dev", "TWO MEN", "85"),
    ]
    assert all(row.audio is not None and row.audio.is_file() for row in rows)


def test_the_translations_of_a_caption_stand_together(corpora: Path):
    rows = [row for row in _rows(Request(folder=corpora)) if row.dataset == "multi30k"]
    train = [row for row in rows if row.split == "train"]
    assert [(row.source_text, row.target_text, row.utterance) for row in train] == [
        ("en 1", "cs 1", "multi30k-train-00001"),
        ("en 1", "de 1", "multi30k-train-00001"),
        ("en 2", "cs 2", "multi30k-train-00002"),
        ("en 2", "de 2", "multi30k-train-00002"),
    ]


def test_a_news_set_goes_where_its_language_pair_has_it(corpora: Path):
    rows = [row for row in _rows(Request(folder=corpora)) if row.dataset == "newstest2016"]
    assert {(row.target_language, row.split) for row in rows} == {("ro", "test"), ("tr", "dev")}


def test_ids_are_unique_in_a_split_over_all_corpora(corpora: Path):
    rows = _rows(Request(folder=corpora))
    assert len({(row.split, row.id) for row in rows}) == len(rows)


def test_kinds_and_languages_are_what_is_asked_for(corpora: Path):
    rows = _rows(Request(folder=corpora, languages=("de",)))
    assert {row.target_language for row in rows if row.kind != "asr"} == {"de"}
    assert {row.dataset for row in rows if row.kind == "asr"} == {"steel_sky"}
    rows = _rows(Request(folder=corpora, languages=("en",)))
    assert {(row.kind, row.dataset) for row in rows} == {
        ("asr", "librispeech_mini"),
        ("asr", "steel_sky"),
    }
    rows = _rows(Request(folder=corpora, kinds=("mt",), languages=("cs",)))
    assert {(row.kind, row.dataset) for row in rows} == {("mt", "multi30k")}


def test_a_corpus_that_is_not_there_is_not_missed_and_an_empty_folder_is_refused(
    corpora: Path, tmp_path: Path
):
    (corpora / "librispeech_mini").rename(tmp_path / "elsewhere")
    assert {row.dataset for row in _rows(Request(folder=corpora, kinds=("asr",)))} == {"steel_sky"}
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="must contain one of librispeech_mini"):
        list(collection.read(Request(folder=tmp_path / "empty")))


def test_files_that_do_not_belong_together_are_refused(corpora: Path):
    _write(corpora / "wmt" / "newstest2016.en-ro.ro", "1\n")
    with pytest.raises(CorpusError, match="must have as many lines"):
        list(collection.read(Request(folder=corpora)))
    (corpora / "wmt" / "newstest2016.en-ro.ro").unlink()
    with pytest.raises(CorpusError, match=r"the translation of newstest2016\.en-ro\.en"):
        list(collection.read(Request(folder=corpora)))


def test_a_table_without_its_text_is_left_out_line_by_line(corpora: Path):
    _write(
        corpora / "librispeech_mini" / "manifest.tsv",
        "split\tid\taudio\tspeaker\ten\ndev\t1\taudio/1.mp3\t84\t \ndev\t2\n",
    )
    found = [
        item
        for item in collection.read(Request(folder=corpora, kinds=("asr",), languages=("en",)))
        if isinstance(item, LeftOut) and "librispeech_mini" in item.place
    ]
    assert [(item.split, item.reason) for item in found] == [
        ("dev", "no transcript"),
        ("train", "another number of cells than the header"),
    ]
