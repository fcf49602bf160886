"""The manifest scripts of studies of many tasks: text pairs, and a game in seven languages."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from taskaware.data.manifest.read import ManifestContents, read_manifest

SCRIPTS = Path(__file__).resolve().parents[2] / "experiments" / "manifests"
CORPORA = {
    "de": ("wesnoth", "manual", "everyday", "interface"),
    "tr": ("wesnoth", "manual", "interface"),
    "ro": ("interface",),
}
NEWS = (
    *(("newstest2014", "de", "dev"), ("newstest2015", "de", "test")),
    *(("newstest2016", "tr", "dev"), ("newstest2017", "tr", "test")),
    *(("newsdev2016", "ro", "dev"), ("newstest2016", "ro", "test")),
)
SPLITS = ("train", "dev", "test")


def convert(script: str, source: Path, to: Path, *rest: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPTS / script, "--from", source, "--to", to, *rest]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def read(folder: Path) -> dict[str, ManifestContents]:
    contents = {split: read_manifest(folder / f"{split}.tsv") for split in SPLITS}
    assert not any(content.problems for content in contents.values())
    return contents


def write_table(path: Path, language: str, pairs: list[tuple[str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    lines = ["\t".join(pair) + "\n" for pair in [("en", language), *pairs]]
    path.write_text("".join(lines), encoding="utf-8")


def write_news(folder: Path, name: str, language: str, pairs: list[tuple[str, str]]) -> None:
    folder.mkdir(exist_ok=True)
    for of, texts in zip(("en", language), zip(*pairs, strict=True), strict=True):
        path = folder / f"{name}.en-{language}.{of}"
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Ten train pairs in each corpus and one in each dev and test set; no text occurs twice."""
    for language, names in CORPORA.items():
        for name in names:
            for split in SPLITS:
                keys = [
                    f"{name} {language} {split} {i}" for i in range(10 if split == "train" else 1)
                ]
                pairs = [(f"en {key}", f"{language} {key}") for key in keys]
                write_table(
                    tmp_path / "text" / f"{name}.en-{language}.{split}.tsv", language, pairs
                )
    for name, language, _ in NEWS:
        pairs = [(f"en {name} {language}", f"{language} {name}")]
        write_news(tmp_path / "wmt", name, language, pairs)
    return tmp_path


def test_text_pairs_go_where_the_script_says(texts: Path, tmp_path: Path):
    result = convert("text_pairs.py", texts, tmp_path / "to")
    assert result.returncode == 0, result.stderr
    assert "left out, a text being in a later split: 0 pairs" in result.stdout
    contents = read(tmp_path / "to")
    found = {
        split: Counter((example.task, example.dataset) for example in content.examples)
        for split, content in contents.items()
    }
    in_domain = [(f"mt_en_{to}", name) for to, names in CORPORA.items() for name in names]
    assert found["train"] == dict.fromkeys(in_domain, 10)
    for split in ("dev", "test"):
        news = [(f"mt_en_{to}", name) for name, to, of in NEWS if of == split]
        assert found[split] == dict.fromkeys([*in_domain, *news], 1)
    (example,) = [e for e in contents["test"].examples if e.dataset == "newstest2017"]
    assert (example.source_text, example.target_text) == ("en newstest2017 tr", "tr newstest2017")
    assert example.id == "newstest2017-tr-test-00001"


