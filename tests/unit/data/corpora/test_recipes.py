"""Every name leads to a recipe, and a wrong one to the nearest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from taskaware.data.corpora.recipes import NAMES, read_corpus
from taskaware.data.corpora.rows import Request
from taskaware.errors import CorpusError, UserError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_says_what_an_empty_folder_lacks(name: str, tmp_path: Path):
    with pytest.raises(CorpusError, match=str(tmp_path)):
        list(read_corpus(name, Request(folder=tmp_path)))


def test_a_wrong_name_names_the_nearest(tmp_path: Path):
    with pytest.raises(UserError, match=r"but is 'mustc' \(did you mean 'must_c'\?\)"):
        read_corpus("mustc", Request(folder=tmp_path))
