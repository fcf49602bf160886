"""From settings to the parts that a model is put together from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from taskaware.errors import UserError
from taskaware.model.attention import (
    LearntPositions,
    Positions,
    PositionSignal,
    sinusoidal_positions,
)
from taskaware.model.bridge import Bridge
from taskaware.model.conformer import ConformerLayer
from taskaware.model.film import ConstantFilm
from taskaware.model.frontend import (
    FeatureFrontend,
    SpeechFrontend,
    TimeConvolutions,
    TokenEmbedding,
)
from taskaware.model.layers import DecoderLayer, EncoderLayer
from taskaware.model.modulation import DECODER_PARTS, ENCODER_PARTS, Bottleneck, Layout
from taskaware.model.task_network import ExplicitTaskNetwork, ImplicitTaskNetwork
from taskaware.model.text_encoder import TextEncoder
from taskaware.types import MODALITIES

if TYPE_CHECKING:
    from taskaware.model.settings import ModelSettings, PositionKind
    from taskaware.types import Modality

# Its norms and its activation are its own.
_NOT_IN_A_CONFORMER = ("norm", "activation")


def create_frontends(settings: ModelSettings, modalities: set[Modality]) -> dict[str, nn.Module]:
    """Return the preprocessing layers of the modalities that are not text, by name.

    Raises:
        UserError: A source is a text, a bridge joins an encoder that reads none, and texts have
            no encoder of their own.
    """
    if settings.bridge.num_layers and not settings.num_text_encoder_layers and "text" in modalities:
        raise UserError(
            "a model whose encoder is joined to the decoder of another must have an encoder of "
            "texts (`num_text_encoder_layers`) for a task with a text source, as no pieces are "
            "embedded for the other, but has none"
        )
    return {
        name: create_frontend(settings, name)
        for name, facts in MODALITIES.items()
        if name in modalities and not facts.is_text
    }


def create_frontend(settings: ModelSettings, modality: Modality) -> nn.Module:
    """Return the preprocessing layers of a modality.

    Raises:
        ValueError: It is text, whose preprocessing layer is the token embedding.
    """
    match modality:
        case "speech":
            kind = SpeechFrontend if settings.frontend == "conv2d" else TimeConvolutions
            return kind(
                settings.num_features,
                settings.d_model,
                channels=settings.cnn_channels,
                kernel=settings.cnn_kernel,
                strides=settings.time_strides,
                activation=settings.cnn_activation,
            )
        case "features":
            return FeatureFrontend(settings.num_features, settings.d_model)
        case "text":
            raise ValueError("the front end of text is the token embedding")


def create_bridge(settings: ModelSettings) -> Bridge | None:
    """Return what joins the encoder to a decoder of another model, where there is one."""
    bridge = settings.bridge
    if not bridge.num_layers:
        return None
    return Bridge(
        settings.of_encoder.d_model,
        settings.d_model,
        num_layers=bridge.num_layers,
        kernel=bridge.kernel,
        stride=bridge.stride,
        eps=settings.layer_norm_eps,
    )


def create_token_embedding(settings: ModelSettings, vocabulary_size: int) -> TokenEmbedding:
    """Return the embedding, which is the output layer too where it is tied."""
    return TokenEmbedding(
        vocabulary_size,
        settings.d_model,
        scaled=settings.embedding_scale,
        tied=settings.tied_output,
        output_bias=settings.output_bias,
    )


def create_positions(settings: ModelSettings, kind: PositionKind, *, limit: int) -> Positions:
    """Return what is added to sources or targets; ``limit`` counts where it is learnt."""
    match kind:
        case "learnt":
            return LearntPositions(limit, settings.d_model)
        case "sinusoidal":
            return PositionSignal(settings.d_model, offset=settings.first_position)
        case "sinusoidal_vaswani":
            return PositionSignal(
                settings.d_model, offset=settings.first_position, wavelengths="vaswani"
            )


def create_encoder(settings: ModelSettings) -> list[EncoderLayer] | list[ConformerLayer]:
    """Return the blocks of the encoder."""
    settings = settings.of_encoder
    count = range(settings.num_encoder_layers)
    if settings.encoder_block == "transformer":
        size = settings.conditioning.bottleneck if settings.modulates_encoder else 0
        scaled = settings.folded.encoder_residuals
        return [EncoderLayer(**_block(settings), bottleneck=size, scaled=scaled) for _ in count]
    own = {key: value for key, value in _block(settings).items() if key not in _NOT_IN_A_CONFORMER}
    return [ConformerLayer(**own, kernel=settings.conformer_kernel) for _ in count]


def create_text_encoder(settings: ModelSettings) -> TextEncoder | None:
    """Return what reads texts beside the encoder, with the decoder's sizes and positions."""
    if not settings.num_text_encoder_layers:
        return None
    count = range(settings.num_text_encoder_layers)
    kind, limit = settings.target_positions, settings.num_target_positions
    positions = create_positions(settings, kind, limit=limit)
    entrance = ConstantFilm(settings.d_model) if settings.has_text_entrance else None
    if entrance is not None:
        nn.init.constant_(entrance.gamma, math.sqrt(settings.d_model))  # as others are scaled
    if isinstance(positions, LearntPositions):
        # From texts alone, of which there may be few: order is better known than learnt.
        signal = sinusoidal_positions(limit, settings.d_model)
        size = 1.0 if entrance is not None else positions.weight.std() / signal.std()
        with torch.no_grad():
            positions.weight.copy_(signal * size)
    blocks = [EncoderLayer(**_block(settings)) for _ in count]
    return TextEncoder(positions, blocks, last_norm(settings), entrance)


