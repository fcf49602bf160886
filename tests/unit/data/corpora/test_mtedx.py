"""Multilingual TEDx in miniature: a folder for recognition and one for a translation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from taskaware.data.corpora import mtedx
from taskaware.data.corpora.rows import LeftOut, Request, Row, write_manifests
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path

_TALK = "-0abCdeFGhI"


def _write_pair(folder: Path, source: str, target: str, talk: str = _TALK) -> None:
    for split in ("train", "valid", "test"):
        part = folder / f"{source}-{target}" / "data" / split
        (part / "txt").mkdir(parents=True)
        (part / "wav").mkdir()
        samples = np.random.default_rng(0).normal(size=48_000).astype(np.float32) * 0.1
        soundfile.write(part / "wav" / f"{talk}.flac", samples, 16_000)
        entry = f"rW: 2, speaker_id: {talk}, uW: 0, wav: {talk}.wav}}"
        (part / "txt" / f"{split}.yaml").write_text(
            f"- {{duration: 1.0, offset: 0.0, {entry}\n- {{duration: 1.5, offset: 1.0, {entry}\n",
            encoding="utf-8",
        )
        (part / "txt" / f"{split}.{source}").write_text("Uno.\nDos.\n", encoding="utf-8")
        if source != target:
            (part / "txt" / f"{split}.{target}").write_text("One.\nTwo.\n", encoding="utf-8")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    _write_pair(tmp_path, "es", "es")
    _write_pair(tmp_path, "es", "en")
    return tmp_path


def _rows(request: Request) -> list[Row]:
    return [found for found in mtedx.read(request) if isinstance(found, Row)]


def test_recognition_comes_from_the_languages_own_folder_and_translation_from_the_pair(
    corpus: Path,
):
    rows = _rows(Request(folder=corpus))
    assert {row.split for row in rows} == {"train", "dev", "test"}
    train = [row for row in rows if row.split == "train"]
    assert [(row.kind, row.target_language, row.source_text, row.target_text) for row in train] == [
        ("st", "en", None, "One."),
        ("mt", "en", "Uno.", "One."),
        ("st", "en", None, "Two."),
        ("mt", "en", "Dos.", "Two."),
        ("asr", "es", None, "Uno."),
        ("asr", "es", None, "Dos."),
    ]
    assert {row.audio.parent.parts[-4] for row in train if row.audio and row.kind == "asr"} == {
        "es-es"
    }


def test_a_list_names_wav_files_and_the_recordings_are_flac(corpus: Path):
    rows = [row for row in _rows(Request(folder=corpus)) if row.audio is not None]
    assert all(row.audio.is_file() and row.audio.suffix == ".flac" for row in rows if row.audio)
    assert (rows[1].start_seconds, rows[1].duration_seconds) == (1.0, 1.5)
    assert {row.speaker for row in rows} == {_TALK}


def test_a_pair_gives_recognition_where_the_languages_own_folder_is_not_wanted(corpus: Path):
    rows = _rows(Request(folder=corpus, languages=("en",), kinds=("asr",)))
    assert len(rows) == 6
    assert all("es-en" in str(row.audio) and row.target_language == "es" for row in rows)
    rows = _rows(Request(folder=corpus / "es-en"))
    assert {row.kind for row in rows} == {"asr", "st", "mt"}


def test_ids_are_unique_in_a_split_over_pairs(corpus: Path, tmp_path: Path):
    _write_pair(corpus, "es", "fr")
    _write_pair(corpus, "fr", "en", talk=_TALK)
    rows = _rows(Request(folder=corpus))
    ids = [(row.split, row.id) for row in rows]
    assert len(set(ids)) == len(ids)
    counts = write_manifests(mtedx.read(Request(folder=corpus)), tmp_path / "manifests")
    assert counts.examples["train", "st_es_fr"] == 2
    assert counts.examples["train", "asr_es"] == 2


def test_the_utterance_joins_recognition_and_translation_of_the_same_segment(corpus: Path):
    rows = [row for row in _rows(Request(folder=corpus)) if row.split == "train"]
    kinds: dict[str, set[str]] = {}
    for row in rows:
        kinds.setdefault(row.utterance, set()).add(row.kind)
    assert list(kinds.values()) == [{"asr", "st", "mt"}] * 2


def test_an_empty_translation_is_left_out_and_the_transcript_kept(corpus: Path):
    english = corpus / "es-en" / "data" / "train" / "txt" / "train.en"
    english.write_text("One.\n\n", encoding="utf-8")
    found = list(mtedx.read(Request(folder=corpus)))
    left_out = [item for item in found if isinstance(item, LeftOut)]
    assert [(item.split, item.reason) for item in left_out] == [("train", "no translation")]
    assert "train.yaml, line 2" in left_out[0].place


def test_texts_that_do_not_belong_to_the_list_are_refused(corpus: Path):
    folder = corpus / "es-en" / "data" / "train" / "txt"
    for end in ("es", "en"):
        (folder / f"train.{end}").write_text("a\nb\nc\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"train\.yaml must have as many segments .* has fewer"):
        list(mtedx.read(Request(folder=corpus)))


def test_a_folder_that_is_not_the_corpus_is_refused(tmp_path: Path):
    with pytest.raises(CorpusError, match="must be a folder such as es-en"):
        list(mtedx.read(Request(folder=tmp_path)))
    (tmp_path / "es-en" / "data").mkdir(parents=True)
    with pytest.raises(CorpusError, match="must contain train, valid or test"):
        list(mtedx.read(Request(folder=tmp_path)))


def test_a_language_that_is_not_there_is_refused(corpus: Path):
    with pytest.raises(CorpusError, match="must have the language 'de', but has en, es"):
        list(mtedx.read(Request(folder=corpus, languages=("de",))))
