"""The sizes and choices of a model. Imports no torch, so that the command line starts fast."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from taskaware.model.adapter_settings import AdapterSettings
from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.folded_settings import FoldedSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PositionKind = Literal["sinusoidal", "sinusoidal_vaswani", "learnt"]

_MOST_BRIDGE_LAYERS = 100  # ten that halve leave one position of a thousand
_LONGEST_PROMPT = 4  # Whisper's: its begin, the language, the task, no times


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """What the encoder has otherwise than the decoder, where the two come from two models.

    Attributes:
        d_model: Its width; 0: the decoder's, as for all sizes here.
        num_heads: Its attention heads.
        d_ff: Inner size of its feed-forward layers.
        norm: `pre` (Whisper, M2M100) or `post` (Marian); `same`: as the decoder.
        layer_norm_eps: Added to the variance in its layer norms; 0: as the decoder.
        activation: Inside its feed-forward layers; `same`: as the decoder.
        first_position: The number of the first sinusoidal position of a source; -1: of a target.
    """

    d_model: int = 0
    num_heads: int = 0
    d_ff: int = 0
    norm: Literal["same", "pre", "post"] = "same"
    layer_norm_eps: float = 0.0
    activation: Literal["same", "relu", "gelu", "swish"] = "same"
    first_position: int = -1

    def own(self) -> dict[str, Any]:
        """Return the fields that are not as the decoder's."""
        return {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if getattr(self, each.name) != each.default
        }

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for name in ("d_model", "num_heads", "d_ff", "layer_norm_eps"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"
        if self.first_position < -1:
            yield "first_position", "must be at least 0, or -1"


@dataclass(frozen=True, kw_only=True)
class BridgeSettings:
    """What joins the encoder of one model to the decoder of another: a length adaptor.

    Convolutions over time with gated linear units, as in Li et al. (2021, arXiv:2010.12829): a
    decoder of texts has seen some positions a word, where an encoder of speech puts out 50 a
    second. They go from the encoder's width to the decoder's, and a layer norm ends them, as the
    decoder is used to.

    Attributes:
        num_layers: Convolutions, at most 100; 0: no bridge.
        kernel: Positions that each sees at once, an odd number.
        stride: How many positions become one in each.
    """

    num_layers: int = 0
    kernel: int = 3
    stride: int = 2

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if self.num_layers < 0:
            yield "num_layers", "must not be negative"
        if self.num_layers > _MOST_BRIDGE_LAYERS:
            yield "num_layers", f"must be at most {_MOST_BRIDGE_LAYERS}, but is {self.num_layers}"
        if self.kernel < 1 or self.kernel % 2 == 0:
            yield "kernel", f"must be an odd number, but is {self.kernel}"
        if self.stride < 1:
            yield "stride", "must be at least 1"


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """A Transformer: sizes, regularisation, and what makes it task-aware.

    The defaults and the presets `single_modality` and `multi_modality` are Table 8 of the paper.

    Attributes:
        preset: A named set of the values below, which single fields then override:
            `single_modality` (text, 6 + 6 layers), `multi_modality` (speech and text, 12 + 12),
            `tiny` (a laptop's CPU).
        d_model: Width of the residual stream.
        num_heads: Attention heads.
        d_ff: Inner size of the feed-forward layers ("filter size").
        num_encoder_layers: Encoder blocks.
        num_decoder_layers: Decoder blocks.
        num_text_encoder_layers: Blocks that read texts in the place of the encoder's, with the
            decoder's sizes and positions; 0: one encoder reads all sources (the paper). For
            an encoder that was trained on speech and stays as it is.
        dropout: Dropout of embeddings and of each part of a block.
        attention_dropout: Dropout of the attention weights.
        relu_dropout: Dropout inside the feed-forward layers.
        norm: `pre`: the norm stands before each part; `post`: after it.
        layer_norm_eps: Added to the variance in layer norms.
        activation: Inside the feed-forward layers: `relu` (the paper), `gelu` (Whisper) or `swish`
            (OPUS-MT). Conformer blocks have `swish`.
        attention_bias: Whether the products of attention have biases (Whisper, Speech2Text, Marian,
            M2M100).
        source_positions: What is added to a source before the first block: `sinusoidal` (the
            TensorFlow official Transformer, Speech2Text, M2M100), `sinusoidal_vaswani` (the formula
            of Vaswani et al. 2017; Marian) or `learnt` (Whisper), which limits its length.
        target_positions: The same for a target.
        first_position: The number of the first sinusoidal position (2 in Speech2Text and M2M100).
        num_source_positions: The longest source where its positions are learnt.
        num_target_positions: The longest target where its positions are learnt.
        embedding_scale: Whether embedded pieces are multiplied by the root of `d_model` (not in
            Whisper).
        tied_output: Whether the output layer is the embedding.
        output_bias: Whether the logits have a bias (Marian).
        num_features: Width of speech frames or of a feature source.
        encoder_block: `transformer`: self-attention and feed-forward (the paper); `conformer`: a
            convolution beside them, and half a feed-forward before and after (Gulati et al. 2020).
            A Conformer block has norms of its own; `norm` then concerns the decoder.
        conformer_kernel: Positions that its convolution sees at once, an odd number (31 or 32 in
            the literature, for positions of four frames).
        frontend: How speech is made shorter: `conv2d`: convolutions over time and frequency (the
            paper), each of stride 2 in frequency; `conv1d`: over time alone (Whisper, Speech2Text).
        num_cnn_layers: Its convolutions. Of stride 2, three make a position of eight frames, two
            one of four, which is usual for a Conformer.
        cnn_channels: Their channels (the paper does not say how many). The last of `conv1d` has
            `d_model`.
        cnn_kernel: Their size, an odd number.
        cnn_strides: The stride in time of each, one number a layer; empty: 2 each.
        cnn_activation: What follows each: `relu`, `gelu`, `swish`, or `glu`, a gate.
        encoder: What the encoder has otherwise than the decoder, where it is of another model.
        bridge: What joins the two then.
        conditioning: How the model learns which task is meant.
        adapters: Weights of each task's own, to compare with.
        folded: What is left of a task embedding that was folded into the weights.
    """

    preset: str = ""
    d_model: int = 512
    num_heads: int = 8
    d_ff: int = 1024
    num_encoder_layers: int = 6
    num_decoder_layers: int = 6
    num_text_encoder_layers: int = 0
    dropout: float = 0.1
    attention_dropout: float = 0.1
    relu_dropout: float = 0.1
    norm: Literal["pre", "post"] = "pre"
    layer_norm_eps: float = 1e-6
    activation: Literal["relu", "gelu", "swish"] = "relu"
    attention_bias: bool = False
    source_positions: PositionKind = "sinusoidal"
    target_positions: PositionKind = "sinusoidal"
    first_position: int = 0
    num_source_positions: int = 1500
    num_target_positions: int = 448
    embedding_scale: bool = True
    tied_output: bool = True
    output_bias: bool = False
    num_features: int = 80
    encoder_block: Literal["transformer", "conformer"] = "transformer"
    conformer_kernel: int = 31
    frontend: Literal["conv2d", "conv1d"] = "conv2d"
    num_cnn_layers: int = 3
    cnn_channels: int = 64
    cnn_kernel: int = 3
    cnn_strides: tuple[int, ...] = ()
    cnn_activation: Literal["relu", "gelu", "swish", "glu"] = "relu"
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    bridge: BridgeSettings = field(default_factory=BridgeSettings)
    conditioning: ConditioningSettings = field(default_factory=ConditioningSettings)
    adapters: AdapterSettings = field(default_factory=AdapterSettings)
    folded: FoldedSettings = field(default_factory=FoldedSettings)

    @classmethod
    def presets(cls) -> Mapping[str, Mapping[str, Any]]:
        """Return the named sets of values."""
        return {
            "single_modality": {"num_encoder_layers": 6, "num_decoder_layers": 6},
            "multi_modality": {"num_encoder_layers": 12, "num_decoder_layers": 12},
            "tiny": {
                "d_model": 128,
                "num_heads": 4,
                "d_ff": 512,
                "num_encoder_layers": 3,
                "num_decoder_layers": 3,
                "attention_dropout": 0.0,
                "relu_dropout": 0.0,
                "cnn_channels": 16,
                "conditioning": {"d_task": 64, "d_task_ff": 128, "num_task_heads": 2},
            },
        }

    @property
    def modulates_encoder(self) -> bool:
        """Whether what the encoder computes depends on the task embedding."""
        conditioning = self.conditioning
        acts_before = conditioning.acts_by != "join" and conditioning.film_on == "everything"
        return conditioning.has_task_network and acts_before

    @property
    def _leaving_encoder_alone(self) -> str:
        """What a t_e must have that leaves the encoder alone, in words of the settings."""
        if self.conditioning.acts_by == "prepend":  # has no `film_on` but 'everything'
            return "`acts_by` 'join', or 'film' with `film_on` 'decoder',"
        return "`film_on` 'decoder'"

    @property
    def of_encoder(self) -> ModelSettings:
        """The same with what the encoder has of its own in the place of the decoder's."""
        return replace(self, **self.encoder.own(), encoder=EncoderSettings())

    @property
    def has_text_entrance(self) -> bool:
        """Whether texts are scaled and shifted on their way into an encoder of their own."""
        return self.num_text_encoder_layers > 0 and not self.embedding_scale

    @property
    def num_places_up_to_decoder(self) -> int:
        """Places of FiLM but for a text encoder's: every block, source front end, target."""
        return self.num_encoder_layers + self.num_decoder_layers + 2

    @property
    def num_places(self) -> int:
        """All places that FiLM modulates; those of a text encoder, and its entrance, are last."""
        of_texts = self.num_text_encoder_layers + 1 if self.num_text_encoder_layers else 0
        return self.num_places_up_to_decoder + of_texts

    @property
    def time_strides(self) -> tuple[int, ...]:
        """The stride in time of each convolution of the speech front end."""
        return self.cnn_strides or (2,) * self.num_cnn_layers

    @property
    def longest_recording_frames(self) -> int | None:
        """Feature frames of the longest recording that the encoder takes; ``None``: of any."""
        return self.longest_source(in_frames=True)

    def longest_text(self) -> int | None:
        """Return the longest text source that is taken, in pieces; ``None``: of any length."""
        if not self.num_text_encoder_layers:
            return self.longest_source(in_frames=False)
        return self.num_target_positions if self.target_positions == "learnt" else None

    def longest_source(self, *, in_frames: bool) -> int | None:
        """Return the longest source that the encoder takes, in positions or in feature frames."""
        if self.source_positions != "learnt":
            return None
        return self.num_source_positions * (math.prod(self.time_strides) if in_frames else 1)

    @property
    def longest_target(self) -> int | None:
        """Pieces of the longest target that the decoder takes after its prompt; ``None``: any."""
        if self.target_positions != "learnt":
            return None
        return max(self.num_target_positions - _LONGEST_PROMPT, 1)

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if self.d_model < 2 or self.num_heads < 1 or self.d_model % self.num_heads:
            yield "d_model", f"must be a multiple of `num_heads` ({self.num_heads})"
        for name in ("d_ff", "num_encoder_layers", "num_decoder_layers", "num_features"):
            if getattr(self, name) < 1:
                yield name, "must be at least 1"
        if self.num_text_encoder_layers < 0:
            yield "num_text_encoder_layers", "must not be negative"
        if self.layer_norm_eps < 0:
            yield "layer_norm_eps", f"must not be negative, but is {self.layer_norm_eps}"
        for name in ("num_cnn_layers", "cnn_channels"):
            if getattr(self, name) < 1:
                yield name, "must be at least 1"
        for name in ("dropout", "attention_dropout", "relu_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                yield name, "must be at least 0 and below 1"
        for name in ("num_source_positions", "num_target_positions"):
            if getattr(self, name) < 1:
                yield name, "must be at least 1"
        inside = self.conditioning.film_places == "parts" or self.conditioning.bottleneck > 0
        if inside and self.encoder_block == "conformer" and self.conditioning.film_on != "decoder":
            yield (
                "conditioning",
                "must have `film_on` 'decoder' where t_e acts on the parts of blocks and "
                "`encoder_block` is 'conformer', whose parts are others",
            )
        if self.conditioning.reads_encoded and self.modulates_encoder:
            yield (
                "conditioning",
                f"must have {self._leaving_encoder_alone} where `implicit_reads` is 'encoded': "
                "what the task network reads would depend on the t_e that it puts out",
            )
        adapts_encoder = self.adapters.method != "none" and self.adapters.where != "decoder"
        if self.conditioning.reads_encoded and adapts_encoder:
            yield (
                "adapters",
                "must have `where` 'decoder' where `conditioning.implicit_reads` is 'encoded'",
            )
        yield from self._impossible_sides()
        yield from self._impossible_folds()
        if self.first_position < 0:
            yield "first_position", "must not be negative"
        for name in ("conformer_kernel", "cnn_kernel"):
            if getattr(self, name) < 1 or getattr(self, name) % 2 == 0:
                yield name, f"must be an odd number, but is {getattr(self, name)}"
        if self.cnn_strides and len(self.cnn_strides) != self.num_cnn_layers:
            yield (
                "cnn_strides",
                f"must be empty or one for each of the {self.num_cnn_layers} `num_cnn_layers`, but "
                f"are {len(self.cnn_strides)}",
            )
        if any(stride < 1 for stride in self.cnn_strides):
            yield "cnn_strides", "must each be at least 1"
        if self.encoder_block == "conformer" and self.d_model % (2 * max(self.num_heads, 1)):
            yield (
                "d_model",
                "must be a multiple of twice `num_heads` where `encoder_block` is 'conformer' (its "
                "positions turn pairs of numbers)",
            )

    def _impossible_folds(self) -> Iterator[tuple[str, str]]:
        """Yield what a folded model cannot have."""
        encoder_is_pre = self.of_encoder.norm == "pre" and self.encoder_block == "transformer"
        sides = (
            ("encoder_residuals", encoder_is_pre),
            ("decoder_residuals", self.norm == "pre"),
        )
        for name, possible in sides:
            if getattr(self.folded, name) and not possible:
                yield "folded", f"must have `{name}` false where the blocks end in a norm"

    def _impossible_sides(self) -> Iterator[tuple[str, str]]:
        """Yield what does not fit where encoder and decoder come from two models."""
        own = self.of_encoder
        if own.num_heads < 1 or own.d_model % own.num_heads:
            yield "encoder", f"must have a `d_model` that is a multiple of {own.num_heads} heads"
        if own.d_model == self.d_model:
            return
        if not self.bridge.num_layers:
            yield (
                "bridge",
                f"must have `num_layers` 1 or more where the encoder is {own.d_model} wide and the "
                f"decoder {self.d_model}",
            )
        conditioning = self.conditioning
        if self.modulates_encoder or conditioning.cue == "implicit":
            yield (
                "conditioning",
                f"must have {self._leaving_encoder_alone} and another cue than 'implicit' where "
                "encoder and decoder are of two widths: t_e has one, and that network reads both",
            )
