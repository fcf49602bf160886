"""Speech2Text (Wang et al. 2020, fairseq S2T).

Shape legend: V vocabulary, D d_model, F Mel bins, C channels, K kernel.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from taskaware.errors import CheckpointError
from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.pretrained.blocks import block_settings, block_tensors
from taskaware.model.pretrained.source import Config, Pretrained, Tensors
from taskaware.model.settings import ModelSettings

if TYPE_CHECKING:
    from torch import Tensor


def from_speech2text(config: Config, tensors: Tensors) -> Pretrained:
    """Return a ``Speech2TextForConditionalGeneration`` as our model.

    In a batch of unequal lengths ours sets padding to zero before each convolution and theirs does
    not, so that theirs alone lets the last positions of a shorter recording depend on the batch.

    Raises:
        CheckpointError: Configuration or tensors are not those of such a model.
    """
    config.require("input_channels", 1, default=1)
    # Its encoder marks padding with 1, whatever the padding piece is.
    config.require("pad_token_id", 1, default=1)
    num_layers, kernel = _num_layers(config, tensors), _kernel(config)
    channels = config.number("conv_channels")
    scale = config.flag("scale_embedding", default=True)
    settings = ModelSettings(
        **block_settings(config),
        norm="pre",
        num_features=config.number("input_feat_per_channel"),
        frontend="conv1d",
        num_cnn_layers=num_layers,
        cnn_channels=channels // 2,
        cnn_kernel=kernel,
        cnn_activation="glu",
        first_position=2,
        embedding_scale=scale,
        tied_output=config.flag("tie_word_embeddings", default=True),
        conditioning=ConditioningSettings(cue="none"),
    )
    V, D = config.number("vocab_size"), settings.d_model
    ours = _embedding(tensors, V, D, tied=settings.tied_output)
    ours |= block_tensors(tensors, settings)
    inputs = [settings.num_features, *[channels // 2] * (num_layers - 1)]
    outputs = [*[channels] * (num_layers - 1), 2 * D]
    for index, (bins, size) in enumerate(zip(inputs, outputs, strict=True)):
        name = f"frontends.speech.convolutions.{index}"
        theirs = f"model.encoder.conv.conv_layers.{index}"
        ours[f"{name}.weight"] = tensors.take(f"{theirs}.weight", size, bins, kernel)
        ours[f"{name}.bias"] = tensors.take(f"{theirs}.bias", size)
    if scale:
        _scale_gate_inputs(ours, f"frontends.speech.convolutions.{num_layers - 1}", D)
    tensors.finish()
    return Pretrained(
        family="speech_to_text",
        settings=settings,
        tensors=ours,
        vocabulary_size=V,
        modality="speech",
        begin=config.number("decoder_start_token_id"),
        end=config.number("eos_token_id"),
        pad=config.number("pad_token_id"),
    )


def _num_layers(config: Config, tensors: Tensors) -> int:
    """Return how many convolutions there are: a list is made of so many sizes, so not any number.

    Raises:
        CheckpointError: There is none, or there are more than tensors.
    """
    number = config.number("num_conv_layers")
    if not 1 <= number <= max(len(tensors.found), 1):
        raise CheckpointError(
            f"{config.where}: num_conv_layers must be from 1 to the number of tensors "
            f"({len(tensors.found):,}), but is {number}"
        )
    return number


def _kernel(config: Config) -> int:
    said = config.values.get("conv_kernel_sizes")
    sizes = list(said) if isinstance(said, list | tuple) else []
    numbers = [size for size in sizes if type(size) is int and size % 2 == 1]
    if not numbers or numbers != numbers[:1] * len(sizes):
        raise CheckpointError(
            f"{config.where}: conv_kernel_sizes must be equal odd numbers, but are {said!r}"
        )
    return numbers[0]


def _embedding(tensors: Tensors, V: int, D: int, *, tied: bool) -> dict[str, Tensor]:
    inputs, output = "model.decoder.embed_tokens.weight", "lm_head.weight"
    if tied:
        return {"token_embedding.weight": tensors.take_shared((inputs, output), V, D)}
    return {
        "token_embedding.weight": tensors.take(inputs, V, D),
        "token_embedding.output_weight": tensors.take(output, V, D),
    }


def _scale_gate_inputs(ours: dict[str, Tensor], convolution: str, d_model: int) -> None:
    """Multiply what the last gate lets through by sqrt(D), as theirs does behind the front end."""
    for kind in ("weight", "bias"):
        scaled = ours[f"{convolution}.{kind}"].clone()
        scaled[:d_model] *= math.sqrt(d_model)
        ours[f"{convolution}.{kind}"] = scaled
