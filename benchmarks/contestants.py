"""The models that are compared, with equal sizes, and the synthetic speech that all of them get.

Hugging Face's ``Speech2TextForConditionalGeneration`` is the nearest model in wide use: log-Mel
bins, strided convolutions, a pre-norm Transformer, sinusoidal positions, one embedding for target
and output. What still differs is in ``DIFFERENCES``, which the comparison prints.
"""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from taskaware.model.conditioning_settings import ConditioningSettings, Cue
from taskaware.model.create_model import create_model
from taskaware.model.settings import ModelSettings
from taskaware.settings.typed import from_mapping
from taskaware.types import Batch, Task

if TYPE_CHECKING:
    from torch import nn

    from taskaware.model.transformer import TaskAwareTransformer

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is ever downloaded

TASK = Task(
    name="asr_en", kind="asr", source_modality="speech", source_language="en", target_language="en"
)
TEXT_TASK = Task(
    name="mt_en_de", kind="mt", source_modality="text", source_language="en", target_language="de"
)
NUM_TASKS = 3
DROPOUT = 0.1
# The ids of the control pieces, so chosen that theirs takes its own default for padding.
BOS, PAD, EOS = 0, 1, 2
THEIR_PAD_LABEL = -100
DIFFERENCES = (
    "theirs makes one position of 4 frames (2 conv1d of stride 2 with gated linear units); ours of "
    "8 (3 conv2d), or of 4 with 2 layers: only the rows of 4 frames have encoders of equal length",
    "theirs has biases in its attention, one product each for Q, K and V, and explicit attention: "
    "this model of theirs refuses torch's fused one",
    "theirs computes logits at padded targets too; the loss leaves them out on both sides",
    "theirs repeats the encoder's output for every hypothesis of a beam; ours keeps one an example",
)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is computed.

    Attributes:
        num_examples: Recordings of a batch.
        num_frames: Frames of the longest recording; the shortest has three quarters of them.
        num_bins: Log-Mel bins of a frame.
        num_pieces: Pieces of the longest target, its end included; the shortest has three quarters.
        vocabulary_size: Pieces there are.
        d_model: Width of the residual stream.
        num_heads: Attention heads.
        d_ff: Inner size of the feed-forward layers.
        num_layers: Blocks of the encoder, and as many of the decoder.
        cnn_channels: Channels of our convolutions.
        their_conv_channels: Channels of theirs before the gate (their default).
        decoded_pieces: Pieces that a decode gives every recording, its end included.
        beam: Hypotheses of a recording.
        num_tasks: Tasks of our model.
    """

    num_examples: int = 8
    num_frames: int = 800
    num_bins: int = 80
    num_pieces: int = 30
    vocabulary_size: int = 8000
    d_model: int = 256
    num_heads: int = 4
    d_ff: int = 1024
    num_layers: int = 6
    cnn_channels: int = 64
    their_conv_channels: int = 1024
    decoded_pieces: int = 40
    beam: int = 4
    num_tasks: int = NUM_TASKS


TINY = Sizes(
    num_examples=2,
    num_frames=80,
    num_pieces=8,
    vocabulary_size=50,
    d_model=32,
    d_ff=64,
    num_layers=1,
    cnn_channels=4,
    their_conv_channels=16,
    decoded_pieces=5,
)


def of_preset(name: str, **batch: int) -> Sizes:
    """Return the sizes of a preset of `[model]`, of a batch like this.

    Its sizes alone: dropout, the convolutions over time and the task network's sizes are those that
    ``our_model`` gives all models.
    """
    settings = from_mapping(ModelSettings, {"preset": name})
    return Sizes(
        d_model=settings.d_model,
        num_heads=settings.num_heads,
        d_ff=settings.d_ff,
        num_layers=settings.num_encoder_layers,
        cnn_channels=settings.cnn_channels,
        **batch,
    )


# The source of a batch of few examples, and the sizes.
PRESETS: dict[str, tuple[str, Sizes]] = {
    "tiny": ("speech", of_preset("tiny", vocabulary_size=1000)),
    "single_modality": (
        "text",
        of_preset("single_modality", num_examples=32, vocabulary_size=32_000),
    ),
    "multi_modality": (
        "speech",
        of_preset("multi_modality", num_examples=4, vocabulary_size=32_000),
    ),
}


def our_model(
    sizes: Sizes, *, cue: Cue, num_cnn_layers: int, task: Task = TASK, like_theirs: bool = False
) -> TaskAwareTransformer:
    """Return our model of tasks like `task`, dropout as in Table 8 of the paper (0.1).

    `like_theirs`: with Speech2Text's front end, convolutions over time alone, not the paper's.
    """
    settings = ModelSettings(
        d_model=sizes.d_model,
        num_heads=sizes.num_heads,
        d_ff=sizes.d_ff,
        num_encoder_layers=sizes.num_layers,
        num_decoder_layers=sizes.num_layers,
        dropout=DROPOUT,
        attention_dropout=DROPOUT,
        relu_dropout=DROPOUT,
        num_features=sizes.num_bins,
        num_cnn_layers=num_cnn_layers,
        cnn_channels=sizes.cnn_channels,
        # The task network grows with the model: Table 8's 512 : 256, and a filter twice as wide.
        conditioning=ConditioningSettings(
            cue=cue, d_task=sizes.d_model // 2, d_task_ff=sizes.d_model
        ),
    )
    if like_theirs:
        channels = sizes.their_conv_channels // 2  # the gate halves them
        kind = {"frontend": "conv1d", "cnn_activation": "glu", "cnn_kernel": 5}
        settings = replace(settings, **kind, cnn_channels=channels)
    tasks = [task] * sizes.num_tasks
    return create_model(settings, vocabulary_size=sizes.vocabulary_size, tasks=tasks)


def their_model(sizes: Sizes) -> Any:
    """Return Hugging Face's Speech2Text of the same sizes and dropout, weights random."""
    from transformers import Speech2TextConfig, Speech2TextForConditionalGeneration

    config = Speech2TextConfig(
        **_their_sizes(sizes),
        input_feat_per_channel=sizes.num_bins,
        conv_channels=sizes.their_conv_channels,
        max_source_positions=sizes.num_frames,
        bos_token_id=BOS,
    )
    return Speech2TextForConditionalGeneration(config)


