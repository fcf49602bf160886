"""One text model in four libraries: ours, Hugging Face's, CTranslate2's in float32 and in int8.

Random weights of Hugging Face's M2M100 (a pre-norm Transformer), given to the others by their own
importers. Every output has the same number of pieces: the end is forbidden until then.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from contestants import EOS

from taskaware.decoding.beam_search import beam_search
from taskaware.decoding.settings import DecodingSettings
from taskaware.model.pretrained.read import convert, create_pretrained
from taskaware.model.pretrained.source import Config, Tensors
from taskaware.types import Task

if TYPE_CHECKING:
    from taskaware.model.transformer import TaskAwareTransformer

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is ever downloaded
BOS, PAD, UNK = 0, 1, 3  # of M2M100
TASK = Task(
    name="mt_en_de", kind="mt", source_modality="text", source_language="en", target_language="de"
)


@dataclass(frozen=True, kw_only=True)
class TextSizes:
    """The model and what is decoded; the defaults are those of Vaswani et al.'s base model."""

    d_model: int = 512
    num_heads: int = 8
    d_ff: int = 2048
    num_layers: int = 6
    vocabulary_size: int = 32_000
    source_pieces: int = 30
    decoded_pieces: int = 30


def their_text_model(sizes: TextSizes) -> Any:
    """Return Hugging Face's model with random weights."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    torch.manual_seed(0)
    config = M2M100Config(
        vocab_size=sizes.vocabulary_size,
        d_model=sizes.d_model,
        encoder_attention_heads=sizes.num_heads,
        decoder_attention_heads=sizes.num_heads,
        encoder_ffn_dim=sizes.d_ff,
        decoder_ffn_dim=sizes.d_ff,
        encoder_layers=sizes.num_layers,
        decoder_layers=sizes.num_layers,
        max_position_embeddings=1024,
        decoder_start_token_id=EOS,
    )
    return M2M100ForConditionalGeneration(config).eval()


def our_text_model(theirs: Any) -> TaskAwareTransformer:
    """Return ours with the weights of theirs."""
    tensors = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    config = theirs.config.to_dict() | {"model_type": "m2m_100"}
    return create_pretrained(convert(Config(config), Tensors(tensors)), [TASK])


def ctranslate2_text_model(theirs: Any, folder: Path, compute_type: str, threads: int) -> Any:
    """Return CTranslate2's with the weights of theirs."""
    import ctranslate2
    from ctranslate2.converters import transformers as converters

    if not (folder / "model.bin").exists():
        spec = converters.M2M100Loader().get_model_spec(theirs)
        names = [f"p{i}" for i in range(theirs.config.vocab_size)]
        spec.register_source_vocabulary(names)
        spec.register_target_vocabulary(names)
        spec.config.bos_token, spec.config.eos_token = names[BOS], names[EOS]
        spec.config.unk_token = names[UNK]
        spec.config.decoder_start_token = names[EOS]
        spec.validate()
        spec.optimize()
        folder.mkdir(parents=True, exist_ok=True)
        spec.save(str(folder))
    return ctranslate2.Translator(
        str(folder), device="cpu", compute_type=compute_type, inter_threads=1, intra_threads=threads
    )
