"""The sizes and choices of a model. Imports no torch, so that the command line starts fast."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from taskaware.model.folded_settings import FoldedSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Cue = Literal["none", "text_label", "target_tag", "explicit", "implicit"]
ActsBy = Literal["film", "prepend", "join"]
AdapterMethod = Literal["none", "lora", "ia3", "layer_norms", "bottleneck"]
PositionKind = Literal["sinusoidal", "sinusoidal_vaswani", "learnt"]

_LONGEST_PROMPT = 4  # Whisper's: its begin, the language, the task, no times


@dataclass(frozen=True, kw_only=True)
class ConditioningSettings:
    """How the model learns which task is meant.

    Attributes:
        cue: Where the cue comes from. `none`: vanilla multi-task learning. `text_label`: the task
            as text before a text source (OHV, section 3.1.1). `target_tag`: the task as the
            decoder's first piece (not in the paper). `explicit`: a one-hot task (equation 1).
            `implicit`: examples of the task (equations 2-5).
        acts_by: How t_e acts: `film` scales and shifts every block (equation 7); `prepend` puts it
            before source and target as a vector; `join` adds it to every position of the encoder's
            output, which is what a one-hot task that is joined to each and a linear layer amount to
            (not in the paper).
        film_scope: `shared`: one gamma and beta for all blocks (the paper). `per_block`: a pair for
            each.
        film_on: `everything`: encoder and decoder (the paper). `decoder`: the embedded target and
            the decoder's blocks; what the encoder computes is then the same for all tasks.
        film_places: `blocks`: the outputs of blocks (the paper). `parts`: also the output of each
            attention and each feed-forward, before it is added (not in the paper).
        bottleneck: Hidden numbers of a small feed-forward beside each part of a block, which all
            tasks share and whose hidden numbers t_e scales (not in the paper; `model/modulation.py`
            says whose idea it is); 0: none. It adds to t_e so many numbers a part.
        d_task: Size inside the implicit network (256 with a filter of 512: 1.58 million parameters
            at d_model 512; the paper says about 1 million).
        d_task_ff: Inner size of its feed-forward layers.
        num_task_heads: Attention heads of its two blocks.
        gradient_reaches_shared_layers: Whether the task network's gradient also changes the front
            ends and the embedding that it reads.
        derange_support: Whether each example is modulated by the t_e of another example of its task
            while training (the paper) rather than by its own.
    """

    cue: Cue = "implicit"
    acts_by: ActsBy = "film"
    film_scope: Literal["shared", "per_block"] = "shared"
    film_on: Literal["everything", "decoder"] = "everything"
    film_places: Literal["blocks", "parts"] = "blocks"
    bottleneck: int = 0
    d_task: int = 256
    d_task_ff: int = 512
    num_task_heads: int = 4
    gradient_reaches_shared_layers: bool = False
    derange_support: bool = True

    @property
    def has_task_network(self) -> bool:
        """Whether a task network computes a t_e."""
        return self.cue in ("explicit", "implicit")

    @property
    def gives_embeddings_of_others(self) -> bool:
        """Whether an example gets the t_e of another example of its task while training."""
        return self.has_task_network and self.derange_support

    @property
    def looks_at_cue_examples(self) -> bool:
        """Whether the task network can look at examples outside the batch while training."""
        return self.cue == "implicit" and self.gives_embeddings_of_others

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if self.d_task < 1 or self.num_task_heads < 1 or self.d_task % self.num_task_heads:
            yield "d_task", f"must be a multiple of `num_task_heads` ({self.num_task_heads})"
        if self.d_task_ff < 1:
            yield "d_task_ff", "must be at least 1"
        if self.bottleneck < 0:
            yield "bottleneck", f"must be at least 0, but is {self.bottleneck}"
        if self.acts_by != "film":
            plain = {"film_scope": "shared", "film_on": "everything", "film_places": "blocks"}
            for name, value in {**plain, "bottleneck": 0}.items():
                if getattr(self, name) != value:
                    yield name, f"must be {value!r} where `acts_by` is '{self.acts_by}'"


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
        num_layers: Convolutions; 0: no bridge.
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
        if self.kernel < 1 or self.kernel % 2 == 0:
            yield "kernel", f"must be an odd number, but is {self.kernel}"
        if self.stride < 1:
            yield "stride", "must be at least 1"


@dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    """Small weights beside a frozen base, one set a task, to compare a task embedding with.

    Attributes:
        method: `none`; `lora` (Hu et al. 2022): the product of two thin matrices beside every
            linear layer of the blocks; `ia3` (Liu et al. 2022): factors of keys, of values and of
            what is inside the feed-forward layers, and of queries where one product makes all
            three; `layer_norms`: norms of each task's own; `bottleneck` (Houlsby et al. 2019): two
            thin layers with a ReLU between, behind every attention and feed-forward.
        rank: Inner size of `lora` and `bottleneck`.
        scale: The alpha of `lora`, as a multiple of the rank: its product counts so many times.
        dropout: Dropout of what enters `lora` and `bottleneck`.
        where: The blocks that have them: of the `decoder`, or of encoder and decoder, `everything`.
    """

    method: AdapterMethod = "none"
    rank: int = 16
    scale: int = 2
    dropout: float = 0.0
    where: Literal["decoder", "everything"] = "decoder"

    @property
    def used(self) -> tuple[str, ...]:
        """The fields that the method has a use for."""
        match self.method:
            case "none":
                return ()
            case "lora":
                return ("method", "where", "rank", "scale", "dropout")
            case "bottleneck":
                return ("method", "where", "rank", "dropout")
            case "ia3" | "layer_norms":
                return ("method", "where")

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for name in ("rank", "scale"):
            if getattr(self, name) < 1:
                yield name, f"must be at least 1, but is {getattr(self, name)}"
        if not 0 <= self.dropout < 1:
            yield "dropout", "must be at least 0 and below 1"


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
    def of_encoder(self) -> ModelSettings:
        """The same with what the encoder has of its own in the place of the decoder's."""
        return replace(self, **self.encoder.own(), encoder=EncoderSettings())

    @property
    def num_places(self) -> int:
        """Places that FiLM modulates: every block, source front end, target embedding."""
        return self.num_encoder_layers + self.num_decoder_layers + 2

    @property
    def time_strides(self) -> tuple[int, ...]:
        """The stride in time of each convolution of the speech front end."""
        return self.cnn_strides or (2,) * self.num_cnn_layers

    @property
    def longest_recording_frames(self) -> int | None:
        """Feature frames of the longest recording that the encoder takes; ``None``: of any."""
        return self.longest_source(in_frames=True)

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
                "must have `film_on` 'decoder' and another cue than 'implicit' where encoder and "
                "decoder are of two widths: t_e has one, and that network reads both",
            )
