"""A Whisper of some thousand random weights, made by Hugging Face's library; it hears two seconds.

Its tests skip without that library and the one of its tokenizers.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import torch

if TYPE_CHECKING:
    from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is ever downloaded
transformers = pytest.importorskip("transformers", reason="the other implementation is not there")
tokenizers = pytest.importorskip("tokenizers", reason="the extra `pretrained` is not there")

CONTROL = [
    *("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>"),
    *("<|transcribe|>", "<|notimestamps|>"),
]
NUM_TEXT_PIECES = 270
END, START, EN, DE, TRANSLATE, TRANSCRIBE, NO_TIMES = range(270, 277)
SECONDS = 2.0


def tokenizer() -> Any:
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=NUM_TEXT_PIECES,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([" the red house is far away, the green house is near"] * 3, trainer)
    made.add_special_tokens(CONTROL)
    return made


def save_whisper(folder: Path, *, d_model: int = 16) -> Path:
    """Write a folder in Hugging Face's layout."""
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        vocab_size=len(CONTROL) + NUM_TEXT_PIECES + 3,
        d_model=d_model,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_layers=2,
        decoder_layers=2,
        num_mel_bins=80,
        max_source_positions=100,
        max_target_positions=20,
        pad_token_id=END,
        bos_token_id=END,
        eos_token_id=END,
        decoder_start_token_id=START,
        begin_suppress_tokens=None,
    )
    model = transformers.WhisperForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
    return folder
