"""MuST-C in miniature: the releases' folders, and what is missing or broken in them."""

from __future__ import annotations

import time
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from taskaware.data.corpora import must_c
from taskaware.data.corpora.rows import LeftOut, Request, Row, write_manifests
from taskaware.data.manifest.read import read_manifest
from taskaware.data.sound import audio
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path

# The first line is of release 1, the second of releases 2 and 3.
LINES = [
    "- {duration: 0.500000, offset: 0.250000, rW: 9, uW: 0, speaker_id: spk.1, wav: ted_1.wav}",
    "- {duration: 0.75, offset: 1.0, speaker_id: spk.1, wav: ted_1.wav}",
    "- {duration: 0.5, offset: 0.0, speaker_id: spk.7, wav: ted_7.wav}",
]
ENGLISH = ["Good morning.", "How are you?", "(Applause) Thank you."]
GERMAN = ["Guten Morgen.", "Wie geht es Ihnen?", "(Applaus) Danke."]


def write_split(
    pair: Path,
    split: str,
    lines: list[str] | None = None,
    english: list[str] | None = None,
    other: list[str] | None = None,
) -> None:
    folder = pair / "data" / split
    for name in ("txt", "wav", "h5"):
        (folder / name).mkdir(parents=True)
    language = pair.name.partition("-")[2]
    for ending, texts in (
        ("yaml", lines or LINES),
        ("en", english or ENGLISH),
        (language, other or GERMAN),
    ):
        text = "".join(f"{line}\n" for line in texts)
        (folder / "txt" / f"{split}.{ending}").write_text(text, encoding="utf-8")
    samples = np.random.default_rng(0).normal(size=2 * 16_000).astype(np.float32) * 0.1
    for talk in ("ted_1", "ted_7"):
        soundfile.write(folder / "wav" / f"{talk}.wav", samples, 16_000, subtype="PCM_16")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for split in ("train", "dev", "tst-COMMON", "tst-HE"):
        write_split(tmp_path / "en-de", split)
    return tmp_path


def found_rows(folder: Path, **wanted: tuple[str, ...]) -> list[Row]:
    found = must_c.read(Request(folder=folder, **wanted))
    return [item for item in found if isinstance(item, Row)]


def left_out(folder: Path, **wanted: tuple[str, ...]) -> list[LeftOut]:
    found = must_c.read(Request(folder=folder, **wanted))
    return [item for item in found if isinstance(item, LeftOut)]


def test_each_segment_gives_recognition_translation_of_speech_and_of_text_next_to_each_other(
    corpus: Path,
):
    rows = [row for row in found_rows(corpus) if row.split == "train"]
    assert [row.kind for row in rows] == ["asr", "st", "mt"] * 3
    first = rows[:3]
    assert [row.id for row in first] == [
        "ted_1-0001-asr-de",
        "ted_1-0001-st-de",
        "ted_1-0001-mt-de",
    ]
    assert [(row.source_language, row.target_language) for row in first] == [
        ("en", "en"),
        ("en", "de"),
        ("en", "de"),
    ]
    assert [row.target_text for row in first] == [
        "Good morning.",
        "Guten Morgen.",
        "Guten Morgen.",
    ]
    assert [row.source_text for row in first] == [None, None, "Good morning."]
    assert len({row.utterance for row in first}) == 1
    assert len({row.utterance for row in rows}) == 3
    assert {row.speaker for row in first} == {"spk.1"}


def test_the_segment_of_a_segment_lies_in_its_talk(corpus: Path):
    asr, st, mt = found_rows(corpus / "en-de")[3:6]
    assert mt.audio is None
    assert mt.duration_seconds is None
    for row in (asr, st):
        assert (row.start_seconds, row.duration_seconds) == (1.0, 0.75)
        assert row.audio is not None
        waveform = audio.read(
            row.audio,
            sample_rate_hz=16_000,
            start_seconds=row.start_seconds,
            duration_seconds=row.duration_seconds,
        )
        assert len(waveform) == 12_000


