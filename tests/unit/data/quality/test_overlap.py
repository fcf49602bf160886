"""Overlap planted by hand is found, by the rule that says so; neighbours are not overlap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from taskaware.data.quality.overlap import HeldOut, bare
from taskaware.data.quality.settings import OverlapSettings
from taskaware.types import Example, Speech


def spoken(
    id_: str, text: str, file: str, start: float = 0.0, length: float | None = 2.0, task: str = "st"
) -> Example:
    return Example(
        id=id_,
        task=task,
        dataset="d",
        target_text=text,
        speech=Speech(path=Path(file), start_seconds=start, duration_seconds=length),
    )


def written(id_: str, source: str, target: str, task: str = "mt") -> Example:
    return Example(id=id_, task=task, dataset="d", source_text=source, target_text=target)


@pytest.mark.parametrize(
    ("start", "length", "overlaps"),
    [
        (0.0, 2.0, False),  # ends 3 s before
        (3.0, 2.0, False),  # ends where it begins
        (3.0, 2.005, False),  # reaches into it by less than times are rounded to
        (3.0, 2.5, True),
        (5.5, 0.5, True),  # inside
        (0.0, None, True),  # the whole recording
        (7.0, None, False),
    ],
)
def test_segments_of_one_recording_overlap_only_where_they_share_time(
    start: float, length: float | None, overlaps: bool
):
    held = HeldOut()
    held.add("dev", spoken("talk-7", "eins zwei drei vier", "talk.wav", 5.0, 2.0))
    # Another task and another text: the recording is what they share.
    found = held.find(spoken("x", "one two three four", "talk.wav", start, length, task="asr"))
    assert (found is not None) == overlaps
    if found is not None:
        assert found.field == "audio"
        assert "'dev'" in found.reason
        assert "'talk-7'" in found.reason
    assert held.find(spoken("y", "one", "other.wav", start, length)) is None


def test_a_pair_of_texts_is_found_whatever_case_signs_direction_and_task():
    held = HeldOut()
    held.add("test", written("t1", "Good morning, friend!", "Guten Morgen, Freund!"))
    found = held.find(written("x", "good morning friend", "GUTEN MORGEN FREUND", task="other"))
    assert found is not None
    assert (found.field, "'t1'" in found.reason) == ("target_text", True)
    assert held.find(written("y", "Guten Morgen, Freund.", "Good morning, friend.")) is not None


def test_one_text_alone_is_counted_and_warned_of_but_not_found():
    held = HeldOut()
    held.add("test", written("t1", "Yes.", "Ja."))
    held.add("test", written("t2", "No.", "Nein."))
    assert held.find(written("x", "yes", "Doch.")) is None
    assert held.find(written("y", "Nay.", "nein")) is None
    assert held.find(written("z", "Maybe.", "Vielleicht.")) is None
    counts = held.counts()["test"]
    assert counts.train == {("mt", "source text"): 1, ("mt", "target text"): 1}
    assert counts.held_out == {("mt", "source text"): 1, ("mt", "target text"): 1}
    assert held.warnings() == [
        "test: 1 of 2 examples of the task 'mt' have a source text that is also in train",
        "test: 1 of 2 examples of the task 'mt' have a target text that is also in train",
    ]


@pytest.mark.parametrize(
    ("text", "task", "found"),
    [
        ("This is a house", "asr", True),
        ("this is a HOUSE.", "asr", True),
        ("This is a house", "st", False),  # another task
        ("A house", "asr", False),  # too short
    ],
)
def test_a_transcript_is_found_in_its_own_task_if_it_is_long_enough(
    text: str, task: str, found: bool
):
    held = HeldOut()
    held.add("dev", spoken("d1", "This is a house", "d1.wav", task="asr"))
    held.add("dev", spoken("d2", "A house", "d2.wav", task="asr"))
    assert (held.find(spoken("x", text, "x.wav", task=task)) is not None) == found


def test_the_least_number_of_words_is_a_setting():
    held = HeldOut(OverlapSettings(min_words=2))
    held.add("dev", spoken("d2", "A house", "d2.wav"))
    assert held.find(spoken("x", "a house", "x.wav")) is not None


def test_an_example_counts_once_for_each_split_under_the_first_rule():
    held = HeldOut()
    pair = ("A very good morning", "Einen schönen guten Morgen")
    held.add("dev", written("d1", *pair))
    held.add("dev", written("d2", *pair))
    held.add("test", written("t1", "A very good morning", "Moin"))
    for number in range(3):
        assert held.find(written(f"x{number}", *pair)) is not None
    counts = held.counts()
    assert counts["dev"].train == {("mt", "text pair"): 3}
    assert counts["dev"].held_out == {("mt", "text pair"): 2}
    assert counts["test"].train == {("mt", "source text"): 3}
    assert counts["test"].held_out == {("mt", "source text"): 1}


def test_what_is_allowed_is_warned_of_and_what_is_dropped_is_not():
    for action, number in (("allow", 1), ("drop", 0), ("refuse", 0)):
        held = HeldOut(OverlapSettings(action=action))
        held.add("dev", written("d1", "Good morning, friend", "Guten Morgen, Freund"))
        assert held.find(written("x", "Good morning, friend", "Guten Morgen, Freund")) is not None
        assert len(held.warnings()) == number


def test_one_file_of_features_is_one_source():
    held = HeldOut()
    example = Example(id="f1", task="t", dataset="d", target_text="a", features_path=Path("a.npy"))
    held.add("dev", example)
    found = held.find(replace(example, id="x", target_text="b"), "features")
    assert found is not None
    assert found.field == "features"
    assert held.find(replace(example, id="y", features_path=Path("b.npy"))) is None


def test_texts_are_compared_by_letters_and_numbers_and_signs_alone_by_themselves():
    assert bare("Straße, 7 b!") == "strasse7b"
    assert bare("?!") == "?!"
    assert bare("?!") != bare("...")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("जाएगा", "जाएगी"),  # vowel signs: he will go, she will go
        ("पिता", "पता"),
        ("ไม่", "ไม"),
        ("কলা", "কালো"),
        ("கல்", "கலை"),
        ("كَتَبَ", "كُتُب"),
        ("סֵפֶר", "סַפָּר"),
        ("1 + 2", "1 - 2"),
        ("1 + 2", "1 2"),
        ("-5 °C", "5 °C"),
        ("\u22125", "5"),
        ("3.5", "35"),
        ("1/2", "12"),
        ("10:30", "1030"),
        ("5, 6", "56"),
        ("20 19", "2019"),
        ("C++", "C"),
        ("5 %", "5"),
        ("$5", "5"),
        ("a = b", "a < b"),
    ],
)
def test_texts_that_mean_something_else_are_not_the_same(one: str, other: str):
    assert bare(one) != bare(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Good morning, friend!", "good morning friend"),
        ("It is 5.", "it is 5"),
        ("(5)", "5"),
        ("pages 5\u20136", "pages 5 - 6"),
        ("u\u0308ber", "über"),
        ("ＡＢＣ", "abc"),
        ("a\u200bb\u00adc\ufeff", "abc"),
        ("\u0643\u062a\u0627\u0628\u200c\u0647\u0627", "\u0643\u062a\u0627\u0628\u0647\u0627"),
        ("İSTANBUL", "istanbul"),
        ("don’t", "don't"),
        ("2 × 3", "2×3"),
        ("well-known", "well known"),
    ],
)
def test_texts_that_differ_in_case_punctuation_or_form_are_the_same(one: str, other: str):
    assert bare(one) == bare(other)


@pytest.mark.parametrize(
    ("source", "target", "is_overlap"),
    [
        ("Yes.", "Ja.", False),
        ("Thank you.", "Danke schön.", False),
        ("Thank you very much.", "Dankeschön.", False),  # the shorter counts
        ("I love you.", "Ich liebe dich.", True),
        ("Yes.", "是的。", False),
        ("Let us go home.", "我们回家吧。", True),  # 5 signs, 3 words
    ],
)
def test_a_pair_overlaps_only_where_both_texts_are_long_enough(
    source: str, target: str, is_overlap: bool
):
    held = HeldOut()
    held.add("test", written("t", source, target))
    assert (held.find(written("x", source, target)) is not None) == is_overlap
    # What is too short to be refused is still counted.
    assert sum(held.counts()["test"].train.values()) == 1


def test_a_transcript_without_spaces_is_found_where_it_is_as_long_as_four_words():
    held = HeldOut()
    for number, text in enumerate(("今天天气很好", "今天天气非常好", "สวัสดีครับ")):
        held.add("dev", spoken(f"d{number}", text, f"d{number}.wav", task="asr"))
    assert held.find(spoken("x", "今天天气很好", "x.wav", task="asr")) is None  # 6 signs
    assert held.find(spoken("y", "今天天气非常好", "y.wav", task="asr")) is not None  # 7
    assert held.find(spoken("z", "สวัสดีครับ", "z.wav", task="asr")) is None
