"""Languages as people write them, and as a model's tasks have them."""

from __future__ import annotations

import pytest

from taskaware.inference.task_choice import known_language
from tiny_models import random_model


@pytest.mark.parametrize(
    ("said", "known", "meant"),
    [
        ("en", ["en", "EN"], "en"),
        ("EN", ["de", "en"], "en"),
        ("pt_br", ["pt", "pt-BR"], "pt-BR"),
        ("zh-TW", ["zh"], "zh-TW"),  # another script
        ("fr", ["en"], "fr"),
    ],
)
def test_a_language_is_known_whatever_its_capitals_and_strokes(
    said: str, known: list[str], meant: str
):
    assert known_language(said, known) == meant


def test_of_what_is_spoken_a_region_may_be_one_that_the_model_does_not_tell_apart():
    assert known_language("en-US", ["de", "en"], drops_region=True) == "en"
    assert known_language("en-US", ["en", "en_us"], drops_region=True) == "en_us"


def test_a_translation_is_found_by_any_form_of_its_languages():
    model = random_model()
    plain = model.translate("the red house", to="de", source_language="en")
    assert model.translate("the red house", to="DE", source_language="en_US") == plain
