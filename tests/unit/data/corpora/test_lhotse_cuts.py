"""Lhotse's cut sets, as Lhotse writes them, and what of them is not a segment of a file."""

from __future__ import annotations

import gzip
import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from taskaware.data.corpora import lhotse_cuts
from taskaware.data.corpora.rows import LeftOut, Request, Row
from taskaware.errors import CorpusError, MissingDependencyError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def lhotse() -> Any:
    return pytest.importorskip("lhotse", reason="needs Lhotse: pip install 'taskaware[lhotse]'")


@pytest.fixture
def recording(tmp_path: Path, lhotse: Any) -> Any:
    samples = np.random.default_rng(0).normal(size=48_000).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "talk.flac", samples, 16_000)
    return lhotse.Recording.from_file(tmp_path / "talk.flac")


def _supervision(lhotse: Any, **changes: Any) -> Any:
    fields = {"id": "s1", "recording_id": "talk", "start": 0.25, "duration": 1.0, "text": " One. "}
    return lhotse.SupervisionSegment(
        **{**fields, "language": "English", "speaker": "ann", **changes}
    )


def _cut(lhotse: Any, recording: Any, *supervisions: Any, **changes: Any) -> Any:
    fields = {"id": "c1", "start": 0.5, "duration": 2.0, "channel": 0, "recording": recording}
    return lhotse.MonoCut(**{**fields, "supervisions": list(supervisions), **changes})


def _read(lhotse: Any, folder: Path, *cuts: Any, **request: Any) -> list[Row | LeftOut]:
    folder.mkdir(exist_ok=True)
    lhotse.CutSet.from_cuts(cuts).to_file(folder / "cuts.jsonl.gz")
    return list(lhotse_cuts.read(Request(folder=folder, **request)))


def test_a_supervision_is_a_segment_of_the_recording_and_not_of_the_cut(
    lhotse: Any, recording: Any, tmp_path: Path
):
    cut = _cut(lhotse, recording, _supervision(lhotse))
    (row,) = _read(lhotse, tmp_path / "ted", cut)
    assert isinstance(row, Row)
    assert (row.kind, row.target_text, row.speaker) == ("asr", "One.", "ann")
    assert (row.start_seconds, row.duration_seconds) == (0.75, 1.0)
    assert row.audio is not None
    assert row.audio.is_file()
    assert (row.source_language, row.target_language) == ("en", "en")
    assert (row.dataset, row.split, row.id) == ("ted", "train", "c1-s1-asr-en")


@pytest.mark.parametrize(
    "custom",
    [
        {"translated_text": {"de": "Eins.", "fr": "Un."}},
        {"translation": {"German": "Eins.", "French": "Un."}},
    ],
)
def test_translations_give_speech_and_text_translation_beside_recognition(
    custom: dict[str, Any], lhotse: Any, recording: Any, tmp_path: Path
):
    cut = _cut(lhotse, recording, _supervision(lhotse, custom=custom))
    rows = [row for row in _read(lhotse, tmp_path / "ted", cut) if isinstance(row, Row)]
    assert [(row.kind, row.target_language, row.target_text) for row in rows] == [
        ("asr", "en", "One."),
        ("st", "de", "Eins."),
        ("st", "fr", "Un."),
        ("mt", "de", "Eins."),
        ("mt", "fr", "Un."),
    ]
    assert len({row.id for row in rows}) == 5
    assert len({row.utterance for row in rows}) == 1
    assert (rows[3].source_text, rows[3].audio, rows[3].start_seconds) == ("One.", None, 0.0)
    german = _read(lhotse, tmp_path / "ted", cut, languages=("de",))
    assert [row.kind for row in german if isinstance(row, Row)] == ["asr", "st", "mt"]
    only = _read(lhotse, tmp_path / "ted", cut, kinds=("mt",), languages=("fr",))
    assert [row.target_text for row in only if isinstance(row, Row)] == ["Un."]
    assert not _read(lhotse, tmp_path / "ted", cut, languages=("it",))


def test_a_translation_of_the_cut_is_that_of_its_one_supervision(
    lhotse: Any, recording: Any, tmp_path: Path
):
    custom = {"translation": "Eins.", "target_language": "de"}
    one = _cut(lhotse, recording, _supervision(lhotse), custom=custom)
    two = _cut(
        lhotse,
        recording,
        _supervision(lhotse),
        _supervision(lhotse, id="s2", start=1.0),
        id="c2",
        custom=custom,
    )
    rows = [row for row in _read(lhotse, tmp_path / "ted", one, two) if isinstance(row, Row)]
    assert [(row.kind, row.utterance) for row in rows] == [
        ("asr", "c1-s1"),
        ("st", "c1-s1"),
        ("mt", "c1-s1"),
        ("asr", "c2-s1"),
        ("asr", "c2-s2"),
    ]


