"""Pretrained models of other libraries compute in our Transformer what they compute there."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from their_models import (
    BEGIN,
    END,
    FAMILIES,
    NUM_PIECES,
    PAD,
    pair,
    sources,
    their_inputs,
    their_model,
)

from conftest import ASR, MT
from taskaware.errors import CheckpointError
from taskaware.model.pretrained.read import convert, create_pretrained, read_pretrained
from taskaware.model.pretrained.source import Config, Tensors
from taskaware.settings import from_mapping, to_mapping
from taskaware.types import Batch

VARIANTS = {
    "whisper": [{}, {"num_mel_bins": 20, "decoder_layers": 1}],
    "speech_to_text": [
        {},
        {"scale_embedding": False, "num_conv_layers": 1, "conv_kernel_sizes": [3]},
        {"num_conv_layers": 3, "conv_kernel_sizes": [5, 5, 5]},
        {"tie_word_embeddings": False},
    ],
    "marian": [{}, {"scale_embedding": False, "activation_function": "gelu"}],
    "m2m_100": [{}, {"scale_embedding": False}, {"d_model": 20}],
}


@pytest.mark.parametrize(
    ("family", "changes"),
    [(family, changes) for family in FAMILIES for changes in VARIANTS[family]],
    ids=str,
)
@torch.inference_mode()
def test_encoder_outputs_and_logits_are_theirs(family: str, changes: dict):
    models = pair(family, **changes)
    source, lengths = sources(family, num_examples=5)
    if "num_mel_bins" in changes:
        source = torch.randn(5, 60, changes["num_mel_bins"])
    target = torch.randint(4, NUM_PIECES, (5, 7))
    target[:, 0] = BEGIN
    batch = Batch(
        task=models.task,
        source=source,
        source_lengths=lengths,
        target_input=target,
        target_output=target,
        target_lengths=torch.full((5,), 7),
    )
    out = models.theirs(**their_inputs(family, source, lengths), decoder_input_ids=target)
    sequence, positions = models.ours.preprocess_source(
        source, lengths, models.task.source_modality
    )
    memory = models.ours.encode(sequence, positions, None).memory_BSD
    valid = torch.arange(memory.shape[1])[None] < positions[:, None]
    theirs = out.encoder_last_hidden_state[valid]
    torch.testing.assert_close(memory[valid], theirs, atol=1e-5, rtol=1e-5)
    assert out.logits.std() > 0.1  # a comparison of zeros would prove nothing
    torch.testing.assert_close(models.ours(batch, None), out.logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_folder_gives_the_same_weights_in_one_file_or_in_parts(family: str, tmp_path):
    theirs = their_model(family)
    whole = convert(Config(theirs.config.to_dict()), Tensors(dict(theirs.state_dict())))
    theirs.save_pretrained(tmp_path / "one")
    theirs.save_pretrained(tmp_path / "parts", max_shard_size="8KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    for name in ("one", "parts"):
        read = read_pretrained(tmp_path / name)
        assert read.settings == whole.settings
        assert (read.begin, read.end, read.pad) == (BEGIN, END, PAD)
        assert read.tensors.keys() == whole.tensors.keys()
        assert all(torch.equal(read.tensors[key], whole.tensors[key]) for key in whole.tensors)


def test_weights_in_half_precision_are_read_in_single_precision(tmp_path):
    their_model("whisper").half().save_pretrained(tmp_path)
    assert all(t.dtype == torch.float32 for t in read_pretrained(tmp_path).tensors.values())


def test_the_settings_of_an_imported_model_survive_a_file():
    settings = pair("whisper").pretrained.settings
    assert from_mapping(type(settings), to_mapping(settings)) == settings


def test_a_longer_source_than_whisper_has_learnt_positions_for_is_refused():
    models = pair("whisper")
    with pytest.raises(Exception, match="at most 30 positions"):
        models.ours.start_decoding(torch.randn(1, 62, 16), torch.tensor([62]), "speech", None)


def saved(tmp_path, family: str = "m2m_100"):
    their_model(family).save_pretrained(tmp_path)
    return tmp_path


def change_tensors(folder, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def change_config(folder, **values) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refusal(folder) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_pretrained(folder)
    return str(caught.value)


FC1 = "model.encoder.layers.0.fc1.weight"


def test_missing_extra_and_wrongly_shaped_tensors_are_named_together(tmp_path):
    def change(tensors):
        del tensors[FC1]
        tensors["model.adapter.weight"] = torch.ones(2)
        tensors["model.decoder.layer_norm.bias"] = torch.ones(3)

    folder = saved(tmp_path)
    change_tensors(folder, change)
    message = refusal(folder)
    assert f"{FC1} is missing (it must have the shape [32, 16])" in message
    assert "model.adapter.weight is not known" in message
    assert "model.decoder.layer_norm.bias must have the shape [16], but has [3]" in message


def test_many_wrong_tensors_are_counted(tmp_path):
    folder = saved(tmp_path)
    change_tensors(folder, lambda tensors: tensors.clear())
    assert "and" in refusal(folder)
    assert "more" in refusal(folder)


def test_quantised_tensors_are_refused(tmp_path):
    folder = saved(tmp_path)
    change_tensors(folder, lambda t: t.update({FC1: torch.ones(32, 16, dtype=torch.int8)}))
    assert f"{FC1} must hold real numbers" in refusal(folder)


def test_a_pickle_is_refused_with_what_to_do_and_is_not_read(tmp_path):
    folder = saved(tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"no pickle at all")
    message = refusal(folder)
    assert "pytorch_model.bin" in message
    assert "save_pretrained" in message


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"model_type": "bert"}, "model_type must be one of whisper, speech_to_text"),
        ({"model_type": None}, "model_type must be one of"),
        ({"d_model": "16"}, "d_model must be a whole number"),
        ({"decoder_ffn_dim": 64}, "encoder_ffn_dim and decoder_ffn_dim must be equal"),
        ({"activation_function": "gelu_new"}, "activation_function must be one of"),
        ({"encoder_attention_heads": 3, "decoder_attention_heads": 3}, "multiple of `num_heads`"),
        ({"vocab_size": 41}, "must have the shape [41, 16], but has [40, 16]"),
        ({"encoder_layers": 3}, "model.encoder.layers.2.self_attn"),
        ({"encoder_layers": 1}, "is not known"),
        ({"dropout": 2}, "dropout must be at least 0"),
    ],
    ids=str,
)
def test_a_configuration_that_does_not_fit_is_named(tmp_path, values: dict, wanted: str):
    folder = saved(tmp_path)
    change_config(folder, **values)
    assert wanted in refusal(folder)


@pytest.mark.parametrize(
    ("family", "values", "wanted"),
    [
        ("marian", {"share_encoder_decoder_embeddings": False}, "share_encoder_decoder_embeddings"),
        ("marian", {"normalize_before": True}, "normalize_before"),
        ("speech_to_text", {"conv_kernel_sizes": [5, 3]}, "conv_kernel_sizes"),
        ("whisper", {"tie_word_embeddings": False}, "tie_word_embeddings"),
    ],
)
def test_what_our_model_has_no_option_for_is_refused(tmp_path, family, values, wanted):
    folder = saved(tmp_path, family)
    change_config(folder, **values)
    assert wanted in refusal(folder)


def test_folders_that_are_no_models_are_named(tmp_path):
    assert "has no config.json" in refusal(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    assert "must be a JSON object" in refusal(tmp_path)
    (tmp_path / "config.json").write_text("{")
    assert "must be readable JSON" in refusal(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
    assert "has no weights" in refusal(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    assert "whole safetensors file" in refusal(tmp_path)


def test_an_index_cannot_name_files_elsewhere(tmp_path):
    folder = saved(tmp_path)
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "must name files beside it" in refusal(folder)


def test_a_model_needs_a_task_that_it_can_read():
    with pytest.raises(CheckpointError, match="task for speech"):
        create_pretrained(pair("whisper").pretrained, [MT])
    with pytest.raises(CheckpointError, match="task for text"):
        create_pretrained(pair("marian").pretrained, [ASR])
