"""Multi30k in miniature: plain and compressed, and the repository's folders."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

from taskaware.data.corpora import multi30k
from taskaware.data.corpora.rows import LeftOut, Request, Row
from taskaware.errors import CorpusError

_REAL = Path(__file__).parents[5] / "shared" / "data" / "multi30k"


def _write(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    raw = tmp_path / "data" / "task1" / "raw"
    for name, languages in (
        ("train", ("en", "de", "fr")),
        ("val", ("en", "de", "fr")),
        ("test_2016_flickr", ("en", "de", "fr")),
        ("test_2017_mscoco", ("en", "de")),
    ):
        for language in languages:
            _write(raw, f"{name}.{language}.gz", f"{name} {language} 1\n{name} {language} 2\n")
    _write(tmp_path / "data" / "task2" / "raw", "train.1.en.gz", "x\n")
    return tmp_path


def _rows(folder: Path, **request) -> list[Row]:
    return [f for f in multi30k.read(Request(folder=folder, **request)) if isinstance(f, Row)]


def test_val_is_dev_and_test_2016_is_test_and_other_tests_are_splits_of_their_names(corpus: Path):
    rows = _rows(corpus)
    assert Counter((row.split, row.target_language) for row in rows) == {
        ("train", "de"): 2,
        ("train", "fr"): 2,
        ("dev", "de"): 2,
        ("dev", "fr"): 2,
        ("test", "de"): 2,
        ("test", "fr"): 2,
        ("test_2017_mscoco", "de"): 2,
    }
    assert len({(row.split, row.id) for row in rows}) == len(rows)
    row = next(row for row in rows if row.split == "test")
    assert (row.id, row.dataset) == ("multi30k-en-de-1", "multi30k")
    assert (row.source_text, row.target_text) == ("test_2016_flickr en 1", "test_2016_flickr de 1")


def test_the_raw_folder_itself_unpacked_is_read_as_well(tmp_path: Path):
    _write(tmp_path, "train.en", "one\ntwo\n")
    _write(tmp_path, "train.de", "eins\n\n")
    _write(tmp_path, "train.en.gz", "not\nread\n")
    found = list(multi30k.read(Request(folder=tmp_path, languages=("de",))))
    assert [item.target_text for item in found if isinstance(item, Row)] == ["eins"]
    (left_out,) = [item for item in found if isinstance(item, LeftOut)]
    assert (left_out.place, left_out.reason) == (f"{tmp_path / 'train.en'}, line 2", "empty target")


def test_what_is_missing_is_named(corpus: Path, tmp_path: Path):
    with pytest.raises(CorpusError, match="must have the language 'cs', but has de, fr"):
        _rows(corpus, languages=("cs",))
    raw = corpus / "data" / "task1" / "raw"
    (raw / "val.en.gz").unlink()
    with pytest.raises(CorpusError, match=r"must contain val\.en beside val\.de\.gz"):
        _rows(corpus)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=r"must contain train\.en"):
        _rows(tmp_path / "empty")


def test_other_kinds_of_task_yield_nothing(corpus: Path):
    assert _rows(corpus, kinds=("asr",)) == []


@pytest.mark.skipif(not _REAL.is_dir(), reason="Multi30k is not at hand")
def test_the_real_corpus_has_its_published_sizes():
    counts = Counter((row.split, row.target_language) for row in _rows(_REAL, languages=("de",)))
    assert counts == {("train", "de"): 29_000, ("dev", "de"): 1_014, ("test", "de"): 1_000}
