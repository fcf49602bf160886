"""Tags of languages, words without white space, and what nobody sees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskaware.data.writing_systems import (
    count_words,
    language_code,
    separates_words,
    visible,
    words,
    written_language,
)


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        *((tag, "zh") for tag in ("zh", "zh-Hans", "zh_CN", "ZH", "cmn", "yue", "zho_Hans")),
        *((tag, "ja") for tag in ("ja", "jpn", "ja-JP", "Japanese")),
        *((tag, "th") for tag in ("th", "tha", "th_TH.UTF-8")),
        *((tag, "en") for tag in ("en", "en-GB", "eng", "English")),
        *((tag, "de") for tag in ("de", "deu", "ger", "de_AT@euro")),
        ("c01", "c01"),
        ("", ""),
    ],
)
def test_a_language_has_one_code_however_it_is_tagged(tag: str, code: str):
    assert language_code(tag) == code


@pytest.mark.parametrize(
    ("tag", "text", "code"),
    [
        ("", "房子", "zh"),
        ("", "これは本", "ja"),
        ("", "안녕 하세요", "ko"),
        ("", "สวัสดีครับ Siri", "th"),
        ("en", "房子 house 老师", "en"),  # most letters are Latin
        ("en", "房子老师学生清水", "zh"),  # a wrong tag
        ("zh", "house 房子", "zh"),
        ("zh", "fangzi", ""),  # romanised
        ("zh", "12.5", "zh"),
        ("hi", "यह घर है", "hi"),
        ("", "Haus", ""),
    ],
)
def test_the_tag_or_the_script_says_how_a_text_is_written(tag: str, text: str, code: str):
    assert written_language(tag, [text]) == code
    assert separates_words(code) == (code not in ("zh", "ja", "th"))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 0),
        ("one two\u00a0three — four", 5),
        ("ja", 1),
        ("今天天气很好，我们去公园散步。", 7),  # 13 signs
        ("今日は天気がいいです", 5),
        ("สวัสดีครับ", 2),  # 7 letters, with their marks
        ("ျ", 1),
        ("我用 Python 3", 3),
        ("यह घर है", 3),
    ],
)
def test_words_are_counted_where_white_space_does_not_separate_them_too(text: str, number: int):
    assert count_words(text) == number


def test_marks_stay_with_their_letter():
    assert words("สวัสดี ok我們") == ["ส", "วั", "ส", "ดี", "ok", "我", "們"]


@given(st.text())
def test_the_words_of_a_text_are_all_of_it_but_white_space(text: str):
    assert "".join(words(text)) == "".join(text.split())


@given(st.text())
def test_what_is_visible_does_not_change_again(text: str):
    assert visible(visible(text)) == visible(text)
