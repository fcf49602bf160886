"""The TED corpus of IWSLT in miniature: what is filtered, and what evaluation sets can give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from taskaware.data.corpora import iwslt_ted
from taskaware.data.corpora.iwslt_ted import AlignmentFilter
from taskaware.data.corpora.rows import LeftOut, Request, Row, write_manifests
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path

_SENTENCE, _SATZ = "Thank you so much.", "Vielen Dank dafür."  # 18 characters each
_SEGMENTS = [  # seconds, English, German, the reason for leaving it out
    (1.8, _SENTENCE, _SATZ, ""),
    (1.8, "", _SATZ, "no transcript"),
    (1.8, _SENTENCE, "", "no translation"),
    (0.25, "Yes.", "Ja.", "the segment is shorter than 0.3 s"),
    (0.5, _SENTENCE, _SATZ, "less than 0.03 s a character of the transcript"),
    (4.6, _SENTENCE, _SATZ, "more than 0.25 s a character of the transcript"),
    (1.8, _SENTENCE, "Danke.", "the translation is less than 0.4 times the transcript"),
    (1.8, _SENTENCE, _SATZ * 3, "the translation is more than 2.5 times the transcript"),
]
_XML = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<mteval>\n<{kind} setid="{set}">\n'
    '<doc docid="767" genre="lectures">\n<title>A talk &amp; more</title>\n'
    '<seg id="1"> {one} </seg>\n<seg id="2">{two}</seg>\n</doc>\n</{kind}>\n</mteval>\n'
)


def _write_set(
    folder: Path, name: str, german: tuple[str, str] = ("Eins & zwei.", "Drei.")
) -> None:
    inner = folder / name / f"IWSLT.{name}"
    (inner / "wavs").mkdir(parents=True)
    soundfile.write(inner / "wavs" / f"{name}.en.talkid767.wav", np.zeros(16_000), 16_000)
    for language, (one, two) in (("en", ("One &\n two.", "Three.")), ("de", german)):
        kind = "srcset" if language == "en" else "refset"
        text = _XML.format(kind=kind, set=name, one=one.replace("&", "&amp;"), two=two)
        path = inner / f"IWSLT.TED.{name}.en-de.{language}.xml"
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "train" / "iwslt-corpus"
    (folder / "parallel").mkdir(parents=True)
    (folder / "wav").mkdir()
    samples = np.random.default_rng(0).normal(size=16_000 * 30).astype(np.float32) * 0.1
    soundfile.write(folder / "wav" / "ted_1.wav", samples, 16_000)
    lists = [
        f"- {{duration: {seconds}, offset: {2 * i}.5, speaker_id: spk.1, wav: ted_1.wav}}\n"
        for i, (seconds, *_) in enumerate(_SEGMENTS)
    ]
    (folder / "parallel" / "train.yaml").write_text("".join(lists), encoding="utf-8")
    for end, column in (("en", 1), ("de", 2)):
        text = "".join(f"{segment[column]}\n" for segment in _SEGMENTS)
        (folder / "parallel" / f"train.{end}").write_text(text, encoding="utf-8")
    _write_set(tmp_path, "dev2010")
    _write_set(tmp_path, "tst2010")
    _write_set(tmp_path, "tst2015")
    return tmp_path


def test_a_well_aligned_segment_gives_its_three_tasks_side_by_side(corpus: Path):
    found = [item for item in iwslt_ted.read(Request(folder=corpus)) if isinstance(item, Row)]
    train = [row for row in found if row.split == "train"]
    assert [(row.kind, row.source_text, row.target_text) for row in train] == [
        ("asr", None, _SENTENCE),
        ("st", None, _SATZ),
        ("mt", _SENTENCE, _SATZ),
    ]
    assert len({row.utterance for row in train}) == 1
    speech = train[0]
    assert speech.audio is not None
    assert speech.audio.is_file()
    assert (speech.start_seconds, speech.duration_seconds) == (0.5, 1.8)


def test_each_badly_aligned_segment_is_left_out_once_with_its_reason(corpus: Path):
    found = list(iwslt_ted.read(Request(folder=corpus)))
    left_out = [item for item in found if isinstance(item, LeftOut) and item.split == "train"]
    assert [item.reason for item in left_out] == [reason for *_, reason in _SEGMENTS if reason]
    assert "train.yaml, line 2" in left_out[0].place


def test_the_filter_keeps_its_bounds_and_leaves_out_what_is_just_beyond():
    alignment = AlignmentFilter(
        min_seconds=0.5,
        min_seconds_per_character=0.0625,
        max_seconds_per_character=0.25,
        min_length_ratio=0.5,
        max_length_ratio=2.0,
    )
    kept = [(1.0, 16, 8), (1.0, 16, 32), (4.0, 16, 16), (0.5, 8, 8)]
    for seconds, num_english, num_german in kept:
        assert alignment.reason(seconds, "a" * num_english, "b" * num_german) == ""
    assert alignment.reason(0.49, "a" * 4, "b" * 4).startswith("the segment is shorter")
    assert alignment.reason(0.99, "a" * 16, "b" * 16).startswith("less than")
    assert alignment.reason(4.01, "a" * 16, "b" * 16).startswith("more than")
    assert "less than 0.5 times" in alignment.reason(2.0, "a" * 16, "b" * 7)
    assert "more than 2 times" in alignment.reason(2.0, "a" * 16, "b" * 33)


def test_other_bounds_than_the_defaults_can_be_asked_for(corpus: Path):
    generous = AlignmentFilter(max_seconds_per_character=1.0, max_length_ratio=10.0)
    found = iwslt_ted.read(Request(folder=corpus, kinds=("st",)), generous)
    assert sum(isinstance(item, Row) for item in found) == 3


def test_evaluation_sets_give_text_translation_alone_and_say_so(corpus: Path, tmp_path: Path):
    counts = write_manifests(iwslt_ted.read(Request(folder=corpus)), tmp_path / "manifests")
    assert counts.examples["dev", "mt_en_de"] == 2
    assert counts.examples["test", "mt_en_de"] == 2
    assert counts.examples["tst2015", "mt_en_de"] == 2
    assert {task for split, task in counts.examples if split != "train"} == {"mt_en_de"}
    reason = "speech of an evaluation set, cut by machine and not by sentence"
    assert counts.left_out["test", reason] == 2
    found = list(iwslt_ted.read(Request(folder=corpus, kinds=("mt",))))
    rows = [item for item in found if isinstance(item, Row) and item.split == "test"]
    assert [(row.source_text, row.target_text) for row in rows] == [
        ("One & two.", "Eins & zwei."),
        ("Three.", "Drei."),
    ]
    assert not [item for item in found if isinstance(item, LeftOut) and item.split == "test"]


def test_ids_are_unique_in_a_split(corpus: Path):
    found = [item for item in iwslt_ted.read(Request(folder=corpus)) if isinstance(item, Row)]
    assert len({(row.split, row.id) for row in found}) == len(found)


def test_the_corpus_is_found_wherever_its_archives_were_unpacked(corpus: Path):
    for folder in (corpus / "train", corpus / "train" / "iwslt-corpus"):
        rows = [f for f in iwslt_ted.read(Request(folder=folder)) if isinstance(f, Row)]
        assert len(rows) == 3
    rows = [f for f in iwslt_ted.read(Request(folder=corpus / "tst2010")) if isinstance(f, Row)]
    assert {row.split for row in rows} == {"test"}


def test_a_set_without_published_texts_is_left_out_whole(corpus: Path):
    (corpus / "tst2019" / "IWSLT.tst2019" / "wavs").mkdir(parents=True)
    found = list(iwslt_ted.read(Request(folder=corpus)))
    left_out = [f for f in found if isinstance(f, LeftOut) and f.split == "tst2019"]
    assert [item.reason for item in left_out] == ["a set without transcripts and texts"]


def test_files_that_do_not_belong_together_are_refused(corpus: Path):
    german = corpus / "tst2010" / "IWSLT.tst2010" / "IWSLT.TED.tst2010.en-de.de.xml"
    text = german.read_text(encoding="utf-8")
    german.write_text(text.replace('<seg id="2">Drei.</seg>', ""), encoding="utf-8")
    with pytest.raises(CorpusError, match="differ at talk 767, sentence 2"):
        list(iwslt_ted.read(Request(folder=corpus)))
    german.write_text(text.replace('<seg id="1">', '<seg id="3">'), encoding="utf-8")
    with pytest.raises(CorpusError, match="differ at talk 767, sentence 1"):
        list(iwslt_ted.read(Request(folder=corpus)))
    german.write_text(text[:200], encoding="utf-8")
    with pytest.raises(CorpusError, match="must be XML"):
        list(iwslt_ted.read(Request(folder=corpus)))
    parallel = corpus / "train" / "iwslt-corpus" / "parallel"
    yaml = (parallel / "train.yaml").read_text(encoding="utf-8")
    (parallel / "train.yaml").write_text(yaml + yaml, encoding="utf-8")
    with pytest.raises(CorpusError, match=r"train\.yaml must have as many segments .* has more"):
        list(iwslt_ted.read(Request(folder=corpus)))


def test_a_folder_without_the_corpus_or_its_language_is_refused(corpus: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="must contain iwslt-corpus"):
        list(iwslt_ted.read(Request(folder=tmp_path / "empty")))
    with pytest.raises(CorpusError, match="must have the language 'fr'"):
        list(iwslt_ted.read(Request(folder=corpus, languages=("fr",))))
