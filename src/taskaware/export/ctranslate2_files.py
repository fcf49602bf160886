"""A model as CTranslate2 has them: a Transformer for texts, or a Whisper.

CTranslate2 (https://opennmt.net/CTranslate2) knows the layers of some architectures, not graphs.
What of ours it can represent: blocks of self-attention, attention to the encoder and feed-forward
with the norm before or after; texts on both sides, or Whisper's two convolutions over time.

Shape legend: D d_model, V vocabulary, P positions.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from taskaware.errors import UserError, require_packages
from taskaware.export.onnx_description import describe
from taskaware.model.attention import LearntPositions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from taskaware.inference.model import TaskAwareModel
    from taskaware.model.attention import Positions
    from taskaware.model.settings import ModelSettings

DESCRIPTION = "config.json"
_NUM_POSITIONS = 4096  # of sinusoids, which have no end, while a table has one
_SETTINGS_OF_WHISPER: Mapping[str, Any] = {
    "frontend": "conv1d",
    "num_cnn_layers": 2,
    "cnn_kernel": 3,
    "cnn_strides": (1, 2),
    "cnn_activation": "gelu",
    "activation": "gelu",
    "norm": "pre",
    "source_positions": "learnt",
    "target_positions": "learnt",
    "embedding_scale": False,
    "output_bias": False,
}


def why_not(model: TaskAwareModel) -> str:
    """Return what CTranslate2 cannot represent of a plain model of one task; empty: nothing."""
    settings, (task,) = model.settings, model.tasks
    if settings.folded.encoder_residuals or settings.folded.decoder_residuals:
        return (
            "scales what enters the last sum of its blocks, which is left of a task embedding that "
            "acts on a pre-norm model, and CTranslate2 has no such layer"
        )
    if settings.encoder_block != "transformer":
        return "has Conformer blocks of ours, which are not among CTranslate2's"
    if settings.bridge.num_layers or settings.encoder.own():
        return "has an encoder of another size or kind than its decoder, or a bridge between them"
    if task.source_modality == "text":
        return ""
    if task.source_modality != "speech" or model.feature_settings.kind != "whisper":
        return "hears other features than Whisper's, the only ones of CTranslate2's speech models"
    for name, wanted in _SETTINGS_OF_WHISPER.items():
        if getattr(settings, name) != wanted:
            return f"is no Whisper: `{name}` is {getattr(settings, name)!r}, there {wanted!r}"
    if settings.folded.source:
        return "scales and shifts what its front end puts out, and CTranslate2's Whisper does not"
    if not model.feature_settings.padded_seconds:
        return "hears recordings as long as they are, while CTranslate2's Whisper hears 30 s"
    return ""


def write_ctranslate2(model: TaskAwareModel, folder: Path, *, int8: bool = False) -> None:
    """Write a plain model of one task into an empty folder.

    Args:
        model: From ``fold``.
        folder: Where.
        int8: Whether the weights become whole numbers of 8 bits.

    Raises:
        UserError: CTranslate2 cannot represent it; the message says why.
        MissingDependencyError: CTranslate2 is not installed.
    """
    require_packages("a model of CTranslate2", "export", "ctranslate2")
    if reason := why_not(model):
        raise UserError(
            f"a model must be a plain text Transformer or a Whisper for CTranslate2, but this one "
            f"{reason}: export it as onnx"
        )
    is_text = model.tasks[0].modality.is_text
    spec = _text_model(model) if is_text else _whisper(model)
    spec.validate()
    spec.optimize(quantization="int8" if int8 else None)
    spec.save(str(folder))
    about = describe(model) | {"pieces": [], "cuts_texts": False}
    text = json.dumps(about, ensure_ascii=False, indent=1)
    (folder / "export.json").write_text(text, encoding="utf-8")
    if not is_text:
        _write_for_faster_whisper(model, folder)


def _text_model(model: TaskAwareModel) -> Any:
    from ctranslate2.specs import transformer_spec

    settings, weights = model.settings, _arrays(model)
    spec: Any = transformer_spec.TransformerSpec.from_config(
        (settings.num_encoder_layers, settings.num_decoder_layers),
        settings.num_heads,
        pre_norm=settings.norm == "pre",
        activation=_activation(settings),
    )
    table = _embedding(model, weights)
    spec.encoder.embeddings[0].weight = _filmed(weights, "source_film", table)
    spec.decoder.embeddings.weight = _filmed(weights, "target_film", table)
    spec.encoder.scale_embeddings = spec.decoder.scale_embeddings = False
    _encoder_layers(spec.encoder, weights, settings)
    _decoder(spec.decoder, weights, model)
    spec.encoder.position_encodings.encodings = _positions(model.transformer.source_positions)
    tokens = _tokens(model)
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    vocabulary = model.vocabulary
    spec.config.bos_token = tokens[vocabulary.BOS]
    spec.config.eos_token = tokens[vocabulary.EOS]
    spec.config.unk_token = tokens[vocabulary.UNK]
    spec.config.decoder_start_token = tokens[model.cue(model.tasks[0]).prompt[0]]
    spec.config.add_source_bos = spec.config.add_source_eos = False
    spec.config.layer_norm_epsilon = settings.layer_norm_eps
    return spec


def _whisper(model: TaskAwareModel) -> Any:
    from ctranslate2.specs import whisper_spec

    settings, weights = model.settings, _arrays(model)
    spec: Any = whisper_spec.WhisperSpec(
        settings.num_encoder_layers,
        settings.num_heads,
        settings.num_decoder_layers,
        settings.num_heads,
    )
    for number in (0, 1):
        convolution = (spec.encoder.conv1, spec.encoder.conv2)[number]
        name = f"frontends.speech.convolutions.{number}"
        convolution.weight, convolution.bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    spec.encoder.position_encodings.encodings = weights["source_positions.weight"]
    _encoder_layers(spec.encoder, weights, settings)
    table = _embedding(model, weights)
    spec.decoder.embeddings.weight = _filmed(weights, "target_film", table)
    _decoder(spec.decoder, weights, model)
    vocabulary, tokens = model.vocabulary, _tokens(model)
    spec.register_vocabulary(tokens)
    spec.config.suppress_ids = list(model.decoding.suppressed)
    spec.config.suppress_ids_begin = list(model.decoding.suppressed_first)
    languages = [tag for tag in vocabulary.tags if len(tag) in (6, 7) and tag.startswith("<|")]
    spec.config.lang_ids = sorted(vocabulary.tag_id(tag) for tag in languages)
    spec.config.alignment_heads = [  # of the upper half of the blocks, where none are known
        (block, head)
        for block in range(settings.num_decoder_layers // 2, settings.num_decoder_layers)
        for head in range(settings.num_heads)
    ]
    return spec


def _write_for_faster_whisper(model: TaskAwareModel, folder: Path) -> None:
    """Write what the library faster-whisper reads beside the model."""
    values = json.loads(model.vocabulary.model_bytes)
    (folder / "tokenizer.json").write_text(
        json.dumps(values["tokenizer"], ensure_ascii=False), encoding="utf-8"
    )
    content = {"feature_size": model.settings.num_features}
    (folder / "preprocessor_config.json").write_text(json.dumps(content), encoding="utf-8")


def _arrays(model: TaskAwareModel) -> dict[str, np.ndarray]:
    state = model.transformer.state_dict()
    return {name: value.detach().cpu().float().numpy() for name, value in state.items()}


def _activation(settings: ModelSettings) -> Any:
    from ctranslate2.specs import common_spec

    kinds = common_spec.Activation
    return {"relu": kinds.RELU, "gelu": kinds.GELU, "swish": kinds.SWISH}[settings.activation]


def _embedding(model: TaskAwareModel, weights: dict[str, np.ndarray]) -> np.ndarray:
    """Return the embedding ``[V, D]`` with its scale in it."""
    table_VD = weights["token_embedding.weight"]
    scale = np.float32(model.transformer.token_embedding.scale)
    return table_VD if scale == 1.0 else table_VD * scale


def _filmed(weights: dict[str, np.ndarray], name: str, table_VD: np.ndarray) -> np.ndarray:
    """Return an embedding with the constant scale and shift behind it folded in."""
    if f"{name}.gamma" not in weights:
        return table_VD
    return table_VD * weights[f"{name}.gamma"] + weights[f"{name}.beta"]


def _positions(positions: Positions) -> np.ndarray:
    limit = positions.limit or _NUM_POSITIONS
    if isinstance(positions, LearntPositions):
        return positions.weight.detach().cpu().float().numpy()
    device = positions.table.device
    with torch.inference_mode():
        signal = positions(torch.zeros(1, limit, positions.d_model, device=device))
    return signal[0].cpu().numpy()


def _encoder_layers(spec: Any, weights: dict[str, np.ndarray], settings: ModelSettings) -> None:
    for index, layer in enumerate(spec.layer):
        block = f"encoder.{index}"
        _self_attention(layer.self_attention, weights, block, norm="around_attention")
        _feed_forward(layer.ffn, weights, block)
    if settings.norm == "pre":
        _norm(spec.layer_norm, weights, "encoder_norm")


def _decoder(spec: Any, weights: dict[str, np.ndarray], model: TaskAwareModel) -> None:
    for index, layer in enumerate(spec.layer):
        block = f"decoder.{index}"
        _self_attention(layer.self_attention, weights, block, norm="around_self")
        names = ("query", "key_value", "output")
        for linear, name in zip(layer.attention.linear, names, strict=True):
            _linear(linear, weights, f"{block}.cross_attention.{name}")
        _norm(layer.attention.layer_norm, weights, f"{block}.around_cross.norm")
        _feed_forward(layer.ffn, weights, block)
    if model.settings.norm == "pre":
        _norm(spec.layer_norm, weights, "decoder_norm")
    spec.position_encodings.encodings = _positions(model.transformer.target_positions)
    output = weights.get("token_embedding.output_weight", weights["token_embedding.weight"])
    spec.projection.weight = output
    if "token_embedding.output_bias" in weights:
        spec.projection.bias = weights["token_embedding.output_bias"]


def _self_attention(spec: Any, weights: dict[str, np.ndarray], block: str, *, norm: str) -> None:
    _linear(spec.linear[0], weights, f"{block}.self_attention.query_key_value")
    _linear(spec.linear[1], weights, f"{block}.self_attention.output")
    _norm(spec.layer_norm, weights, f"{block}.{norm}.norm")


def _feed_forward(spec: Any, weights: dict[str, np.ndarray], block: str) -> None:
    _linear(spec.linear_0, weights, f"{block}.feed_forward.expand")
    _linear(spec.linear_1, weights, f"{block}.feed_forward.contract")
    _norm(spec.layer_norm, weights, f"{block}.around_feed_forward.norm")


def _linear(spec: Any, weights: dict[str, np.ndarray], name: str) -> None:
    spec.weight = weights[f"{name}.weight"]
    if f"{name}.bias" in weights:
        spec.bias = weights[f"{name}.bias"]


def _norm(spec: Any, weights: dict[str, np.ndarray], name: str) -> None:
    spec.gamma, spec.beta = weights[f"{name}.weight"], weights[f"{name}.bias"]


def _tokens(model: TaskAwareModel) -> list[str]:
    """Return the pieces as they are written, each only once."""
    vocabulary = model.vocabulary
    names = vocabulary.pieces(range(vocabulary.size))
    seen: dict[str, int] = {}
    for piece, name in enumerate(names):
        names[piece] = name if name not in seen else f"{name}#{piece}"
        seen[name] = piece
    return names
