"""From pieces to words, with times and confidence."""

from __future__ import annotations

import numpy as np
import pytest

from taskaware.data.sound.speech_detection import FRAME_SECONDS, Detected
from taskaware.data.vocabulary.vocabulary import Vocabulary
from taskaware.inference.recordings.transcript import Word
from taskaware.inference.recordings.words import piece_ends, within_speech, word_spans, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" Good morning, Anna. ", ["Good", "morning,", "Anna."]),
        ("他说“你好”。Well", ["他", "说", "“你", "好”。", "Well"]),
        ("one (two) - “three”", ["one", "(two)", "-", "“three”"]),
        ("", []),
        ("...", ["..."]),
    ],
)
def test_words_keep_their_punctuation(text: str, words: list[str]):
    assert [text[first:end] for first, end in word_spans(text)] == words


def test_a_character_of_several_pieces_is_written_with_the_last_of_them():
    vocabulary = Vocabulary.train(["a b c d"] * 10, size=270)
    pieces = vocabulary.encode("a é b")
    text = vocabulary.decode(pieces)
    ends = piece_ends(vocabulary, pieces, text)
    assert ends[-1] == len(text)
    assert (np.diff(ends) >= 0).all()
    byte_pieces = [i for i, name in enumerate(vocabulary.pieces(pieces)) if name.startswith("<0x")]
    assert ends[byte_pieces].tolist() == [2, 3]  # "a ", then "a é"


def test_a_word_has_the_time_of_its_pieces_and_their_mean_probability():
    words = words_of(
        "Good morning",
        np.array([4, 8, 12]),
        np.array([0.0, 1.0, 1.5]),
        np.array([1.0, 1.5, 2.5]),
        np.array([0.5, 0.9, 0.4]),
    )
    assert [(one.text, one.start_seconds, one.end_seconds) for one in words] == [
        ("Good", 0.0, 1.0),
        ("morning", 1.0, 2.5),
    ]
    assert words[0].confidence == pytest.approx(0.5)
    assert words[1].confidence == pytest.approx(0.6)


def test_words_of_one_piece_share_its_time():
    words = words_of("你好", np.array([2]), np.array([1.0]), np.array([2.0]), np.array([0.5]))
    assert [(one.text, one.start_seconds, one.end_seconds) for one in words] == [
        ("你", 1.0, 1.5),
        ("好", 1.5, 2.0),
    ]


def detected(*runs: tuple[int, float]) -> Detected:
    p = np.concatenate([np.full(frames, value) for frames, value in runs]).astype(np.float32)
    return Detected(probabilities=p, levels_db=p, peak=1.0, detector="silero")


def test_a_pause_belongs_to_no_word():
    found = detected((10, 1), (30, 0), (10, 1))
    long = Word(text="a", start_seconds=0.0, end_seconds=30 * FRAME_SECONDS, confidence=1)
    late = Word(
        text="b",
        start_seconds=30 * FRAME_SECONDS,
        end_seconds=50 * FRAME_SECONDS,
        confidence=1,
    )
    silent = Word(
        text="c",
        start_seconds=15 * FRAME_SECONDS,
        end_seconds=20 * FRAME_SECONDS,
        confidence=1,
    )
    a, b, c = within_speech([long, late, silent], found)
    assert (a.start_seconds, a.end_seconds) == (0.0, pytest.approx(10 * FRAME_SECONDS))
    assert (b.start_seconds, b.end_seconds) == (
        pytest.approx(40 * FRAME_SECONDS),
        pytest.approx(50 * FRAME_SECONDS),
    )
    assert c == silent