def test_train_pairs_with_a_text_of_dev_or_test_are_left_out_and_counted(
    texts: Path, tmp_path: Path
):
    path = texts / "text" / "wesnoth.en-de.train.tsv"
    with path.open("a", encoding="utf-8") as file:
        file.write("EN: manual, de dev 0!\tneu\n")  # English of another German corpus
        file.write("new\tde wesnoth de test 0\n")  # German of the test set
        file.write("en newstest2017 tr\tneu\n")  # English of another language's test set
        file.write("tr newstest2017\tneu\n")  # a Turkish text, but this is English
        file.write("...\t...\n")  # no letters to compare, as in dev, but other signs
    with (texts / "text" / "wesnoth.en-de.dev.tsv").open("a", encoding="utf-8") as file:
        file.write("?!\t?!\n")
    result = convert("text_pairs.py", texts, tmp_path / "to")
    assert "left out, a text being in a later split: 3 pairs" in result.stdout
    assert "train mt_en_de wesnoth: 3\n" in result.stdout
    examples = read(tmp_path / "to")["train"].examples
    kept = [e.source_text for e in examples if (e.task, e.dataset) == ("mt_en_de", "wesnoth")]
    assert kept[10:] == ["tr newstest2017", "..."]


def test_dev_pairs_with_a_text_of_test_are_left_out(texts: Path, tmp_path: Path):
    pairs = [("en newstest2016 ro", "tr 1"), ("en newstest2016 tr", "tr 2")]
    write_news(texts / "wmt", "newstest2016", "tr", pairs)
    result = convert("text_pairs.py", texts, tmp_path / "to")
    assert "dev mt_en_tr newstest2016: 1\n" in result.stdout
    contents = read(tmp_path / "to")
    news = {
        split: [
            (e.task, e.target_text) for e in contents[split].examples if e.dataset[-4:] == "2016"
        ]
        for split in ("dev", "test")
    }
    assert news["dev"] == [("mt_en_tr", "tr 2"), ("mt_en_ro", "ro newsdev2016")]
    assert news["test"] == [("mt_en_ro", "ro newstest2016")]


def test_a_small_budget_is_spread_over_each_corpus(texts: Path, tmp_path: Path):
    whole, part = tmp_path / "whole", tmp_path / "part"
    convert("text_pairs.py", texts, whole)
    assert convert("text_pairs.py", texts, part, "--max-pairs", "4").returncode == 0
    examples = read(part)["train"].examples
    assert len(examples) == 8 * 4
    assert [e.source_text for e in examples[:4]] == [
        f"en wesnoth de train {i}" for i in (0, 2, 5, 7)
    ]
    for split in ("dev", "test"):
        assert (part / f"{split}.tsv").read_text() == (whole / f"{split}.tsv").read_text()
    convert("text_pairs.py", texts, part, "--max-pairs", "11")
    assert (part / "train.tsv").read_text() == (whole / "train.tsv").read_text()


def test_a_budget_of_nothing_is_refused(texts: Path, tmp_path: Path):
    result = convert("text_pairs.py", texts, tmp_path / "to", "--max-pairs", "0")
    assert result.returncode == 2
    assert "--max-pairs must be at least 1, but is 0 instead" in result.stderr


def test_news_whose_files_differ_in_length_are_refused(texts: Path, tmp_path: Path):
    (texts / "wmt" / "newstest2017.en-tr.tr").write_text("bir\niki\n", encoding="utf-8")
    result = convert("text_pairs.py", texts, tmp_path / "to")
    assert result.returncode == 1
    assert "newstest2017.en-tr" in result.stderr
    assert "1 (en) and 2 (tr)" in result.stderr


