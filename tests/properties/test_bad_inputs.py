"""Damaged and hostile files: whatever is in them, what is said is a named error.

The inputs are made from good ones by a generator with a seed: bytes that are changed, cut off or
put in, and values of JSON and TOML of another type or size. Each is used as a user would; it may
work, and it may be refused with one of our exceptions; anything else fails, and so does a file
that is written outside of the folder.
"""

from __future__ import annotations

import json
import random
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from taskaware.data.manifest.read import read_manifest
from taskaware.data.prepared import PreparedData
from taskaware.data.sound import audio
from taskaware.errors import TaskawareError
from taskaware.inference.model import load
from taskaware.run import experiment
from tiny_corpus import prepare_corpus
from tiny_service import random_model, wav

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
NUM_OF_EACH = 60  # inputs of each kind of file
WRONG: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 10**9, 10**30, 0.5, -1e308, float("nan"), float("inf")),
    *("", "x", "../../x", "/dev/zero", "\0", "\ud800", "9" * 5000, [], {}, [[]], {"a": 1}),
)


def with_other_bytes(content: bytes, draw: random.Random) -> bytes:
    """Change, cut off, double or put in some bytes."""
    place = draw.randrange(len(content) + 1)
    some = draw.randbytes(draw.choice((1, 4, 64)))
    match draw.randrange(5):
        case 0:
            return content[:place]
        case 1:
            return content[:place] + some + content[place:]
        case 2:
            return content[:place] + content[place:] * 2
        case 3:
            return draw.choice((b"", b"\xef\xbb\xbf", b"{" * 100_000, b"[" * 100_000, b"\0" * 9))
    return content[:place] + some + content[place + len(some) :]


def with_other_values(value: Any, draw: random.Random) -> Any:
    """Put something else in the place of one value of a JSON document."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(list(value))
        if draw.random() < 0.15:
            return {name: one for name, one in value.items() if name != key}
        return {**value, key: with_other_values(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.8:
        place = draw.randrange(len(value))
        return [*value[:place], with_other_values(value[place], draw), *value[place + 1 :]]
    return draw.choice(WRONG)


def damaged(content: bytes, name: str, draw: random.Random) -> bytes:
    if name.endswith(".json") and draw.random() < 0.8:
        return json.dumps(with_other_values(json.loads(content), draw)).encode()
    return with_other_bytes(content, draw)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, prepared data, an experiment, a manifest and a recording."""
    folder = tmp_path_factory.mktemp("good")
    random_model("explicit").save(folder / "model")
    prepare_corpus(folder)
    shutil.copy(ROOT / "experiments" / "demo.toml", folder / "experiment.toml")
    (folder / "one.wav").write_bytes(wav("one"))
    (folder / "one.flac").write_bytes(wav("one", format="FLAC"))
    return folder


def hear(path: Path) -> object:
    return audio.read_sound(path, sample_rate_hz=16_000)


def read_all(folder: Path) -> None:
    data = PreparedData.open(folder)
    for name in data.split_names:
        split = data.split(name)
        for index in range(len(split.examples)):
            split.source(index)
            split.target(index)


CASES: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "a model's description": ("model", "model.json", load),
    "a model's weights": ("model", "model.safetensors", load),
    "a model's vocabulary": ("model", "vocabulary.model", load),
    "prepared data": ("data", "prepared.json", read_all),
    "an experiment": ("experiment.toml", "", experiment.load),
    "a manifest": ("train.tsv", "", lambda path: list(read_manifest(path).lines)),
    "a recording": ("one.wav", "", hear),
    "a compressed recording": ("one.flac", "", hear),
}


def what_is_said(
    case: tuple[str, str, Callable[[Path], object]],
    good: Path,
    tmp_path: Path,
    count: int,
    *,
    draw: random.Random,
) -> list[str]:
    """Use damaged copies of a good file or folder; return our errors' texts, "" where one works.

    What is no error of ours is raised; the folder of the copy, which its traceback names, has the
    number of the input. A file that is written beside the copy fails.
    """
    name, inside, use = case
    content = (good / name / inside if inside else good / name).read_bytes()
    said = []
    for number in range(count):
        place = tmp_path / str(number)
        place.mkdir()
        copy = place / name
        if inside:
            shutil.copytree(good / name, copy)
        target = copy / inside if inside else copy
        target.write_bytes(damaged(content, target.name, draw))
        before = {path for path in tmp_path.rglob("*") if path.is_file()}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                use(copy)
            said.append("")
        except TaskawareError as error:
            said.append(str(error))
        assert {path for path in tmp_path.rglob("*") if path.is_file()} == before
        shutil.rmtree(place)
    return said


def few_words_for_many(said: list[str]) -> bool:
    """Whether every refusal is short, and a quarter at least is refused: damage does harm."""
    refused = sum(text != "" for text in said)
    return all(len(text) < 5000 for text in said) and refused > len(said) // 4


@pytest.mark.parametrize("case", CASES)
def test_damaged_files_are_refused_with_one_of_our_errors(case: str, good: Path, tmp_path: Path):
    said = what_is_said(CASES[case], good, tmp_path, NUM_OF_EACH, draw=random.Random(case))
    assert few_words_for_many(said)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_twenty_times_as_many_are_refused(case: str, good: Path, tmp_path: Path):
    draw = random.Random(f"more: {case}")
    said = what_is_said(CASES[case], good, tmp_path, 20 * NUM_OF_EACH, draw=draw)
    assert few_words_for_many(said)
