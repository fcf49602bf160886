"""What the documents say of files, functions and tests is so."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = (ROOT, ROOT / "src" / "taskaware", ROOT / "src" / "taskaware" / "training")
DOCUMENTS = ("docs/method.md", "docs/design.md", "docs/experiment.md", "CONTRIBUTING.md")
# A file, and the names in it: `model/film.py`: `Film.from_task_embedding`, `film`
PAIR = re.compile(r"`([\w/]+\.py)`: ((?:`[\w.]+`(?:, )?)+)")


@cache
def files_called(name: str) -> tuple[Path, ...]:
    """The files that a document may mean by a name; without a folder, any of that name."""
    found = [place / name for place in PLACES if (place / name).is_file()]
    if not found and "/" not in name:
        found = [path for room in ("src", "tests") for path in (ROOT / room).rglob(name)]
    return tuple(found)


def defines(path: Path, name: str) -> bool:
    """Whether a file defines a name: a function, a class, or a part of one after a dot."""
    text = path.read_text(encoding="utf-8")
    return all(re.search(rf"\b(def|class) {part}\b", text) for part in name.split(".") if part)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_that_a_document_names_exists(document: str):
    named = set(re.findall(r"`((?:[\w]+/)*[a-z_0-9]+\.py)`", (ROOT / document).read_text()))
    assert named, "the documents name files"
    assert sorted(name for name in named if not files_called(name)) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_file_has_the_names_that_a_document_says_it_has(document: str):
    missing = []
    for file, names in PAIR.findall((ROOT / document).read_text()):
        for name in re.findall(r"`([\w.]+)`", names):
            if not any(defines(path, name) for path in files_called(file)):
                missing.append(f"{file}: {name}")
    assert missing == []


def test_every_test_that_the_method_names_exists():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/method.md").read_text()))
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 20
    assert sorted(name for name in named if f"def {name}(" not in tests) == []


def entries(text: str) -> list[str]:
    """The entries of a changelog, each on one line; a merge of two branches can leave one twice."""
    return [" ".join(entry.split()) for entry in re.split(r"\n(?=- |#)", text)]


def test_the_changelog_says_nothing_twice():
    found = entries((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert len(found) > 100
    assert sorted({entry for entry in found if found.count(entry) > 1}) == []