def test_a_line_of_dialogue_serves_13_tasks(tmp_path: Path):
    languages = ("en", "de", "fr", "it", "es", "pt", "sv")
    header = "\t".join(("split", "id", "audio", "duration_seconds", *languages)) + "\n"
    lines = [
        "\t".join((split, "00007", f"audio/{split}.flac", "2.0", *(f"{x}!" for x in languages)))
        for split in SPLITS
    ]
    (tmp_path / "steel_sky").mkdir()
    text = header + "".join(f"{line}\n" for line in lines)
    (tmp_path / "steel_sky" / "manifest.tsv").write_text(text, encoding="utf-8")
    result = convert("steel_sky.py", tmp_path, tmp_path / "to")
    assert result.returncode == 0, result.stderr
    assert "test.tsv: 13 examples\n  asr_en steel_sky: 1\n" in result.stdout
    contents = read(tmp_path / "to")
    examples = contents["dev"].examples
    translation = [f"{kind}_en_{to}" for kind in ("st", "mt") for to in languages[1:]]
    assert [example.task for example in examples] == ["asr_en", *translation]
    assert [e.target_text for e in examples] == [f"{x}!" for x in (*languages, *languages[1:])]
    assert {e.utterance for e in examples} == {"steel_sky-00007"}
    assert {e.dataset for e in examples} == {"steel_sky"}
    audio = {e.speech.path for e in examples[:7] if e.speech is not None}
    assert audio == {tmp_path.resolve() / "steel_sky" / "audio" / "dev.flac"}
    assert {e.source_text for e in examples[7:]} == {"en!"}
    kinds = {task.name: task.kind for task in contents["dev"].tasks}
    assert (kinds["asr_en"], kinds["st_en_sv"], kinds["mt_en_pt"]) == ("asr", "st", "mt")


def cascade(folder: Path, outputs: list[dict[str, str]]) -> subprocess.CompletedProcess[str]:
    columns = ("task", "kind", "utterance", "audio", "source_text", "target_text")
    rows = [
        ("asr_en", "asr", "a", "a.wav", "", "one"),
        ("mt_en_de", "mt", "a", "", "one", "eins"),
        ("asr_en", "asr", "b", "b.wav", "", "two"),
        ("mt_en_de", "mt", "b", "", "two", "zwei"),
        ("st_en_de", "st", "b", "b.wav", "", "zwei"),
    ]
    test = folder / "test.tsv"
    test.write_text("".join("\t".join(row) + "\n" for row in [columns, *rows]), encoding="utf-8")
    lines = "".join(json.dumps(line) + "\n" for line in outputs)
    (folder / "outputs.jsonl").write_text(lines, encoding="utf-8")
    options = ["--test", test, "--outputs", folder / "outputs.jsonl", "--to", folder / "to.tsv"]
    command = [sys.executable, SCRIPTS / "cascade.py", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


HEARD = [
    {"task": "st_en_de", "reference": "zwei", "text": "zwo"},
    {"task": "asr_en", "reference": "one", "text": "won\tsun"},
    {"task": "asr_en", "reference": "two", "text": ""},
]


def test_a_cascade_translates_what_was_recognised(tmp_path: Path):
    result = cascade(tmp_path, HEARD)
    assert result.returncode == 0, result.stderr
    examples = read_manifest(tmp_path / "to.tsv").examples
    found = [(e.task, e.source_text, e.target_text) for e in examples]
    assert found == [("mt_en_de", "won sun", "eins"), ("mt_en_de", ".", "zwei")]


def test_outputs_of_another_manifest_make_no_cascade(tmp_path: Path):
    result = cascade(tmp_path, HEARD[:2])
    assert result.returncode == 1
    assert "must hold an output of asr_en for each of" in result.stderr
    assert not (tmp_path / "to.tsv").exists()


@pytest.mark.parametrize("script", ["text_pairs.py", "steel_sky.py"])
def test_a_folder_without_the_corpus_is_refused_by_name(script: str, tmp_path: Path):
    result = convert(script, tmp_path, tmp_path / "to")
    assert result.returncode == 1
    assert str(tmp_path) in result.stderr
    assert "must be there" in result.stderr


@pytest.mark.parametrize(
    ("script", "numbers"),
    [
        ("text_pairs.py", {"train": 186_926, "dev": 9_761, "test": 11_019}),
        ("steel_sky.py", {"train": 33_111, "dev": 4_771, "test": 2_327}),
    ],
)
def test_the_real_corpora_become_manifests(
    script: str, numbers: dict[str, int], shared_data: Path, tmp_path: Path
):
    assert convert(script, shared_data, tmp_path).returncode == 0
    found = {split: len(content.examples) for split, content in read(tmp_path).items()}
    assert found == numbers
