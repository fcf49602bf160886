"""What lies in experiments/: files that load, scripts whose manifests prepare reads."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from taskaware.data.manifest.read import ManifestContents, read_manifest
from taskaware.run import experiment

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


def convert(script: str, source: Path, to: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, EXPERIMENTS / "manifests" / script, "--from", source, "--to", to]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def read(folder: Path) -> dict[str, ManifestContents]:
    contents = {split: read_manifest(folder / f"{split}.tsv") for split in ("train", "dev", "test")}
    assert not any(content.problems for content in contents.values())
    return contents


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_experiment_loads(path: Path):
    assert experiment.load(path).name


@pytest.mark.parametrize(
    ("name", "num_layers", "strategy", "updates"),
    [("single_modality", 6, "dynamic", 400_000), ("multi_modality", 12, "static", 600_000)],
)
def test_the_papers_configurations_are_those_of_table_8(name, num_layers, strategy, updates):
    found = experiment.load(EXPERIMENTS / f"{name}.toml")
    assert found.model.num_encoder_layers == found.model.num_decoder_layers == num_layers
    assert (found.model.d_model, found.model.num_heads, found.model.d_ff) == (512, 8, 1024)
    assert (found.batching.strategy, found.training.updates) == (strategy, updates)
    assert (found.batching.max_tokens, found.batching.examples_per_batch) == (2048, 16)
    rate = found.optimiser
    assert (rate.schedule, rate.learning_rate, rate.warmup_updates) == ("inverse_sqrt", 2, 16_000)
    assert (rate.beta1, rate.beta2, found.objective.label_smoothing) == (0.9, 0.997, 0.1)


def test_captions_become_three_tasks_that_share_their_utterance(tmp_path: Path):
    for split in ("train", "val", "test_2016_flickr"):
        for language in ("en", "de", "fr", "cs"):
            text = f"{split} {language} 1\n{split}\t{language} 2 \n"
            (tmp_path / f"{split}.{language}.gz").write_bytes(gzip.compress(text.encode()))
    assert convert("multi30k.py", tmp_path, tmp_path / "to").returncode == 0
    contents = read(tmp_path / "to")
    examples = contents["dev"].examples
    assert [example.task for example in examples[::2]] == ["mt_en_de", "mt_en_fr", "mt_en_cs"]
    assert {(examples[i].source_text, examples[i].utterance) for i in (1, 3, 5)} == {
        ("val en 2", "dev-00002")
    }
    assert examples[1].target_text == "val de 2"


def test_two_speech_corpora_become_three_tasks(tmp_path: Path):
    header = "split\tid\taudio\tduration_seconds\tspeaker\ten\n"
    lines = [f"{s}\t{s}-1\taudio/{s}.mp3\t2.0\t7\tIT'S ME\n" for s in ("train", "dev", "test")]
    (tmp_path / "librispeech_mini").mkdir()
    (tmp_path / "librispeech_mini" / "manifest.tsv").write_text(header + "".join(lines))
    header = "split\tid\taudio\tduration_seconds\ten\tde\n"
    lines = [f"{s}\t{s}-1\taudio/{s}.flac\t2.0\tHey!\tHallo!\n" for s in ("train", "dev", "test")]
    (tmp_path / "steel_sky").mkdir()
    (tmp_path / "steel_sky" / "manifest.tsv").write_text(header + "".join(lines))
    assert convert("librispeech_steel_sky.py", tmp_path, tmp_path / "to").returncode == 0
    found = {split: content.examples for split, content in read(tmp_path / "to").items()}
    read_aloud, *dialogue = found["test"]
    assert (read_aloud.task, read_aloud.dataset) == ("asr_en", "librispeech")
    assert (read_aloud.target_text, read_aloud.speaker) == ("it's me", "7")
    assert [(e.task, e.target_text) for e in dialogue] == [
        *(("asr_en", "Hey!"), ("st_en_de", "Hallo!"), ("mt_en_de", "Hallo!"))
    ]
    assert {e.utterance for e in dialogue} == {"steel_sky-test-1"}
    assert dialogue[0].speech == dialogue[1].speech
    assert dialogue[2].source_text == "Hey!"


@pytest.mark.parametrize("script", ["multi30k.py", "librispeech_steel_sky.py"])
def test_a_folder_without_the_corpus_is_refused_by_name(script: str, tmp_path: Path):
    result = convert(script, tmp_path, tmp_path / "to")
    assert result.returncode == 1
    assert str(tmp_path) in result.stderr
    assert "must be there" in result.stderr


@pytest.mark.parametrize(
    ("script", "folder", "num_train"),
    [("multi30k.py", "multi30k", 87_000), ("librispeech_steel_sky.py", "", 9_160)],
)
def test_the_real_corpora_become_manifests(
    script: str, folder: str, num_train: int, shared_data: Path, tmp_path: Path
):
    assert convert(script, shared_data / folder, tmp_path).returncode == 0
    assert len(read(tmp_path)["train"].examples) == num_train
