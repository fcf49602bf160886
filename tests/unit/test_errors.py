"""What messages have in common: the name that was meant."""

from __future__ import annotations

import pytest

from taskaware.errors import nearest, unknown_task


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
