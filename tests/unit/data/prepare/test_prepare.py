"""From manifests to a prepared folder: what is good arrives whole, what is bad is listed."""

from __future__ import annotations

import csv
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from taskaware.data.manifest.read import read_manifest
from taskaware.data.manifest.write import to_line
from taskaware.data.prepare import PrepareReport, PrepareSettings, prepare
from taskaware.data.prepare.results import SplitReport
from taskaware.data.prepared import PreparedData
from taskaware.data.prepared.settings import ShardLimits
from taskaware.data.prepared.users import note_run
from taskaware.data.quality.settings import CheckSettings, CleaningSettings, OverlapSettings
from taskaware.data.sound import audio
from taskaware.data.sound.features import log_mel
from taskaware.data.sound.settings import FeatureSettings
from taskaware.data.vocabulary import Vocabulary
from taskaware.errors import DataError, ExperimentError, ManifestError, OutputError, UserError
from taskaware.output_folder import RECORD_NAME

RATE_HZ = 16_000
ENGLISH = ["the red house", "a green tree", "two old dogs", "my blue car", "one white bird"]
GERMAN = ["das rote Haus", "ein grüner Baum", "zwei alte Hunde", "mein blaues Auto", "ein Vogel"]
LENIENT = PrepareSettings(vocabulary_size=400, max_bad_share=1.0, num_workers=2)
SETTINGS = PrepareSettings(vocabulary_size=400, num_workers=2)


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, int(seconds * RATE_HZ)).astype(np.float32)


