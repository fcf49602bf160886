"""FLEURS in miniature: sentences read by several people in several languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from taskaware.data.corpora import fleurs
from taskaware.data.corpora.rows import LeftOut, Request, Row
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path

_TEXTS = {
    "en_us": {"1": "A man.", "2": 'He said "no".'},
    "de_de": {"1": "Ein Mann.", "2": 'Er sagte „nein".'},
    "cmn_hans_cn": {"1": "一个男人。"},
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    samples = np.random.default_rng(0).normal(size=16_000).astype(np.float32) * 0.1
    for folder, texts in _TEXTS.items():
        for split in ("train", "dev", "test"):
            recordings = tmp_path / "data" / folder / "audio" / split
            recordings.mkdir(parents=True)
            lines = []
            for sentence, text in texts.items():
                for reading in ("10", "11") if sentence == "1" else ("12",):
                    soundfile.write(recordings / f"{reading}.wav", samples, 16_000)
                    cells = (sentence, f"{reading}.wav", text, text.lower(), "a |", "16000", "MALE")
                    lines.append("\t".join(cells) + "\n")
            table = tmp_path / "data" / folder / f"{split}.tsv"
            table.write_text("".join(lines), encoding="utf-8")
    return tmp_path


def _rows(request: Request, split: str = "train") -> list[Row]:
    found = fleurs.read(request)
    return [item for item in found if isinstance(item, Row) and item.split == split]


def test_every_recording_is_recognised_and_translated_and_a_sentences_text_once(corpus: Path):
    rows = _rows(Request(folder=corpus, languages=("en", "de")))
    english = [row for row in rows if row.source_language == "en"]
    assert [(row.kind, row.target_text, row.id) for row in english] == [
        ("asr", "A man.", "en-10-asr-en"),
        ("st", "Ein Mann.", "en-10-st-de"),
        ("mt", "Ein Mann.", "en-10-mt-de"),
        ("asr", "A man.", "en-11-asr-en"),
        ("st", "Ein Mann.", "en-11-st-de"),
        ("asr", 'He said "no".', "en-12-asr-en"),
        ("st", 'Er sagte „nein".', "en-12-st-de"),
        ("mt", 'Er sagte „nein".', "en-12-mt-de"),
    ]
    assert english[2].source_text == "A man."
    assert all(row.audio.is_file() for row in rows if row.audio is not None)
    assert {row.utterance for row in english} == {"en-1", "en-2"}


def test_a_sentence_that_a_language_lacks_is_not_translated_into_it(corpus: Path):
    rows = _rows(Request(folder=corpus))
    chinese = [row for row in rows if row.target_language == "cmn" and row.source_language == "en"]
    assert {row.utterance for row in chinese} == {"en-1"}
    assert {row.source_language for row in rows} == {"en", "de", "cmn"}


def test_sentences_are_joined_within_a_split_only(corpus: Path):
    table = corpus / "data" / "de_de" / "dev.tsv"
    table.write_text(table.read_text(encoding="utf-8").replace("1\t10", "7\t10"), encoding="utf-8")
    (corpus / "data" / "de_de" / "test.tsv").unlink()
    request = Request(folder=corpus, languages=("en", "de"), kinds=("mt",))
    assert len(_rows(request, "train")) == 4
    assert not _rows(request, "test")


def test_ids_are_unique_in_a_split(corpus: Path):
    rows = _rows(Request(folder=corpus))
    assert len({row.id for row in rows}) == len(rows)


def test_kinds_and_languages_are_what_is_asked_for(corpus: Path):
    rows = _rows(Request(folder=corpus, languages=("de",)))
    assert {(row.kind, row.source_language) for row in rows} == {("asr", "de")}
    rows = _rows(Request(folder=corpus, languages=("de", "en"), kinds=("st",)))
    assert {(row.source_language, row.target_language) for row in rows} == {
        ("de", "en"),
        ("en", "de"),
    }


def test_lines_that_are_not_as_released_are_left_out_and_named(corpus: Path):
    table = corpus / "data" / "en_us" / "train.tsv"
    table.write_text("1\t10.wav\n2\t12.wav\t \t\ta\t1\tMALE\n", encoding="utf-8")
    found = list(fleurs.read(Request(folder=corpus, languages=("en",), kinds=("asr",))))
    left_out = [item for item in found if isinstance(item, LeftOut)]
    assert [item.reason for item in left_out] == ["not 7 cells", "no transcript"]
    assert left_out[1].place == f"{table}, line 2"


def test_recordings_that_are_still_packed_are_asked_for(corpus: Path):
    recordings = corpus / "data" / "en_us" / "audio" / "train"
    recordings.rename(recordings.with_name("train-packed"))
    with pytest.raises(CorpusError, match=r"unpack .*train\.tar\.gz"):
        list(fleurs.read(Request(folder=corpus, languages=("en",))))
    assert list(fleurs.read(Request(folder=corpus, languages=("en", "de"), kinds=("mt",))))


def test_folders_that_are_not_the_corpus_are_refused(corpus: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="must contain folders such as en_us"):
        list(fleurs.read(Request(folder=tmp_path / "empty")))
    with pytest.raises(CorpusError, match="must have the language 'fr'"):
        list(fleurs.read(Request(folder=corpus, languages=("fr",))))
    (corpus / "data" / "en_gb").mkdir()
    (corpus / "data" / "en_gb" / "train.tsv").write_text("", encoding="utf-8")
    with pytest.raises(CorpusError, match="has en_gb and en_us"):
        list(fleurs.read(Request(folder=corpus)))
