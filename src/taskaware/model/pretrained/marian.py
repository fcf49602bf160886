"""Marian (Junczys-Dowmunt et al. 2018), the models of OPUS-MT.

Shape legend: V vocabulary, D d_model.
"""

from __future__ import annotations

import torch

from taskaware.model.attention import sinusoidal_positions
from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.pretrained.blocks import block_settings, block_tensors
from taskaware.model.pretrained.source import Config, Pretrained, Tensors
from taskaware.model.settings import ModelSettings

_ROUNDED = 2e-3  # how far a table in half precision is from its sinusoids


def from_marian(config: Config, tensors: Tensors) -> Pretrained:
    """Return a ``MarianMTModel`` as our model.

    Raises:
        CheckpointError: Configuration or tensors are not those of such a model.
    """
    config.require("share_encoder_decoder_embeddings", True, default=True)
    config.require("normalize_embedding", False, default=False)
    config.require("normalize_before", False, default=False)
    config.require("add_final_layer_norm", False, default=False)
    config.require("static_position_embeddings", True, default=True)
    settings = ModelSettings(
        **block_settings(config),
        norm="post",
        source_positions="sinusoidal_vaswani",
        target_positions="sinusoidal_vaswani",
        embedding_scale=config.flag("scale_embedding", default=False),
        tied_output=config.flag("tie_word_embeddings", default=True),
        output_bias=True,
        conditioning=ConditioningSettings(cue="none"),
    )
    V, D = config.number("vocab_size"), settings.d_model
    shared = [
        "model.shared.weight",
        "model.encoder.embed_tokens.weight",
        "model.decoder.embed_tokens.weight",
    ]
    output = "lm_head.weight"
    ours = block_tensors(tensors, settings)
    names = [*shared, output] if settings.tied_output else shared
    ours["token_embedding.weight"] = tensors.take_shared(names, V, D)
    if not settings.tied_output:
        ours["token_embedding.output_weight"] = tensors.take(output, V, D)
    bias = "final_logits_bias"
    has_bias = bias in tensors.found
    ours["token_embedding.output_bias"] = (
        tensors.take(bias, 1, V)[0] if has_bias else torch.zeros(V)
    )
    _check_positions(config, tensors, D)
    tensors.finish()
    return Pretrained(
        family="marian",
        settings=settings,
        tensors=ours,
        vocabulary_size=V,
        modality="text",
        begin=config.number("decoder_start_token_id"),
        end=config.number("eos_token_id"),
        pad=config.number("pad_token_id"),
    )


def _check_positions(config: Config, tensors: Tensors, D: int) -> None:
    """Compare the sinusoids that some files hold with ours, which are computed."""
    count = config.number("max_position_embeddings", 1024)
    for side in ("encoder", "decoder"):
        name = f"model.{side}.embed_positions.weight"
        if name not in tensors.found:
            continue
        wanted = sinusoidal_positions(count, D, wavelengths="vaswani")
        if not torch.allclose(tensors.take(name, count, D), wanted, atol=_ROUNDED, rtol=0.0):
            tensors.problems.append(f"{name} must hold sinusoids, but holds something else")