def test_tst_common_is_test_and_the_other_splits_keep_their_names(corpus: Path):
    splits = [name for name, _ in groupby(row.split for row in found_rows(corpus))]
    assert sorted(splits) == ["dev", "test", "train", "tst-HE"]


@pytest.mark.parametrize("kinds", [("asr",), ("st",), ("mt",), ("mt", "asr")])
def test_only_the_kinds_that_are_wanted_are_given(corpus: Path, kinds: tuple[str, ...]):
    rows = [row for row in found_rows(corpus, kinds=kinds) if row.split == "train"]
    assert [row.kind for row in rows] == [k for k in ("asr", "st", "mt") if k in kinds] * 3


def test_the_folder_may_be_one_pair_or_the_one_above_all(corpus: Path):
    assert found_rows(corpus) == found_rows(corpus / "en-de")


def test_only_the_languages_that_are_wanted_are_read(corpus: Path):
    write_split(corpus / "en-fr", "train", lines=["not yaml"])
    rows = found_rows(corpus, languages=("de",))
    assert {row.target_language for row in rows} == {"en", "de"}
    with pytest.raises(CorpusError, match=r"must have the language 'ro', but has de, fr"):
        found_rows(corpus, languages=("ro",))


def test_a_transcript_that_another_pair_gave_is_not_repeated_but_its_translations_are_there(
    tmp_path: Path,
):
    write_split(tmp_path / "en-de", "train")
    # The French segmentation has the first segment too, and then one instead of two.
    lines = [LINES[0], "- {duration: 1.0, offset: 1.0, speaker_id: spk.1, wav: ted_1.wav}"]
    english = [ENGLISH[0], "How are you? I mean it."]
    write_split(tmp_path / "en-fr", "train", lines, english, ["Bonjour.", "Comment ça va ?"])
    rows = found_rows(tmp_path)
    transcripts = [row.target_text for row in rows if row.kind == "asr"]
    assert transcripts == [*ENGLISH, "How are you? I mean it."]
    assert [row.target_text for row in rows if row.target_language == "fr"] == [
        "Bonjour.",
        "Bonjour.",
        "Comment ça va ?",
        "Comment ça va ?",
    ]
    shared = {row.utterance for row in rows if row.target_text in ("Bonjour.", "Guten Morgen.")}
    assert len(shared) == 1


def test_the_same_words_at_another_time_or_in_another_split_are_no_repetition(tmp_path: Path):
    write_split(tmp_path / "en-de", "train", LINES[:1], ENGLISH[:1], GERMAN[:1])
    write_split(tmp_path / "en-fr", "dev", LINES[:1], ENGLISH[:1], GERMAN[:1])
    write_split(tmp_path / "en-fr", "train", LINES[1:2], ENGLISH[:1], GERMAN[:1])
    rows = found_rows(tmp_path, kinds=("asr",))
    assert [row.split for row in rows] == ["train", "dev", "train"]


def test_what_a_pair_itself_repeats_stays(tmp_path: Path):
    write_split(tmp_path / "en-de", "train", [LINES[0]] * 2, ["Yes."] * 2, ["Ja."] * 2)
    assert [row.kind for row in found_rows(tmp_path)] == ["asr", "st", "mt"] * 2


def test_ids_are_unique_in_a_split_over_all_languages_and_kinds(tmp_path: Path):
    write_split(tmp_path / "en-de", "train")
    write_split(tmp_path / "en-fr", "train", english=["Other.", "Words.", "Here."])
    ids = [row.id for row in found_rows(tmp_path)]
    assert len(ids) == 18
    assert len(set(ids)) == len(ids)


