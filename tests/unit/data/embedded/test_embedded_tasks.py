"""The embedded corpus with many tasks: cipher languages, and train sentences of one task each."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from taskaware import errors
from taskaware.data.embedded import corpus as embedded
from taskaware.data.embedded import grammar
from taskaware.data.embedded.ciphers import ciphers
from taskaware.data.embedded.corpus import EmbeddedCorpusSettings, plan, write
from taskaware.data.embedded.grammar import generate, vocabulary
from taskaware.settings.typed import require_valid

SMALL = EmbeddedCorpusSettings(
    num_train_sentences=12,
    num_dev_sentences=2,
    num_test_sentences=2,
    num_train_voices=4,
    num_dev_voices=4,
    num_test_voices=4,
    speech_per_sentence=2,
    languages=("tr",),
    num_ciphers=1,
)
TASKS = ("asr_en", "st_en_tr", "st_en_c01", "mt_en_tr", "mt_en_c01")


def rows_of(folder, split):
    with (folder / f"{split}.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def spoken_of(folder, split):
    return {f"audio/{split}/{path.name}" for path in (folder / "audio" / split).iterdir()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    pytest.importorskip("espeakng_loader", reason="needs the extra 'demo'")
    folder = tmp_path_factory.mktemp("embedded") / "shared"
    write(folder, SMALL, num_workers=1)
    return folder


@pytest.fixture(scope="module")
def dealt(tmp_path_factory):
    pytest.importorskip("espeakng_loader", reason="needs the extra 'demo'")
    folder = tmp_path_factory.mktemp("embedded") / "dealt"
    write(folder, replace(SMALL, one_dataset_a_task=True), num_workers=1)
    return folder


def test_ciphers_make_as_many_tasks_as_one_likes():
    assert SMALL.tasks == TASKS
    many = replace(SMALL, languages=("de", "tr", "ro"), num_ciphers=22)
    assert Counter(task[:3] for task in many.tasks) == {"asr": 1, "st_": 25, "mt_": 25}
    assert many.target_languages[2:5] == ("ro", "c01", "c02")


def test_cipher_tasks_read_what_the_others_read_and_write_the_cipher(corpus):
    english = {r.sentence.english for r in plan(SMALL)}
    enciphered = {ciphers(1)[0].encipher(text) for text in english}
    rows = [row for split in embedded.SPLITS for row in rows_of(corpus, split)]
    written = {row["target_text"] for row in rows if row["task"] == "st_en_c01"}
    assert written == enciphered
    by_task = {task: [row for row in rows if row["task"] == task] for task in TASKS}
    inputs = {
        task: [(row["audio"], row["source_text"], row["utterance"]) for row in of_task]
        for task, of_task in by_task.items()
    }
    assert inputs["st_en_c01"] == inputs["st_en_tr"] == inputs["asr_en"]
    assert inputs["mt_en_c01"] == inputs["mt_en_tr"]
    assert {row["target_language"] for row in by_task["mt_en_c01"]} == {"c01"}


def test_the_readme_says_which_languages_are_none(corpus, dealt):
    assert "CIPHERS, NOT LANGUAGES: c01." in (corpus / "README.txt").read_text()
    assert "serves one task" not in (corpus / "README.txt").read_text()
    assert "serves one task" in (dealt / "README.txt").read_text()


def test_each_train_sentence_serves_one_task_in_turn(dealt):
    rows = rows_of(dealt, "train")
    tasks_of: dict[str, set[str]] = {}
    for row in rows:
        tasks_of.setdefault(row["utterance"], set()).add(row["task"])
    turns = [tasks_of[utterance] for utterance in sorted(tasks_of)]
    assert turns == [{TASKS[number % len(TASKS)]} for number in range(12)]
    # Two voices speak each sentence; a text task reads it once.
    num_by_task = {"asr_en": 6, "st_en_tr": 6, "st_en_c01": 4, "mt_en_tr": 2, "mt_en_c01": 2}
    assert Counter(row["task"] for row in rows) == num_by_task
    assert all(row["dataset"] == f"embedded_{row['task']}" for row in rows)


def test_dealt_rows_are_the_shared_ones_but_for_their_dataset(corpus, dealt):
    shared = {row["id"]: row for row in rows_of(corpus, "train")}
    for row in rows_of(dealt, "train"):
        assert row | {"dataset": "embedded"} == shared[row["id"]]


def test_dev_and_test_serve_all_tasks_all_the_same(corpus, dealt):
    for split in ("dev", "test"):
        name = f"{split}.tsv"
        assert (corpus / name).read_bytes() == (dealt / name).read_bytes()
        assert Counter(row["task"] for row in rows_of(dealt, split)) == dict.fromkeys(TASKS, 2)


def test_only_what_a_task_listens_to_is_spoken(corpus, dealt):
    assert len(spoken_of(corpus, "train")) == 24
    for split in embedded.SPLITS:
        heard = {row["audio"] for row in rows_of(dealt, split)} - {""}
        assert spoken_of(dealt, split) == heard
    counts = json.loads((dealt / "complete.json").read_text())["counts"]
    assert counts["recordings"] == 6 + 6 + 4 + 2 + 2


def test_fewer_train_sentences_than_tasks_are_refused():
    few = replace(SMALL, num_train_sentences=4)
    with pytest.raises(errors.UserError, match=r"num_train_sentences.*number of tasks \(5\)"):
        require_valid(replace(few, one_dataset_a_task=True))


@pytest.mark.parametrize("change", [{"num_ciphers": 1}, {"one_dataset_a_task": True}])
def test_a_corpus_of_other_tasks_is_not_taken_for_this_one(tmp_path, monkeypatch, change):
    """And one that was written before there were such settings is complete as it is."""
    pytest.importorskip("espeakng_loader", reason="needs the extra 'demo'")
    monkeypatch.setattr(embedded, "_speak", lambda *_: 0.0)
    plain = replace(SMALL, num_ciphers=0)
    write(tmp_path, plain)
    marker = tmp_path / "complete.json"
    settings = json.loads(marker.read_text())["settings"]
    assert settings.keys().isdisjoint({"num_ciphers", "one_dataset_a_task"})
    train = (tmp_path / "train.tsv").read_text()
    write(tmp_path, replace(plain, **change))
    assert (tmp_path / "train.tsv").read_text() != train
    assert json.loads(marker.read_text())["settings"] == settings | change


def test_speech_translation_over_the_telephone_has_recordings_of_its_own(tmp_path):
    pytest.importorskip("espeakng_loader", reason="needs the extra 'demo'")
    settings = replace(SMALL, one_dataset_a_task=True, telephone_st=True)
    write(tmp_path, settings, num_workers=1)
    for split in embedded.SPLITS:
        rows = rows_of(tmp_path, split)
        for row in rows:
            assert row["audio"].endswith("-telephone.flac") == (row["kind"] == "st")
        assert spoken_of(tmp_path, split) == {row["audio"] for row in rows} - {""}
    assert "telephone" in (tmp_path / "README.txt").read_text()


def test_a_telephone_keeps_its_band_and_nothing_else():
    times = np.arange(16_000) / 16_000
    for hz, kept in ((100, 0.0), (1000, 1.0), (3000, 1.0), (6000, 0.0)):
        tone = 0.5 * np.sin(2 * np.pi * hz * times)
        power = np.mean(embedded.telephone(tone, 16_000) ** 2) / np.mean(tone**2)
        assert power == pytest.approx(kept, abs=1e-6)


def test_a_part_of_the_dictionary_makes_sentences_of_its_words_alone():
    few = replace(SMALL, lexicon_share=0.3, max_words=5)
    words = vocabulary(0.3)
    for recording in plan(few):
        spoken = re.findall(r"\w+", recording.sentence.english.lower())
        assert words.issuperset(spoken)
        assert len(spoken) <= 5
    assert words < vocabulary()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"lexicon_share": 0.0}, "lexicon_share"), ({"max_words": 2}, "max_words")],
)
def test_a_dictionary_or_sentences_of_nothing_are_refused(change, message):
    with pytest.raises(errors.UserError, match=message):
        require_valid(replace(SMALL, **change))


def test_more_sentences_than_a_part_of_the_grammar_has_are_refused(monkeypatch):
    monkeypatch.setattr(grammar, "_MAX_DRAWS_IN_VAIN", 500)
    with pytest.raises(ValueError, match="at most about"):
        generate(2_000, seed=1, lexicon_share=0.05, max_words=3)