def create_decoder(settings: ModelSettings) -> list[DecoderLayer]:
    """Return the blocks of the decoder."""
    conditioning = settings.conditioning
    size = conditioning.bottleneck if conditioning.has_task_network else 0
    count = range(settings.num_decoder_layers)
    scaled = settings.folded.decoder_residuals
    return [DecoderLayer(**_block(settings), bottleneck=size, scaled=scaled) for _ in count]


def _block(settings: ModelSettings) -> dict[str, Any]:
    return {
        "d_model": settings.d_model,
        "num_heads": settings.num_heads,
        "d_ff": settings.d_ff,
        "dropout": settings.dropout,
        "attention_dropout": settings.attention_dropout,
        "relu_dropout": settings.relu_dropout,
        "norm": settings.norm,
        "eps": settings.layer_norm_eps,
        "activation": settings.activation,
        "attention_bias": settings.attention_bias,
    }


def last_norm(settings: ModelSettings, *, needed: bool = True) -> nn.Module:
    """Return the norm after a stack of blocks, where the last one does not end in its own."""
    if settings.norm == "post" or not needed:
        return nn.Identity()
    return nn.LayerNorm(settings.d_model, settings.layer_norm_eps)


def initial_task_embedding(settings: ModelSettings) -> torch.Tensor:
    """Return t_e ``[O]`` before training: what modulates nothing, or a vector of 0."""
    if settings.conditioning.acts_by != "film":
        return torch.zeros(settings.d_model)
    return create_layout(settings).initial()


def neutral_task_embedding(settings: ModelSettings) -> torch.Tensor:
    """Return the t_e ``[O]`` that leaves the model as it is, however it is trained."""
    if settings.conditioning.acts_by != "film":
        return torch.zeros(settings.d_model)
    return create_layout(settings).neutral()


def create_layout(settings: ModelSettings) -> Layout:
    """Return which numbers of t_e act where."""
    conditioning = settings.conditioning
    on_encoder = conditioning.film_on == "everything"
    first_place = 0 if on_encoder else settings.num_encoder_layers + 1
    num_places = settings.num_places if on_encoder else settings.num_places_up_to_decoder
    per_block = conditioning.film_scope == "per_block"
    inside = conditioning.film_places == "parts" or conditioning.bottleneck > 0
    num_encoder_parts = ENCODER_PARTS * settings.num_encoder_layers if inside and on_encoder else 0
    num_decoder_parts = DECODER_PARTS * settings.num_decoder_layers if inside else 0
    return Layout(
        d_model=settings.d_model,
        num_pairs=num_places - first_place if per_block else 1,
        first_place=first_place,
        num_parts=num_encoder_parts + num_decoder_parts,
        num_encoder_parts=num_encoder_parts,
        parts_have_film=conditioning.film_places == "parts",
        bottleneck=conditioning.bottleneck,
    )


def create_task_network(
    settings: ModelSettings, *, num_tasks: int
) -> ExplicitTaskNetwork | ImplicitTaskNetwork | None:
    """Return the task network, where the cue needs one."""
    conditioning = settings.conditioning
    initial = initial_task_embedding(settings)
    match conditioning.cue:
        case "explicit":
            return ExplicitTaskNetwork(num_tasks, initial)
        case "implicit":
            return ImplicitTaskNetwork(
                settings.d_model,
                d_task=conditioning.d_task,
                d_task_ff=conditioning.d_task_ff,
                num_heads=conditioning.num_task_heads,
                dropout=settings.dropout,
                initial_embedding=initial,
                normalises=not settings.embedding_scale,
            )
        case _:
            return None


def initialise(model: nn.Module) -> None:
    """Draw the weights of all linear layers by Glorot and Bengio (2010), uniformly."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, Bottleneck):
            nn.init.zeros_(module.up.weight)