def test_speech_that_cannot_be_is_left_out_while_its_text_stays(tmp_path: Path):
    lines = [
        "- {duration: 0.0, offset: 0.5, speaker_id: spk.1, wav: ted_1.wav}",
        "- {duration: 0.5, offset: -0.1, speaker_id: spk.1, wav: ted_1.wav}",
        LINES[0],
    ]
    write_split(tmp_path / "en-de", "train", lines)
    assert [item.reason for item in left_out(tmp_path)] == [
        "the segment is shorter than 0.1 s",
        "the segment starts before its recording",
    ]
    assert left_out(tmp_path)[1].place.endswith("train.yaml, line 2")
    assert [row.kind for row in found_rows(tmp_path)] == ["mt", "mt", "asr", "st", "mt"]
    assert left_out(tmp_path, kinds=("mt",)) == []


def test_a_missing_text_leaves_out_the_kinds_that_need_it(tmp_path: Path):
    write_split(tmp_path / "en-de", "train", english=["", *ENGLISH[1:]], other=[*GERMAN[:2], "  "])
    kinds = [
        [row.kind for row in group]
        for _, group in groupby(found_rows(tmp_path), key=lambda row: row.utterance)
    ]
    assert kinds == [["st"], ["asr", "st", "mt"], ["asr"]]
    assert [item.reason for item in left_out(tmp_path)] == ["no transcript", "no translation"]
    assert [item.reason for item in left_out(tmp_path, kinds=("asr",))] == ["no transcript"]


@pytest.mark.parametrize(
    "line",
    [
        "duration: 0.5",
        "- {duration: 0.5, speaker_id: spk.1, wav: ted_1.wav}",
        "- {duration: half, offset: 0.5, wav: ted_1.wav}",
        "- {duration: nan, offset: 0.5, wav: ted_1.wav}",
        "- {duration: 0.5, offset: 0.5, wav: }",
        "",
    ],
)
def test_a_line_that_is_no_segment_is_refused_by_file_and_line(tmp_path: Path, line: str):
    write_split(tmp_path / "en-de", "train", [LINES[0], line, LINES[2]])
    with pytest.raises(CorpusError, match=r"train.yaml, line 2 must be one segment such as"):
        found_rows(tmp_path)


def test_texts_of_another_length_than_the_segments_are_refused(tmp_path: Path):
    write_split(tmp_path / "en-de", "train", other=GERMAN[:2])
    with pytest.raises(CorpusError, match=r"train.de must have as many lines as"):
        found_rows(tmp_path)


def test_a_missing_translation_file_is_refused_by_name(corpus: Path):
    (corpus / "en-de" / "data" / "train" / "txt" / "train.de").unlink()
    with pytest.raises(CorpusError, match=r"train.de must be a file of MuST-C, but does not exist"):
        found_rows(corpus)


def test_a_folder_that_is_not_must_c_is_refused(tmp_path: Path):
    with pytest.raises(CorpusError, match="must be a folder such as en-de"):
        found_rows(tmp_path)
    (tmp_path / "en-de" / "data").mkdir(parents=True)
    with pytest.raises(CorpusError, match="must contain folders such as train/txt"):
        found_rows(tmp_path)


def test_the_manifests_read_back_without_a_problem(corpus: Path, tmp_path: Path):
    counts = write_manifests(must_c.read(Request(folder=corpus)), tmp_path / "manifests")
    assert counts.examples["test", "st_en_de"] == 3
    contents = read_manifest(tmp_path / "manifests" / "test.jsonl")
    assert contents.problems == ()
    assert {task.name for task in contents.tasks} == {"asr_en", "st_en_de", "mt_en_de"}


def test_the_segments_of_a_whole_release_are_read_within_seconds(tmp_path: Path):
    number = 25_000  # a tenth of train
    write_split(
        tmp_path / "en-de", "train", [LINES[0]] * number, ["Yes."] * number, ["Ja."] * number
    )
    start = time.process_time()
    assert sum(1 for _ in must_c.read(Request(folder=tmp_path))) == 3 * number
    assert time.process_time() - start < 3  # a reader of all of YAML: 7 s
