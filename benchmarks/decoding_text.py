"""One text model in four libraries: ours, Hugging Face's, CTranslate2's in float32 and in int8.

Random weights of Hugging Face's M2M100 (a pre-norm Transformer), given to the others by their own
importers. Every output has the same number of pieces: everywhere the end is forbidden until then.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from contestants import EOS
from decoding_step import FixedLength

from taskaware.decoding.beam_search import beam_search
from taskaware.decoding.settings import DecodingSettings
from taskaware.model.pretrained.read import convert, create_pretrained
from taskaware.model.pretrained.source import Config, Tensors
from taskaware.model.reduced import Weights, prepare_weights
from taskaware.types import Task

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
        spec: Any = converters.M2M100Loader().get_model_spec(theirs)
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


class Numbers:
    """A vocabulary without text."""

    PAD, BOS, EOS = PAD, BOS, EOS
    NEVER = (PAD, BOS)

    def decode(self, ids: list[int]) -> str:
        """Return nothing."""
        return ""


@dataclass(frozen=True, kw_only=True)
class TextModels:
    """The same weights in every library, by the contestant's name.

    Attributes:
        theirs: Hugging Face's.
        ours: By the kind of weights.
        ctranslate2: By the kind of weights; empty where it is not installed.
    """

    theirs: Any
    ours: dict[str, TaskAwareTransformer]
    ctranslate2: dict[str, Any]


def text_models(sizes: TextSizes, folder: Path, threads: int, kinds: list[Weights]) -> TextModels:
    """Return the models; CTranslate2's are written to ``folder``."""
    theirs = their_text_model(sizes)
    ours = {}
    for kind in kinds:
        ours[kind] = our_text_model(theirs)
        prepare_weights(ours[kind], kind)
    try:
        peers = {
            kind: ctranslate2_text_model(theirs, folder, kind, threads)
            for kind in ("float32", "int8")
        }
    except ImportError:
        peers = {}
    return TextModels(theirs=theirs, ours=ours, ctranslate2=peers)


def text_contestants(
    models: TextModels, sizes: TextSizes, *, batch: int, beam: int, num_pieces: int
) -> dict[str, Callable[[], list[list[int]]]]:
    """Return what decodes a batch of texts of three quarters to all of ``source_pieces``.

    Args:
        models: Of ``text_models``.
        sizes: As there.
        batch: Texts.
        beam: Hypotheses of each.
        num_pieces: Of every output, its end included.
    """
    S = sizes.source_pieces
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(UNK + 1, sizes.vocabulary_size, (batch, S), generator=generator)
    lengths = torch.linspace(0.75 * S, S, batch).long() if batch > 1 else torch.tensor([S])
    source[torch.arange(batch), lengths - 1] = EOS
    mask = torch.arange(S) < lengths[:, None]
    source[~mask] = PAD
    vocabulary: Any = Numbers()
    settings = DecodingSettings(beam=beam, length_penalty=0.0, extra_pieces=num_pieces)

    def ours(model: TaskAwareTransformer) -> Callable[[], list[list[int]]]:
        ended: Any = FixedLength(model, num_pieces)

        def run() -> list[list[int]]:
            found = beam_search(
                ended,
                source,
                lengths,
                modality="text",
                task_embedding=None,
                begin=EOS,
                vocabulary=vocabulary,
                settings=settings,
            )
            return [list(best.token_ids) for best, *_ in found]

        return run

    def theirs() -> list[list[int]]:
        more = {"early_stopping": True, "length_penalty": 0.0} if beam > 1 else {}
        sequences = models.theirs.generate(
            input_ids=source,
            attention_mask=mask.long(),
            num_beams=beam,
            do_sample=False,
            min_new_tokens=num_pieces,
            max_new_tokens=num_pieces,
            suppress_tokens=[PAD, BOS],
            **more,
        )
        return [row[1:num_pieces] for row in sequences.tolist()]

    texts = [
        [f"p{i}" for i in row[:length]]
        for row, length in zip(source.tolist(), lengths, strict=True)
    ]

    def ctranslate2(model: Any) -> Callable[[], list[list[int]]]:
        def run() -> list[list[int]]:
            found = model.translate_batch(
                texts,
                beam_size=beam,
                length_penalty=0.0,
                min_decoding_length=num_pieces - 1,
                max_decoding_length=num_pieces - 1,
                max_input_length=0,
                suppress_sequences=[[f"p{PAD}"], [f"p{BOS}"]],
            )
            return [[int(piece[1:]) for piece in one.hypotheses[0]] for one in found]

        return run

    return {
        "Hugging Face": theirs,
        **{f"taskaware {kind}": ours(model) for kind, model in models.ours.items()},
        **{f"CTranslate2 {kind}": ctranslate2(m) for kind, m in models.ctranslate2.items()},
    }