def write_manifest(path: Path, records: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def three_tasks(folder: Path, name: str = "train", numbers: range = range(5)) -> Path:
    """Write recordings and a manifest of recognition, speech and text translation on them."""
    records: list[dict[str, object]] = []
    for i in numbers:
        path = folder / f"{name}{i}.flac"
        soundfile.write(path, noise(0.5 + 0.1 * i, seed=i), RATE_HZ)
        speech = {"audio": path.name, "source_language": "en", "utterance": f"u{i}"}
        english, german = ENGLISH[i], GERMAN[i]
        records += [
            {"task": "asr", **speech, "target_language": "en", "target_text": english},
            {"task": "st", **speech, "target_language": "de", "target_text": german},
            {
                "task": "mt",
                "source_text": english,
                "target_text": german,
                "source_language": "en",
                "target_language": "de",
                "utterance": f"u{i}",
            },
        ]
    return write_manifest(folder / f"{name}.jsonl", records)


def read_report(report: PrepareReport | Path) -> list[dict[str, str]]:
    path = report.report_path if isinstance(report, PrepareReport) else report / "report.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_three_tasks_arrive_with_their_sources_and_targets(tmp_path: Path):
    report = prepare({"train": [three_tasks(tmp_path)]}, tmp_path / "out", SETTINGS)
    data = PreparedData.open(tmp_path / "out")
    split = data.split("train")
    assert [task.name for task in data.tasks] == ["asr", "st", "mt"]
    assert [task.kind for task in data.tasks] == ["asr", "st", "mt"]
    assert report.splits["train"].examples == {"asr": 5, "st": 5, "mt": 5}
    assert len(split) == len(split.examples) == 15
    rows = {example.id: row for row, example in enumerate(split.examples)}  # texts come first
    for i in range(5):
        asr, st, mt = (rows[f"train-{3 * i + k}"] for k in (1, 2, 3))
        waveform = audio.read(tmp_path / f"train{i}.flac", sample_rate_hz=RATE_HZ)
        expected = log_mel(torch.from_numpy(waveform), FeatureSettings()).numpy()
        for row in (asr, st):
            source = split.source(row)
            assert source.dtype == np.float32
            np.testing.assert_allclose(source, expected, atol=2e-3, rtol=1e-3)
            assert split.source_lengths[row] == len(expected)
        text_source = split.source(mt)
        assert text_source.dtype == np.int64
        assert data.vocabulary.decode(text_source) == ENGLISH[i]
        for row, text in ((asr, ENGLISH[i]), (st, GERMAN[i]), (mt, GERMAN[i])):
            target = split.target(row)
            assert target.dtype == np.int64
            assert data.vocabulary.decode(target) == text
            assert split.target_lengths[row] == len(target)
    assert [split.example(i).id for i in split.indices("st")] == [
        f"train-{i}" for i in (2, 5, 8, 11, 14)
    ]
    assert split.indices("st").dtype == split.source_lengths.dtype == np.int64
    assert len(split.indices("other")) == 0


def test_examples_on_the_same_segment_share_their_features(tmp_path: Path):
    report = prepare({"train": [three_tasks(tmp_path)]}, tmp_path / "out", SETTINGS)
    split = PreparedData.open(tmp_path / "out").split("train")
    with tarfile.open(tmp_path / "out/train/speech-000000.tar") as archive:
        assert len([name for name in archive.getnames() if name.endswith(".npy")]) == 5
    for asr, st in zip(split.indices("asr"), split.indices("st"), strict=True):
        np.testing.assert_array_equal(split.source(asr), split.source(st))
        assert split.example(asr).utterance == split.example(st).utterance
    num_frames = int(split.source_lengths[split.indices("asr")].sum())
    assert report.splits["train"].num_frames == num_frames
    assert report.splits["train"].hours == pytest.approx(num_frames * 0.01 / 3600)


def test_every_kind_of_bad_line_is_reported_with_split_file_line_and_field(tmp_path: Path):
    def record(path: str, **fields: object) -> dict[str, object]:
        return {"task": "asr", "audio": path, "target_text": "a red house", **fields}

    soundfile.write(tmp_path / "good.wav", noise(2), RATE_HZ)
    soundfile.write(tmp_path / "cut.wav", noise(2), RATE_HZ)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:20_000])
    (tmp_path / "text.wav").write_text("this is no recording")
    soundfile.write(tmp_path / "zero.wav", noise(0), RATE_HZ)
    soundfile.write(tmp_path / "nan.wav", np.full(RATE_HZ, np.nan), RATE_HZ, subtype="FLOAT")
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE_HZ), RATE_HZ)
    soundfile.write(tmp_path / "rate.wav", noise(2), 4_000)
    soundfile.write(tmp_path / "long.wav", noise(3), RATE_HZ)
    soundfile.write(tmp_path / "short.wav", noise(0.05), RATE_HZ)
    expected = [
        (record("good.wav"), None, ""),
        (record("missing.wav"), "audio", "does not exist"),
        (record("cut.wav"), "audio", "truncated"),
        (record("text.wav"), "audio", "must be a recording"),
        (record("zero.wav"), "audio", "0 samples"),
        (record("nan.wav"), "audio", "finite"),
        (record("silent.wav"), "audio", "silent"),
        (record("rate.wav"), "audio", "sample rate"),
        (record("long.wav"), "audio", "lasts 3.000 s"),
        (record("short.wav"), "audio", "lasts 0.050 s"),
        (record("good.wav", start_seconds=3), "start_seconds", "before the end"),
        (record("good.wav", duration_seconds=2.2), "duration_seconds", "ends at 2.200 s"),
        (record("good.wav", duration_seconds="soon"), "duration_seconds", "number of seconds"),
        (record("good.wav", target_text=""), "target_text", "empty"),
        (record("good.wav", target_text="a b c " * 15), "target_text", "frames"),
        (record("good.wav", target_text="a b c " * 40), "target_text", "at most 60 pieces"),
        (record("good.wav", id="asr.train-1"), "id", "unique"),
    ]
    manifest = write_manifest(tmp_path / "asr.train.jsonl", [line for line, _, _ in expected])
    settings = PrepareSettings(
        vocabulary_size=400,
        max_bad_share=1.0,
        checks=CheckSettings(max_seconds=2.5, max_pieces=60, min_frames_per_piece=6),
    )
    report = prepare({"train": [manifest]}, tmp_path / "out", settings)
    rows = {int(row["line"]): row for row in read_report(report)}
    for number, (_, field, reason) in enumerate(expected, start=1):
        if field is None:
            assert number not in rows
            continue
        assert rows[number]["field"] == field, reason
        assert reason in rows[number]["reason"]
        assert (rows[number]["split"], rows[number]["file"]) == ("train", str(manifest))
    assert report.splits["train"].num_left_out == len(rows) == len(expected) - 1
    assert report.splits["train"].num_lines == len(expected)
    split = PreparedData.open(tmp_path / "out").split("train")
    assert [example.id for example in split.examples] == ["asr.train-1"]


def test_more_bad_lines_than_allowed_stop_with_share_reasons_and_report(tmp_path: Path):
    path = three_tasks(tmp_path)
    (tmp_path / "train1.flac").unlink()
    (tmp_path / "train2.flac").unlink()
    soundfile.write(tmp_path / "train3.flac", np.zeros(RATE_HZ), RATE_HZ)
    with pytest.raises(DataError) as caught:
        prepare({"train": [path]}, tmp_path / "out", SETTINGS)
    message = str(caught.value)
    assert "at most 5.0% of the lines of the split 'train'" in message
    assert "6 of 15 are (40.0%)" in message
    assert "4 x audio:" in message
    assert "train1.flac: the file does not exist" in message
    assert "2 x audio:" in message
    assert str(tmp_path / "out/report.tsv") in message
    assert "max_bad_share" in message
    assert len(read_report(tmp_path / "out")) == 6
    with pytest.raises(DataError, match="not complete"):
        PreparedData.open(tmp_path / "out")


