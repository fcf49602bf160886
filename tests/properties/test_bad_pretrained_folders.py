"""Damaged and hostile folders in Hugging Face's layout are refused with one of our errors."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from test_bad_inputs import NUM_OF_EACH, few_words_for_many, what_is_said

from taskaware.errors import CheckpointError
from taskaware.pretrained.importing import import_model
from tiny_whisper import save_whisper

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    save_whisper(folder / "whisper")
    return folder


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_damaged_files_of_a_whisper_are_refused(file: str, good: Path, tmp_path: Path):
    case = ("whisper", file, import_model)
    said = what_is_said(case, good, tmp_path, NUM_OF_EACH // 2, draw=random.Random(file))
    assert few_words_for_many(said)


@pytest.mark.parametrize(
    "claim",
    [
        '"encoder_layers": 1000000000',
        '"d_model": 1000000000',
        '"max_source_positions": 1000000000000',
    ],
)
def test_a_configuration_allocates_no_more_than_its_weights_take(
    claim: str, good: Path, tmp_path: Path
):
    for path in (good / "whisper").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.rstrip().removesuffix("}") + f", {claim}}}")
    with pytest.raises(CheckpointError):
        import_model(tmp_path)
