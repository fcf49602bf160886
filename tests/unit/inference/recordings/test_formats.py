"""Transcripts in every form."""

from __future__ import annotations

import json

import pytest

from taskaware.errors import UserError
from taskaware.inference.recordings.formats import FORMS, format_transcript
from taskaware.inference.recordings.transcript import Segment, Transcript, Word

MADE = Transcript(
    task="asr_en",
    segments=(
        Segment(
            text="Good <b>\tday.",
            start_seconds=0.5,
            end_seconds=1.75,
            confidence=0.8,
            words=(
                Word(text="Good", start_seconds=0.5, end_seconds=1.0, confidence=0.9),
                Word(text="<b>", start_seconds=1.0, end_seconds=1.25, confidence=0.7),
                Word(text="day.", start_seconds=1.25, end_seconds=1.75, confidence=0.6),
            ),
        ),
        Segment(text="No --> yes", start_seconds=3661.0, end_seconds=3664.0, confidence=0.5),
    ),
    duration_seconds=3700.0,
)
EXPECTED = {
    "text": "Good <b> day. No --> yes\n",
    "srt": "1\n00:00:00,500 --> 00:00:01,750\nGood <b> day.\n"
    "\n2\n01:01:01,000 --> 01:01:04,000\nNo --> yes\n",
    "vtt": "WEBVTT\n\n00:00:00.500 --> 00:00:01.750\nGood &lt;b&gt; day.\n"
    "\n01:01:01.000 --> 01:01:04.000\nNo --&gt; yes\n",
    "tsv": "start\tend\ttext\n500\t1750\tGood <b> day.\n3661000\t3664000\tNo --> yes\n",
    "ctm": "a_talk 1 0.500 0.500 Good 0.9000\na_talk 1 1.000 0.250 <b> 0.7000\n"
    "a_talk 1 1.250 0.500 day. 0.6000\na_talk 1 3661.000 0.818 No 0.5000\n"
    "a_talk 1 3661.818 1.091 --> 0.5000\na_talk 1 3662.909 1.091 yes 0.5000\n",
    "stm": "a_talk 1 unknown 0.500 1.750 Good <b> day.\n"
    "a_talk 1 unknown 3661.000 3664.000 No --> yes\n",
}


@pytest.mark.parametrize("form", EXPECTED)
def test_every_form_is_what_its_readers_expect(form: str):
    assert format_transcript(MADE, form, recording="a talk") == EXPECTED[form]


def test_json_lines_have_a_segment_each_with_its_words():
    first, second = map(json.loads, format_transcript(MADE, "jsonl").splitlines())
    assert first["text"] == "Good <b>\tday."
    assert first["words"][2] == {
        "text": "day.",
        "start_seconds": 1.25,
        "end_seconds": 1.75,
        "confidence": 0.6,
    }
    assert (second["task"], second["words"]) == ("asr_en", [])


def test_silence_has_a_form_too():
    silent = Transcript(task="asr_en", segments=(), duration_seconds=10.0)
    assert {form: format_transcript(silent, form) for form in FORMS} == {
        **dict.fromkeys(("srt", "ctm", "stm", "jsonl"), ""),
        "text": "\n",
        "vtt": "WEBVTT\n",
        "tsv": "start\tend\ttext\n",
    }
    assert silent.confidence == 1.0


def test_there_is_no_other_form():
    with pytest.raises(UserError, match=r"one of text, jsonl, .* but is 'str' \(did you mean"):
        format_transcript(MADE, "str")


def test_the_confidence_of_the_whole_is_the_mean_by_duration():
    assert MADE.confidence == pytest.approx((0.8**1.25 * 0.5**3) ** (1 / 4.25))
    assert MADE.text == "Good <b>\tday. No --> yes"
