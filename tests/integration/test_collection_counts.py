"""The collection's real data: every number that its README states is what the manifests hold."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from taskaware.data.corpora import collection
from taskaware.data.corpora.rows import Request, write_manifests

if TYPE_CHECKING:
    from taskaware.data.corpora.rows import CorpusCounts

_DATA = Path(__file__).parents[3] / "shared" / "data"
_TRANSLATIONS = ("de", "fr", "it", "es", "pt", "sv")
# Steel Sky's and Multi30k's lines, and LibriSpeech's recordings, by split.
_STEEL_SKY = {"train": 2_547, "dev": 367, "test": 179}
_MULTI30K = {"train": 29_000, "dev": 1_014, "test": 1_000}
_LIBRISPEECH = {"train": 1_519, "dev": 671, "test": 375}
_LIBRISPEECH_SPEAKERS = {"train": 28, "dev": 11, "test": 5}
# Train pairs of the text corpora, in thousands, to one decimal place.
_TEXT_THOUSANDS = {
    ("manual", "mt_en_de"): 33.8,
    ("manual", "mt_en_tr"): 22.5,
    ("everyday", "mt_en_de"): 15.9,
    ("interface", "mt_en_de"): 23.6,
    ("interface", "mt_en_ro"): 39.6,
    ("interface", "mt_en_tr"): 18.6,
}
_WMT = {
    ("dev", "newsdev2016", "mt_en_ro"): 1_999,
    ("test", "newstest2016", "mt_en_ro"): 1_999,
    ("dev", "newstest2016", "mt_en_tr"): 3_000,
    ("test", "newstest2017", "mt_en_tr"): 3_007,
    ("dev", "newstest2014", "mt_en_de"): 3_003,
    ("test", "newstest2015", "mt_en_de"): 2_169,
}

pytestmark = pytest.mark.skipif(
    not _DATA.is_dir(), reason="needs the collection of real data beside the checkout"
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CorpusCounts]:
    folder = tmp_path_factory.mktemp("manifests")
    return folder, write_manifests(collection.read(Request(folder=_DATA)), folder)


@pytest.fixture(scope="module")
def lines(written: tuple[Path, CorpusCounts]) -> list[tuple[str, dict[str, str]]]:
    """Split and fields of every line of the manifests."""
    return [
        (path.stem, json.loads(line))
        for path in sorted(written[0].glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").split("\n")
        if line
    ]


@pytest.fixture(scope="module")
def counts(lines: list[tuple[str, dict[str, str]]]) -> Counter[tuple[str, str, str]]:
    return Counter((split, line["dataset"], line["task"]) for split, line in lines)


def test_nothing_is_left_out(written: tuple[Path, CorpusCounts]):
    assert not written[1].left_out


def test_there_are_no_other_datasets_or_splits(counts: Counter[tuple[str, str, str]]):
    assert {split for split, _, _ in counts} == {"train", "dev", "test"}
    assert {dataset for _, dataset, _ in counts} == {
        *("librispeech_mini", "steel_sky", "multi30k", "wesnoth", "manual", "everyday"),
        *("interface", "newsdev2016", "newstest2014", "newstest2015", "newstest2016"),
        "newstest2017",
    }


def test_librispeech_has_its_recordings_and_speakers(
    counts: Counter[tuple[str, str, str]], lines: list[tuple[str, dict[str, str]]]
):
    for split, number in _LIBRISPEECH.items():
        assert counts[split, "librispeech_mini", "asr_en"] == number
        speakers = {line["speaker"] for of, line in lines if of == split and "speaker" in line}
        assert len(speakers) == _LIBRISPEECH_SPEAKERS[split]


def test_steel_sky_has_thirteen_tasks_on_every_line_of_dialogue(
    counts: Counter[tuple[str, str, str]],
):
    tasks = ["asr_en", *(f"{kind}_en_{lang}" for kind in ("st", "mt") for lang in _TRANSLATIONS)]
    expected = {(split, task): n for split, n in _STEEL_SKY.items() for task in tasks}
    assert {
        (split, task): number
        for (split, dataset, task), number in counts.items()
        if dataset == "steel_sky"
    } == expected


def test_multi30k_has_three_translations_of_every_caption(counts: Counter[tuple[str, str, str]]):
    tasks = ["mt_en_de", "mt_en_fr", "mt_en_cs"]
    expected = {(split, task): n for split, n in _MULTI30K.items() for task in tasks}
    assert {
        (split, task): number
        for (split, dataset, task), number in counts.items()
        if dataset == "multi30k"
    } == expected


def test_the_text_corpora_have_their_train_pairs(counts: Counter[tuple[str, str, str]]):
    for (dataset, task), thousands in _TEXT_THOUSANDS.items():
        assert round(counts["train", dataset, task] / 1000, 1) == thousands
    wesnoth = {
        task: n
        for (split, dataset, task), n in counts.items()
        if dataset == "wesnoth" and split == "train"
    }
    assert wesnoth.keys() == {f"mt_en_{language}" for language in ("de", "tr", "fr", "cs")}
    assert {round(number / 1000) for number in wesnoth.values()} == {16, 17}


def test_every_table_of_text_is_read_to_its_last_line(counts: Counter[tuple[str, str, str]]):
    for path in sorted((_DATA / "text").glob("*.tsv")):
        dataset, pair, split, _ = path.name.split(".")
        num_lines = path.read_bytes().count(b"\n") - 1
        assert counts[split, dataset, f"mt_{pair.replace('-', '_')}"] == num_lines, path.name


def test_the_news_sets_are_dev_and_test_as_the_paper_uses_them(
    counts: Counter[tuple[str, str, str]],
):
    assert {key: n for key, n in counts.items() if key[1].startswith("news")} == _WMT


def test_ids_are_unique_in_a_split_and_recordings_are_there(
    lines: list[tuple[str, dict[str, str]]],
):
    assert len({(split, line["id"]) for split, line in lines}) == len(lines)
    recordings = {line["audio"] for _, line in lines if "audio" in line}
    assert len(recordings) == sum(_LIBRISPEECH.values()) + sum(_STEEL_SKY.values())
    assert all(Path(path).is_file() for path in recordings)