def their_text_model(sizes: Sizes) -> Any:
    """Return Hugging Face's Marian of the same sizes and dropout, weights random."""
    from transformers import MarianConfig, MarianMTModel

    config = MarianConfig(
        **_their_sizes(sizes), max_position_embeddings=sizes.num_frames, scale_embedding=True
    )
    return MarianMTModel(config)


def _their_sizes(sizes: Sizes) -> dict[str, Any]:
    return {
        "vocab_size": sizes.vocabulary_size,
        "d_model": sizes.d_model,
        "encoder_layers": sizes.num_layers,
        "decoder_layers": sizes.num_layers,
        "encoder_attention_heads": sizes.num_heads,
        "decoder_attention_heads": sizes.num_heads,
        "encoder_ffn_dim": sizes.d_ff,
        "decoder_ffn_dim": sizes.d_ff,
        "dropout": DROPOUT,
        "attention_dropout": DROPOUT,
        "activation_dropout": DROPOUT,
        "pad_token_id": PAD,
        "eos_token_id": EOS,
        "decoder_start_token_id": BOS,
    }


def synthetic_batch(sizes: Sizes, *, device: torch.device) -> Batch:
    """Return normally distributed frames and uniformly distributed pieces, of unequal lengths."""
    generator = torch.Generator().manual_seed(0)
    lengths = _lengths(sizes.num_frames, sizes)
    source = torch.randn(sizes.num_examples, sizes.num_frames, sizes.num_bins, generator=generator)
    source[torch.arange(sizes.num_frames) >= lengths[:, None]] = 0.0
    return _batch(TASK, source, lengths, sizes, generator).to(device)


def synthetic_texts(sizes: Sizes, *, device: torch.device) -> Batch:
    """Return texts with targets of the same lengths, uniformly distributed pieces."""
    generator = torch.Generator().manual_seed(0)
    source, lengths = _pieces(sizes, generator)
    return _batch(TEXT_TASK, source, lengths, sizes, generator).to(device)


def _batch(
    task: Task,
    source: torch.Tensor,
    source_lengths: torch.Tensor,
    sizes: Sizes,
    generator: torch.Generator,
) -> Batch:
    pieces, target_lengths = _pieces(sizes, generator)
    begin = torch.full((sizes.num_examples, 1), BOS)
    return Batch(
        task=task,
        source=source,
        source_lengths=source_lengths,
        target_input=torch.cat([begin, pieces[:, :-1]], dim=1),
        target_output=pieces,
        target_lengths=target_lengths,
    )


def _pieces(sizes: Sizes, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (sizes.num_examples, sizes.num_pieces)
    lengths = _lengths(sizes.num_pieces, sizes)
    pieces = torch.randint(EOS + 1, sizes.vocabulary_size, shape, generator=generator)
    pieces[torch.arange(sizes.num_examples), lengths - 1] = EOS
    pieces[torch.arange(sizes.num_pieces) >= lengths[:, None]] = PAD
    return pieces, lengths


def _lengths(longest: int, sizes: Sizes) -> torch.Tensor:
    return torch.linspace(0.75 * longest, longest, sizes.num_examples).long()


def quiet() -> None:
    """Keep notices that concern no one here out of tables, and load theirs before measuring."""
    import transformers

    transformers.logging.set_verbosity_error()
    _ = transformers.Speech2TextForConditionalGeneration  # loaded when it is first named
    for category in (UserWarning, RuntimeWarning, FutureWarning):
        warnings.filterwarnings("ignore", category=category)
    logging.disable(logging.WARNING)


def source_mask(batch: Batch) -> torch.Tensor:
    """Return what theirs wants instead of lengths: int64 ``[B, S]``, 1 at valid positions."""
    positions = torch.arange(batch.source.shape[1], device=batch.source.device)
    return (positions < batch.source_lengths[:, None]).long()


def num_parameters(model: nn.Module) -> int:
    """Return how many numbers a model learns, shared ones counted once."""
    return sum(parameter.numel() for parameter in model.parameters())
