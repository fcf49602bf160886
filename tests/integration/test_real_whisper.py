"""The real Whisper in our Transformer: the same logits and texts as in Hugging Face's library.

The folder, in Hugging Face's layout with a tokenizer.json, comes from the environment variable
TASKAWARE_WHISPER; any size, English or multilingual.
"""

from __future__ import annotations

import csv
import json
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from conftest import ASR
from taskaware.data.sound import audio
from taskaware.data.sound.whisper_features import whisper_log_mel
from taskaware.data.vocabulary.smaller import cut_to
from taskaware.data.vocabulary.tokenizer_pieces import tokenizer_bytes
from taskaware.data.vocabulary.vocabulary import Vocabulary
from taskaware.decoding.beam_search import beam_search
from taskaware.decoding.settings import DecodingSettings
from taskaware.model.pretrained.read import create_pretrained, read_pretrained
from taskaware.types import Batch

if TYPE_CHECKING:
    from taskaware.model.pretrained.source import Pretrained
    from taskaware.model.transformer import TaskAwareTransformer

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is ever downloaded
VARIABLE = "TASKAWARE_WHISPER"
WORDS = 120  # pieces of the longest text compared


@dataclass
class Whisper:
    """Both implementations with the real weights."""

    theirs: Any
    pretrained: Pretrained
    ours: TaskAwareTransformer
    vocabulary: Vocabulary

    @property
    def prompt(self) -> list[int]:
        names = ["<|startoftranscript|>", "<|notimestamps|>"]
        if self.vocabulary.size > 51_864:  # multilingual
            names[1:1] = ["<|en|>", "<|transcribe|>"]
        return [self.vocabulary.tag_id(name) for name in names]


@pytest.fixture(scope="module")
def whisper() -> Whisper:
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"no real Whisper: {VARIABLE} names no folder")
    transformers = pytest.importorskip("transformers", reason="the other one is not there")
    theirs = transformers.WhisperForConditionalGeneration.from_pretrained(
        folder, attn_implementation="eager"
    ).eval()
    pretrained = read_pretrained(folder)
    tokenizer = json.loads((Path(folder) / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = Vocabulary(
        tokenizer_bytes(
            tokenizer,
            family="whisper",
            pad=pretrained.pad,
            begin=pretrained.begin,
            end=pretrained.end,
            size=pretrained.vocabulary_size,
        )
    )
    return Whisper(theirs, pretrained, create_pretrained(pretrained, [ASR]), vocabulary)


@torch.inference_mode()
def test_logits_are_theirs(whisper: Whisper):
    time = torch.arange(5 * 16_000) / 16_000
    waveform = 0.1 * torch.sin(2 * torch.pi * 220 * time * (1 + 0.1 * time.sin()))
    bins = whisper.pretrained.settings.num_features
    frames = whisper_log_mel(waveform, num_mel_bins=bins)[None]
    pieces = torch.tensor([[*whisper.prompt, *whisper.vocabulary.encode("a sound of the sea")]])
    # In float32 sums in another order differ by what is relative to the largest logits, 10 to 70.
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        batch = Batch(
            task=ASR,
            source=frames.to(dtype),
            source_lengths=torch.tensor([frames.shape[1]]),
            target_input=pieces,
            target_output=pieces,
            target_lengths=torch.tensor([pieces.shape[1]]),
        )
        ours = whisper.ours.to(dtype)(batch, None)
        theirs = whisper.theirs.to(dtype)(
            input_features=batch.source.transpose(1, 2), decoder_input_ids=pieces
        ).logits
        largest = float(theirs.abs().max())
        torch.testing.assert_close(ours, theirs, atol=tolerance * largest, rtol=0.0)
    whisper.ours.float()
    whisper.theirs.float()


@pytest.mark.parametrize("beam", [1, 4])
def test_a_recording_is_heard_as_by_theirs_and_right(
    whisper: Whisper, shared_data: Path, beam: int
):
    folder = shared_data / "librispeech_mini"
    with (folder / "manifest.tsv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] != "train"]
    row = rows[0]
    waveform = torch.from_numpy(audio.read(folder / row["audio"], sample_rate_hz=16_000))
    frames = whisper_log_mel(waveform, num_mel_bins=whisper.pretrained.settings.num_features)[None]
    special = list(range(whisper.pretrained.end + 1, whisper.vocabulary.size))
    (hypotheses,) = beam_search(
        whisper.ours,
        frames,
        torch.tensor([frames.shape[1]]),
        modality="speech",
        task_embedding=None,
        begin=whisper.prompt,
        vocabulary=whisper.vocabulary,
        settings=DecodingSettings(
            beam=beam,
            length_penalty=1.0,
            stopping="heuristic",
            max_pieces=WORDS,
            extra_pieces=1000,
            suppressed=tuple(special),
        ),
    )
    transformers = pytest.importorskip("transformers")
    out = transformers.GenerationMixin.generate(
        whisper.theirs,
        frames.transpose(1, 2),
        decoder_input_ids=torch.tensor([whisper.prompt]),
        num_beams=beam,
        do_sample=False,
        max_new_tokens=WORDS,
        suppress_tokens=special,
        begin_suppress_tokens=None,
    )[0, len(whisper.prompt) :].tolist()
    print(f"\nheard: {hypotheses[0].text}\nsaid: {row['en']}")
    assert list(hypotheses[0].token_ids) == [i for i in out if i != whisper.pretrained.end]
    jiwer = pytest.importorskip("jiwer")
    heard = "".join(c for c in hypotheses[0].text.lower() if c.isalnum() or c in " '")
    assert jiwer.wer(row["en"].lower(), heard) < 0.25


def test_its_vocabulary_cut_to_texts_cuts_all_texts_of_kept_pieces_as_before(whisper: Whisper):
    kept_for = [
        "The boiling point of water is 100 degrees, isn't it?",
        "Der Siedepunkt des Wassers liegt bei 100 Grad, nicht wahr?",
        "Le point d'ébullition de l'eau est de 100 degrés, n'est-ce pas ?",
    ]
    found = cut_to(whisper.vocabulary, kept_for)
    new_ids = {old: new for new, old in enumerate(found.kept)}
    choose = random.Random(0)
    texts, words = list(kept_for), " ".join(kept_for).split(" ")
    for _ in range(2000):
        parts = [choose.choice(words)[: choose.randint(1, 8)] for _ in range(4)]
        texts.append("".join(part + choose.choice(["", " ", "  "]) for part in parts))
    as_before = 0
    for text in texts:
        before, after = whisper.vocabulary.encode(text), found.vocabulary.encode(text)
        assert found.vocabulary.decode(after) == text
        if set(before) <= set(new_ids):
            as_before += 1
            assert after == [new_ids[i] for i in before]
    assert 500 < as_before < len(texts)
