"""The encoder of one pretrained model and the decoder of another, with a new bridge between them.

Shape legend: D d_model of the decoder.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from taskaware.errors import UserError
from taskaware.model.film import ConstantFilm
from taskaware.model.parts import create_bridge
from taskaware.model.settings import EncoderSettings

if TYPE_CHECKING:
    from taskaware.model.pretrained.source import Pretrained
    from taskaware.model.settings import BridgeSettings, ModelSettings

_ENCODER = ("frontends.", "source_positions.", "encoder.", "encoder_norm.")
_DECODER = ("token_embedding.", "target_positions.", "decoder.", "decoder_norm.")
# Where a decoder of texts keeps its own encoder beside that of speech.
_TEXT_ENCODER = {
    "source_positions.": "text_encoder.positions.",
    "encoder.": "text_encoder.blocks.",
    "encoder_norm.": "text_encoder.norm.",
}
_SEED = 1  # of the bridge's weights, so that two imports are equal
# What of a model's settings is its encoder's alone, whatever its decoder is.
_OF_THE_ENCODER = (
    *("num_encoder_layers", "source_positions", "num_source_positions", "num_features"),
    *("encoder_block", "conformer_kernel", "frontend", "num_cnn_layers", "cnn_channels"),
    *("cnn_kernel", "cnn_strides", "cnn_activation"),
)
_OF_EITHER = ("d_model", "num_heads", "d_ff", "norm", "layer_norm_eps", "activation")


def join(
    encoder: Pretrained, decoder: Pretrained, bridge: BridgeSettings, *, keeps_texts: bool = False
) -> Pretrained:
    """Return a model that hears as one does and writes as the other does, once it is trained.

    Args:
        encoder: Its front end, positions, blocks and last norm are taken.
        decoder: Its embedding, positions, blocks, last norm and pieces are taken; dropout, too.
        bridge: What stands between them; its weights are new.
        keeps_texts: Whether the decoder's own encoder stays for texts, which it then translates as
            before.

    Raises:
        UserError: It is to stay, but is none of texts, or has other sizes than its decoder.
    """
    settings = replace(
        decoder.settings,
        **{name: getattr(encoder.settings, name) for name in _OF_THE_ENCODER},
        encoder=_own(encoder.settings, decoder.settings),
        bridge=bridge,
    )
    tensors = {name: v for name, v in encoder.tensors.items() if name.startswith(_ENCODER)}
    tensors |= {name: v for name, v in decoder.tensors.items() if name.startswith(_DECODER)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        new = create_bridge(settings)
    assert new is not None
    tensors |= {f"bridge.{name}": value for name, value in new.state_dict().items()}
    if keeps_texts:
        _require_like_its_decoder(decoder)
        number = decoder.settings.num_encoder_layers
        settings = replace(settings, num_text_encoder_layers=number)
        for theirs, ours in _TEXT_ENCODER.items():
            tensors |= {
                ours + name.removeprefix(theirs): value
                for name, value in decoder.tensors.items()
                if name.startswith(theirs)
            }
        if settings.has_text_entrance:  # as it was: nothing is scaled or shifted
            entrance = ConstantFilm(settings.d_model).state_dict()
            tensors |= {f"text_encoder.entrance.{name}": v for name, v in entrance.items()}
    return replace(decoder, settings=settings, tensors=tensors, modality=encoder.modality)


def _require_like_its_decoder(pretrained: Pretrained) -> None:
    settings = pretrained.settings
    if pretrained.modality != "text":
        raise UserError(
            "the model whose decoder is taken must read texts where a task has a text source, but "
            f"a {pretrained.family} model hears recordings"
        )
    if settings.encoder.own() or settings.source_positions != settings.target_positions:
        raise UserError(
            "the model whose decoder is taken must have an encoder of the same sizes and positions "
            f"where a task has a text source, but this {pretrained.family} model has others: "
            "import it without such a task"
        )


def _own(encoder: ModelSettings, decoder: ModelSettings) -> EncoderSettings:
    """Return what the encoder has otherwise than the decoder."""
    own = {
        name: getattr(encoder, name)
        for name in (*_OF_EITHER, "first_position")
        if getattr(encoder, name) != getattr(decoder, name)
    }
    return EncoderSettings(**own)
