"""Small random models of the families, made by Hugging Face's library, and ours with their weights.

Every weight is drawn, norms and biases too: what is zero or one would hide what is left out.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from conftest import MT, ST
from taskaware.model.pretrained.read import convert, create_pretrained
from taskaware.model.pretrained.source import Config, Pretrained, Tensors

if TYPE_CHECKING:
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Task

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is ever downloaded
transformers = pytest.importorskip("transformers", reason="the other implementation is not there")

FAMILIES = ("whisper", "speech_to_text", "marian", "m2m_100")
NUM_PIECES, NUM_BINS = 40, 16
PAD, END, BEGIN = 1, 2, 3
_CLASSES = {
    "whisper": ("WhisperConfig", "WhisperForConditionalGeneration"),
    "speech_to_text": ("Speech2TextConfig", "Speech2TextForConditionalGeneration"),
    "marian": ("MarianConfig", "MarianMTModel"),
    "m2m_100": ("M2M100Config", "M2M100ForConditionalGeneration"),
}
_OWN: dict[str, dict[str, Any]] = {
    "whisper": {
        "num_mel_bins": NUM_BINS,
        "max_source_positions": 30,
        "max_target_positions": 60,
        "activation_function": "gelu",
        "suppress_tokens": None,
        "begin_suppress_tokens": None,
    },
    "speech_to_text": {
        "input_feat_per_channel": NUM_BINS,
        "conv_channels": 24,
        "max_source_positions": 100,
        "max_target_positions": 100,
        "activation_function": "relu",
        "scale_embedding": True,
    },
    "marian": {
        "activation_function": "swish",
        "scale_embedding": True,
        "max_position_embeddings": 100,
        "forced_eos_token_id": None,
    },
    "m2m_100": {
        "activation_function": "relu",
        "scale_embedding": True,
        "max_position_embeddings": 100,
    },
}


@dataclass
class Pair:
    """The two models, with the same weights."""

    theirs: Any
    pretrained: Pretrained
    ours: TaskAwareTransformer
    task: Task


def their_model(
    family: str, *, sharpness: float = 1.0, lively: bool = False, **changes: Any
) -> Any:
    """Return one of theirs; a lively one writes about its source, and not one piece for ever."""
    config_class, model_class = _CLASSES[family]
    sizes = {
        "vocab_size": NUM_PIECES,
        "d_model": 16,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "encoder_layers": 2,
        "decoder_layers": 3,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "pad_token_id": PAD,
        "bos_token_id": 0,
        "eos_token_id": END,
        "decoder_start_token_id": BEGIN,
    }
    config = getattr(transformers, config_class)(**(sizes | _OWN[family] | changes))
    model = getattr(transformers, model_class)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:  # not the sinusoids
                parameter.add_(0.2 * torch.randn_like(parameter))
        if family == "marian":
            model.final_logits_bias.copy_(torch.randn(1, NUM_PIECES))
        if lively:
            for name, parameter in model.named_parameters():
                if "layers" in name and name.endswith("proj.weight"):
                    parameter.mul_(4.0)
        model.get_input_embeddings().weight.mul_(sharpness)
        if lively:
            likely_end(model)
    return model


def likely_end(model: Any) -> None:
    """Give the end-of-sequence piece a part of the probability, whatever the state is."""
    if model.config.model_type == "marian":
        model.final_logits_bias[0, END] += 3.0
    else:
        model.model.decoder.layer_norm.bias.add_(1.0)
        model.get_input_embeddings().weight[END] += 0.15


def pair(family: str, *, sharpness: float = 1.0, lively: bool = False, **changes: Any) -> Pair:
    theirs = their_model(family, sharpness=sharpness, lively=lively, **changes)
    config = Config(theirs.config.to_dict())
    pretrained = convert(config, Tensors(dict(theirs.state_dict())))
    task = MT if pretrained.modality == "text" else ST
    return Pair(theirs, pretrained, create_pretrained(pretrained, [task]), task)


def sources(family: str, *, num_examples: int) -> tuple[Tensor, Tensor]:
    """Random sources: of one length for recordings, of several for texts."""
    if family == "whisper":  # reads whole recordings of 60 frames alone
        return torch.randn(num_examples, 60, NUM_BINS), torch.full((num_examples,), 60)
    if family == "speech_to_text":
        return torch.randn(num_examples, 33, NUM_BINS), torch.full((num_examples,), 33)
    lengths = torch.randint(4, 10, (num_examples,))
    pieces = torch.randint(4, NUM_PIECES, (num_examples, 10))
    valid = torch.arange(10)[None] < lengths[:, None]
    pieces[:, 3] = END  # theirs ends a source with it; to ours it is a piece like others
    return torch.where(valid, pieces, PAD), lengths


def their_inputs(family: str, source: Tensor, lengths: Tensor) -> dict[str, Tensor]:
    if family == "whisper":
        return {"input_features": source.transpose(1, 2)}
    mask = (torch.arange(source.shape[1])[None] < lengths[:, None]).long()
    name = "input_features" if family == "speech_to_text" else "input_ids"
    return {name: source, "attention_mask": mask}
