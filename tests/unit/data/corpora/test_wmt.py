"""WMT's archives and mtdata's folders in miniature: what is read, and which split it becomes."""

from __future__ import annotations

import gzip
import tarfile
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from taskaware.data.corpora import wmt
from taskaware.data.corpora.rows import LeftOut, Request, Row
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def _pair(folder: Path, name: str, language: str, number: int = 2, english: str = "en") -> None:
    for code in (english, language):
        lines = (f"{name} {code} {line}\n" for line in range(number))
        _write(folder / f"{name}.{code}", "".join(lines))


def _sgm(folder: Path, name: str, label: str, source: str, target: str) -> None:
    for side, code in (("src", source), ("ref", target)):
        _write(
            folder / f"{name}-{label}-{side}.{code}.sgm",
            f'<{side}set setid="{name}" srclang="any">\n<doc docid="a"><p>\n'
            f'<seg id="1">{name} {label} {code}</seg>\n</p></doc>\n</{side}set>\n',
        )


def _rows(folder: Path, corpus: str = "", **request) -> list[Row]:
    found = wmt.read(Request(folder=folder, **request), corpus)
    return [item for item in found if isinstance(item, Row)]


def _splits(rows: list[Row]) -> Counter[tuple[str, str, str]]:
    return Counter((row.split, row.target_language, row.dataset) for row in rows)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Unpacked from the .tgz that it is handed out as, which stays where it is."""
    made = tmp_path / "made"
    _pair(made / "training", "europarl-v7.de-en", "de", 3)
    _pair(made / "training", "europarl-v7.fr-en", "fr", 1)
    _pair(made / "training-parallel-ep-v8", "europarl-v8.ro-en", "ro")
    _write(made / "europarl-v7.de-en.annotation", "x\n")
    _pair(made, "SETIMES2.en-tr", "tr")
    for name in ("dev2006", "nc-dev2007", "devtest2006", "test2006", "newstest2013"):
        for language in ("de", "fr"):
            _pair(made / "dev", name, language)
    _sgm(made / "dev", "newsdev2016", "enro", "en", "ro")
    _sgm(made / "dev", "newsdev2016", "roen", "ro", "en")
    _sgm(made / "test", "newstest2016", "enro", "en", "ro")
    folder = tmp_path / "wmt"
    folder.mkdir()
    archive = folder / "all.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(made, arcname=".")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def test_training_data_and_the_sets_of_the_paper_go_where_the_paper_has_them(corpus: Path):
    rows = _rows(corpus, languages=("de", "ro", "tr"))
    assert _splits(rows) == {
        ("train", "de", "europarl-v7"): 3,
        ("dev", "de", "dev2006"): 2,
        ("dev", "de", "nc-dev2007"): 2,
        ("test", "de", "devtest2006"): 2,
        ("test", "de", "test2006"): 2,
        ("newstest2013", "de", "newstest2013"): 2,
        ("train", "ro", "europarl-v8"): 2,
        ("dev", "ro", "newsdev2016"): 1,
        ("test", "ro", "newstest2016"): 1,
        ("train", "tr", "setimes2"): 2,
    }


def test_english_is_the_source_and_the_target_is_its_translation(corpus: Path):
    row = next(row for row in _rows(corpus) if row.dataset == "europarl-v7")
    assert (row.source_language, row.target_language, row.kind) == ("en", "de", "mt")
    assert (row.source_text, row.target_text) == (
        "europarl-v7.de-en en 0",
        "europarl-v7.de-en de 0",
    )
    assert row.utterance == ""  # a manifest's default is the source text
    (sgm,) = [row for row in _rows(corpus) if row.split == "dev" and row.target_language == "ro"]
    assert (sgm.source_text, sgm.target_text) == ("newsdev2016 enro en", "newsdev2016 enro ro")


def test_ids_are_unique_in_a_split(corpus: Path):
    ids = Counter((row.split, row.id) for row in _rows(corpus))
    assert max(ids.values()) == 1
    assert ("train", "europarl-v7-en-de-3") in ids


def test_the_newest_version_of_a_training_corpus_is_read(tmp_path: Path):
    _pair(tmp_path / "training", "europarl-v7.de-en", "de")
    _write(tmp_path / "europarl-v9.de-en.tsv.gz", "nine de\tnine en\n")
    _write(tmp_path / "europarl-v10.de-en.tsv.gz", "ten de\tten en\tep-01\n")
    _write(tmp_path / "news-commentary-v14.de-en.tsv.gz", "nc de\tnc en\n\t\n")
    found = list(wmt.read(Request(folder=tmp_path)))
    rows = [item for item in found if isinstance(item, Row)]
    assert [(row.dataset, row.source_text, row.target_text) for row in rows] == [
        ("europarl-v10", "ten en", "ten de"),
        ("news-commentary-v14", "nc en", "nc de"),
    ]
    left_out = [(item.place, item.reason) for item in found if isinstance(item, LeftOut)]
    assert (
        str(tmp_path / "europarl-v9.de-en.tsv.gz"),
        "the folder has a newer or better copy",
    ) in left_out
    assert any("v7" in place for place, _ in left_out)
    assert any(
        place.endswith("v14.de-en.tsv.gz, line 2") and reason == "empty source"
        for place, reason in left_out
    )


def test_a_set_in_full_goes_before_the_same_set_filtered(tmp_path: Path):
    _sgm(tmp_path / "test", "newstest2014", "deen", "en", "de")
    _sgm(tmp_path / "test-full", "newstest2014", "deen", "en", "de")
    source = tmp_path / "test-full" / "newstest2014-deen-src.en.sgm"
    source.write_text(source.read_text("utf-8").replace("2014 deen", "2014 full deen"), "utf-8")
    (row,) = _rows(tmp_path)
    assert (row.split, row.source_text) == ("newstest2014", "newstest2014 full deen en")


def test_a_sets_name_becomes_one_that_a_split_can_have(tmp_path: Path):
    _pair(tmp_path / "dev", "wikipedia.dev.ps-en", "ps")
    assert {(row.split, row.dataset) for row in _rows(tmp_path)} == {
        ("wikipedia-dev", "wikipedia.dev")
    }


def test_one_corpus_can_be_asked_for(corpus: Path):
    assert {row.dataset for row in _rows(corpus, wmt.EUROPARL)} == {"europarl-v7", "europarl-v8"}
    with pytest.raises(CorpusError, match=r"must contain commoncrawl data .* unpack the archives"):
        _rows(corpus, wmt.COMMON_CRAWL)


def test_a_set_of_the_newer_xml_is_a_split_of_its_name(tmp_path: Path):
    segment = '<p><seg id="1">{}</seg></p>'
    _write(
        tmp_path / "newstest2021.en-de.xml",
        '<dataset><doc id="a"><src lang="en">'
        + segment.format("One")
        + '</src><ref lang="de">'
        + segment.format("Eins")
        + "</ref></doc></dataset>",
    )
    _write(tmp_path / "newstest2021.de-en.xml", "not read, being from German")
    _write(tmp_path / "SETIMES.en-tr.xml", "OPUS's alignments, not a set")
    (row,) = _rows(tmp_path)
    assert (row.split, row.source_text, row.target_text) == ("newstest2021", "One", "Eins")


def test_what_mtdata_writes_is_read_without_its_merged_copy(tmp_path: Path):
    for name in (
        "Statmt-europarl-10-deu-eng",
        "Statmt-commoncrawl_wmt13-1-deu-eng",
        "Own-x-1-deu-eng",
    ):
        _pair(tmp_path / "train-parts", name, "deu", english="eng")
    for name in ("Statmt-newstest_ende-2019-eng-deu", "Statmt-newstest_deen-2019-deu-eng"):
        _pair(tmp_path / "tests", name, "deu", english="eng")
    _pair(tmp_path / "tests", "Statmt-newstest_deen-2014-deu-eng", "deu", english="eng")
    _pair(tmp_path / "tests", "newstest2017_entr", "tur", english="eng")  # mtdata 0.1
    _pair(tmp_path, "train", "deu", 6, english="eng")
    assert _splits(_rows(tmp_path)) == {
        ("train", "de", "europarl-10"): 2,
        ("train", "de", "commoncrawl-wmt13-1"): 2,
        ("train", "de", "own-x-1"): 2,
        ("newstest2019", "de", "newstest2019"): 2,
        ("newstest2019-deen", "de", "newstest2019-deen"): 2,
        ("newstest2014", "de", "newstest2014"): 2,
        ("test", "tr", "newstest2017"): 2,
    }


def test_a_language_that_the_folder_lacks_is_named_and_so_is_a_folder_that_is_not_unpacked(
    corpus: Path, tmp_path: Path
):
    with pytest.raises(CorpusError, match="must have the language 'cs', but has de, fr, ro, tr"):
        _rows(corpus, languages=("de", "cs"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="must contain WMT's data"):
        _rows(tmp_path / "empty")
    with pytest.raises(CorpusError, match="does not exist"):
        _rows(tmp_path / "nothing")


def test_other_kinds_of_task_yield_nothing(corpus: Path):
    assert _rows(corpus, kinds=("asr", "st")) == []


def test_what_a_mac_leaves_beside_every_file_is_passed_over(corpus: Path):
    expected = _rows(corpus)
    for path in [path for path in corpus.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\x05\x16\x07\0\2\0\0")
    assert _rows(corpus) == expected
