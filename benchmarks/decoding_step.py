"""One beam search: what is measured, and the contestants.

Measured: encoding a batch of recordings and a beam search of exactly ``Sizes.decoded_pieces`` steps
for every one: on both sides the end is forbidden before the last step and nothing follows it, so
that random weights decode as long as trained ones. Without gradients, in evaluation mode, without
turning pieces into text. Ours is ``beam_search``, theirs ``generate`` with its cache; no length
penalty. On a CPU ours has the weights that ``taskaware.load`` prepares, as in every command
(``--weights bfloat16`` for bfloat16); theirs is in float32 or under autocast.

With FiLM the task embedding is given, as it is when a trained model predicts: its network does not
run, so explicit and implicit networks cost the same.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from contestants import (
    BOS,
    EOS,
    PAD,
    Sizes,
    num_parameters,
    our_model,
    source_mask,
    synthetic_batch,
    their_model,
)
from timing import Contestant

from taskaware.decoding.beam_search import beam_search
from taskaware.decoding.settings import DecodingSettings
from taskaware.model.reduced import prepare_weights
from taskaware.model.task_network import identity_bias
from taskaware.training.step import autocast

if TYPE_CHECKING:
    import torch

    from taskaware.model.conditioning_settings import Cue
    from taskaware.model.states import DecodingState
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Batch


class SilentVocabulary:
    """What a search asks of a vocabulary, without the text."""

    PAD, BOS, EOS = PAD, BOS, EOS
    NEVER = (PAD, BOS)

    def decode(self, ids: list[int]) -> str:
        """Return nothing."""
        return ""


class FixedLength:
    """Our model, whose every hypothesis ends at the same piece."""

    def __init__(self, model: TaskAwareTransformer, num_pieces: int) -> None:
        self._model = model
        self._num_pieces = num_pieces
        self.start_decoding = model.start_decoding
        self.advance = model.advance
        self.target_positions = model.target_positions

    def step(self, pieces_BW: torch.Tensor, state: DecodingState) -> torch.Tensor:
        """Return the model's logits, the end impossible before the last piece and certain there."""
        logits_BWV = self._model.step(pieces_BW, state)
        if state.position < self._num_pieces:
            logits_BWV[..., EOS] = -1e30
        else:
            logits_BWV[..., EOS] = 1e30
        return logits_BWV


def contestants(sizes: Sizes, *, device: torch.device, precision: str) -> list[Contestant]:
    """Return theirs, then ours without and with FiLM, for 4 and for 8 frames a position."""
    batch = synthetic_batch(sizes, device=device)
    found = [_theirs(sizes, batch, device, precision)]
    cues: dict[str, Cue] = {"vanilla": "none", "FiLM": "explicit"}
    for num_cnn_layers in (2, 3):
        for name, cue in cues.items():
            found.append(
                _ours(sizes, batch, device, precision, name, cue=cue, num_cnn_layers=num_cnn_layers)
            )
    return found


def _ours(
    sizes: Sizes,
    batch: Batch,
    device: torch.device,
    precision: str,
    name: str,
    *,
    cue: Cue,
    num_cnn_layers: int,
) -> Contestant:
    model = our_model(sizes, cue=cue, num_cnn_layers=num_cnn_layers).to(device).eval()
    is_on_cpu = device.type == "cpu"
    if is_on_cpu:  # as `taskaware.load(..., weights=...)` does, and so every command
        prepare_weights(model, "bfloat16" if precision == "bfloat16" else "float32")
    ended: Any = FixedLength(model, sizes.decoded_pieces)
    vocabulary: Any = SilentVocabulary()
    settings = DecodingSettings(
        beam=sizes.beam, length_penalty=0.0, extra_pieces=sizes.decoded_pieces
    )
    task_embedding = None if cue == "none" else identity_bias(sizes.d_model, 1)[None].to(device)

    def run() -> None:
        with nullcontext() if is_on_cpu else autocast(device, precision):
            found = beam_search(
                ended,
                batch.source,
                batch.source_lengths,
                modality="speech",
                task_embedding=task_embedding,
                begin=BOS,
                vocabulary=vocabulary,
                settings=settings,
            )
        wrong = {len(best.token_ids) + 1 for best, *_ in found} - {sizes.decoded_pieces}
        if wrong:
            raise RuntimeError(f"every output must have {sizes.decoded_pieces} pieces, not {wrong}")

    return Contestant(
        name=f"taskaware, {name}",
        frames_per_position=2**num_cnn_layers,
        num_parameters=num_parameters(model),
        run=run,
    )


def _theirs(sizes: Sizes, batch: Batch, device: torch.device, precision: str) -> Contestant:
    model: Any = their_model(sizes).to(device).eval()
    mask = source_mask(batch)

    def run() -> None:
        with autocast(device, precision):
            sequences = model.generate(
                input_features=batch.source,
                attention_mask=mask,
                num_beams=sizes.beam,
                do_sample=False,
                early_stopping=True,
                length_penalty=0.0,
                min_new_tokens=sizes.decoded_pieces,
                max_new_tokens=sizes.decoded_pieces,
                suppress_tokens=[PAD, BOS],
            )
        if sequences.shape[1] != sizes.decoded_pieces + 1:
            raise RuntimeError(
                f"every output must have {sizes.decoded_pieces} pieces, "
                f"not {sequences.shape[1] - 1}"
            )

    return Contestant(
        name="Hugging Face Speech2Text",
        frames_per_position=4,
        num_parameters=num_parameters(model),
        run=run,
    )
