"""What messages have in common: the name that was meant."""

from __future__ import annotations

import pytest

from taskaware.errors import counted, nearest, unknown_task


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("asr_enn", "asr_en"),
        ("ASR_EN", "asr_en"),
        ("St_En_De", "st_en_DE"),
        ("MT_EN_de", "MT_en_de"),
    ],
)
def test_a_name_is_known_again_whatever_its_capitals(name: str, meant: str):
    known = ["asr_en", "st_en_DE", "mt_en_de", "MT_en_de"]
    assert nearest(name, known) == f" (did you mean '{meant}'?)"
    assert f"did you mean '{meant}'" in str(unknown_task(name, known))


def test_a_name_that_is_like_none_has_no_nearest():
    assert nearest("whisper", ["asr_en", "ASR_DE"]) == nearest("x", []) == ""


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks"), (12_345, "12,345 tasks")]
)
def test_a_number_is_followed_by_the_noun_in_its_form(number: int, words: str):
    assert counted(number, "task") == words


def test_a_plural_that_is_not_formed_by_an_s_is_given():
    assert [counted(n, "copy", "copies") for n in (1, 2)] == ["1 copy", "2 copies"]
