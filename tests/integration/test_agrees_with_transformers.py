"""The plain Transformer against an implementation that others wrote: Hugging Face Transformers.

Small random models of both, with the same weights, give the same encoder outputs, logits and beams.
Marian is our post-norm text model, M2M100 our pre-norm one, Speech2Text that behind convolutions.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conftest import MT, NUM_BINS, NUM_PIECES, ST, random_batch, tiny_settings
from taskaware.decoding.beam_search import beam_search
from taskaware.decoding.settings import DecodingSettings
from taskaware.model.attention import sinusoidal_positions
from taskaware.model.create_model import create_model

if TYPE_CHECKING:
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Batch, Hypothesis

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is ever downloaded
transformers = pytest.importorskip("transformers", reason="the other implementation is not there")

PAD, BOS, EOS = 0, 1, 2
NUM_POSITIONS = 100
LAYER_NORM_EPS = 1e-5  # fixed in theirs
NEVER_A_BIAS = ("q_proj.bias", "k_proj.bias", "v_proj.bias", "out_proj.bias", "final_logits_bias")


class Letters:
    """A vocabulary whose pieces are numbers."""

    PAD, BOS, EOS = PAD, BOS, EOS
    NEVER = (PAD, BOS)

    def decode(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))


def not_padding(lengths: Tensor, num_positions: int) -> Tensor:
    """A mask made apart from the package, whose own is under test."""
    return torch.stack([torch.arange(num_positions) < length for length in lengths])


class TheirConvolutions(nn.Module):
    """Speech2Text's own subsampling as a front end of ours."""

    def __init__(self, convolutions: nn.Module, scale: float) -> None:
        super().__init__()
        self.convolutions, self.scale = convolutions, scale

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        for _ in range(2):
            lengths = (lengths - 1) // 2 + 1
        return self.scale * self.convolutions(frames), lengths


@dataclass
class Pair:
    """The two models, with the same weights."""

    ours: TaskAwareTransformer
    theirs: Any


RENAMED = {
    "self_attention.output": "self_attn.out_proj",
    "feed_forward.expand": "fc1",
    "feed_forward.contract": "fc2",
    "around_attention.norm": "self_attn_layer_norm",
    "around_self.norm": "self_attn_layer_norm",
    "around_cross.norm": "encoder_attn_layer_norm",
    "around_feed_forward.norm": "final_layer_norm",
    "cross_attention.query": "encoder_attn.q_proj",
    "cross_attention.output": "encoder_attn.out_proj",
}
SPLIT = {
    "self_attention.query_key_value": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "cross_attention.key_value": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
}
EMBEDDINGS = ("shared.weight", "embed_tokens.weight", "lm_head.weight")


def block_weights(ours: TaskAwareTransformer) -> dict[str, Tensor]:
    """The weights of our blocks and last norms by the names that they have in the others."""
    found: dict[str, Tensor] = {}
    for name, weight in ours.state_dict().items():
        if name.startswith(("encoder_norm.", "decoder_norm.")):
            side, kind = name.split("_norm.")
            found[f"model.{side}.layer_norm.{kind}"] = weight
        elif name.startswith(("encoder.", "decoder.")):
            side, index, *middle, kind = name.split(".")
            block, part = f"model.{side}.layers.{index}", ".".join(middle)
            theirs = SPLIT[part] if part in SPLIT else (RENAMED[part],)
            for their_part, share in zip(theirs, weight.chunk(len(theirs)), strict=True):
                found[f"{block}.{their_part}.{kind}"] = share
    return found


def give_weights(ours: TaskAwareTransformer, theirs: Any) -> None:
    """Make their model compute what ours does: our weights, no other biases, our positions."""
    weights = block_weights(ours)
    theirs_alone: list[str] = []
    with torch.no_grad():
        for name, weight in theirs.state_dict().items():
            if name in weights:
                weight.copy_(weights.pop(name))
            elif name.endswith(EMBEDDINGS):
                weight.copy_(ours.token_embedding.weight)
            elif name.endswith(NEVER_A_BIAS):
                weight.zero_()
            elif ".conv." not in name and "embed_positions" not in name:
                theirs_alone.append(name)
        for part in (theirs.model.encoder, theirs.model.decoder):
            table = part.embed_positions
            # M2M100 and Speech2Text count positions from behind the padding piece on.
            first = theirs.config.pad_token_id + 1
            rows = table.weight if hasattr(table, "weight") else table.weights[first:]
            rows.copy_(sinusoidal_positions(len(rows), ours.d_model))
    assert not weights
    assert not theirs_alone


def their_config(kind: str, **changes: Any) -> Any:
    sizes = {
        "vocab_size": NUM_PIECES,
        "d_model": 16,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_function": "relu",
        "scale_embedding": True,
        "pad_token_id": PAD,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "decoder_start_token_id": BOS,
    }
    return getattr(transformers, f"{kind}Config")(**(sizes | changes))


def pair(kind: str, *, dtype: torch.dtype) -> Pair:
    """Both models with the same random weights, all of them drawn: norms and biases too."""
    norm = "post" if kind == "Marian" else "pre"
    settings = tiny_settings(norm=norm, layer_norm_eps=LAYER_NORM_EPS, conditioning={"cue": "none"})
    speech = kind == "Speech2Text"
    ours = create_model(settings, vocabulary_size=NUM_PIECES, tasks=[ST if speech else MT]).eval()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    if speech:
        config = their_config(
            kind,
            input_feat_per_channel=NUM_BINS,
            conv_channels=24,
            pad_token_id=1,  # their encoder marks padding with 1 whatever the padding piece is
            max_source_positions=NUM_POSITIONS,
            max_target_positions=NUM_POSITIONS,
        )
        theirs = transformers.Speech2TextForConditionalGeneration(config)
        ours.frontends["speech"] = TheirConvolutions(theirs.model.encoder.conv, 16**0.5)
    else:
        # Marian's forced last piece would end every beam at the limit.
        changes = {"forced_eos_token_id": None} if kind == "Marian" else {}
        config = their_config(kind, max_position_embeddings=NUM_POSITIONS, **changes)
        name = "MarianMTModel" if kind == "Marian" else "M2M100ForConditionalGeneration"
        theirs = getattr(transformers, name)(config)
    theirs.eval()
    give_weights(ours, theirs)
    return Pair(ours.to(dtype), theirs.to(dtype))


