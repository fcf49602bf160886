"""Manifests: what each line becomes, and which file, line and field is wrong."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from taskaware.data.manifest.read import read_manifest
from taskaware.errors import ManifestError
from taskaware.types import Example, Speech, Task

if TYPE_CHECKING:
    from taskaware.data.manifest.line import LineProblem

HEADER = "id\ttask\taudio\tstart_seconds\tduration_seconds\tsource_text\ttarget_text"


def write_tsv(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "talks.tsv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def write_json(folder: Path, *records: dict[str, object] | str) -> Path:
    path = folder / "talks.jsonl"
    lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def only_problem(path: Path) -> LineProblem:
    (problem,) = read_manifest(path).problems
    assert problem.file == path
    return problem


FULL = {
    "id": "a1",
    "task": "st_en_de",
    "kind": "st",
    "dataset": "talks",
    "audio": "audio/a.wav",
    "start_seconds": "1.5",
    "duration_seconds": "2.25",
    "target_text": "Guten Tag.",
    "source_language": "en",
    "target_language": "de",
    "speaker": "anna",
    "utterance": "u7",
}


@pytest.mark.parametrize("form", ["tsv", "json", "json with numbers"])
def test_both_forms_give_every_field(tmp_path: Path, form: str):
    if form == "tsv":
        path = write_tsv(tmp_path, "\t".join(FULL.values()), header="\t".join(FULL))
    elif form == "json":
        path = write_json(tmp_path, FULL)
    else:
        path = write_json(tmp_path, {**FULL, "start_seconds": 1.5, "duration_seconds": 2.25})
    contents = read_manifest(path)
    assert contents.problems == ()
    assert contents.tasks == (
        Task(
            name="st_en_de",
            kind="st",
            source_modality="speech",
            source_language="en",
            target_language="de",
        ),
    )
    assert contents.examples == (
        Example(
            id="a1",
            task="st_en_de",
            dataset="talks",
            target_text="Guten Tag.",
            speech=Speech(path=tmp_path / "audio/a.wav", start_seconds=1.5, duration_seconds=2.25),
            speaker="anna",
            utterance="u7",
        ),
    )


def test_defaults_come_from_the_file_the_line_and_the_source(tmp_path: Path):
    path = write_json(
        tmp_path,
        {"task": "asr", "audio": "a.wav", "start_seconds": 2, "target_text": "hello"},
        {"task": "mt", "source_text": "hello", "target_text": "hallo"},
        {"task": "signs", "features": "/data/a.npy", "target_text": "hello"},
    )
    speech, text, features = read_manifest(path).lines
    assert [line.line for line in (speech, text, features)] == [1, 2, 3]
    assert [line.example.id for line in (speech, text, features)] == [
        "talks-1",
        "talks-2",
        "talks-3",
    ]
    assert speech.example.dataset == "talks"
    assert speech.example.utterance == f"{tmp_path / 'a.wav'}@2.000"
    assert text.example.utterance == "hello"
    assert features.example.features_path == Path("/data/a.npy")


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"audio": "a.wav"}, "asr"),
        ({"audio": "a.wav", "source_language": "en"}, "asr"),
        ({"audio": "a.wav", "source_language": "en", "target_language": "en"}, "asr"),
        ({"audio": "a.wav", "source_language": "en", "target_language": "de"}, "st"),
        ({"source_text": "x"}, "mt"),
        ({"features": "a.npy"}, "other"),
        ({"source_text": "x", "kind": "summary"}, "summary"),
    ],
)
def test_the_kind_follows_from_source_and_languages(
    tmp_path: Path, fields: dict[str, object], kind: str
):
    path = write_json(tmp_path, {"task": "t", "target_text": "y", **fields})
    assert read_manifest(path).tasks[0].kind == kind


def test_texts_are_kept_exactly(tmp_path: Path):
    text = ' "Quoted",  two spaces\u2028and\u0085separators\u00a0'
    path = write_tsv(tmp_path, f"\tmt\t\t\t\t{text}\t{text}")
    (example,) = read_manifest(path).examples
    assert (example.source_text, example.target_text) == (text, text)


def test_windows_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path: Path):
    path = tmp_path / "talks.tsv"
    path.write_bytes("\ufefftask\tsource_text\ttarget_text\r\nmt\tü\tue\r\n\r\n".encode())
    (example,) = read_manifest(path).examples
    assert (example.source_text, example.target_text) == ("ü", "ue")


@pytest.mark.parametrize(
    ("line", "field", "reason"),
    [
        ("x\tmt\t\t\t\thello", "line", "must have 7 cells, as the header, but has 6"),
        ("x\t\t\t\t\thello\thallo", "task", "must be a name"),
        ("x\ta task\t\t\t\thello\thallo", "task", "but is 'a task'"),
        ("x\tmt\t\t\t\thello\t ", "target_text", "is empty"),
        ("x\tmt\t\t\t\t \thallo", "source_text", "more than white space"),
        ("x\tmt\ta.wav\t\t\thello\thallo", "audio", "but source_text and audio is"),
        ("x\tmt\t\t\t\t\thallo", "line", "exactly one of"),
        ("x\tasr\ta.wav\tsoon\t\t\thallo", "start_seconds", "number of seconds .*but is 'soon'"),
        ("x\tasr\ta.wav\t-1\t\t\thallo", "start_seconds", "from 0 up, but is '-1'"),
        ("x\tasr\ta.wav\t\tnan\t\thallo", "duration_seconds", "but is 'nan'"),
        ("x\tasr\ta.wav\t\t0\t\thallo", "duration_seconds", "above 0"),
        ("x\tmt\t\t1\t\thello\thallo", "start_seconds", "not a recording"),
    ],
)
def test_a_bad_line_is_collected_with_its_field(tmp_path: Path, line: str, field: str, reason: str):
    good = "ok\tmt\t\t\t\thello\thallo"
    problem = only_problem(write_tsv(tmp_path, good, line))
    assert (problem.line, problem.field) == (3, field)
    assert problem.example_id == ("talks-3" if "cells" in reason else "x")
    assert re.search(reason, problem.reason)
    assert len(read_manifest(problem.file).lines) == 1


@pytest.mark.parametrize(
    ("record", "field", "reason"),
    [
        ("{not json", "line", "not JSON"),
        ("[1]", "line", "but is a list"),
        ({"task": "mt", "source_text": 3, "target_text": "x"}, "source_text", "but is 3"),
        ({"task": "asr", "audio": "a", "speaker": True, "target_text": "x"}, "speaker", "is True"),
        ({"task": "mt", "source_text": "a", "target_text": "\ud800"}, "target_text", "surrogate"),
    ],
)
def test_a_bad_json_line_is_collected_with_its_field(
    tmp_path: Path, record: dict[str, object] | str, field: str, reason: str
):
    good = {"task": "mt", "source_text": "hello", "target_text": "hallo"}
    problem = only_problem(write_json(tmp_path, good, record))
    assert (problem.line, problem.field) == (2, field)
    assert reason in problem.reason


def test_a_second_line_with_an_id_is_bad_and_names_the_first(tmp_path: Path):
    line = "x\tmt\t\t\t\thello\thallo"
    problem = only_problem(write_tsv(tmp_path, line, line))
    assert (problem.line, problem.field, problem.example_id) == (3, "id", "x")
    assert "line 2 has it as well" in problem.reason


ROWS = [
    {"task": "mt", "source_text": "a, b; c", "target_text": 'he says "no, sir"', "speaker": ""},
    {"task": "mt", "source_text": "two\nlines", "target_text": "zwei", "speaker": "anna"},
]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_csv_file_is_read_with_its_quotes(tmp_path: Path, delimiter: str, line_end: str):
    path = tmp_path / "m.CSV"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, [*ROWS[0]], delimiter=delimiter, lineterminator=line_end)
        writer.writeheader()
        writer.writerows(ROWS)
        file.write(3 * delimiter + line_end + line_end)
        file.write(delimiter.join(["mt", '"c"', '"a" b', ""]) + line_end)
        file.write(delimiter.join(["mt", "d"]) + line_end)
        file.write(delimiter.join(["mt", "e", "f", "g"]) + line_end)
    contents = read_manifest(path)
    assert [(e.source_text, e.target_text, e.speaker) for e in contents.examples] == [
        *((str(row["source_text"]), row["target_text"], row["speaker"]) for row in ROWS),
        ("e", "f", "g"),
    ]
    assert [line.line for line in contents.lines] == [2, 3, 9]  # a text may hold line ends
    assert [(p.line, p.field) for p in contents.problems] == [(7, "line"), (8, "line")]
    assert "a quote is doubled" in contents.problems[0].reason
    assert "must have 4 cells, as the header, but has 2" in contents.problems[1].reason


@pytest.mark.parametrize(("delimiter", "name"), [(",", "commas"), (";", "semicolons")])
def test_other_separators_than_tabs_are_named(tmp_path: Path, delimiter: str, name: str):
    for quote in ("", '"'):
        header = [f"{quote}{column}{quote}" for column in ("task", "source_text", "target_text")]
        path = tmp_path / "m.tsv"
        path.write_text(f"{delimiter.join(header)}\nmt{delimiter}a{delimiter}b\n")
        with pytest.raises(ManifestError, match=f"by tabs, but are by {name}: name the .*NAME.csv"):
            read_manifest(path)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("m.json", json.dumps(30 * [FULL]), r"begins with '\[', a JSON array: write each of its"),
        ("m.json", json.dumps(30 * [FULL], indent=1), r"begins with '\['"),
        ("m.jsonl", json.dumps(FULL, indent=1), "has one over several lines"),
        ("m.tsv", "task\tsource_text\ttarget_text\rmt\ta\tb\r", "end with a carriage return"),
        ("m.csv", "task,source_text,target_text\rmt,a,b\r", "end with a carriage return"),
        ("m.tsv", "task\ttarget_text\n".encode("utf-16"), "is UTF-16"),
        ("m.tsv", "task\ttarget_text\n".encode("utf-16-le"), "is UTF-16"),
        (
            "m.tsv",
            b"PK\x03\x04\x14",
            "is a zip archive, as spreadsheets are: save a spreadsheet as .csv",
        ),
        ("m.tsv", b"\x1f\x8b\x08", "is compressed by gzip: unpack it"),
        ("m.tsv", 500 * "x", "the first line must name the columns"),
    ],
)
def test_what_is_no_manifest_is_named_in_a_short_message(
    tmp_path: Path, name: str, data: str | bytes, message: str
):
    (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    with pytest.raises(ManifestError, match=message) as error:
        read_manifest(tmp_path / name)
    assert len(str(error.value)) < len(str(tmp_path)) + 420


def test_cells_in_the_quotes_of_a_spreadsheet_are_refused_where_no_quotes_are_read(tmp_path: Path):
    cells = ['"he says ""no"""', '"""no"" is what he says"', '"no," he says, "no"', '"no"', '""']
    lines = [f"\tmt\t\t\t\ta\t{cell}" for cell in cells]
    contents = read_manifest(write_tsv(tmp_path, *lines))
    assert [(p.line, p.field) for p in contents.problems] == [
        (2, "target_text"),
        (3, "target_text"),
    ]
    assert "save the table as .csv" in contents.problems[0].reason
    assert [example.target_text for example in contents.examples] == cells[2:]
    record = {"task": "mt", "source_text": "a", "target_text": cells[0]}
    assert not read_manifest(write_json(tmp_path, record)).problems  # JSON quotes otherwise


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"kind": "asr"}, "kind"),
        ({"source_language": "fr"}, "source language"),
        ({"target_language": ""}, "target language"),
        ({"audio": "", "source_text": "x", "kind": "st"}, "source modality"),
    ],
)
def test_lines_that_disagree_about_a_task_are_both_named(
    tmp_path: Path, change: dict[str, object], what: str
):
    first = {k: v for k, v in FULL.items() if not k.endswith("seconds")}
    path = write_json(tmp_path, first, {**first, "id": "a2", **change})
    with pytest.raises(ManifestError, match=rf"same {what}, but .*line 1 has .* and .*line 2 has"):
        read_manifest(path)


@pytest.mark.parametrize("name", ["all", "ALL", "..", ".hidden", "best", "nul", "aux.x", "m" * 101])
def test_a_reserved_name_of_a_task_is_refused_with_its_line(tmp_path: Path, name: str):
    path = write_tsv(tmp_path, "1\tmt\t\t\t\thello\thallo", f"2\t{name}\t\t\t\thello\thallo")
    with pytest.raises(ManifestError, match=r"talks.tsv, line 3, field 'task': must .*but is"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("task\taudio\ttarget_txt", r"1: unknown column 'target_txt' \(did you mean 'target_text'"),
        ("task\taudio\taudio\ttarget_text", "'audio' must not be repeated"),
        ("audio\ttarget_text", "the column 'task' is missing"),
        ("task\taudio", "the column 'target_text' is missing"),
        ("task\ttarget_text", "one of the columns source_text, audio, features"),
    ],
)
def test_a_wrong_header_is_refused(tmp_path: Path, header: str, message: str):
    with pytest.raises(ManifestError, match=message):
        read_manifest(write_tsv(tmp_path, header=header))


def test_an_unknown_json_field_is_refused_with_its_line(tmp_path: Path):
    good = {"task": "mt", "source_text": "hello", "target_text": "hallo"}
    with pytest.raises(
        ManifestError, match=r"line 2: unknown column 'adio' \(did you mean 'audio'"
    ):
        read_manifest(write_json(tmp_path, good, {"adio": "a.wav"}))


def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path):
    path = tmp_path / "talks.tsv"
    with pytest.raises(ManifestError, match=r"talks\.tsv: the manifest does not exist"):
        read_manifest(path)
    path.write_text("\n")
    with pytest.raises(ManifestError, match="the manifest is empty"):
        read_manifest(path)
    path.write_bytes(f"{HEADER}\n".encode() + "x\tmt\t\t\t\tgrün\tgreen".encode("latin-1"))
    with pytest.raises(ManifestError, match=r"line 2: .* must be UTF-8, but has the byte 0xFC"):
        read_manifest(path)
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task|source_text|target_text\n", "separated by tabs, but are by vertical bars: separate"),
        ("task    source_text    target_text\n", "separated by tabs, but are by spaces: separate"),
        ("mt\tone\teins\n", "the first line must name the columns, .* but is 'mt one eins'"),
    ],
)
def test_a_header_that_is_none_is_told_from_one_with_a_wrong_column(
    tmp_path: Path, text: str, message: str
):
    (tmp_path / "a.tsv").write_text(text)
    with pytest.raises(ManifestError, match=message):
        read_manifest(tmp_path / "a.tsv")


def test_the_line_of_excel_that_names_the_separator_is_no_header(tmp_path: Path):
    (tmp_path / "a.csv").write_text("sep=;\r\ntask;source_text;target_text\r\nmt;one;eins\r\n")
    assert [example.target_text for example in read_manifest(tmp_path / "a.csv").examples] == [
        "eins"
    ]


def test_a_compressed_manifest_is_told_as_such(tmp_path: Path):
    (tmp_path / "a.tsv.gz").write_bytes(b"\x1f\x8b\x08\0\0")
    with pytest.raises(ManifestError, match="is compressed by gzip: unpack it"):
        read_manifest(tmp_path / "a.tsv.gz")


def test_a_line_without_an_end_is_refused():
    with pytest.raises(ManifestError, match=r"/dev/zero.* "):
        read_manifest("/dev/zero")


def test_a_name_that_stands_twice_in_a_line_is_a_problem_of_the_line(tmp_path: Path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"task": "mt", "task": "st", "source_text": "a", "target_text": "b"}\n')
    (problem,) = read_manifest(path).problems
    assert (
        problem.reason == "must be a JSON object that can be read, but the name 'task' stands twice"
    )


def test_a_quote_that_is_never_closed_is_said_where_it_opens(tmp_path: Path):
    path = tmp_path / "m.csv"
    path.write_text('task,source_text,target_text\nmt,"a,b\nmt,c,d\n')
    (problem,) = read_manifest(path).problems
    assert problem.line == 2
    assert "a quote opens here that nothing closes" in problem.reason
