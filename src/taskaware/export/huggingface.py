"""A model in the layout of Hugging Face's library: the way back from ``taskaware import``.

Whisper and Marian, where nothing of ours is left: no task network, no constant that a fold left.

Shape legend: D d_model, V vocabulary.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file

from taskaware.data.vocabulary.prompts import is_multilingual, own_pieces
from taskaware.errors import UserError
from taskaware.export.huggingface_blocks import block_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from taskaware.inference.model import TaskAwareModel

DESCRIPTION = "config.json"
_BOTH: Mapping[str, Any] = {
    "attention_bias": True,
    "layer_norm_eps": 1e-5,
    "encoder_block": "transformer",
}
_WHISPER: Mapping[str, Any] = {
    **_BOTH,
    **{"norm": "pre", "activation": "gelu", "frontend": "conv1d", "num_cnn_layers": 2},
    **{"cnn_kernel": 3, "cnn_strides": (1, 2), "cnn_activation": "gelu"},
    **{"source_positions": "learnt", "target_positions": "learnt", "embedding_scale": False},
    **{"tied_output": True, "output_bias": False},
}
_MARIAN: Mapping[str, Any] = {
    **_BOTH,
    **{"norm": "post", "output_bias": True},
    **{"source_positions": "sinusoidal_vaswani", "target_positions": "sinusoidal_vaswani"},
    "first_position": 0,
}
_ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "swish": "swish"}


def why_not(model: TaskAwareModel) -> str:
    """Return what Hugging Face's library has no place for in a plain model; empty: nothing."""
    settings, family = model.settings, model.vocabulary.family
    wanted = {"whisper": _WHISPER, "marian": _MARIAN}.get(family)
    if wanted is None:
        known = f"those of {family}" if family else "those of a vocabulary that was trained here"
        return f"has the pieces of neither Whisper nor Marian, but {known}"
    if settings.folded.encoder_residuals or settings.folded.decoder_residuals:
        return (
            "scales what enters the last sum of its blocks, which is left of a task embedding that "
            "acts on a pre-norm model"
        )
    if settings.encoder.own() or settings.bridge.num_layers:
        return "has an encoder of another model than its decoder"
    for name, value in wanted.items():
        if getattr(settings, name) != value:
            return f"is no {family}: `{name}` is {getattr(settings, name)!r}, there {value!r}"
    weights = model.transformer.state_dict()
    films = [_film(weights, f"{side}_film") for side in ("source", "target")]
    if family == "whisper" and any(films):
        return "scales and shifts an embedding or front end, which a task embedding left"
    if family == "marian" and not _are_equal(films):
        return (
            "scales and shifts embedded sources otherwise than targets, which share a table there"
        )
    return ""


def write_huggingface(model: TaskAwareModel, folder: Path) -> None:
    """Write a plain model of one task into an empty folder.

    Args:
        model: From ``fold``.
        folder: Where.

    Raises:
        UserError: Something of ours is left in it; the message says what.
    """
    if reason := why_not(model):
        raise UserError(
            f"a model must be a Whisper or a Marian with nothing else in it for Hugging Face's "
            f"layout, but this one {reason}: export it as plain or as onnx"
        )
    weights = {name: value.cpu().float() for name, value in model.transformer.state_dict().items()}
    is_whisper = model.vocabulary.family == "whisper"
    tensors = _whisper_tensors(weights) if is_whisper else _marian_tensors(model, weights)
    tensors |= block_tensors(weights, model.settings, key_bias=not is_whisper)
    tensors = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    files = _whisper_files(model) if is_whisper else _marian_files(model)
    for name, content in files.items():
        data = content
        if not isinstance(data, bytes):
            data = json.dumps(content, ensure_ascii=False, indent=1).encode()
        (folder / name).write_bytes(data)


def _film(weights: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor] | None:
    if f"{name}.gamma" not in weights:
        return None
    return weights[f"{name}.gamma"], weights[f"{name}.beta"]


def _are_equal(films: list[tuple[Tensor, Tensor] | None]) -> bool:
    source, target = films
    if source is None or target is None:
        return source is target
    return all(one.equal(other) for one, other in zip(source, target, strict=True))