def test_what_is_not_one_file_as_it_is_is_left_out_with_its_reason(
    lhotse: Any, recording: Any, tmp_path: Path
):
    stereo = np.random.default_rng(0).normal(size=(48_000, 2)).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "call.wav", stereo, 16_000)
    call = lhotse.Recording.from_file(tmp_path / "call.wav", recording_id="talk")
    remote = lhotse.Recording.from_dict(recording.to_dict())
    remote.sources[0].type, remote.sources[0].source = "url", "https://example.org/talk.flac"
    piped = lhotse.Recording.from_dict(recording.to_dict())
    piped.sources[0].type, piped.sources[0].source = "command", "cat talk.flac"
    halves = lhotse.Recording.from_dict(call.to_dict())
    halves.sources[0].channels = [0]
    halves.sources.append(lhotse.audio.AudioSource("file", [1], str(tmp_path / "call2.wav")))
    plain = _cut(lhotse, recording, _supervision(lhotse))
    fast = _cut(lhotse, recording.perturb_speed(1.1), _supervision(lhotse), id="fast")
    cuts = [
        _cut(lhotse, piped, _supervision(lhotse), id="command"),
        _cut(lhotse, remote, _supervision(lhotse), id="url"),
        _cut(lhotse, call, _supervision(lhotse), id="stereo"),
        _cut(lhotse, halves, _supervision(lhotse), id="halves"),
        fast,
        plain.pad(duration=3.0),
        _cut(lhotse, None, _supervision(lhotse), id="none"),
        _cut(lhotse, recording, id="silent"),
        _cut(lhotse, recording.resample(8_000), _supervision(lhotse), id="resampled"),
    ]
    found = _read(lhotse, tmp_path / "ted", *cuts)
    assert [item.reason for item in found if isinstance(item, LeftOut)] == [
        "the recording is of type 'command', not a file",
        "the recording is of type 'url', not a file",
        "the cut is one channel of several",
        "the recording is of several files",
        "the recording is changed as it is read (Speed)",
        "the cut is a MixedCut, not a MonoCut",
        "the cut has no recording",
        "the cut has no supervision",
    ]
    assert [item.utterance for item in found if isinstance(item, Row)] == ["resampled-s1"]


def test_recordings_in_the_archives_of_shar_are_left_out_and_named(
    lhotse: Any, recording: Any, tmp_path: Path
):
    cuts = lhotse.CutSet.from_cuts([_cut(lhotse, recording, _supervision(lhotse))])
    (tmp_path / "train").mkdir()
    cuts.to_shar(tmp_path / "train", fields={"recording": "flac"})
    (found,) = lhotse_cuts.read(Request(folder=tmp_path))
    assert isinstance(found, LeftOut)
    assert found.reason == "the recording is of type 'shar', not a file"
    assert found.place.endswith("train/cuts.000000.jsonl.gz, line 1")


def test_supervisions_that_cannot_be_used_are_left_out_with_their_reason(
    lhotse: Any, recording: Any, tmp_path: Path
):
    supervisions = [
        _supervision(lhotse, id="early", start=-0.25),
        _supervision(lhotse, id="late", start=1.25),
        _supervision(lhotse, id="unnamed", language=None),
        _supervision(lhotse, id="unknown", language="Singaporean English"),
        _supervision(lhotse, id="mute", text=None, custom={"translation": {"de": "Eins."}}),
        _supervision(lhotse, id="half", custom={"translation": {"de": ""}}),
    ]
    found = _read(lhotse, tmp_path / "ted", _cut(lhotse, recording, *supervisions))
    assert [item.reason if isinstance(item, LeftOut) else item.id for item in found] == [
        "the supervision reaches beyond its cut",
        "the supervision reaches beyond its cut",
        "no language code",
        "no language code",
        "no transcript",
        "c1-mute-st-de",
        "no transcript",
        "c1-half-asr-en",
        "no translation",
        "no translation",
    ]


def test_splits_are_told_by_file_or_folder_and_other_manifests_are_passed_over(
    lhotse: Any, recording: Any, tmp_path: Path
):
    cuts = lhotse.CutSet.from_cuts([_cut(lhotse, recording, _supervision(lhotse))])
    for name in ("cuts_train-clean.jsonl.gz", "latest.jsonl", "valid/cuts.000000.jsonl.gz"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        cuts.to_file(tmp_path / "set" / name)
    cuts.to_file(tmp_path / "set" / "ted_cuts_test.jsonl")
    recordings = lhotse.RecordingSet.from_recordings([recording])
    recordings.to_file(tmp_path / "set" / "recordings_dev.jsonl.gz")
    rows = list(lhotse_cuts.read(Request(folder=tmp_path / "set")))
    assert [row.split for row in rows] == ["train", "train", "test", "dev"]
    rows = list(lhotse_cuts.read(Request(folder=tmp_path / "set" / "ted_cuts_test.jsonl")))
    assert [(row.split, row.dataset) for row in rows if isinstance(row, Row)] == [("test", "set")]
    (tmp_path / "other").mkdir()
    recordings.to_file(tmp_path / "other" / "recordings.jsonl.gz")
    with pytest.raises(CorpusError, match="lhotse cut simple"):
        list(lhotse_cuts.read(Request(folder=tmp_path / "other")))


def test_a_broken_line_is_left_out_and_a_damaged_file_is_refused(
    lhotse: Any, recording: Any, tmp_path: Path
):
    cut = _cut(lhotse, recording, _supervision(lhotse)).to_dict()
    lines = [json.dumps(cut), json.dumps(cut)[:40], json.dumps({"type": "MonoCut", "id": "x"})]
    (tmp_path / "cuts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = list(lhotse_cuts.read(Request(folder=tmp_path / "cuts.jsonl")))
    assert [item.place.rpartition(", ")[2] for item in found if isinstance(item, LeftOut)] == [
        "line 2",
        "line 3",
    ]
    damaged = tmp_path / "cuts.jsonl.gz"
    damaged.write_bytes(gzip.compress(("\n".join(lines[:1] * 50)).encode())[:-20])
    with pytest.raises(CorpusError, match="truncated or damaged"):
        list(lhotse_cuts.read(Request(folder=damaged)))


def test_without_lhotse_the_user_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "lhotse.serialization", None)
    monkeypatch.setitem(sys.modules, "lhotse", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'taskaware\[lhotse\]'"):
        list(lhotse_cuts.read(Request(folder=tmp_path)))
