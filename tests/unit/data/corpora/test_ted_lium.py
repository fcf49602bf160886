"""TED-LIUM 3 in miniature: the release's folders, and what is missing or broken in them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from taskaware.data.corpora import ted_lium
from taskaware.data.corpora.rows import LeftOut, Request, Row, write_manifests
from taskaware.data.manifest.read import read_manifest
from taskaware.data.sound import audio
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path


def write_sphere(path: Path, seconds: float) -> None:
    """A recording as the corpus has it: a NIST sphere header of 1,024 bytes, 16-bit samples."""
    samples = np.random.default_rng(0).integers(-3000, 3000, int(16_000 * seconds), dtype="<i2")
    lines = [
        "NIST_1A",
        "   1024",
        "channel_count -i 1",
        "sample_rate -i 16000",
        "sample_n_bytes -i 2",
        "sample_sig_bits -i 16",
        "sample_byte_format -s2 01",
        "sample_coding -s3 pcm",
        f"sample_count -i {len(samples)}",
        "end_head",
        "",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(lines).encode().ljust(1024) + samples.tobytes())


def write_talk(folder: Path, talk: str, *lines: str) -> None:
    write_sphere(folder / "sph" / f"{talk}.sph", 3)
    (folder / "stm").mkdir(exist_ok=True)
    (folder / "stm" / f"{talk}.stm").write_text(
        "".join(f"{line}\n" for line in lines), encoding="utf-8"
    )


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    release = tmp_path / "TEDLIUM_release-3"
    for talk in ("AlGore_2006", "BillGates_2010"):
        write_talk(release / "data", talk, f"{talk} 1 {talk} 0.50 2.00 <NA> hello from {talk}")
    for split, talk in (("dev", "DevTalk_2009"), ("test", "TestTalk_2010")):
        write_talk(
            release / "legacy" / split,
            talk,
            f"{talk} 1 inter_segment_gap 0 1.00 <o,,unknown> ignore_time_segment_in_scoring",
            f"{talk} 1 {talk} 1.00 2.50 <o,f0,male> we 're in {split} ",
        )
        write_talk(release / "speaker-adaptation" / split, f"Adapted_{split}", "nonsense")
    (release / "legacy" / "train").mkdir()
    for name in ("sph", "stm"):
        (release / "legacy" / "train" / name).symlink_to(f"../../data/{name}")
    return release


def found_rows(folder: Path, **wanted: tuple[str, ...]) -> list[Row]:
    found = ted_lium.read(Request(folder=folder, **wanted))
    return [item for item in found if isinstance(item, Row)]


def test_the_splits_are_those_of_the_legacy_repartition(corpus: Path):
    assert [(row.split, row.target_text) for row in found_rows(corpus)] == [
        ("train", "hello from AlGore_2006"),
        ("train", "hello from BillGates_2010"),
        ("dev", "we're in dev"),
        ("test", "we're in test"),
    ]
    assert found_rows(corpus.parent) == found_rows(corpus)


def test_a_row_names_its_talk_and_its_segment_of_the_recording(corpus: Path):
    row = found_rows(corpus)[2]
    assert row.id == "DevTalk_2009-0002"
    assert row.speaker == "DevTalk_2009"
    assert (row.start_seconds, row.duration_seconds) == (1.0, 1.5)
    for row in found_rows(corpus):
        assert row.audio is not None
        waveform = audio.read(
            row.audio,
            sample_rate_hz=16_000,
            start_seconds=row.start_seconds,
            duration_seconds=row.duration_seconds,
        )
        assert len(waveform) == 24_000
        assert np.abs(waveform).max() > 0.05


def test_train_is_found_in_data_where_the_links_are_lost(corpus: Path):
    expected = [(row.id, row.target_text) for row in found_rows(corpus)]
    shutil.rmtree(corpus / "legacy" / "train")
    # A talk of a held-out set in data as well must not get into train.
    for name in ("stm", "sph"):
        source = corpus / "legacy" / "dev" / name / f"DevTalk_2009.{name}"
        shutil.copy(source, corpus / "data" / name)
    assert [(row.id, row.target_text) for row in found_rows(corpus)] == expected


def test_links_that_lead_nowhere_and_hidden_files_are_no_transcripts(corpus: Path):
    expected = [(row.id, row.target_text) for row in found_rows(corpus)]
    (corpus / "legacy" / "train" / "stm").unlink()
    (corpus / "legacy" / "train" / "stm").mkdir()
    (corpus / "legacy" / "train" / "stm" / "AlGore_2006.stm").symlink_to("../nowhere.stm")
    (corpus / "data" / "stm" / "._AlGore_2006.stm").write_bytes(b"\x00\xff")
    assert [(row.id, row.target_text) for row in found_rows(corpus)] == expected


def test_only_the_talks_of_the_legacy_list_are_train_where_it_is_there(corpus: Path):
    for name in ("stm", "sph"):
        (corpus / "legacy" / "train" / name).unlink()
        (corpus / "legacy" / "train" / name).mkdir()
    shutil.copy(corpus / "data" / "stm" / "AlGore_2006.stm", corpus / "legacy" / "train" / "stm")
    train = [row for row in found_rows(corpus) if row.split == "train"]
    assert [row.target_text for row in train] == ["hello from AlGore_2006"]
    assert train[0].audio == corpus / "data" / "sph" / "AlGore_2006.sph"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("<o,f0,unknown> land for(2) trails and(2) <sil> it 's", "land for trails and it's"),
        ("<o,f0,female> {NOISE} don 't {SMACK} they 'll", "don't they'll"),
        ("<NA> the <unk> word [laughter] parents ' house", "the word parents' house"),
        ("<F0_F> to shortcut <sil> (AaronHuey_2010X-223.12-232.68-F0_F-S27)", "to shortcut"),
        ("'cause  it  is", "'cause it is"),
        ("rock 'n' roll", "rock'n' roll"),
        ("<sil> {BREATH}", ""),
    ],
)
def test_marks_go_and_apostrophes_join_the_word_before(text: str, clean: str):
    assert ted_lium.clean_transcript(text) == clean


def test_what_is_not_used_is_named_by_line_and_reason(corpus: Path):
    talk = "AlGore_2006"
    write_talk(
        corpus / "data",
        talk,
        ";; a comment",
        f"{talk} 1 {talk} 0.5 1.0 <NA> <sil> {{NOISE}}",
        f"{talk} 1 {talk} 1.0 1.0 <NA> nothing",
        f"{talk} 1 {talk} -1.0 1.0 <NA> early",
        f"{talk} 1 {talk} one two <NA> words",
        f"{talk} 1 {talk} nan nan <NA> words",
        f"{talk} 1 {talk} 1.0",
        "broken",
        f"{talk} 1 {talk} 0.5 1.0",
        "",
        f"{talk} 1 gap 2.0 1.0 <o,,unknown> ignore_time_segment_in_scoring",
        f"{talk} 1 {talk} 1.0 1.5 <NA> good",
    )
    found = [
        item
        for item in ted_lium.read(Request(folder=corpus))
        if talk in (item.place if isinstance(item, LeftOut) else item.id)
    ]
    assert [item.reason for item in found if isinstance(item, LeftOut)] == [
        "no transcript",
        "the segment is shorter than 0.1 s",
        "the segment starts before its recording",
        *["not a line of STM"] * 4,
        "no transcript",
        "marked ignore_time_segment_in_scoring",
    ]
    assert isinstance(found[0], LeftOut)
    assert found[0].place.endswith("AlGore_2006.stm, line 2")
    assert [item.id for item in found if isinstance(item, Row)] == ["AlGore_2006-0012"]


def test_other_kinds_and_languages_give_nothing(corpus: Path):
    assert found_rows(corpus, kinds=("st", "mt")) == []
    assert found_rows(corpus, languages=("de",)) == []
    assert len(found_rows(corpus, languages=("de", "en"))) == 4


def test_an_incomplete_release_is_refused(corpus: Path, tmp_path: Path):
    with pytest.raises(CorpusError, match=r"must contain the transcripts of dev"):
        found_rows(corpus / "data")
    shutil.rmtree(corpus / "data")  # the links of train lead nowhere now
    with pytest.raises(CorpusError, match=r"must contain the transcripts of train"):
        found_rows(corpus)
    with pytest.raises(CorpusError, match="does not exist"):
        found_rows(tmp_path / "nothing")


def test_the_manifests_read_back_without_a_problem(corpus: Path, tmp_path: Path):
    counts = write_manifests(ted_lium.read(Request(folder=corpus)), tmp_path / "manifests")
    assert counts.examples == {("train", "asr_en"): 2, ("dev", "asr_en"): 1, ("test", "asr_en"): 1}
    assert read_manifest(tmp_path / "manifests" / "train.jsonl").problems == ()
