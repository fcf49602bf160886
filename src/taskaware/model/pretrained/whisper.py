"""Whisper (Radford et al. 2022), every size, English and multilingual.

Shape legend: V vocabulary, D d_model, F Mel bins, P positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.pretrained.blocks import block_settings, block_tensors
from taskaware.model.pretrained.source import Config, Pretrained, Tensors
from taskaware.model.settings import ModelSettings

if TYPE_CHECKING:
    from torch import Tensor


def from_whisper(config: Config, tensors: Tensors) -> Pretrained:
    """Return a ``WhisperForConditionalGeneration`` as our model.

    The encoder's positions are sinusoids that its files hold, rounded in some copies: they are
    taken from there, as learnt ones.

    Raises:
        CheckpointError: Configuration or tensors are not those of such a model.
    """
    config.require("tie_word_embeddings", True, default=True)
    settings = ModelSettings(
        **block_settings(config),
        norm="pre",
        num_features=config.number("num_mel_bins"),
        frontend="conv1d",
        num_cnn_layers=2,
        cnn_channels=config.number("d_model"),
        cnn_kernel=3,
        cnn_strides=(1, 2),
        cnn_activation="gelu",
        source_positions="learnt",
        target_positions="learnt",
        num_source_positions=config.number("max_source_positions"),
        num_target_positions=config.number("max_target_positions"),
        embedding_scale=False,
        conditioning=ConditioningSettings(cue="none"),
    )
    V, D, F = config.number("vocab_size"), settings.d_model, settings.num_features
    names = ("model.decoder.embed_tokens.weight", "proj_out.weight")
    ours: dict[str, Tensor] = {
        "token_embedding.weight": tensors.take_shared(names, V, D),
        "source_positions.weight": tensors.take(
            "model.encoder.embed_positions.weight", settings.num_source_positions, D
        ),
        "target_positions.weight": tensors.take(
            "model.decoder.embed_positions.weight", settings.num_target_positions, D
        ),
        **block_tensors(tensors, settings, key_bias=False),
    }
    for index, bins in enumerate((F, D)):
        name, theirs = f"frontends.speech.convolutions.{index}", f"model.encoder.conv{index + 1}"
        ours[f"{name}.weight"] = tensors.take(f"{theirs}.weight", D, bins, 3)
        ours[f"{name}.bias"] = tensors.take(f"{theirs}.bias", D)
    tensors.finish()
    return Pretrained(
        family="whisper",
        settings=settings,
        tensors=ours,
        vocabulary_size=V,
        modality="speech",
        begin=config.number("decoder_start_token_id"),
        end=config.number("eos_token_id"),
        pad=config.number("pad_token_id"),
    )
