"""The models of fairseq, SpeechBrain, Joey NMT and Eole, and what one update of each is.

Sizes and dropout are those of ``contestants.py``; each library builds its own model from them, by
its own functions and with its own loss. Optimiser and clipping are the same for all
(``training_step.py``). Their packages are found where ``peer_packages.py`` installed them.
"""

from __future__ import annotations

from argparse import Namespace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from contestants import DROPOUT, EOS, PAD, Sizes
from torch import nn
from training_step import LABEL_SMOOTHING, padded_labels, peer, smoothed_cross_entropy

if TYPE_CHECKING:
    from timing import Contestant
    from torch import Tensor

    from taskaware.types import Batch

# Channels of the convolutions in SpeechBrain's recipe for LibriSpeech (ASR, transformer).
_CHANNELS = 64
_UNKNOWN = EOS + 1


def fairseq_speech(sizes: Sizes, batch: Batch, device: torch.device, precision: str) -> Contestant:
    """Return fairseq's ``s2t_transformer``: two strided convolutions over time."""
    module = import_module("fairseq.models.speech_to_text.s2t_transformer")
    settings = Namespace(
        **_fairseq_sizes(sizes),
        input_feat_per_channel=sizes.num_bins,
        conv_channels=sizes.their_conv_channels,
        max_source_positions=sizes.num_frames,
        share_decoder_input_output_embed=True,
    )
    model = module.S2TTransformerModel.build_model(settings, _FairseqTask(sizes)).train()
    loss = _fairseq_loss(model, batch)
    return peer(model, loss, device, precision, name="fairseq s2t_transformer", frames=4)


def fairseq_text(sizes: Sizes, batch: Batch, device: torch.device, precision: str) -> Contestant:
    """Return fairseq's ``transformer``, all embeddings shared."""
    module = import_module("fairseq.models.transformer")
    settings = Namespace(
        **_fairseq_sizes(sizes),
        encoder_normalize_before=True,
        decoder_normalize_before=True,
        share_all_embeddings=True,
        max_source_positions=sizes.num_frames,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
    )
    module.transformer_legacy.base_architecture(settings)
    model = module.TransformerModel.build_model(settings, _FairseqTask(sizes)).train()
    return peer(
        model, _fairseq_loss(model, batch), device, precision, name="fairseq transformer", frames=1
    )


class _FairseqTask:
    """What fairseq's builders ask a task for: the vocabularies."""

    def __init__(self, sizes: Sizes) -> None:
        dictionary = import_module("fairseq.data").Dictionary(bos="<s>", pad="<pad>", eos="</s>")
        for piece in range(len(dictionary), sizes.vocabulary_size):
            dictionary.add_symbol(str(piece))
        self.source_dictionary = self.target_dictionary = dictionary


def _fairseq_sizes(sizes: Sizes) -> dict[str, Any]:
    found: dict[str, Any] = {
        "dropout": DROPOUT,
        "attention_dropout": DROPOUT,
        "activation_dropout": DROPOUT,
        "max_target_positions": sizes.num_frames,
    }
    for side in ("encoder", "decoder"):
        found |= {
            f"{side}_embed_dim": sizes.d_model,
            f"{side}_ffn_embed_dim": sizes.d_ff,
            f"{side}_layers": sizes.num_layers,
            f"{side}_attention_heads": sizes.num_heads,
        }
    return found


def _fairseq_loss(model: Any, batch: Batch) -> Any:
    criterion = import_module("fairseq.criterions.label_smoothed_cross_entropy")
    pieces = int(batch.target_lengths.sum())

    def loss() -> Tensor:
        output = model(
            src_tokens=batch.source,
            src_lengths=batch.source_lengths,
            prev_output_tokens=batch.target_input,
        )
        log_probabilities = model.get_normalized_probs(output, log_probs=True)
        total, _ = criterion.label_smoothed_nll_loss(
            log_probabilities.flatten(0, 1),
            batch.target_output.flatten(),
            LABEL_SMOOTHING,
            ignore_index=PAD,
        )
        return total / pieces

    return loss