def their_outputs(theirs: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    source = "input_ids" if batch.task is MT else "input_features"
    out = theirs(
        **{source: batch.source},
        attention_mask=not_padding(batch.source_lengths, batch.source.shape[1]).long(),
        decoder_input_ids=batch.target_input,
        decoder_attention_mask=not_padding(
            batch.target_lengths, batch.target_input.shape[1]
        ).long(),
    )
    return out.encoder_last_hidden_state, out.logits


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=str
)
@pytest.mark.parametrize("kind", ["Marian", "M2M100", "Speech2Text"])
@torch.inference_mode()
def test_encoder_outputs_and_logits_are_theirs(kind: str, dtype: torch.dtype, tolerance: float):
    models = pair(kind, dtype=dtype)
    task = ST if kind == "Speech2Text" else MT
    batch = random_batch(task, num_examples=6, dtype=dtype)
    batch.target_input[:, 0] = EOS  # a first piece that neither model takes for padding
    assert batch.source_lengths.unique().numel() > 1  # so that there is padding
    preprocessed = models.ours.preprocess(batch)
    encoded = models.ours.encode(preprocessed.source_BSD, preprocessed.source_lengths, None)
    our_logits = models.ours(batch, None)
    their_memory, their_logits = their_outputs(models.theirs, batch)
    valid_BS = not_padding(preprocessed.source_lengths, their_memory.shape[1])
    valid_BT = not_padding(batch.target_lengths, batch.target_input.shape[1])
    close = partial(torch.testing.assert_close, atol=tolerance, rtol=tolerance)
    assert our_logits[valid_BT].std() > 0.1  # a comparison of zeros would prove nothing
    close(encoded.memory_BSD[valid_BS], their_memory[valid_BS])
    close(our_logits[valid_BT], their_logits[valid_BT])


def copying(*, num_examples: int, seed: int) -> Batch:
    """Sources of a dozen pieces whose target is the source."""
    batch = random_batch(MT, num_examples=num_examples, seed=seed)
    pieces = torch.where(batch.source > 0, 4 + batch.source % 12, PAD)
    target_output, target_input = F.pad(pieces, (0, 1)), F.pad(pieces, (1, 0))
    target_output[torch.arange(num_examples), batch.source_lengths] = EOS
    target_input[:, 0] = BOS
    return replace(
        batch,
        source=pieces,
        target_input=target_input,
        target_output=target_output,
        target_lengths=batch.source_lengths + 1,
    )


def half_learnt(ours: TaskAwareTransformer) -> None:
    """Train until hypotheses differ, end, and are still in doubt; random weights never end."""
    optimiser = torch.optim.Adam(ours.parameters(), lr=1e-2)
    for update in range(150):
        batch = copying(num_examples=32, seed=1000 + update)
        logits = ours(batch, None)
        optimiser.zero_grad()
        F.cross_entropy(
            logits.flatten(0, 1), batch.target_output.flatten(), ignore_index=PAD
        ).backward()
        optimiser.step()


@torch.inference_mode()
def our_best(ours: TaskAwareTransformer, batch: Batch, *, beam: int) -> list[Hypothesis]:
    found = beam_search(
        ours,
        batch.source,
        batch.source_lengths,
        modality="text",
        task_embedding=None,
        begin=BOS,
        vocabulary=Letters(),  # type: ignore[arg-type]
        # The two length penalties differ in form and agree where there is none.
        settings=DecodingSettings(beam=beam, length_penalty=0.0, extra_pieces=60),
    )
    return [hypotheses[0] for hypotheses in found]


def test_a_beam_of_four_finds_their_best_sequences():
    models = pair("Marian", dtype=torch.float32)
    half_learnt(models.ours)
    give_weights(models.ours, models.theirs)
    models = Pair(models.ours.double(), models.theirs.double())
    batch = copying(num_examples=40, seed=0)
    found = our_best(models.ours, batch, beam=4)
    out = models.theirs.generate(
        input_ids=batch.source,
        attention_mask=not_padding(batch.source_lengths, batch.source.shape[1]).long(),
        num_beams=4,
        do_sample=False,
        early_stopping=True,
        length_penalty=0.0,
        max_new_tokens=60,
        suppress_tokens=[PAD, BOS],
        renormalize_logits=True,  # ours leaves out the two before the softmax, not after it
        return_dict_in_generate=True,
        output_scores=True,
    )
    # The limits of length differ, so hypotheses that only a limit ends are not compared.
    ended = [row for row, hypothesis in enumerate(found) if len(hypothesis.token_ids) < 50]
    assert len(ended) > 30
    greedy = our_best(models.ours, batch, beam=1)
    assert any(greedy[row].token_ids != found[row].token_ids for row in ended)
    for row in ended:
        pieces = out.sequences[row, 1:].tolist()  # filled up with ends
        assert list(found[row].token_ids) == pieces[: pieces.index(EOS)]
        assert found[row].log_prob == pytest.approx(float(out.sequences_scores[row]), abs=1e-5)