def _whisper_tensors(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    convolutions = {
        f"model.encoder.conv{index + 1}.{kind}": weights[
            f"frontends.speech.convolutions.{index}.{kind}"
        ]
        for index in (0, 1)
        for kind in ("weight", "bias")
    }
    return convolutions | {
        "model.decoder.embed_tokens.weight": weights["token_embedding.weight"],
        "model.encoder.embed_positions.weight": weights["source_positions.weight"],
        "model.decoder.embed_positions.weight": weights["target_positions.weight"],
    }


def _marian_tensors(model: TaskAwareModel, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return embedding and output layer; a scale and shift makes two tables of a shared one."""
    table_VD = weights["token_embedding.weight"]
    output_VD = weights.get("token_embedding.output_weight", table_VD)
    if film := _film(weights, "source_film"):
        gamma_D, beta_D = film
        table_VD = gamma_D * table_VD + beta_D / model.transformer.token_embedding.scale
    tensors = {
        "model.shared.weight": table_VD,
        "model.encoder.embed_tokens.weight": table_VD,
        "model.decoder.embed_tokens.weight": table_VD,
        "final_logits_bias": weights["token_embedding.output_bias"][None],
    }
    return tensors if output_VD is table_VD else tensors | {"lm_head.weight": output_VD}


def _config(model: TaskAwareModel) -> dict[str, Any]:
    settings, vocabulary = model.settings, model.vocabulary
    sizes = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (
            ("attention_heads", settings.num_heads),
            ("ffn_dim", settings.d_ff),
        )
    }
    return {
        **sizes,
        "encoder_layers": settings.num_encoder_layers,
        "decoder_layers": settings.num_decoder_layers,
        "num_hidden_layers": settings.num_encoder_layers,
        "is_encoder_decoder": True,
        "vocab_size": vocabulary.size,
        "d_model": settings.d_model,
        "dropout": settings.dropout,
        "attention_dropout": settings.attention_dropout,
        "activation_dropout": settings.relu_dropout,
        "activation_function": _ACTIVATIONS[settings.activation],
        "scale_embedding": settings.embedding_scale,
        "pad_token_id": vocabulary.PAD,
        "eos_token_id": vocabulary.EOS,
        "decoder_start_token_id": vocabulary.BOS,
        "dtype": "float32",
    }


def _search(model: TaskAwareModel) -> dict[str, Any]:
    decoding, vocabulary = model.decoding, model.vocabulary
    return {
        "num_beams": decoding.beam,
        "length_penalty": decoding.length_penalty,
        "early_stopping": decoding.stopping == "full",
        "no_repeat_ngram_size": decoding.no_repeat,
        "pad_token_id": vocabulary.PAD,
        "eos_token_id": vocabulary.EOS,
        "decoder_start_token_id": vocabulary.BOS,
    }


def _whisper_files(model: TaskAwareModel) -> dict[str, Any]:
    settings, vocabulary, (task,) = model.settings, model.vocabulary, model.tasks
    names = vocabulary.pieces(range(vocabulary.size))
    config = {
        **_config(model),
        "model_type": "whisper",
        "architectures": ["WhisperForConditionalGeneration"],
        "bos_token_id": vocabulary.EOS,
        "num_mel_bins": settings.num_features,
        "max_source_positions": settings.num_source_positions,
        "max_target_positions": settings.num_target_positions,
        "tie_word_embeddings": True,
    }
    search = {
        **_search(model),
        "bos_token_id": vocabulary.EOS,
        "max_length": settings.num_target_positions,
        "suppress_tokens": list(model.decoding.suppressed),
        "begin_suppress_tokens": list(model.decoding.suppressed_first),
        "is_multilingual": is_multilingual(vocabulary),
        "no_timestamps_token_id": vocabulary.tag_id("<|notimestamps|>"),
        "return_timestamps": False,
    }
    if is_multilingual(vocabulary):
        names_task = settings.conditioning.cue == "target_tag"
        prompt = own_pieces(vocabulary, task, names_task=names_task).prompt
        languages = [tag for tag in vocabulary.tags if tag[2:-2].isalpha() and len(tag) <= 7]
        search |= {
            "lang_to_id": {tag: vocabulary.tag_id(tag) for tag in languages},
            "task_to_id": {
                name: vocabulary.tag_id(f"<|{name}|>") for name in ("transcribe", "translate")
            },
            "language": names[prompt[1]],
            "task": names[prompt[2]][2:-2],
        }
    end = names[vocabulary.EOS]
    return {
        DESCRIPTION: config,
        "generation_config.json": search,
        "tokenizer.json": json.loads(vocabulary.model_bytes)["tokenizer"],
        "tokenizer_config.json": {
            "tokenizer_class": "WhisperTokenizer",
            **dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), end),
        },
        "preprocessor_config.json": {
            "feature_extractor_type": "WhisperFeatureExtractor",
            "feature_size": settings.num_features,
            "chunk_length": 2 * settings.num_source_positions // 100,
            "sampling_rate": 16_000,
            "hop_length": 160,
            "n_fft": 400,
        },
    }


def _marian_files(model: TaskAwareModel) -> dict[str, Any]:
    settings, vocabulary, (task,) = model.settings, model.vocabulary, model.tasks
    held = json.loads(vocabulary.model_bytes)
    is_tied = settings.tied_output and not settings.folded.source
    config = {
        **_config(model),
        "model_type": "marian",
        "architectures": ["MarianMTModel"],
        "max_position_embeddings": 1024,
        "decoder_vocab_size": vocabulary.size,
        "static_position_embeddings": True,
        "normalize_before": False,
        "normalize_embedding": False,
        "share_encoder_decoder_embeddings": True,
        "tie_word_embeddings": is_tied,
    }
    decoding = model.decoding
    search = {
        **_search(model),
        "max_length": (decoding.max_pieces or 511) + 1,
        "bad_words_ids": [[piece] for piece in decoding.suppressed],
    }
    if decoding.end_at_limit:
        search["forced_eos_token_id"] = vocabulary.EOS
    return {
        DESCRIPTION: config,
        "generation_config.json": search,
        "vocab.json": {**held["ids"], **held["controls"]},
        "source.spm": base64.b64decode(held["source_model"]),
        "target.spm": base64.b64decode(held["target_model"]),
        "tokenizer_config.json": {
            "tokenizer_class": "MarianTokenizer",
            "source_lang": task.source_language,
            "target_lang": task.target_language,
        },
    }
