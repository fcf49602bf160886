"""How subtitles are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskaware.inference.recordings.subtitles import cues, timed_words, width
from taskaware.inference.recordings.transcript import Segment, Transcript, Word


def transcript(*texts: str, seconds_per_word: float = 0.4, separator: str = " ") -> Transcript:
    segments, now = [], 0.0
    for text in texts:
        words = []
        for word in text.split(" ") if separator else text:
            words.append(
                Word(
                    text=word,
                    start_seconds=now,
                    end_seconds=now + seconds_per_word,
                    confidence=0.9,
                )
            )
            now += seconds_per_word
        segments.append(
            Segment(
                text=text,
                start_seconds=words[0].start_seconds,
                end_seconds=now,
                confidence=0.9,
                words=tuple(words),
            )
        )
        now += 1.0
    return Transcript(
        task="asr_en", segments=tuple(segments), duration_seconds=now, separator=separator
    )


def test_a_long_sentence_is_cut_at_its_comma_and_lines_are_even():
    text = (
        "When they entered the box on the left, the first act was under way, "
        "and the scene was the inside of a small cabin in the south of the island."
    )
    found = cues(transcript(text, seconds_per_word=0.3))
    assert [" ".join(cue.lines) for cue in found] == [
        "When they entered the box on the left, the first act was under way,",
        "and the scene was the inside of a small cabin in the south of the island.",
    ]
    assert found[0].lines[0].endswith("left,")


def test_a_new_sentence_begins_a_new_cue_unless_both_are_whole():
    text = "We went home early. The others stayed until the morning came and the lamps went out."
    assert " ".join(cues(transcript(text))[0].lines) == "We went home early."
    assert [cue.lines for cue in cues(transcript("Yes. I know."))] == [("Yes. I know.",)]


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("Yesterday in the afternoon we met Mr. Smith and his wife at the station.", "Mr."),
        ("Das Treffen findet wie immer am 3. Mai um 10 Uhr im Saal des Rathauses statt.", "3."),
        ("This was the decision of J. R. R. Tolkien who had never been there before.", "R."),
        ("In summer at 5 a.m. all the birds of the forest begin to sing.", "a.m."),
    ],
)
def test_a_full_stop_that_ends_no_sentence_is_no_good_place_to_cut(text: str, never: str):
    found = cues(transcript(text, seconds_per_word=0.6))
    lines = [line for cue in found for line in cue.lines]
    assert " ".join(lines) == text
    assert not [line for line in lines[:-1] if line.endswith(never)]


@pytest.mark.parametrize("end", ["at 9 p.m.", "in 2020.", "on the moon.", "by A.I.", "“at home.”"])
def test_a_full_stop_that_ends_a_sentence_is_one(end: str):
    first = f"The members of the house met {end}"
    text = f"{first} The others stayed until the morning came and the lamps went out."
    assert " ".join(cues(transcript(text, seconds_per_word=0.3))[0].lines) == first


def test_a_cue_is_on_the_screen_for_seven_seconds_at_most_and_a_short_one_long_enough():
    found = cues(transcript("one two three four five six seven eight", seconds_per_word=2.0))
    assert max(cue.end_seconds - cue.start_seconds for cue in found) <= 7.0
    (short,) = cues(transcript("Yes.", seconds_per_word=0.1))
    assert short.end_seconds - short.start_seconds == pytest.approx(5 / 6)


def test_wide_characters_count_as_two():
    text = "他说今天的天气非常好我们可以一起去公园散步然后回家吃饭"
    found = cues(transcript(text, seconds_per_word=0.2, separator=""))
    assert "".join(line for cue in found for line in cue.lines) == text
    assert max(width(line) for cue in found for line in cue.lines) <= 42
    assert (width("e\u0301"), width("天"), width("a")) == (1, 2, 1)


def test_a_word_that_fits_no_line_is_cut():
    found = cues(transcript("a" * 100))
    assert "".join(line for cue in found for line in cue.lines) == "a" * 100


def test_a_segment_without_words_spreads_its_text_over_its_time():
    segment = Segment(text="a bcd", start_seconds=1.0, end_seconds=4.0, confidence=0.5)
    assert [(word.text, word.start_seconds, word.end_seconds) for word in timed_words(segment)] == [
        ("a", 1.0, 2.0),
        ("bcd", 2.0, 4.0),
    ]


WORDS = st.text("ab,.!? 天", min_size=1, max_size=50).filter(str.strip)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(WORDS, min_size=1, max_size=25),
        min_size=1,
        max_size=4,
    ),
    st.floats(0.05, 3.0),
)
def test_whatever_is_said_the_limits_hold_and_nothing_is_lost(texts, seconds_per_word):
    given_words = [" ".join(" ".join(words).split()) for words in texts]
    made = transcript(*given_words, seconds_per_word=seconds_per_word)
    found = cues(made)
    said = "".join(line for cue in found for line in cue.lines).replace(" ", "")
    assert said == "".join(given_words).replace(" ", "")
    for cue in found:
        assert 1 <= len(cue.lines) <= 2
        assert max(map(width, cue.lines)) <= 42
        assert cue.end_seconds - cue.start_seconds <= 7.0 + 1e-6
    for before, after in itertools.pairwise(found):
        assert before.start_seconds <= before.end_seconds <= after.start_seconds + 1e-9