def speechbrain_speech(
    sizes: Sizes, batch: Batch, device: torch.device, precision: str
) -> Contestant:
    """Return SpeechBrain's ``TransformerASR`` behind the convolutions of its recipe."""
    transformer = import_module("speechbrain.lobes.models.transformer.TransformerASR")
    convolution = import_module("speechbrain.lobes.models.convolution")
    losses = import_module("speechbrain.nnet.losses")
    frontend = convolution.ConvolutionFrontEnd(
        input_shape=(sizes.num_examples, sizes.num_frames, sizes.num_bins),
        num_blocks=3,
        num_layers_per_block=1,
        out_channels=(_CHANNELS,) * 3,
        kernel_sizes=(5, 5, 1),
        strides=(2, 2, 1),
        residuals=(False,) * 3,
    )
    asr = transformer.TransformerASR(
        sizes.vocabulary_size,
        _CHANNELS * (sizes.num_bins // 4),
        d_model=sizes.d_model,
        nhead=sizes.num_heads,
        num_encoder_layers=sizes.num_layers,
        num_decoder_layers=sizes.num_layers,
        d_ffn=sizes.d_ff,
        dropout=DROPOUT,
        normalize_before=True,
        causal=False,
    )
    output_layer = nn.Linear(sizes.d_model, sizes.vocabulary_size)
    model = nn.ModuleList([frontend, asr, output_layer]).train()
    source_shares = batch.source_lengths / batch.source.shape[1]
    target_shares = batch.target_lengths / batch.target_output.shape[1]

    def loss() -> Tensor:
        _, decoded = asr(frontend(batch.source), batch.target_input, source_shares, pad_idx=PAD)
        return losses.kldiv_loss(
            output_layer(decoded).log_softmax(-1),
            batch.target_output,
            length=target_shares,
            label_smoothing=LABEL_SMOOTHING,
            pad_idx=PAD,
        )

    return peer(model, loss, device, precision, name="SpeechBrain TransformerASR", frames=4)


def joeynmt_text(sizes: Sizes, batch: Batch, device: torch.device, precision: str) -> Contestant:
    """Return Joey NMT's Transformer, embeddings and output layer shared."""
    vocabulary = import_module("joeynmt.vocabulary").Vocabulary(
        [str(piece) for piece in range(_UNKNOWN + 1, sizes.vocabulary_size)],
        Namespace(
            **{"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>"},
            **{"eos_token": "</s>", "sep_token": None, "lang_tags": []},
            **{"unk_id": 0, "pad_id": 1, "bos_id": 2, "eos_id": 3, "sep_id": None},
        ),
    )
    half = {
        "type": "transformer",
        "num_layers": sizes.num_layers,
        "num_heads": sizes.num_heads,
        "embeddings": {"embedding_dim": sizes.d_model, "scale": True, "dropout": DROPOUT},
        "hidden_size": sizes.d_model,
        "ff_size": sizes.d_ff,
        "dropout": DROPOUT,
        "layer_norm": "pre",
    }
    settings = {
        "encoder": half,
        "decoder": half,
        "tied_embeddings": True,
        "tied_softmax": True,
        "initializer": "xavier_uniform",
        "bias_initializer": "zeros",
        "embed_initializer": "xavier_uniform",
    }
    model = import_module("joeynmt.model").build_model(settings, vocabulary, vocabulary).train()
    model.loss_function = ("crossentropy", LABEL_SMOOTHING)
    pieces = int(batch.target_lengths.sum())
    source_mask = (batch.source != PAD).unsqueeze(1)
    target_mask = (batch.target_output != PAD).unsqueeze(1)

    def loss() -> Tensor:
        total, _, _, _ = model(
            return_type="loss",
            src=batch.source,
            trg_input=batch.target_input,
            trg=batch.target_output,
            src_mask=source_mask,
            src_length=batch.source_lengths,
            trg_mask=target_mask,
        )
        return total / pieces

    return peer(model, loss, device, precision, name="Joey NMT", frames=1)


def eole_text(sizes: Sizes, batch: Batch, device: torch.device, precision: str) -> Contestant:
    """Return Eole's Transformer, embeddings and output layer shared, with torch's loss."""
    settings = import_module("eole.config.models").TransformerModelConfig(
        layers=sizes.num_layers,
        hidden_size=sizes.d_model,
        heads=sizes.num_heads,
        transformer_ff=sizes.d_ff,
        embeddings={
            "word_vec_size": sizes.d_model,
            "position_encoding_type": "SinusoidalInterleaved",
        },
        share_embeddings=True,
        share_decoder_embeddings=True,
    )
    pieces = {"<unk>": 0, "<blank>": PAD} | {
        str(piece): piece for piece in range(sizes.vocabulary_size) if piece not in (0, PAD)
    }
    vocabularies = {"src": pieces, "tgt": pieces, "specials": {"pad_token": "<blank>"}}
    running = Namespace(dropout=[DROPOUT], attention_dropout=[DROPOUT])
    model: Any = (
        import_module("eole.models.model")
        .EncoderDecoderModel.build(settings, vocabularies, running)
        .train()
    )
    labels = padded_labels(batch)
    # Eole cuts the last piece off by itself.
    target = torch.cat([batch.target_input, batch.target_output[:, -1:]], dim=1)

    def loss() -> Tensor:
        decoded = model(batch.source, target, batch.source_lengths).dec_out
        return smoothed_cross_entropy(model.generator(decoded), labels)

    return peer(model, loss, device, precision, name="Eole", frames=1)
