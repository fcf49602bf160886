"""``taskaware data stats``: from manifests to tables, on the terminal and in files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import soundfile

from taskaware.cli import data, main
from taskaware.data.prepared import PreparedData
from taskaware.data.vocabulary import Vocabulary
from taskaware.errors import DataError, ManifestError, OutputError, UserError
from tiny_corpus import prepare_corpus

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]):
    """Run the command and return its exit code and what it prints."""

    def call(*words: object) -> tuple[int, str]:
        capsys.readouterr()
        code = data.app(
            ["stats", *map(str, words)], exit_on_error=False, result_action="return_value"
        )
        return code, capsys.readouterr().out

    return call


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Manifests as a corpus recipe writes them, with one dev pair planted in train."""
    rows = {
        "train": [("one two four", "eins zwei vier", ""), ("three", "drei", ""), ("six", "sechs", "model")],
        "dev": [("ONE TWO FOUR", "Eins, zwei, vier!", "")],
        "test-other": [("seven", "sieben", "")],
    }
    for split, pairs in rows.items():
        records = [
            {
                "task": "mt_en_de",
                "dataset": "small [news]",
                "source_text": source,
                "target_text": target,
                "origin": origin,
            }
            for source, target, origin in pairs
        ]
        text = "".join(json.dumps(record) + "\n" for record in records)
        (tmp_path / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_folder_of_manifests_is_counted_and_written_down(corpus: Path, command, tmp_path: Path):
    code, printed = command(corpus, "--to", tmp_path / "out")
    assert code == 0
    shown = [line.split() for line in printed.splitlines()]
    assert ["mt_en_de", "small", "[news]", "N/A", "2", "1", "1"] in shown
    assert ["mt_en_de", "small", "[news],", "synthetic", "N/A", "1", "N/A", "N/A"] in shown
    assert ["dev", "mt_en_de", "text", "pair", "1", "1"] in shown
    page = (tmp_path / "out" / "stats.md").read_text(encoding="utf-8")
    assert "| task | corpus | train hours | train examples | dev | test-other |" in page
    assert "| dev | mt_en_de | text pair | 1 | 1 |" in page
    record = json.loads((tmp_path / "out" / "stats.json").read_text(encoding="utf-8"))
    assert [group["examples"] for group in record["groups"]] == [1, 1, 3]


def test_manifests_may_lie_in_a_folder_of_that_name(corpus: Path, command):
    inner = corpus / "manifests"
    inner.mkdir()
    (corpus / "train.jsonl").rename(inner / "train.jsonl")
    _, printed = command(corpus)
    assert "train examples" in printed
    assert "test-other" not in printed


def test_manifests_by_split_and_a_vocabulary_are_taken(corpus: Path, command):
    Vocabulary.train(["one two eins zwei six"], size=300).save(corpus / "vocabulary.model")
    options = ["--train", corpus / "train.jsonl", "--vocabulary", corpus / "vocabulary.model"]
    _, printed = command(*options)
    lines = [line.split() for line in printed.splitlines()]
    assert ["h", "U+0068", "latin", "small", "letter", "h", "2"] in lines
    assert "Overlap" not in printed


def test_recordings_are_not_opened_where_the_user_says_so(tmp_path: Path, command):
    (tmp_path / "train.tsv").write_text("task\taudio\ttarget_text\nasr\ta[b].wav\tone\n")
    _, printed = command("--train", tmp_path / "train.tsv")
    assert "a[b].wav: the file does not exist" in printed
    _, printed = command("--train", tmp_path / "train.tsv", "--no-audio")
    assert "a[b].wav" not in printed


def test_a_folder_prepared_from_manifests_of_ones_own_is_counted(tmp_path: Path, command):
    folder = prepare_corpus(tmp_path)
    code, printed = command(folder, "--to", folder)
    assert code == 0
    shown = [line.split() for line in printed.splitlines()]
    assert ["mt_en_de", "train", "N/A", "16", "N/A", "N/A"] in shown
    record = json.loads((folder / "stats.json").read_text(encoding="utf-8"))
    (asr,) = (
        group
        for group in record["groups"]
        if (group["task"], group["split"]) == ("asr_en", "train")
    )
    assert asr["examples"] == 16
    waves = [soundfile.info(path).duration for path in tmp_path.glob("train*.wav")]
    assert asr["seconds"]["total"] == pytest.approx(sum(waves), abs=0.01 * len(waves))
    assert PreparedData.open(folder).split_names == ("train", "dev", "test")  # as it was
    code, _ = command(folder, "--to", folder)  # written over: it is the command's own


def test_statistics_of_the_user_are_not_written_over(corpus: Path, command):
    (corpus / "stats.md").write_text("mine")
    with pytest.raises(OutputError, match=r"holds stats\.md, which taskaware did not write"):
        command(corpus, "--to", corpus)
    assert (corpus / "stats.md").read_text() == "mine"


def test_what_is_not_there_is_said(tmp_path: Path, corpus: Path, command):
    with pytest.raises(UserError, match=r"either a folder of manifests .* neither is given"):
        command()
    with pytest.raises(UserError, match="both are given"):
        command(corpus, "--train", corpus / "train.jsonl")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty must be a folder with a manifest SPLIT\.jsonl"):
        command(tmp_path / "empty")
    with pytest.raises(ManifestError, match="does not exist"):
        command("--train", tmp_path / "no.tsv")
    with pytest.raises(DataError, match="the vocabulary file does not exist"):
        command(corpus, "--vocabulary", tmp_path / "no.model")
    with pytest.raises(UserError, match="must be a folder, but is a file"):
        command(corpus, "--to", corpus / "train.jsonl")


def test_verify_names_every_damaged_shard(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = prepare_corpus(tmp_path)
    assert main.run(["data", "verify", str(data)]) == 0
    assert "all 6 shards are intact" in capsys.readouterr().out
    for name in ("train/text-000000.jsonl", "dev/speech-000000.tar"):
        with (data / name).open("r+b") as file:
            file.seek(100)
            byte = file.read(1)
            file.seek(100)
            file.write(bytes([byte[0] ^ 1]))
    assert main.run(["data", "verify", str(data)]) == 1
    shown = capsys.readouterr().err
    assert "train/text-000000.jsonl: the shard has other bytes" in shown
    assert "dev/speech-000000.tar: the shard has other bytes" in shown
