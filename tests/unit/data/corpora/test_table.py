"""Tables of one's own: TSV and JSON lines whose columns are languages, good and broken."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from taskaware.data.corpora import table
from taskaware.data.corpora.rows import LeftOut, Request, Row
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path


def _write(path: Path, text: str) -> Path:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def _found(path: Path, **request):
    found = list(table.read(Request(folder=path, **request)))
    rows = [item for item in found if isinstance(item, Row)]
    return rows, [item for item in found if isinstance(item, LeftOut)]


def test_a_folders_files_are_split_by_their_names_and_every_column_is_a_language(tmp_path: Path):
    _write(tmp_path / "train.tsv", 'en\tde\tfr\nA "man.\tEin Mann.\tUn homme.\n')
    _write(tmp_path / "news.train.jsonl", '{"en": "New.", "de": "Neu."}\n\n')
    _write(tmp_path / "news.validation.tsv.gz", "en\tde\nTwo.\tZwei.\n")
    _write(tmp_path / "test.jsonl", '{"translation": {"en": "Three.", "de": "Drei."}}\n')
    _write(tmp_path / "README.md", "not read")
    (tmp_path / "._train.tsv").write_bytes(b"\0\x05\x16\x07\0\2\0\0")  # as a Mac leaves it
    rows, left_out = _found(tmp_path)
    assert {
        (row.split, row.dataset, row.target_language, row.source_text, row.target_text)
        for row in rows
    } == {
        ("train", tmp_path.name, "de", 'A "man.', "Ein Mann."),
        ("train", tmp_path.name, "fr", 'A "man.', "Un homme."),
        ("train", "news", "de", "New.", "Neu."),
        ("dev", "news", "de", "Two.", "Zwei."),
        ("test", tmp_path.name, "de", "Three.", "Drei."),
    }
    assert {row.source_language for row in rows} == {"en"}
    assert len({(row.split, row.id) for row in rows}) == len(rows)
    assert left_out == []


def test_languages_choose_the_columns(tmp_path: Path):
    _write(tmp_path / "train.tsv", "en\tde\tfr\none\teins\tun\n")
    rows, _ = _found(tmp_path, languages=("fr",))
    assert [row.target_text for row in rows] == ["un"]
    with pytest.raises(CorpusError, match="must have the language 'tr', but has de, fr"):
        _found(tmp_path, languages=("tr",))
    assert _found(tmp_path, kinds=("asr",)) == ([], [])


def test_a_file_alone_is_train_unless_its_name_says_otherwise(tmp_path: Path):
    text = "en\tde\none\teins\n"
    assert _found(_write(tmp_path / "mine.tsv", text))[0][0].split == "train"
    assert _found(_write(tmp_path / "mine.dev.tsv", text))[0][0].split == "dev"


@pytest.mark.parametrize(("name", "says"), [("mine.tsv", "none"), ("dev-test.tsv", "dev and test")])
def test_a_folders_file_must_say_its_split(tmp_path: Path, name: str, says: str):
    _write(tmp_path / name, "en\tde\none\teins\n")
    with pytest.raises(CorpusError, match=rf"must say in its name which split .* says {says}"):
        _found(tmp_path)


def test_lines_that_cannot_be_used_are_left_out_and_named(tmp_path: Path):
    tsv = _write(tmp_path / "train.tsv", "en\tde\none\n\teins\none\t \ngood\tgut\n")
    rows, left_out = _found(tsv)
    assert [row.id for row in rows] == ["train.tsv-en-de-5"]
    assert [(item.place, item.reason) for item in left_out] == [
        (f"{tsv}, line 2", "another number of cells than the header"),
        (f"{tsv}, line 3", "empty source"),
        (f"{tsv}, line 4", "empty target"),
    ]
    json_lines = _write(tmp_path / "dev.jsonl", '{"en": "a", "de": 3}\n{"en": "b"}\n')
    _, left_out = _found(json_lines)
    assert [item.reason for item in left_out] == ["not text as target", "empty target"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train.tsv", "id\ttask\tsource_text\ttarget_text\n1\tmt_en_de\ta\tb\n"),
        ("train.jsonl", '{"task": "mt_en_de", "source_text": "a", "target_text": "b"}\n'),
    ],
)
def test_a_manifest_is_referred_to_prepare(tmp_path: Path, name: str, text: str):
    with pytest.raises(CorpusError, match=rf"is a manifest.*--train .*{name}"):
        _found(_write(tmp_path / name, text))


def test_a_table_of_a_spreadsheet_is_read_as_csv_and_never_half_understood(tmp_path: Path):
    quoted = '"He says ""no""."'
    table_file = _write(tmp_path / "train.csv", f'en;de\n{quoted};"Nein; doch"\nb;c;d\n')
    rows, left_out = _found(table_file)
    assert [(row.source_text, row.target_text) for row in rows] == [('He says "no".', "Nein; doch")]
    assert [item.place for item in left_out] == [f"{table_file}, line 3"]
    rows, left_out = _found(_write(tmp_path / "dev.tsv", f'en\tde\n{quoted}\tNein\n"a"\t"b"\n'))
    assert [row.source_text for row in rows] == ['"a"']
    assert left_out[0].reason == "a cell in the quotes of a spreadsheet: save the table as .csv"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train.tsv", "en,de\na,b\n", "separated by tabs, but are by commas: name the file NAME"),
        ("train.jsonl", '[{"en": "a", "de": "b"}]', r"begins with '\[', a JSON array"),
        ("train.tsv", "en\tde\ra\tb\r", "end with a carriage return alone"),
    ],
)
def test_other_forms_are_named(tmp_path: Path, name: str, text: str, message: str):
    with pytest.raises(CorpusError, match=message):
        _found(_write(tmp_path / name, text))


@pytest.mark.parametrize("header", ["en", "en\tscore\n", "id\ten\tde\n", "en\ten\n", ""])
def test_columns_that_are_not_languages_are_refused(tmp_path: Path, header: str):
    with pytest.raises(CorpusError, match=r"train\.tsv, line 1 must name a source language"):
        _found(_write(tmp_path / "train.tsv", header))


@pytest.mark.parametrize("line", ["{", '["en"]', "3"])
def test_a_line_that_is_not_a_json_object_is_named(tmp_path: Path, line: str):
    path = _write(tmp_path / "train.jsonl", f'{{"en": "a", "de": "b"}}\n{line}\n')
    with pytest.raises(CorpusError, match=r"train\.jsonl, line 2: must be a JSON object"):
        _found(path)


def test_a_folder_without_tables_is_refused(tmp_path: Path):
    with pytest.raises(CorpusError, match=r"must be a \.tsv, \.csv or \.jsonl file or hold"):
        _found(tmp_path)
    with pytest.raises(CorpusError, match="does not exist"):
        _found(tmp_path / "nothing")