def test_a_wrong_manifest_is_refused_before_any_work(tmp_path: Path):
    record = {"task": "mt", "source_text": "a", "target_text": "b", "start_seconds": 1}
    path = write_manifest(tmp_path / "m.jsonl", [record])
    stages: list[str] = []
    with pytest.raises(DataError, match=r"1 of 1 are \(100\.0%\)"):
        prepare(
            {"train": [path]},
            tmp_path / "out",
            SETTINGS,
            progress=lambda stage, done, total: stages.append(stage),
        )
    assert set(stages) == {"read manifests"}


def test_the_same_again_is_left_as_it_is_and_any_change_starts_over(tmp_path: Path):
    path = three_tasks(tmp_path)

    def run(settings: PrepareSettings = SETTINGS, **options: object) -> PrepareReport:
        return prepare({"train": [path]}, tmp_path / "out", settings, **options)  # type: ignore[arg-type]

    first = run()
    assert not first.reused
    again = run(PrepareSettings(vocabulary_size=400, num_workers=1))
    assert again.reused
    assert again.splits == first.splits
    assert not run(PrepareSettings(vocabulary_size=350)).reused
    os.utime(tmp_path / "train0.flac", ns=(0, 0))
    assert not run(PrepareSettings(vocabulary_size=350)).reused
    path.write_text(path.read_text() + "\n")
    assert not run(PrepareSettings(vocabulary_size=350)).reused
    (tmp_path / "out/prepared.json").write_text("{}")
    assert not run(PrepareSettings(vocabulary_size=350)).reused


def test_two_runs_write_equal_bytes_whatever_the_number_of_workers(tmp_path: Path):
    path = three_tasks(tmp_path)
    for name, num_workers in (("one", 1), ("two", 3)):
        settings = PrepareSettings(vocabulary_size=400, num_workers=num_workers)
        prepare({"train": [path]}, tmp_path / name, settings)
    files = sorted(path.name for path in (tmp_path / "one/train").iterdir())
    assert len(files) == 4
    for file in ("vocabulary.model", "report.tsv", *(f"train/{name}" for name in files)):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_an_existing_vocabulary_serves_a_test_split_alone(tmp_path: Path):
    prepare({"train": [three_tasks(tmp_path)]}, tmp_path / "a", SETTINGS)
    report = prepare(
        {"test_other": [three_tasks(tmp_path, "test", range(3))]},
        tmp_path / "b",
        SETTINGS,
        vocabulary=tmp_path / "a/vocabulary.model",
    )
    assert report.splits["test_other"].examples == {"asr": 3, "st": 3, "mt": 3}
    assert report.warnings == ()
    one, two = PreparedData.open(tmp_path / "a"), PreparedData.open(tmp_path / "b")
    assert one.vocabulary.sha256 == two.vocabulary.sha256
    assert one.fingerprint != two.fingerprint


def test_each_task_is_a_piece(tmp_path: Path):
    prepare({"train": [three_tasks(tmp_path)]}, tmp_path / "out", SETTINGS)
    vocabulary = PreparedData.open(tmp_path / "out").vocabulary
    assert all(vocabulary.has_tag(f"<task:{name}>") for name in ("asr", "st", "mt"))


def test_a_vocabulary_without_the_tasks_is_accepted_with_a_warning(tmp_path: Path):
    Vocabulary.train(ENGLISH, size=320).save(tmp_path / "v.model")
    path = three_tasks(tmp_path)
    vocabulary = tmp_path / "v.model"
    report = prepare({"train": [path]}, tmp_path / "out", LENIENT, vocabulary=vocabulary)
    assert "no piece for the task 'asr'" in report.warnings[0]


