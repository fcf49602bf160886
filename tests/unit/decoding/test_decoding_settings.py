"""What a search may be told: every impossible number is found, with what it is."""

from __future__ import annotations

import pytest

from taskaware.decoding.settings import DecodingSettings
from taskaware.errors import UserError
from taskaware.settings import typed as settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beam": 0}, "beam must be at least 1, but is 0"),
        ({"beam": 1001}, "beam must be at most 1000, but is 1001"),
        ({"num_best": -1}, "num_best must be at least 1, but is -1"),
        ({"num_best": 5}, r"num_best must be at most `beam` \(4\), but is 5"),
        ({"extra_pieces": 0}, "extra_pieces must be at least 1"),
        ({"examples_per_batch": 0}, "examples_per_batch must be at least 1"),
        ({"length_penalty": -0.1}, "length_penalty must be from 0 to 20, but is -0.1"),
        ({"length_penalty": 1000.0}, "length_penalty must be from 0 to 20, but is 1000"),
        ({"length_penalty": float("nan")}, "length_penalty must be .*, but is nan"),
        ({"beam": 2.5}, "beam must be a whole number, but is 2.5"),
        ({"beam": True}, "beam must be a whole number, but is true"),
    ],
)
def test_an_impossible_number_is_found_in_an_object_made_in_python(change: dict, message: str):
    with pytest.raises(UserError, match=message):
        settings.require_valid(DecodingSettings(**change), where="decoding")


def test_possible_numbers_are_left_alone():
    settings.require_valid(DecodingSettings(beam=1000, num_best=1000, length_penalty=0.0))
