"""Stretches that overlap."""

from __future__ import annotations

from taskaware.inference.recordings.joining import joined
from taskaware.inference.recordings.transcript import Word


def words(text: str, start: float, step: float = 0.5) -> list[Word]:
    return [
        Word(
            text=word,
            start_seconds=start + i * step,
            end_seconds=start + (i + 1) * step,
            confidence=1.0,
        )
        for i, word in enumerate(text.split())
    ]


def text(found: list[Word]) -> str:
    return " ".join(word.text for word in found)


def test_what_both_heard_stands_once():
    before = words("it was late and we had", 7.0)  # ends at 10 s
    after = words("and we had to go home", 8.6)
    first, second = joined(before, after, 9.0, 2.0)
    assert text(first + second) == "it was late and we had to go home"


def test_the_word_that_the_cut_spoilt_is_that_of_the_stretch_which_heard_it_whole():
    before = words("it was late and we ha", 7.0)
    after = words("ate and we had to go", 8.4)
    first, second = joined(before, after, 9.0, 2.0)
    assert text(first + second) == "it was late and we had to go"


def test_case_and_punctuation_make_no_difference():
    first, second = joined(words("so late. And We", 8.0), words("and we, had", 9.0), 9.2, 2.0)
    assert text(first + second) == "so late. And we, had"


def test_without_an_equal_word_each_keeps_its_side_of_the_cut():
    first, second = joined(words("a b c d", 8.0), words("e f g h", 8.5), 9.0, 2.0)
    assert text(first + second) == "a b f g h"


def test_no_word_begins_before_the_one_that_it_follows_ends():
    before = words("one two three", 8.0, step=0.9)
    after = words("two three four", 8.0, step=0.4)
    first, second = joined(before, after, 9.0, 2.0)
    assert text(first + second) == "one two three four"
    assert all(word.start_seconds >= first[-1].end_seconds for word in second)
