"""Marian and M2M100 of some thousand random weights, made by Hugging Face's library.

Its tests skip without that library.
"""

from __future__ import annotations

import io
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import sentencepiece
import torch

if TYPE_CHECKING:
    from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is ever downloaded
transformers = pytest.importorskip("transformers", reason="the other implementation is not there")

ENGLISH = ["the red house is far away", "the green house is near", "a dog sees the house"] * 4
GERMAN = ["das rote Haus ist weit weg", "das grüne Haus ist nah", "ein Hund sieht das Haus"] * 4


def pieces(texts: list[str], size: int) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=size,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return model.getvalue()


def names(model: bytes) -> list[str]:
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(model)
    return [processor.IdToPiece(i) for i in range(3, processor.GetPieceSize())]


def save_random(kind: str, folder: Path, *, search: dict[str, Any], **config: Any) -> Any:
    """Write a model that ``generate`` uses as ``search`` says."""
    torch.manual_seed(0)
    sizes = {
        "d_model": 16,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
    }
    classes = {
        "Marian": "MarianMTModel",
        "M2M100": "M2M100ForConditionalGeneration",
        "Speech2Text": "Speech2TextForConditionalGeneration",
    }
    made = getattr(transformers, f"{kind}Config")(**(sizes | config))
    model = getattr(transformers, classes[kind])(made).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.generation_config.update(**search)
    model.save_pretrained(folder)
    return model


def marian(folder: Path) -> Any:
    """Write a model; return it with its tokenizer and what generate is told besides."""
    source, target = pieces(ENGLISH, 60), pieces(GERMAN, 60)
    listed = ["</s>", "<unk>", *sorted({*names(source), *names(target)})]
    ids = {piece: i for i, piece in enumerate([*listed, "<pad>"])}
    pad = ids["<pad>"]
    model = save_random(
        "Marian",
        folder,
        vocab_size=len(ids),
        pad_token_id=pad,
        eos_token_id=0,
        decoder_start_token_id=pad,
        search={
            "bad_words_ids": [[pad]],
            "num_beams": 4,
            "max_length": 30,
            "forced_eos_token_id": 0,
        },
        scale_embedding=True,
        activation_function="swish",
    )
    (folder / "source.spm").write_bytes(source)
    (folder / "target.spm").write_bytes(target)
    (folder / "vocab.json").write_text(json.dumps(ids))
    said = {"source_lang": "en", "target_lang": "de"}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    tokenizer = transformers.MarianTokenizer(
        source_spm=str(folder / "source.spm"),
        target_spm=str(folder / "target.spm"),
        vocab=str(folder / "vocab.json"),
        **said,
    )
    return model, tokenizer, {}


def m2m100(folder: Path) -> Any:
    model_bytes = pieces([*ENGLISH, *GERMAN], 80)
    listed = ["<s>", "<pad>", "</s>", "<unk>", *names(model_bytes)]
    ids = {piece: i for i, piece in enumerate(listed)}
    (folder / "sentencepiece.bpe.model").write_bytes(model_bytes)
    (folder / "vocab.json").write_text(json.dumps(ids))
    tokenizer = transformers.M2M100Tokenizer(
        vocab_file=str(folder / "vocab.json"),
        spm_file=str(folder / "sentencepiece.bpe.model"),
        src_lang="en",
        tgt_lang="de",
    )
    languages = sorted(tokenizer.lang_token_to_id, key=tokenizer.lang_token_to_id.__getitem__)
    (folder / "special_tokens_map.json").write_text(
        json.dumps({"additional_special_tokens": languages})
    )
    model = save_random(
        "M2M100",
        folder,
        vocab_size=len(ids) + len(languages) + 8,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        search={
            "early_stopping": True,
            "num_beams": 5,
            "max_length": 30,
            "suppress_tokens": [1],  # a padding piece of its own is padding to theirs
        },
    )
    return model, tokenizer, {"forced_bos_token_id": tokenizer.get_lang_id("de")}
