"""``taskaware import`` of a folder whose JSON files say what cannot be: refused, by the file.

A folder of a stranger's may hold any value under any name. Nothing is written then.
"""

from __future__ import annotations

import json
import math
import shutil
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.torch import load_file, save_file

from taskaware.cli.main import run
from tiny_translators import GERMAN, m2m100, marian, names, pieces, save_random
from tiny_whisper import START, save_whisper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def speech2text(folder: Path) -> None:
    model = pieces(GERMAN, 60)
    listed = ["<s>", "<pad>", "</s>", "<unk>", *names(model)]
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    (folder / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate(listed)}))
    save_random("Speech2Text", folder, vocab_size=len(listed), conv_channels=32, search={})


FAMILIES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "whisper": (save_whisper, "asr_en"),
    "marian": (marian, "mt_en_de"),
    "m2m_100": (m2m100, "mt_en_de"),
    "speech_to_text": (speech2text, "st_en_de"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each family."""
    place = tmp_path_factory.mktemp("theirs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the other library
        for family, (write, _) in FAMILIES.items():
            (place / family).mkdir()
            write(place / family)
    return place


@pytest.fixture
def refused(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Import a folder in which a file is another one; return what the command says."""

    def call(family: str, file: str, change: Callable[[Any], Any]) -> str:
        folder = tmp_path / "theirs"
        shutil.copytree(whole / family, folder)
        path = folder / file
        said = json.loads(path.read_text()) if path.exists() else {}
        change(said)
        path.write_text(json.dumps(said))
        tasks = FAMILIES[family][1]
        assert run(["import", str(folder), "--to", str(tmp_path / "ours"), "--tasks", tasks]) == 1
        assert [each.name for each in tmp_path.iterdir()] == ["theirs"]
        return capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ("family", "name", "value"),
    [
        ("marian", "length_penalty", "long"),
        ("marian", "length_penalty", [1.0]),
        ("marian", "length_penalty", 10**30),
        ("marian", "bad_words_ids", [["piece"]]),
        ("marian", "bad_words_ids", [[1_000_000]]),
        ("marian", "max_length", 10**30),
        ("m2m_100", "no_repeat_ngram_size", 10**30),
    ],
)
def test_a_search_that_cannot_be_is_refused(refused, family: str, name: str, value: Any):
    said = refused(family, "generation_config.json", lambda config: config.update({name: value}))
    assert f"generation_config.json: {name} must be " in said


@pytest.mark.parametrize("sizes", [[[5], [5]], [None, None], [], ["5", "5"], [5.0, 5.0]])
def test_kernels_that_are_no_numbers_are_refused(refused, sizes: list[Any]):
    change = {"conv_kernel_sizes": sizes}
    said = refused("speech_to_text", "config.json", lambda config: config.update(change))
    assert "conv_kernel_sizes must be equal odd numbers" in said


@pytest.mark.parametrize("number", [-1, 0, 10**8, 10**30])
def test_a_number_of_convolutions_that_no_file_can_hold_is_refused(refused, number: int):
    change = {"num_conv_layers": number}
    said = refused("speech_to_text", "config.json", lambda config: config.update(change))
    assert "num_conv_layers must be from 1 to the number of tensors" in said


@pytest.mark.parametrize("added", [["__de__"], 7, "x", True])
def test_added_pieces_that_are_no_object_are_refused(refused, added: Any):
    change = {"added_tokens_decoder": added}
    said = refused("m2m_100", "tokenizer_config.json", lambda config: config.update(change))
    assert "tokenizer_config.json: added_tokens_decoder must be a JSON object" in said


def test_an_added_piece_whose_id_is_no_number_is_left_out_as_others_are(
    whole: Path, tmp_path: Path
):
    folder = tmp_path / "theirs"
    shutil.copytree(whole / "m2m_100", folder)
    added = {"²": {"content": "__xx__"}, "9" * 5000: {"content": "__yy__"}}
    config = json.dumps({"added_tokens_decoder": added})
    (folder / "tokenizer_config.json").write_text(config)
    arguments = ["import", str(folder), "--to", str(tmp_path / "ours"), "--tasks", "mt_en_de"]
    assert run(arguments) == 0


def test_a_control_piece_whose_id_is_not_that_of_the_tokenizer_is_refused(refused):
    """The prompt would be made of other pieces than those that the model was trained with."""

    def move(tokenizer: Any) -> None:
        (token,) = (one for one in tokenizer["added_tokens"] if one["id"] == START)
        token["id"] = 3

    said = refused("whisper", "tokenizer.json", move)
    assert f"'<|startoftranscript|>' of tokenizer.json must have the id {START}" in said


def test_two_pieces_with_one_id_are_refused(refused):
    def double(tokenizer: Any) -> None:
        tokenizer["model"]["vocab"]["h"] = tokenizer["model"]["vocab"]["e"]

    said = refused("whisper", "tokenizer.json", double)
    assert "must have an id of its own, but 'e' and 'h' have" in said


@pytest.mark.parametrize("value", [math.nan, -math.inf, 1e300])
def test_weights_that_no_model_can_be_loaded_with_are_refused_by_name(
    value: float, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.copytree(whole / "marian", tmp_path / "theirs")
    file = tmp_path / "theirs" / "model.safetensors"
    tensors = {name: tensor.double() for name, tensor in load_file(file).items()}
    tensors["model.decoder.layers.0.fc1.bias"][1] = value
    save_file(tensors, file)
    arguments = [str(tmp_path / "theirs"), "--to", str(tmp_path / "ours"), "--tasks", "mt_en_de"]
    assert run(["import", *arguments]) == 1
    assert "decoder.layers.0.fc1.bias must hold finite numbers" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["theirs"]


def test_more_convolutions_between_two_models_than_a_recording_can_be_halved_are_refused(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    joined = [str(whole / "whisper"), "--decoder-of", str(whole / "marian"), "--tasks", "st_en_de"]
    arguments = [*joined, "--to", str(tmp_path / "ours"), "--bridge-layers", "1000000000"]
    assert run(["import", *arguments]) == 2
    assert "num_layers must be at most 100, but is 1000000000" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
