from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskaware.errors import UnknownTaskError
from taskaware.evaluation.confusion import (
    confusion_rate,
    references_of_other_tasks,
    similarity,
)
from taskaware.types import Example, Task

ENGLISH = [
    "The old teacher finds a small key.",
    "We saw the red house yesterday.",
    "Who is there?",
    "Go!",
]
GERMAN = [
    "Der alte Lehrer findet einen kleinen Schlüssel.",
    "Gestern sahen wir das rote Haus.",
    "Wer ist da?",
    "Los!",
]

ASR = Task(name="asr", kind="asr", source_modality="speech", target_language="en")
ST = Task(name="st", kind="st", source_modality="speech", target_language="de")
MT = Task(name="mt", kind="mt", source_modality="text", target_language="de")
FRENCH = Task(name="fr", kind="mt", source_modality="text", target_language="fr")


def example(task: Task, utterance: str, text: str) -> Example:
    return Example(
        id=f"{task.name}-{utterance}",
        task=task.name,
        dataset="d",
        target_text=text,
        utterance=utterance,
    )


def test_right_outputs_are_not_confused_and_those_of_the_other_task_all_are() -> None:
    others = [[text] for text in ENGLISH]
    assert confusion_rate(GERMAN, GERMAN, others).rate == 0.0
    assert confusion_rate(ENGLISH, GERMAN, others).rate == 1.0


def test_a_half_of_outputs_from_the_other_task_gives_a_rate_of_one_half() -> None:
    outputs = [GERMAN[0], ENGLISH[1], GERMAN[2], ENGLISH[3]]
    result = confusion_rate(outputs, GERMAN, [[text] for text in ENGLISH])
    assert result.rate == 0.5
    assert result.num_examples == 4
    assert result.confused == (False, True, False, True)


def test_case_and_punctuation_do_not_matter() -> None:
    outputs = [text.upper().rstrip(".!?") for text in ENGLISH]
    assert confusion_rate(outputs, GERMAN, [[text] for text in ENGLISH]).rate == 1.0


def test_an_imperfect_output_in_the_right_language_is_not_confused() -> None:
    result = confusion_rate(["Der alte Lehrer sieht einen Hund."], GERMAN[:1], [ENGLISH[:1]])
    assert result.confused == (False,)


def test_any_of_several_other_references_can_confuse() -> None:
    result = confusion_rate(["Qui est là ?"], GERMAN[2:3], [[ENGLISH[2], "Qui est là ?"]])
    assert result.rate == 1.0


def test_empty_outputs_are_never_confused() -> None:
    result = confusion_rate(["", " ", "?!"], GERMAN[:3], [[text] for text in ENGLISH[:3]])
    assert result.confused == (False, False, False)
    assert result.rate == 0.0


def test_an_output_between_identical_references_is_not_confused() -> None:
    assert confusion_rate(["Joey!", "x"], ["Joey!", "Joey!"], [["Joey!"]] * 2).rate == 0.0


def test_examples_without_another_reference_are_left_out_of_the_rate() -> None:
    result = confusion_rate([ENGLISH[0], "x"], [GERMAN[0], "x"], [[ENGLISH[0]], []])
    assert result.rate == 1.0
    assert result.num_examples == 1
    assert confusion_rate(["x"], ["x"], [[]]).rate is None
    assert confusion_rate([], [], []).rate is None


def test_unequal_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="must have the same number"):
        confusion_rate(["a"], ["a"], [])


@given(st.text(), st.text())
def test_similarity_is_symmetric_and_between_0_and_1(text: str, other: str) -> None:
    assert 0 <= similarity(text, other) <= 1
    assert similarity(text, other) == similarity(other, text)


def test_signs_of_chinese_and_japanese_are_compared_like_words() -> None:
    # Half of the signs are wrong, and no three in a row are right.
    result = confusion_rate(["今日天晴很好"], ["the weather is fine"], [["今天天气很好"]])
    assert result.confused == (True,)
    assert similarity("很 好", "很好") == 1.0
    assert similarity("好", "好人") > 0


def test_similarity_is_the_f1_score_of_padded_trigrams() -> None:
    # " ab " has _ab ab_, " abc " has _ab abc bc_: one in common.
    assert similarity("ab", "abc") == 2 * 1 / (2 + 3)
    assert similarity("a", "A.") == 1.0
    assert similarity("", "") == 0.0


def test_references_of_other_tasks_are_those_of_other_languages_on_the_same_input() -> None:
    examples = [
        example(ASR, "1", "one"),
        example(ST, "1", "eins"),
        example(MT, "1", "eins"),
        example(FRENCH, "1", "un"),
        example(ASR, "2", "two"),
        example(ST, "3", "drei"),
        example(ASR, "", "none"),
        example(ST, "", "keins"),
    ]
    found = references_of_other_tasks(examples, [ASR, ST, MT, FRENCH])
    assert found == [["eins", "un"], ["one", "un"], ["one", "un"], ["one", "eins"], [], [], [], []]


def test_references_can_come_from_a_wider_pool_than_what_was_decoded() -> None:
    pool = [example(ASR, "1", "one"), example(ST, "1", "eins")]
    assert references_of_other_tasks(pool[1:], [ASR, ST], pool) == [["one"]]
    assert references_of_other_tasks(pool[1:], [ASR, ST]) == [[]]


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(UnknownTaskError, match=r"'asr-1': .* must be one of mt, but is 'asr'"):
        references_of_other_tasks([example(ASR, "1", "one")], [MT])
