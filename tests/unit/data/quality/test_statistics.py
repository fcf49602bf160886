"""Statistics of a corpus that is small enough to count by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from taskaware.data.quality.settings import OverlapSettings
from taskaware.data.quality.statistics import (
    Distribution,
    Group,
    Statistics,
    known_characters,
    measure,
)
from taskaware.data.quality.statistics_tables import problem_lines, sparkline, to_json, to_markdown
from taskaware.data.vocabulary import Vocabulary
from taskaware.types import Example, Speech, Task

ASR = Task(
    name="asr_en", kind="asr", source_modality="speech", source_language="en", target_language="en"
)
MT = Task(
    name="mt_en_de", kind="mt", source_modality="text", source_language="en", target_language="de"
)


def spoken(id_: str, text: str, path: Path | str, length: float | None, **more: str) -> Example:
    return Example(
        id=id_,
        task=ASR.name,
        dataset="talks",
        target_text=text,
        speech=Speech(path=Path(path), duration_seconds=length),
        **more,
    )


def written(id_: str, source: str, target: str, **more: str) -> Example:
    return Example(
        id=id_, task=MT.name, dataset="news", source_text=source, target_text=target, **more
    )


@pytest.fixture
def counted() -> Statistics:
    """Two hours and a half of train speech in three examples, four train pairs, and a dev set."""
    statistics = Statistics(overlap=OverlapSettings(min_pair_words=2))
    statistics.add("dev", spoken("d1", "This is a house", "d1.wav", 3600.0, speaker="ann"), ASR)
    statistics.add("dev", written("d1", "One two", "Eins zwei"), MT)
    train = (
        (spoken("1", "this is a house", "1.wav", 3600.0, speaker="bob"), ASR),
        (spoken("2", "two words", "2.wav", 1800.0, speaker="bob"), ASR),
        (spoken("3", "two words", "3.wav", 3600.0, speaker="eve", origin="tempo 0.9"), ASR),
        (written("1", "one two", "eins zwei"), MT),
        (written("2", "three", "drei vier fünf"), MT),
        (written("3", "three", "drei vier fünf"), MT),
        (written("4", "six", "sechs", origin="model"), MT),
    )
    for example, task in train:
        statistics.add("train", example, task)
    return statistics


def test_examples_hours_words_and_speakers_are_those_counted_by_hand(counted: Statistics):
    speech = counted.groups[Group(task="asr_en", dataset="talks", split="train")]
    assert (speech.examples, speech.synthetic) == (3, 1)
    assert (speech.seconds.total, speech.synthetic_seconds.total) == (9000.0, 3600.0)
    assert (speech.seconds.mean, speech.seconds.longest) == (3000.0, 3600.0)
    assert speech.target_words.total == 8
    assert speech.source_words.count == 0
    assert len(speech.speakers) == 2
    text = counted.groups[Group(task="mt_en_de", dataset="news", split="train")]
    assert (text.examples, text.synthetic, text.duplicates) == (4, 1, 1)
    assert (text.source_words.total, text.target_words.total) == (5, 9)
    assert text.seconds.count == len(text.speakers) == 0
    assert text.characters == 7 + 9 + 2 * (5 + 14) + 3 + 5


def test_a_speech_duplicate_has_the_same_recording_and_text(counted: Statistics):
    speech = counted.groups[Group(task="asr_en", dataset="talks", split="train")]
    counted.add("train", spoken("9", "two words", "9.wav", 1800.0), ASR)
    assert speech.duplicates == 0  # "two words" three times, in three recordings
    counted.add("train", spoken("4", "two words", "2.wav", 1800.0), ASR)
    assert speech.duplicates == 1


def test_overlap_with_train_is_counted_for_both_sides(counted: Statistics):
    assert to_json(counted)["overlap"] == [
        {"split": "dev", "task": "asr_en", "rule": "transcript", "held_out": 1, "train": 1},
        {"split": "dev", "task": "mt_en_de", "rule": "text pair", "held_out": 1, "train": 1},
    ]


def test_the_page_has_the_shape_of_the_papers_tables(counted: Statistics):
    page = to_markdown(counted).splitlines()
    assert page[4:10] == [
        "| task | corpus | train hours | train examples | dev |",
        "| --- | --- | ---: | ---: | ---: |",
        "| asr_en | talks | 1.5 | 2 | 1 |",
        "| asr_en | talks, synthetic | 1.0 | 1 | N/A |",
        "| mt_en_de | news | N/A | 3 | 1 |",
        "| mt_en_de | news, synthetic | N/A | 1 | N/A |",
    ]


def test_a_row_of_lengths_has_total_mean_median_percentile_and_longest():
    statistics = Statistics()
    for number in range(20):
        target = "a b c d e f g h i" if number == 7 else "a b"
        statistics.add("train", written(str(number), "one", target), MT)
    row = "| train | mt_en_de | news | target words | 47 | 2.4 | 2 | 2 | 9 | █▁······· |"
    assert row in to_markdown(statistics)


def test_the_record_is_json_with_every_number(counted: Statistics):
    record = json.loads(json.dumps(to_json(counted)))
    keys = [(group["split"], group["task"]) for group in record["groups"]]
    assert keys == [
        *(("dev", "asr_en"), ("train", "asr_en")),
        *(("dev", "mt_en_de"), ("train", "mt_en_de")),
    ]
    train = record["groups"][3]
    assert train["hours"] is None
    assert train["target_words"]["mean"] == 9 / 4
    assert train["target_words"]["median"] == 2
    assert train["target_words"]["percentile_95"] == 3
    assert train["target_words"]["histogram"] == [4, 0, 0, 0, 0, 0, 0, 0, 0]
    assert record["groups"][1]["hours"] == 2.5
    assert record["groups"][1]["synthetic_hours"] == 1.0
    assert record["characters_outside_vocabulary"] is None


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=60), st.sampled_from([0.01, 0.5, 0.95, 1.0])
)
def test_a_quantile_is_the_smallest_number_that_enough_numbers_do_not_exceed(
    hundredths: list[int], share: float
):
    values = Distribution()
    for number in hundredths:
        values.add(number / 100)
    quantile = values.quantile(share)
    assert quantile in [number / 100 for number in hundredths]
    below = sum(number / 100 <= quantile for number in hundredths)
    assert below >= share * len(hundredths)
    assert sum(number / 100 < quantile for number in hundredths) < math.ceil(
        share * len(hundredths)
    )


def test_a_number_on_an_edge_lies_in_the_bin_above_it():
    values = Distribution()
    for value in (0, 0.99, 1, 1.5, 2, 100):
        values.add(value)
    assert values.histogram((1, 2)) == [2, 2, 2]
    assert Distribution().quantile(0.5) == Distribution().mean == 0


def test_the_sparkline_shows_even_one_among_many():
    assert sparkline([0, 1, 500, 1000]) == "·▁▄█"
    assert sparkline([0, 0]) == "··"


def test_a_length_that_the_manifest_lacks_is_read_from_the_recording(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", np.full(24_000, 0.1, np.float32), 16_000)
    examples = [
        spoken("1", "a", tmp_path / "a.wav", None),
        Example(
            id="2",
            task="asr_en",
            dataset="talks",
            target_text="b",
            speech=Speech(path=tmp_path / "a.wav", start_seconds=1.0),
        ),
        spoken("3", "c", tmp_path / "missing.wav", None),
        spoken("4", "d", tmp_path / "missing.wav", None),
    ]
    opened, closed = Statistics(), Statistics(open_recordings=False)
    for example in examples:
        opened.add("train", example, ASR)
        closed.add("train", example, ASR)
    key = Group(task="asr_en", dataset="talks", split="train")
    assert (opened.groups[key].seconds.total, opened.groups[key].unmeasured) == (2.0, 2)
    assert opened.unreadable == 2
    (line,) = problem_lines(opened)
    assert line.count("missing.wav: the file does not exist") == 1
    assert (closed.groups[key].seconds.count, closed.groups[key].unmeasured) == (0, 4)
    assert problem_lines(closed) == []


def test_characters_that_are_no_pieces_are_counted_by_frequency():
    vocabulary = Vocabulary.train(["ab ba abab"], size=280)
    assert known_characters(vocabulary) == {"a", "b", " "}
    statistics = Statistics(vocabulary=vocabulary)
    statistics.add("train", written("1", "ab é", "aéé ß\u2581"), MT)
    statistics.add("train", written("2", "ba", "ßéabz"), MT)
    record = to_json(statistics)
    assert list(record["characters_outside_vocabulary"].items()) == [
        *(("é", 4), ("ß", 2), ("z", 1), ("\u2581", 1)),
    ]
    assert record["groups"][0]["characters_outside_vocabulary"] == 8
    assert "| é | U+00E9 | latin small letter e with acute | 4 |" in to_markdown(statistics)


def test_later_splits_are_read_before_train_whatever_the_order_given(tmp_path: Path):
    header = "task\tsource_text\ttarget_text\n"
    (tmp_path / "train.tsv").write_text(f"{header}mt\ta b\tc d\nbad\nmt\te\tf\n")
    (tmp_path / "dev.tsv").write_text(f"{header}mt\tA B\tC D\n")
    seen = []
    statistics = measure(
        {"train": [tmp_path / "train.tsv"], "dev": [tmp_path / "dev.tsv"]},
        overlap=OverlapSettings(min_pair_words=2),
        progress=lambda stage, done, total: seen.append((stage, done, total)),
    )
    assert statistics.problems == {"train": 1}
    assert statistics.held_out.counts()["dev"].train == {("mt", "text pair"): 1}
    size = (tmp_path / "train.tsv").stat().st_size
    assert seen[-1] == ("read train", size, size)
    assert "train: 1 line of the manifests cannot be used" in to_markdown(statistics)
