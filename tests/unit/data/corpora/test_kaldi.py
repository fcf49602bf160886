"""Data folders of Kaldi in miniature: with segments and without, sorted and broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from taskaware.data.corpora import kaldi
from taskaware.data.corpora.recipes import read_corpus
from taskaware.data.corpora.rows import LeftOut, Request, Row, write_manifests
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path


def write_part(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("wav_scp", "wav.scp")).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Train with segments and speakers, dev of whole recordings, and a further test set."""
    write_part(
        tmp_path / "data/train_clean",
        wav_scp="r1 /audio/r1.flac\nr2 /audio/a b.wav\n",
        text="s1-u1 ONE TWO\ns1-u2  drei ä\ns2-u1 SIX\n",
        segments="s1-u1 r1 0.5 1.75\ns1-u2 r1 2 -1\ns2-u1 r2 0 3.1\n",
        utt2spk="s1-u1 s1\ns1-u2 s1\ns2-u1 s2\n",
    )
    write_part(tmp_path / "data/dev", wav_scp="u1\t/audio/u1.wav\n", text="u1\tONE\n")
    write_part(tmp_path / "data/eval.2000", wav_scp="u2 wav/u2.wav\n", text="u2 TWO\n")
    write_part(tmp_path / "data/lang", words="a 1\n")
    return tmp_path / "data"


def found(folder: Path, **request) -> tuple[list[Row], list[LeftOut]]:
    items = list(kaldi.read(Request(folder=folder, **{"languages": ("en",), **request})))
    rows = [item for item in items if isinstance(item, Row)]
    return rows, [item for item in items if isinstance(item, LeftOut)]


def test_utterances_come_with_their_segment_transcript_and_speaker(corpus: Path):
    rows, left_out = found(corpus)
    assert [
        (r.split, r.id, str(r.audio), r.start_seconds, r.duration_seconds, r.target_text, r.speaker)
        for r in rows
    ] == [
        ("dev", "u1", "/audio/u1.wav", 0.0, None, "ONE", ""),
        ("eval_2000", "u2", str(corpus / "eval.2000/wav/u2.wav"), 0.0, None, "TWO", ""),
        ("train", "s1-u1", "/audio/r1.flac", 0.5, 1.25, "ONE TWO", "s1"),
        ("train", "s1-u2", "/audio/r1.flac", 2.0, None, "drei ä", "s1"),
        ("train", "s2-u1", "/audio/a b.wav", 0.0, 3.1, "SIX", "s2"),
    ]
    assert {(row.kind, row.source_language, row.target_language) for row in rows} == {
        ("asr", "en", "en")
    }
    assert left_out == []


def test_a_data_folder_may_be_named_itself(corpus: Path, tmp_path: Path):
    assert {row.split for row in found(corpus / "train_clean")[0]} == {"train"}
    assert {row.split for row in found(corpus / "dev")[0]} == {"dev"}
    (corpus / "dev").rename(tmp_path / "mine")
    assert {row.split for row in found(tmp_path / "mine")[0]} == {"train"}


@pytest.mark.parametrize("place", ["data/dev/wav", "data/wav", "wav"])
def test_relative_paths_are_looked_up_from_the_folder_and_those_above(
    corpus: Path, tmp_path: Path, place: str
):
    (tmp_path / place).mkdir()
    (tmp_path / place / "u1.wav").touch()
    write_part(corpus / "dev", wav_scp="u1 wav/u1.wav\n")
    row = next(row for row in found(corpus)[0] if row.split == "dev")
    assert row.audio == tmp_path / place / "u1.wav"


def test_what_has_no_other_half_is_left_out_and_named(corpus: Path):
    part = corpus / "train_clean"
    write_part(
        part,
        text="a ONE\ns1-u1\ns1-u2 TWO\ns2-u1 SIX\ns9 NINE\n",
        segments="s1-u1 r1 0 1\ns1-u15 r1 0 1\ns1-u2 r3 0 1\ns2-u1 r1 3 2\nz r1 1 2\n",
    )
    rows, left_out = found(part)
    assert rows == []
    assert [(item.place, item.reason) for item in left_out] == [
        (f"{part}, a", "a transcript without a recording"),
        (f"{part}, s1-u1", "no transcript"),
        (f"{part}, s1-u15", "no transcript"),
        (f"{part}, s1-u2", "a segment of a recording that wav.scp does not have"),
        (f"{part}, s2-u1", "a segment that does not end after its start"),
        (f"{part}, s9", "a transcript without a recording"),
        (f"{part}, z", "no transcript"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("u1 sph2pipe -f wav -p /a.sph |", r"line 1: .*'u1' is a command.*sph2pipe .*Lhotse"),
        ("u1 data/wav.ark:1234", r"line 1: .*'u1' is in an archive of Kaldi .*wav-copy"),
        ("u1", r"line 1: .*'u1' has no name"),
        ("u2 b.wav\nu1 a.wav", r"line 2: lines must be sorted .*'u1' comes after 'u2'.*fix_data"),
        ("u1 a.wav\nu1 a.wav", r"line 2: .*'u1' is there twice"),
    ],
)
def test_recordings_that_are_no_files_are_refused_with_the_way(
    corpus: Path, line: str, message: str
):
    write_part(corpus / "dev", wav_scp=f"{line}\n")
    with pytest.raises(CorpusError, match=rf"wav\.scp, {message}"):
        found(corpus / "dev")


def test_segments_that_are_not_kaldis_are_named(corpus: Path):
    write_part(corpus / "train_clean", segments="s1-u1 r1 0.5\n")
    with pytest.raises(CorpusError, match=r"segments, line 1: must be UTTERANCE RECORDING START"):
        found(corpus / "train_clean")


def test_the_language_must_be_said(corpus: Path, tmp_path: Path):
    for languages in ((), ("en", "de")):
        with pytest.raises(CorpusError, match=r"the one language .* must be given"):
            found(corpus, languages=languages)
    with pytest.raises(CorpusError, match=r"must contain wav\.scp and text, or folders with them"):
        found(tmp_path)
    assert found(corpus, kinds=("mt",)) == ([], [])


def test_manifests_come_out_of_it(corpus: Path, tmp_path: Path):
    rows = read_corpus("kaldi", Request(folder=corpus, languages=("en",)))
    counts = write_manifests(rows, tmp_path / "manifests")
    assert counts.examples["train", "asr_en"] == 3
    assert counts.examples["eval_2000", "asr_en"] == 1