def test_the_summary_is_a_table_that_lines_up_and_says_where_the_left_out_lines_are():
    splits = {
        "train": SplitReport(
            examples={"asr_en": 12_345, "st_en_de": 7},
            num_left_out=1_002,
            num_frames=9,
            hours=10.254,
        ),
        "dev": SplitReport(examples={"asr_en": 50}, num_left_out=0, num_frames=9, hours=0.1),
    }
    report = PrepareReport(
        folder=Path("out"), splits=splits, warnings=(), vocabulary_size=8_000, reused=False
    )
    assert report.summary_lines() == [
        "split  task      examples  hours of speech  lines left out",
        "train  all         12,352            10.25           1,002",
        "       asr_en      12,345",
        "       st_en_de         7",
        "dev    all             50             0.10               0",
        "       asr_en          50",
        "vocabulary: 8,000 pieces",
        f"left-out lines, each with its reason: {Path('out/report.tsv')}",
    ]
    clean = replace(report, splits={"dev": splits["dev"]}).summary_lines()
    assert clean[-1] == "vocabulary: 8,000 pieces"


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (PrepareSettings(shards=ShardLimits(examples=0)), "shards.examples"),
        (PrepareSettings(shards=ShardLimits(megabytes=-1)), "shards.megabytes"),
        (PrepareSettings(features=FeatureSettings(num_mel_bins=0)), "features.num_mel_bins"),
        (PrepareSettings(features=FeatureSettings(hop_ms=0)), "features.hop_ms"),
        (PrepareSettings(features=FeatureSettings(window_ms=float("inf"))), "features.window_ms"),
        (PrepareSettings(features=FeatureSettings(low_hz=float("nan"))), "features.low_hz"),
        (PrepareSettings(features=FeatureSettings(sample_rate_hz=0)), "features.sample_rate_hz"),
        (PrepareSettings(checks=CheckSettings(max_seconds=float("nan"))), "checks.max_seconds"),
        (PrepareSettings(checks=CheckSettings(max_seconds=0.05)), "checks.max_seconds"),
        (PrepareSettings(checks=CheckSettings(min_peak=-1)), "checks.min_peak"),
        (PrepareSettings(checks=CheckSettings(max_pieces=0)), "checks.max_pieces"),
        (PrepareSettings(max_bad_share=float("nan")), "max_bad_share"),
        (PrepareSettings(num_workers=-1), "num_workers"),
    ],
)
def test_impossible_settings_are_refused_from_python_as_from_a_file(
    tmp_path: Path, settings: PrepareSettings, field: str
):
    with pytest.raises(ExperimentError, match=f"{field}:? must be"):
        prepare({"train": [tmp_path / "m.tsv"]}, tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def overlapping(folder: Path) -> dict[str, list[Path]]:
    """Manifests whose dev has two of train's five sentences, spoken by another voice."""
    return {"train": [three_tasks(folder)], "dev": [three_tasks(folder, "dev", range(2))]}


def test_an_overlap_of_train_with_another_split_is_refused_and_listed(tmp_path: Path):
    with pytest.raises(
        DataError, match=r"(?s)must not have examples .*has 2; the first: .*line 3:.*drop"
    ):
        prepare(overlapping(tmp_path), tmp_path / "out", SETTINGS)
    assert {(row["id"], row["field"]) for row in read_report(tmp_path / "out")} == {
        ("train-3", "target_text"),
        ("train-6", "target_text"),
    }
    with pytest.raises(DataError, match="not complete"):
        PreparedData.open(tmp_path / "out")


def test_an_overlap_is_dropped_or_trained_on_where_the_user_says_so(tmp_path: Path):
    manifests = overlapping(tmp_path)
    drop = replace(SETTINGS, overlap=OverlapSettings(action="drop"))
    dropped = prepare(manifests, tmp_path / "drop", drop)
    assert dropped.splits["train"].examples == {"asr": 5, "st": 5, "mt": 3}
    assert dropped.splits["train"].removed == {"overlap": 2}
    assert "train: 2 of the lines were left out by overlap" in dropped.summary_lines()
    allow = replace(SETTINGS, overlap=OverlapSettings(action="allow"))
    allowed = prepare(manifests, tmp_path / "allow", allow)
    assert allowed.splits["train"].examples == {"asr": 5, "st": 5, "mt": 5}
    assert any("2 of 2 examples of the task 'mt'" in warning for warning in allowed.warnings)


def test_a_refused_preparation_leaves_an_earlier_folder_as_it_was(tmp_path: Path):
    manifests = overlapping(tmp_path)
    prepare({"train": manifests["train"]}, tmp_path / "out", SETTINGS)
    before = PreparedData.open(tmp_path / "out").fingerprint
    with pytest.raises(DataError, match="must not have examples of another split"):
        prepare(manifests, tmp_path / "out", SETTINGS)
    data = PreparedData.open(tmp_path / "out")
    assert data.fingerprint == before
    data.split("train").open_shards([0, 1])


@pytest.mark.parametrize("damage", ["missing", "flipped"])
def test_a_damaged_folder_is_made_anew_by_the_same_command(tmp_path: Path, damage: str):
    path = three_tasks(tmp_path)
    prepare({"train": [path]}, tmp_path / "out", SETTINGS)
    shard = tmp_path / "out/train/speech-000000.tar"
    whole = shard.read_bytes()
    if damage == "missing":
        shard.unlink()
    else:
        shard.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    assert not prepare({"train": [path]}, tmp_path / "out", SETTINGS).reused
    assert shard.read_bytes() == whole
    assert prepare({"train": [path]}, tmp_path / "out", SETTINGS).reused


def test_splits_of_an_earlier_preparation_do_not_stay(tmp_path: Path):
    manifests = {
        "train": [three_tasks(tmp_path)],
        "more": [three_tasks(tmp_path, "more", range(3))],
    }
    settings = replace(SETTINGS, overlap=OverlapSettings(action="allow"))
    prepare(manifests, tmp_path / "out", settings)
    prepare({"train": manifests["train"]}, tmp_path / "out", settings)
    assert not (tmp_path / "out/more").exists()


def everything(folder: Path) -> dict[str, bytes]:
    """Every file but our record and lock."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = {path: str(path.relative_to(folder)) for path in files}
    return {n: path.read_bytes() for path, n in names.items() if ".taskaware" not in n}


@pytest.mark.parametrize(
    "there",
    ["train/0.flac", "manifests/train.jsonl", ".work/notes", "report.tsv", "prepared.json", "x"],
)
def test_a_folder_with_files_of_the_user_is_refused_and_stays_as_it_is(tmp_path: Path, there: str):
    path = three_tasks(tmp_path)
    (tmp_path / "out" / there).parent.mkdir(parents=True)
    (tmp_path / "out" / there).write_text("mine")
    with pytest.raises(OutputError, match=f"but holds {there.partition('/')[0]}"):
        prepare({"train": [path]}, tmp_path / "out", SETTINGS)
    assert everything(tmp_path / "out") == {there: b"mine"}


def test_the_folder_of_the_recordings_is_refused_with_all_of_them_there(tmp_path: Path):
    path = three_tasks(tmp_path)
    before = everything(tmp_path)
    with pytest.raises(OutputError, match=r"holds train\.jsonl, train0\.flac.* and 1 more"):
        prepare({"train": [path]}, tmp_path, SETTINGS)
    assert everything(tmp_path) == before


def test_what_the_user_adds_to_a_prepared_folder_stays_when_it_is_prepared_anew(tmp_path: Path):
    manifests = {
        "train": [three_tasks(tmp_path)],
        "more": [three_tasks(tmp_path, "more", range(3))],
    }
    settings = replace(SETTINGS, overlap=OverlapSettings(action="allow"))
    prepare(manifests, tmp_path / "out", settings)
    for name in ("notes.txt", "train/mine.wav", "more/mine.wav"):
        (tmp_path / "out" / name).write_text("mine")
    prepare({"train": manifests["train"]}, tmp_path / "out", settings)
    there = everything(tmp_path / "out")
    assert [name for name in there if name.startswith("more/")] == ["more/mine.wav"]
    assert {name for name, data in there.items() if data == b"mine"} == {
        *("notes.txt", "train/mine.wav", "more/mine.wav")
    }


def test_a_report_that_the_user_wrote_into_is_not_written_over(tmp_path: Path):
    path = three_tasks(tmp_path)
    report = prepare({"train": [path]}, tmp_path / "out", SETTINGS).report_path
    report.write_text("what I still have to look at")
    with pytest.raises(OutputError, match=r"report\.tsv must be as taskaware wrote it"):
        prepare({"train": [path]}, tmp_path / "out", replace(SETTINGS, vocabulary_size=390))
    assert report.read_text() == "what I still have to look at"
    assert PreparedData.open(tmp_path / "out").vocabulary.size > 0  # and the folder is whole


def test_a_folder_of_a_version_without_a_record_is_made_anew(tmp_path: Path):
    path = three_tasks(tmp_path)
    prepare({"train": [path]}, tmp_path / "out", SETTINGS)
    (tmp_path / "out" / RECORD_NAME).unlink()
    assert prepare({"train": [path]}, tmp_path / "out", SETTINGS).reused
    (tmp_path / "out" / RECORD_NAME).unlink()
    (tmp_path / "out/train/mine.wav").write_text("mine")
    more = [path, three_tasks(tmp_path, "more", range(2))]
    assert not prepare({"train": more}, tmp_path / "out", SETTINGS).reused
    assert (tmp_path / "out/train/mine.wav").read_text() == "mine"


def test_what_is_no_recording_is_a_line_of_the_report_and_is_not_opened(tmp_path: Path):
    good = tmp_path / "good.wav"
    soundfile.write(good, noise(1), RATE_HZ)
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "device.wav").symlink_to("/dev/zero")
    (tmp_path / "nothing.wav").symlink_to(tmp_path / "missing")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    (tmp_path / "link.wav").symlink_to(good)
    expected = {
        "folder.wav": "must be a file, but is a folder",
        "pipe.wav": "must be a file, but is a pipe or a device",
        "device.wav": "must be a file, but is a pipe or a device",
        "nothing.wav": "the file is a link to nothing",
        "loop.wav": "the file cannot be read (Too many levels of symbolic links)",
        "good.wav/x.wav": "the file cannot be read (Not a directory)",
        "x" * 300: "the file cannot be read (File name too long)",
    }
    names = [*expected, "link.wav"]
    records: list[dict[str, object]] = [
        {"task": "asr", "audio": name, "target_text": "a red house"} for name in names
    ]
    records += [
        {"task": "other", "features": name, "target_text": "a house"} for name in ("pipe.wav",)
    ]
    records.append({"task": "other", "features": "f.npy", "target_text": "a house"})
    np.save(tmp_path / "f.npy", np.ones((40, 80), dtype=np.float32))
    manifest = write_manifest(tmp_path / "m.jsonl", records)
    report = prepare({"train": [manifest]}, tmp_path / "out", LENIENT)
    assert report.splits["train"].examples == {"asr": 1, "other": 1}
    reasons = {row["id"]: (row["field"], row["reason"]) for row in read_report(report)}
    for number, (name, reason) in enumerate(expected.items(), start=1):
        assert reasons[f"m-{number}"] == ("audio", f"{tmp_path / name}: {reason}")
    assert reasons["m-9"][0] == "features"


def test_files_and_folders_may_have_names_that_are_no_utf_8(tmp_path: Path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    np.save(folder / "f.npy", np.ones((40, 80), dtype=np.float32))
    records: list[dict[str, object]] = [
        {"task": "other", "features": name, "target_text": "a red house"} for name in ("f.npy", "g")
    ]
    records.append({"task": "mt", "source_text": "a house", "target_text": "ein Haus"})
    manifest = write_manifest(folder / os.fsdecode(b"m\xff.jsonl"), records)
    report = prepare({"train": [manifest]}, folder / "out", LENIENT)
    (row,) = read_report(report)
    assert row["id"] == r"m\xff-2"
    assert r"caf\udce9" in row["file"]
    split = PreparedData.open(folder / "out").split("train")
    example = next(each for each in split.examples if each.task == "other")
    assert example.features_path == folder / "f.npy"
    assert example.dataset == r"m\xff"
    again = write_manifest(tmp_path / "again.jsonl", [])
    again.write_text(to_line(example, PreparedData.open(folder / "out").task("other")))
    assert next(iter(read_manifest(again).examples)).features_path == folder / "f.npy"


def test_a_manifest_that_cannot_be_read_leaves_no_folder(tmp_path: Path):
    good, wrong = three_tasks(tmp_path), write_manifest(tmp_path / "wrong.jsonl", [{"tsk": "asr"}])
    for path, message in ((wrong, "unknown column"), (tmp_path / "missing", "does not exist")):
        with pytest.raises(ManifestError, match=message):
            prepare({"train": [good, path]}, tmp_path / "inner/out", SETTINGS)
        assert not (tmp_path / "inner").exists()


def test_two_preparations_of_one_folder_do_not_meet(tmp_path: Path):
    path = three_tasks(tmp_path)
    refused: list[str] = []

    def again(stage: str, done: int, total: int) -> None:
        if not refused:
            with pytest.raises(OutputError, match="another one is writing this one") as error:
                prepare({"train": [path]}, tmp_path / "out", LENIENT)
            refused.append(str(error.value))

    prepare({"train": [path]}, tmp_path / "out", SETTINGS, progress=again)
    assert refused
    assert prepare({"train": [path]}, tmp_path / "out", SETTINGS).reused


def test_preparing_anew_names_the_runs_that_stand_on_what_was_there(tmp_path: Path):
    path = three_tasks(tmp_path)
    prepare({"train": [path]}, tmp_path / "out", SETTINGS)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/experiment.toml").write_text("")
    note_run(tmp_path / "out", tmp_path / "run")
    note_run(tmp_path / "out", tmp_path / "deleted")
    os.utime(tmp_path / "train0.flac", (1, 1))  # made again, and comes to the same
    same = prepare({"train": [path]}, tmp_path / "out", SETTINGS)
    assert not same.reused
    assert same.warnings == ()
    more = [path, three_tasks(tmp_path, "more", range(2))]
    (warning,) = prepare({"train": more}, tmp_path / "out", SETTINGS).warnings
    assert f"but runs were trained on what it held: {tmp_path}/run. They cannot" in warning


def test_cleaning_concerns_train_alone_and_is_counted(tmp_path: Path):
    manifests = {
        "train": [three_tasks(tmp_path)],
        "test": [three_tasks(tmp_path, "test", range(5))],
    }
    settings = replace(
        SETTINGS,
        cleaning=CleaningSettings(min_words=3),
        overlap=OverlapSettings(action="allow"),
    )
    report = prepare(manifests, tmp_path / "out", settings)
    assert report.splits["train"].examples == {"asr": 5, "st": 4, "mt": 4}  # "ein Vogel"
    assert report.splits["train"].removed == {"cleaning": 2}
    assert report.splits["test"].examples == {"asr": 5, "st": 5, "mt": 5}


def test_a_preparation_that_was_broken_off_goes_on_and_ends_with_the_same_bytes(tmp_path: Path):
    class StoppedError(Exception):
        pass

    calls: list[str] = []

    def stop(stage: str, done: int, total: int) -> None:
        calls.append(stage)
        if stage == "features of train" and done >= 2 and stops[-1]:
            raise StoppedError

    path = three_tasks(tmp_path)
    settings = replace(SETTINGS, shards=ShardLimits(examples=2))
    stops = [False]
    prepare({"train": [path]}, tmp_path / "whole", settings, progress=stop)
    stops.append(True)
    with pytest.raises(StoppedError):
        prepare({"train": [path]}, tmp_path / "parts", settings, progress=stop)
    written = tmp_path / "parts/train/text-000000.jsonl"
    before = written.stat().st_mtime_ns
    stops.append(False)
    prepare({"train": [path]}, tmp_path / "parts", settings, progress=stop)
    assert written.stat().st_mtime_ns == before  # what was complete is not written again
    names = sorted(p.name for p in (tmp_path / "whole/train").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "parts/train").iterdir())
    for name in (*(f"train/{n}" for n in names), "prepared.json", "report.tsv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    assert not (tmp_path / "parts/.work").exists()


def test_recordings_are_kept_compressed_and_give_the_same_features(tmp_path: Path):
    records = []
    for i, suffix in enumerate(("flac", "mp3", "ogg", "wav")):
        soundfile.write(tmp_path / f"{i}.{suffix}", noise(1.0, seed=i), RATE_HZ)
        records.append({"task": "asr", "audio": f"{i}.{suffix}", "target_text": ENGLISH[i]})
    records.append({**records[0], "start_seconds": 0.25, "duration_seconds": 0.5})
    path = write_manifest(tmp_path / "m.jsonl", records)
    splits = []
    for store in ("features", "audio"):
        settings = PrepareSettings(vocabulary_size=400, store=store)
        prepare({"train": [path]}, tmp_path / store, settings)
        splits.append(PreparedData.open(tmp_path / store).split("train"))
    with tarfile.open(tmp_path / "audio/train/speech-000000.tar") as archive:
        sounds = [name for name in archive.getnames() if not name.endswith("json")]
        assert [name.partition(".")[2] for name in sounds] == ["flac", "mp3", "ogg", "flac", "flac"]
        kept = archive.extractfile(sounds[1])
        assert kept is not None
        assert kept.read() == (tmp_path / "1.mp3").read_bytes()
    np.testing.assert_array_equal(splits[0].source_lengths, splits[1].source_lengths)
    for i in range(5):
        np.testing.assert_allclose(splits[0].source(i), splits[1].source(i), atol=2e-2)
        assert splits[1].waveform(i) is not None
        assert splits[0].waveform(i) is None


def test_numpy_features_and_speech_lie_in_one_array(tmp_path: Path):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(4 + i, 80)).astype(np.float32) for i in range(2)]
    for i, array in enumerate(arrays):
        np.save(tmp_path / f"{i}.npy", array)
    np.save(tmp_path / "narrow.npy", np.zeros((4, 12)))
    names = ["0.npy", "1.npy", "narrow.npy", "missing.npy"]
    records: list[dict[str, object]] = [
        {"task": "signs", "features": name, "target_text": "hello"} for name in names
    ]
    signs = write_manifest(tmp_path / "signs.jsonl", records)
    report = prepare({"train": [three_tasks(tmp_path), signs]}, tmp_path / "out", LENIENT)
    data = PreparedData.open(tmp_path / "out")
    split = data.split("train")
    assert data.num_feature_columns == 80
    for i, row in enumerate(split.indices("signs")):
        np.testing.assert_allclose(split.source(int(row)), arrays[i], atol=2e-3)
    narrow, missing = read_report(report)
    assert (narrow["line"], narrow["field"]) == ("3", "features")
    assert "must have 80 columns, as all others here, but has 12" in narrow["reason"]
    assert "missing.npy: the file does not exist" in missing["reason"]


def test_numpy_features_alone_may_have_any_number_of_columns(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.zeros((4, 12)))
    record: dict[str, object] = {"task": "signs", "features": "a.npy", "target_text": "hello"}
    path = write_manifest(tmp_path / "signs.jsonl", [record])
    report = prepare({"train": [path]}, tmp_path / "out", SETTINGS)
    assert PreparedData.open(tmp_path / "out").split("train").source(0).shape == (4, 12)
    assert (report.splits["train"].num_frames, report.splits["train"].hours) == (4, 0)


def test_texts_alone_need_no_features(tmp_path: Path):
    record: dict[str, object] = {"task": "mt", "source_text": "hello", "target_text": "hallo"}
    path = write_manifest(tmp_path / "mt.jsonl", [record])
    prepare({"train": [path]}, tmp_path / "out", SETTINGS)
    data = PreparedData.open(tmp_path / "out")
    assert data.num_feature_columns == 0
    assert data.vocabulary.decode(data.split("train").source(0)) == "hello"


def test_an_id_is_unique_in_all_manifests_of_a_split(tmp_path: Path):
    record: dict[str, object] = {
        "id": "x",
        "task": "mt",
        "source_text": "hello",
        "target_text": "hallo",
    }
    one = write_manifest(tmp_path / "one.jsonl", [record])
    two = write_manifest(tmp_path / "two.jsonl", [record])
    report = prepare({"train": [one, two]}, tmp_path / "out", LENIENT)
    (row,) = read_report(report)
    assert (row["file"], row["line"], row["field"]) == (str(two), "1", "id")
    assert f"{one}, line 1 has it as well" in row["reason"]


def test_manifests_that_disagree_about_a_task_are_both_named(tmp_path: Path):
    record: dict[str, object] = {"task": "mt", "source_text": "hello", "target_text": "hallo"}
    one = write_manifest(tmp_path / "one.jsonl", [record])
    two = write_manifest(tmp_path / "two.jsonl", [{**record, "target_language": "de"}])
    with pytest.raises(ManifestError, match=r"one\.jsonl, line 1 .*two\.jsonl, line 1 has 'de'"):
        prepare({"train": [one], "dev": [two]}, tmp_path / "out", SETTINGS)


def test_impossible_requests_are_refused(tmp_path: Path):
    path = three_tasks(tmp_path)
    with pytest.raises(UserError, match="a train manifest must be given"):
        prepare({"test": [path]}, tmp_path / "out", SETTINGS)
    with pytest.raises(UserError, match="but is 'a/b'"):
        prepare({"train": [path], "a/b": [path]}, tmp_path / "out", SETTINGS)
    with pytest.raises(UserError, match="'dev' must have a manifest"):
        prepare({"train": [path], "dev": []}, tmp_path / "out", SETTINGS)
    with pytest.raises(UserError, match="from 0 to 1"):
        prepare({"train": [path]}, tmp_path / "out", PrepareSettings(max_bad_share=5))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="must be a folder"):
        prepare({"train": [path]}, tmp_path / "file", SETTINGS)


def test_a_task_or_split_of_which_nothing_is_left_is_refused(tmp_path: Path):
    records: list[dict[str, object]] = [
        {"task": "mt", "source_text": "hello", "target_text": "hallo"},
        {"task": "asr", "audio": "missing.wav", "target_text": "hello"},
    ]
    path = write_manifest(tmp_path / "m.jsonl", records)
    with pytest.raises(DataError, match="the task 'asr' must have an example in train"):
        prepare({"train": [path]}, tmp_path / "out", LENIENT)
    path = write_manifest(tmp_path / "m.jsonl", records[:1])
    dev = write_manifest(tmp_path / "dev.jsonl", records[1:])
    with pytest.raises(DataError, match="the split 'dev' must have an example"):
        prepare({"train": [path], "dev": [dev]}, tmp_path / "out", LENIENT)


def test_progress_counts_to_the_end_of_every_stage(tmp_path: Path):
    last: dict[str, tuple[int, int]] = {}

    def note(stage: str, done: int, total: int) -> None:
        last[stage] = (done, total)

    path = three_tasks(tmp_path)
    prepare({"train": [path]}, tmp_path / "out", SETTINGS, progress=note)
    size = path.stat().st_size
    assert last == {
        "read manifests": (size, size),
        "vocabulary": (1, 1),
        "texts of train": (5, 5),
        "features of train": (10, 10),
    }


def test_an_interruption_leaves_the_folder_incomplete_and_torch_as_it_was(tmp_path: Path):
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "features of train":
            raise KeyboardInterrupt

    path = three_tasks(tmp_path)
    other = PrepareSettings(vocabulary_size=350)
    prepare({"train": [path]}, tmp_path / "out", other)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyboardInterrupt):
            prepare({"train": [path]}, tmp_path / "out", SETTINGS, progress=interrupt)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    with pytest.raises(DataError, match="is not complete"):
        PreparedData.open(tmp_path / "out")
    assert not prepare({"train": [path]}, tmp_path / "out", SETTINGS).reused
