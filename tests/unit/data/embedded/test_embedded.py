"""The embedded corpus on disk: a user's manifest, held out by sentence and voice, interruptible."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from taskaware import errors
from taskaware.data.embedded import corpus as embedded
from taskaware.data.embedded.corpus import SPLITS, EmbeddedCorpusSettings, plan, write
from taskaware.output_folder import RECORD_NAME
from taskaware.settings.typed import require_valid

SMALL = EmbeddedCorpusSettings(
    num_train_sentences=12,
    num_dev_sentences=3,
    num_test_sentences=4,
    num_train_voices=8,
    num_dev_voices=4,
    num_test_voices=4,
    speech_per_sentence=2,
    languages=("de", "ro"),
)


def rows_of(folder, split):
    with (folder / f"{split}.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("[!.]*.*")}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    pytest.importorskip("espeakng_loader", reason="needs the extra 'demo'")
    folder = tmp_path_factory.mktemp("embedded") / "corpus"
    write(folder, SMALL, num_workers=1)
    return folder


def test_every_sentence_gives_one_example_per_task_and_recording(corpus):
    rows = rows_of(corpus, "train")
    num_by_task = {
        task: [row["task"] for row in rows].count(task)
        for task in ("asr_en", "st_en_de", "st_en_ro", "mt_en_de", "mt_en_ro")
    }
    assert num_by_task == {
        "asr_en": 24,
        "st_en_de": 24,
        "st_en_ro": 24,
        "mt_en_de": 12,
        "mt_en_ro": 12,
    }
    assert len(rows) == sum(num_by_task.values())
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({row["utterance"] for row in rows}) == 12


def test_the_manifest_says_what_each_task_reads_and_writes(corpus):
    sentences = {s.english: s for r in plan(SMALL) for s in [r.sentence]}
    rows = [row for split in SPLITS for row in rows_of(corpus, split)]
    english = {row["utterance"]: row["target_text"] for row in rows if row["task"] == "asr_en"}
    for row in rows:
        sentence = sentences[english[row["utterance"]]]
        written = {"en": sentence.english, "de": sentence.german, "ro": sentence.romanian}
        assert row["target_text"] == written[row["target_language"]]
        assert row["kind"] == row["task"].partition("_")[0]
        assert row["source_language"] == "en"
        assert row["dataset"] == "embedded"
        if row["kind"] == "mt":
            assert (row["audio"], row["source_text"]) == ("", sentence.english)
        else:
            assert (corpus / row["audio"]).is_file()
            assert row["source_text"] == ""
            assert row["speaker"]


def test_recordings_are_16_khz_mono_flac_of_plausible_length(corpus):
    import soundfile

    recordings = sorted((corpus / "audio").rglob("*.flac"))
    assert len(recordings) == 24 + 3 + 4
    for path in recordings:
        information = soundfile.info(path)
        assert (information.samplerate, information.channels) == (16_000, 1)
        assert (information.format, information.subtype) == ("FLAC", "PCM_16")
        assert 0.4 < information.duration < 3.5


def test_dev_and_test_are_held_out_by_sentence_voice_and_timbre():
    recordings = plan(EmbeddedCorpusSettings(num_train_sentences=3_000))
    for of in (
        lambda recording: recording.sentence.english,
        lambda recording: recording.voice.name,
        lambda recording: recording.voice.name.partition("+")[2],
    ):
        train, dev, test = ({of(r) for r in recordings if r.split == split} for split in SPLITS)
        assert train.isdisjoint(dev)
        assert train.isdisjoint(test)
        assert dev.isdisjoint(test)


def test_more_training_data_leaves_the_test_set_as_it_is():
    def test_set(settings):
        return [recording for recording in plan(settings) if recording.split == "test"]

    assert test_set(SMALL) == test_set(replace(SMALL, num_train_sentences=20))


def test_a_sentence_is_spoken_by_different_voices():
    spoken: dict[int, set[str]] = {}
    for recording in plan(SMALL):
        if recording.split == "train":
            spoken.setdefault(recording.sentence_number, set()).add(recording.voice.name)
    assert all(len(names) == 2 for names in spoken.values())


def test_a_complete_corpus_is_left_alone(corpus):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    write(corpus, SMALL)
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before


def test_two_workers_write_the_same_files_after_an_interruption(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "_NUM_RECORDINGS_PER_PROCESS", 31)

    folder = tmp_path / "corpus"

    def interrupted(*arguments):
        (folder / "audio" / "train" / "train-000000.flac").write_bytes(b"half a recording")
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(embedded, "_speak", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write(folder, SMALL)
    assert not (folder / "complete.json").exists()
    time.sleep(1.1)  # Left to itself, espeak-ng seeds its noise with the second of the day.
    reports = []
    write(folder, SMALL, num_workers=2, progress=lambda done, total: reports.append((done, total)))
    assert files_of(folder) == files_of(corpus)
    assert reports[-1] == (31, 31)


def test_other_settings_replace_the_corpus(tmp_path, corpus):
    folder = tmp_path / "corpus"
    write(folder, replace(SMALL, num_train_sentences=2, speech_per_sentence=1), num_workers=1)
    write(folder, replace(SMALL, num_train_sentences=1, speech_per_sentence=1), num_workers=1)
    assert len(list((folder / "audio" / "train").iterdir())) == 1
    content = json.loads((folder / "complete.json").read_text())
    assert content["synthetic"] is True
    assert content["settings"]["num_train_sentences"] == 1


def test_a_corpus_of_a_version_without_a_record_is_replaced_and_what_was_added_stays(
    tmp_path, corpus
):
    folder = tmp_path / "corpus"
    shutil.copytree(corpus, folder)
    (folder / RECORD_NAME).unlink()
    (folder / "audio/train/mine.flac").write_text("mine")
    write(folder, replace(SMALL, num_train_sentences=1, speech_per_sentence=1), num_workers=1)
    assert len(list((folder / "audio/train").iterdir())) == 2
    assert (folder / "audio/train/mine.flac").read_text() == "mine"


def test_a_folder_with_other_files_is_never_touched(tmp_path, corpus):
    (tmp_path / "train.tsv").write_text("mine")
    with pytest.raises(errors.OutputError, match="did not write"):
        write(tmp_path, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["train.tsv"]


def test_the_readme_says_that_the_corpus_is_synthetic(corpus):
    assert "synthetic" in (corpus / "README.txt").read_text().splitlines()[0].lower()


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("num_train_sentences", 0, "num_train_sentences"),
        ("num_test_voices", 1_000, r"num_\*_voices"),
        ("num_dev_sentences", 10_000_000, r"num_\*_sentences"),
        ("languages", ("fr",), "languages"),
        ("languages", ("de", "de"), "languages"),
        ("languages", (), "languages"),
        ("speech_per_sentence", 9, "speech_per_sentence"),
        ("sample_rate_hz", 100, "sample_rate_hz"),
        ("num_ciphers", -1, "num_ciphers"),
        ("num_ciphers", 100, "num_ciphers"),
    ],
)
def test_impossible_settings_are_refused_by_name(field, value, named):
    with pytest.raises(errors.UserError, match=named):
        require_valid(replace(SMALL, **{field: value}))


def living_processes(group):
    """The processes of a group that have not ended. (Who reaps orphans is the system's affair.)"""
    living = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, process_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(process_group) == group and state != "Z":
            living.append(path.parent.name)
    return living


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_an_interrupt_leaves_no_worker_behind(tmp_path, corpus):
    program = tmp_path / "program.py"
    program.write_text(
        "from pathlib import Path\n"
        "from taskaware.data.embedded.corpus import EmbeddedCorpusSettings, write\n"
        "if __name__ == '__main__':\n"
        f"    write(Path({str(tmp_path / 'corpus')!r}), EmbeddedCorpusSettings(), num_workers=2)\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(program)], stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("corpus/audio/train/*.flac")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(living_processes(process.pid)) >= 3, "the workers never started"
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert b"KeyboardInterrupt" in stderr
    assert process.returncode != 0
    deadline = time.monotonic() + 10
    while living_processes(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert living_processes(process.pid) == []
    assert not (tmp_path / "corpus" / "complete.json").exists()
