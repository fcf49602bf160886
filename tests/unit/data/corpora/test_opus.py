"""OPUS's downloads in miniature: zip, TMX and unpacked files, and which of them is read."""

from __future__ import annotations

import gzip
import zipfile
from typing import TYPE_CHECKING

import pytest

from taskaware.data.corpora import opus
from taskaware.data.corpora.rows import LeftOut, Request, Row
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path


def _zip(path: Path, name: str, first: str, second: str, number: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README", "OPUS")
        archive.writestr("LICENSE", "")
        archive.writestr(f"{name}.{first}-{second}.xml", "<cesAlign/>")
        for code in (first, second):
            lines = "".join(f"zip {code} {line}\n" for line in range(number))
            archive.writestr(f"{name}.{first}-{second}.{code}", lines)


def _tmx(path: Path, source: str, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = (
        '<tmx version="1.4"><header srclang="en"/><body>'
        f'<tu><tuv xml:lang="{source}"><seg>tmx {source}</seg></tuv>'
        f'<tuv xml:lang="{target}"><seg>tmx {target}</seg></tuv></tu>'
        f'<tu><tuv xml:lang="{source}"><seg>alone</seg></tuv></tu></body></tmx>'
    )
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def _found(folder: Path, corpus: str = "", **request):
    found = list(opus.read(Request(folder=folder, **request), corpus))
    rows = [item for item in found if isinstance(item, Row)]
    return rows, [item for item in found if isinstance(item, LeftOut)]


def _short(rows: list[Row]) -> list[tuple[str, ...]]:
    return [
        (row.split, row.dataset, row.id, row.source_text or "", row.target_text) for row in rows
    ]


def test_a_zip_file_is_train_and_named_after_its_members_whatever_its_languages_order(tmp_path):
    _zip(tmp_path / "de-en.txt.zip", "OpenSubtitles", "de", "en")
    _zip(tmp_path / "en-tr.txt.zip", "SETIMES", "en", "tr", 1)
    rows, left_out = _found(tmp_path)
    assert _short(rows) == [
        ("train", "opensubtitles", "opensubtitles-en-de-1", "zip en 0", "zip de 0"),
        ("train", "opensubtitles", "opensubtitles-en-de-2", "zip en 1", "zip de 1"),
        ("train", "setimes", "setimes-en-tr-1", "zip en 0", "zip tr 0"),
    ]
    assert {row.target_language for row in rows} == {"de", "tr"}
    assert left_out == []


def test_a_variety_of_english_is_english(tmp_path):
    _zip(tmp_path / "de-en_GB.txt.zip", "PHP", "de", "en_GB", 1)
    (row,), _ = _found(tmp_path)
    assert (row.source_language, row.target_language) == ("en", "de")
    assert (row.source_text, row.target_text) == ("zip en_GB 0", "zip de 0")


def test_a_translation_memory_has_its_folders_name_and_units_of_one_language_are_left_out(tmp_path):
    _tmx(tmp_path / "SETIMES" / "v2" / "tmx" / "en-ro.tmx.gz", "en", "ro")
    rows, left_out = _found(tmp_path)
    assert _short(rows) == [("train", "setimes", "setimes-en-ro-1", "tmx en", "tmx ro")]
    assert [(item.place.rpartition("/")[2], item.reason) for item in left_out] == [
        ("en-ro.tmx.gz, unit 2", "empty target")
    ]


def test_of_several_forms_the_moses_format_is_read_and_the_others_are_left_out(tmp_path):
    _zip(tmp_path / "en-tr.txt.zip", "SETIMES", "en", "tr")
    _tmx(tmp_path / "SETIMES.en-tr.tmx.gz", "en", "tr")
    for code in ("en", "tr"):
        (tmp_path / f"SETIMES.en-tr.{code}").write_text(f"plain {code}\n", "utf-8")
    (tmp_path / "SETIMES.en-tr.xml").write_text("<cesAlign/>", "utf-8")
    rows, left_out = _found(tmp_path)
    assert [row.source_text for row in rows] == ["plain en"]
    assert [(item.place.rpartition("/")[2], item.reason) for item in left_out] == [
        ("en-tr.txt.zip", "the folder has the text in another form"),
        ("SETIMES.en-tr.tmx.gz", "the folder has the text in another form"),
    ]


def test_a_corpus_that_is_asked_for_is_found_with_and_without_its_year_and_names_the_rows(tmp_path):
    _zip(tmp_path / "a" / "de-en.txt.zip", "OpenSubtitles", "de", "en", 1)
    _zip(tmp_path / "b" / "en-ro.txt.zip", "OpenSubtitles2018", "en", "ro", 1)
    _zip(tmp_path / "c" / "de-en.txt.zip", "SETIMES2", "de", "en", 1)
    rows, _ = _found(tmp_path, "opensubtitles2018")
    assert [row.id for row in rows] == [
        "opensubtitles2018-en-de-1",
        "opensubtitles2018-en-ro-1",
    ]
    _zip(tmp_path / "d" / "de-en.txt.zip", "OpenSubtitles2018", "de", "en", 1)
    rows, left_out = _found(tmp_path, "opensubtitles2018")
    assert len(rows) == 2
    assert len(left_out) == 1
    with pytest.raises(CorpusError, match="must contain europarl of OPUS"):
        _found(tmp_path, "europarl")


def test_a_translation_memory_without_a_name_is_taken_for_the_corpus_that_is_asked_for(tmp_path):
    _tmx(tmp_path / "downloads" / "en-tr.tmx.gz", "en", "tr")
    rows, _ = _found(tmp_path, "setimes2")
    assert [row.dataset for row in rows] == ["setimes2"]
    _tmx(tmp_path / "other" / "Books.en-tr.tmx", "en", "tr")
    (tmp_path / "downloads" / "en-tr.tmx.gz").unlink()
    with pytest.raises(CorpusError, match="must contain setimes2 of OPUS"):
        _found(tmp_path, "setimes2")


def test_sets_and_forms_that_are_not_of_opus_are_no_training_data(tmp_path):
    for code in ("en", "tr"):
        (tmp_path / f"newstest2017.{code}").write_text("x\n", "utf-8")
    (tmp_path / "europarl-v9.de-en.tsv").write_text("x\tx\n", "utf-8")
    with pytest.raises(CorpusError, match="must contain a corpus of OPUS"):
        _found(tmp_path)


def test_languages_choose_the_files_and_one_that_is_not_there_is_named(tmp_path):
    _zip(tmp_path / "de-en.txt.zip", "OpenSubtitles", "de", "en")
    _zip(tmp_path / "en-ro.txt.zip", "OpenSubtitles", "en", "ro")
    rows, _ = _found(tmp_path, languages=("ro",))
    assert {row.target_language for row in rows} == {"ro"}
    with pytest.raises(CorpusError, match="must have the language 'tr', but has de, ro"):
        _found(tmp_path, languages=("tr",))
    assert _found(tmp_path, kinds=("asr",)) == ([], [])


def test_a_truncated_zip_file_is_named(tmp_path):
    path = tmp_path / "de-en.txt.zip"
    _zip(path, "OpenSubtitles", "de", "en")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CorpusError, match=r"de-en\.txt\.zip must be a zip file"):
        _found(tmp_path)
