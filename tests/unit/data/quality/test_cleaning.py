"""Every rule of cleaning at its limit, the order of rules, and what is counted."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace

import pytest

from taskaware.data.quality.checks import Finding
from taskaware.data.quality.cleaning import Cleaner, copied_share, without_control_characters
from taskaware.data.quality.settings import CleaningSettings, LanguageSettings
from taskaware.errors import MissingDependencyError, UserError
from taskaware.types import Example, Task

MT = Task(
    name="mt_en_de", kind="mt", source_modality="text", source_language="en", target_language="de"
)
ASR = Task(
    name="asr_en", kind="asr", source_modality="speech", source_language="en", target_language="en"
)
ENGLISH = "The ship left the harbour early in the morning, before the storm came."
GERMAN = "Das Schiff verließ den Hafen früh am Morgen, bevor der Sturm aufzog."
needs_py3langid = pytest.mark.skipif(
    importlib.util.find_spec("py3langid") is None, reason="py3langid is not installed"
)


def pair(source: str | None, target: str) -> Example:
    return Example(id="1", task="mt_en_de", dataset="d", source_text=source, target_text=target)


def reason_of(cleaner: Cleaner, source: str | None, target: str, task: Task = MT) -> str:
    found = cleaner.clean(pair(source, target), task)
    return found.reason if isinstance(found, Finding) else ""


def test_by_default_nothing_changes_and_nothing_is_left_out():
    cleaner = Cleaner(CleaningSettings())
    example = pair("  e\u0301\tx ", "e\u0301\tx")
    assert cleaner.clean(example, MT) == example
    assert cleaner.clean(example, MT) == example


def test_texts_come_into_normal_form_and_only_then_are_counted_and_compared():
    cleaner = Cleaner(
        CleaningSettings(normalise=True, white_space=True, max_characters=4, drop_duplicates=True)
    )
    cleaned = cleaner.clean(pair("cafe\u0301", " e\u200bin\u0007s\t"), MT)
    assert isinstance(cleaned, Example)
    assert (cleaned.source_text, cleaned.target_text) == ("caf\u00e9", "eins")
    assert "must be new" in reason_of(cleaner, "caf\u00e9", "eins")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (" a\u00a0 b\r\nc\u2028", "a b c"),
        ("a\u00adb\ufeff", "ab"),
        ("a \u200b b", "a b"),
        ("\u200e\u0000", ""),
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),
    ],
)
def test_control_characters_go_and_white_space_is_single(text: str, clean: str):
    assert without_control_characters(text) == clean


def test_a_text_of_nothing_but_signs_without_ink_is_empty():
    cleaner = Cleaner(CleaningSettings(white_space=True))
    assert reason_of(cleaner, "one", "\u200b") == "must contain more than white space"
    assert reason_of(Cleaner(CleaningSettings()), "\u2003", "one") != ""


@pytest.mark.parametrize(
    ("limits", "target", "reason"),
    [
        ({"min_words": 2}, "eins", "must have 2 words or more, but has 1"),
        ({"min_words": 2}, "eins zwei", ""),
        ({"max_words": 2}, "eins zwei", ""),
        ({"max_words": 2}, "eins zwei drei", "must have at most 2 words, but has 3"),
        ({"min_words": 2}, "好", "must have 2 words or more, but has 1"),
        ({"min_words": 2}, "你好吗", ""),
        ({"max_words": 2}, "你好，吗。", ""),
        ({"max_words": 2}, "今天天气好", "must have at most 2 words, but has 3"),
        ({"max_words": 3}, "สวัสดีครับผม", ""),
        ({"min_characters": 3}, "ab", "must have 3 characters or more, but has 2"),
        ({"min_characters": 3}, "abc", ""),
        ({"max_characters": 9}, "abc def g", ""),
        ({"max_characters": 8}, "abc def g", "must have at most 8 characters, but has 9"),
    ],
)
def test_texts_are_kept_up_to_the_limits_themselves(limits: dict, target: str, reason: str):
    assert reason_of(Cleaner(CleaningSettings(**limits)), "one two", target) == reason


def test_the_length_ratio_counts_characters_both_ways():
    cleaner = Cleaner(CleaningSettings(max_length_ratio=2))
    assert reason_of(cleaner, "abcd", "ab") == reason_of(cleaner, "ab", "abcd") == ""
    for texts in (("abcde", "ab"), ("ab", "abcde")):
        assert "at most 2 times as long" in reason_of(cleaner, *texts)


def test_the_length_ratio_counts_words_where_a_text_does_not_separate_them():
    cleaner = Cleaner(CleaningSettings(max_length_ratio=2))
    assert reason_of(cleaner, "The weather is very nice today", "今天天气非常好") == ""
    assert "have 6 and 2 words" in reason_of(cleaner, "The weather is very nice today", "天气好")
    assert reason_of(cleaner, "今日は天気がとてもいいです", "今天天气非常好") == ""


@pytest.mark.parametrize(
    ("source", "target", "share"),
    [
        ("Open the file", "Open the file!", 1.0),
        ("Open file", "Openfile", 1.0),
        ("The Rhine is long", "Der Rhine ist lang", 0.25),
        ("no no", "no no no no", 0.5),
        ("1990 - 12", "1990 - 12", 0.0),
        ("a - b", "a - c", 0.5),
        ("House", "Haus", 0.0),
        ("पिता जी", "पता जी", 0.5),  # a vowel sign makes another word
        ("C and C++", "C und C", 1 / 3),
        ("天气很好", "今天天气", 0.5),
    ],
)
def test_the_copied_share_is_of_the_words_of_the_target(source: str, target: str, share: float):
    assert copied_share(source, target) == share


def test_copies_are_left_out_unless_both_languages_are_one():
    cleaner = Cleaner(CleaningSettings(max_copied_share=0.5))
    assert "100% are" in reason_of(cleaner, "Title is: Color", "Title is: Color")
    assert "67% are" in reason_of(cleaner, "Title is: Color", "Title is: Farbe")
    assert reason_of(cleaner, "Title: Color", "Title: Farbe") == ""
    same = replace(MT, target_language="en")
    assert reason_of(cleaner, "Title is: Color", "Title is: Color", same) == ""


def test_the_first_of_equal_pairs_stays_and_tasks_are_apart():
    cleaner = Cleaner(CleaningSettings(drop_duplicates=True, min_words=2))
    assert reason_of(cleaner, "one", "eins") != ""  # left out before: not remembered
    assert reason_of(cleaner, "one two", "eins zwei") == ""
    assert "task's example 2 has it" in reason_of(cleaner, "one two", "eins zwei")
    assert reason_of(cleaner, "one two", "eins zwei.") == ""
    assert reason_of(cleaner, "one two", "eins zwei", replace(MT, name="other")) == ""


def test_of_speech_the_target_text_is_cleaned_and_pairs_are_not_looked_at():
    cleaner = Cleaner(
        CleaningSettings(
            max_words=3,
            max_length_ratio=1,
            max_copied_share=0,
            drop_duplicates=True,
            normalise=True,
        )
    )
    assert reason_of(cleaner, None, "one two three", ASR) == ""
    assert reason_of(cleaner, None, "one two three", ASR) == ""
    assert "at most 3 words" in reason_of(cleaner, None, "one two three four", ASR)


@needs_py3langid
def test_a_text_in_another_language_is_left_out_and_a_short_one_is_not():
    cleaner = Cleaner(CleaningSettings(identify_language=True))
    assert reason_of(cleaner, ENGLISH, GERMAN) == ""
    reason = "must be in the language 'de', but is in 'en', as it seems"
    assert reason_of(cleaner, ENGLISH, ENGLISH.replace("ship", "boat")) == reason
    found = cleaner.clean(pair(GERMAN, GERMAN), MT)
    assert isinstance(found, Finding)
    assert found.field == "source_text"
    assert reason_of(cleaner, ENGLISH, "This is short") == ""


@needs_py3langid
def test_languages_are_told_apart_whatever_was_asked_before():
    settings = LanguageSettings(among=("en", "de"))
    tasks = [replace(MT, target_language=code) for code in ("af", "de", "af")]
    fresh = [
        reason_of(
            Cleaner(CleaningSettings(identify_language=True, language=settings)), ENGLISH, GERMAN, t
        )
        for t in tasks
    ]
    cleaner = Cleaner(CleaningSettings(identify_language=True, language=settings))
    assert [reason_of(cleaner, ENGLISH, GERMAN, task) for task in tasks] == fresh
    assert (fresh[0] != "", fresh[1]) == (True, "")


@needs_py3langid
def test_a_language_that_is_not_known_is_not_looked_at_and_a_region_is_dropped():
    cleaner = Cleaner(CleaningSettings(identify_language=True))
    assert reason_of(cleaner, ENGLISH, GERMAN, replace(MT, target_language="")) == ""
    assert reason_of(cleaner, ENGLISH, GERMAN, replace(MT, target_language="xx")) == ""
    assert reason_of(cleaner, ENGLISH, GERMAN, replace(MT, target_language="de_AT")) == ""
    assert reason_of(cleaner, ENGLISH, ENGLISH + "!", replace(MT, target_language="de_AT")) != ""


def test_without_py3langid_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'taskaware\[cleaning\]'"):
        Cleaner(CleaningSettings(identify_language=True))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"min_words": 0}, "min_words must be 1 or more, but is 0"),
        ({"min_words": 5, "max_words": 4}, r"min_words must be at most max_words \(4\), but is 5"),
        ({"max_length_ratio": 0.5}, "max_length_ratio must be 1 or more"),
        ({"max_copied_share": 1.0}, "max_copied_share must be from 0 to below 1"),
        ({"language": LanguageSettings(min_probability=2)}, "min_probability must be from 0 to 1"),
    ],
)
def test_a_limit_that_is_none_is_refused(limits: dict, message: str):
    with pytest.raises(UserError, match=message):
        Cleaner(CleaningSettings(**limits))


@needs_py3langid
def test_a_language_to_tell_apart_must_be_known():
    settings = CleaningSettings(identify_language=True, language=LanguageSettings(among=("ed",)))
    with pytest.raises(UserError, match="does not know 'ed'"):
        Cleaner(settings)
