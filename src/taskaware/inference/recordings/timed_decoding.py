"""Stretches of speech become pieces with times and probabilities: encoded once, then used thrice.

The encoder's output of each stretch serves the search, the second reading that tells how likely
each piece is and where the decoder looks, and CTC.

Shape legend: B stretches, S positions of the encoder's output, T pieces with their prompt,
N pieces of an output with its end, H heads of all blocks, V vocabulary, D d_model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from taskaware.data.batches.batching import pad_sources
from taskaware.decoding.batches import batches, reporting_short_memory
from taskaware.inference.recordings.alignment import (
    attention_cost,
    best_heads,
    ctc_places,
    head_scores,
    warp,
)
from taskaware.inference.recordings.transcript import geometric_mean
from taskaware.model.attention_weights import cross_attention_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from taskaware.decoding.settings import DecodingSettings
    from taskaware.inference.decoder import Decoder
    from taskaware.types import Hypothesis, Task

# From what the encoder put out for sources, ``[S, D]`` each, to the hypotheses of each, best first.
Search = Callable[["Sequence[np.ndarray]", "DecodingSettings"], "list[list[Hypothesis]]"]

_WEIGHTS_TOGETHER = 32_000_000  # of attention, 128 MB
_NO_SPEECH_TAGS = ("<|nospeech|>", "<|nocaptions|>")


@dataclass(frozen=True, kw_only=True)
class TimedHypothesis:
    """An output with what a second reading says of it.

    Attributes:
        hypothesis: The output.
        probabilities: Of each piece and of the end, float64 ``[N]``.
        starts_seconds: When each piece begins, from the beginning of the stretch, float64 ``[N]``.
        ends_seconds: When it ends; that of the end is the end of the stretch.
        no_speech: How likely a Whisper finds it that nobody speaks; 0 of other models.
    """

    hypothesis: Hypothesis
    probabilities: np.ndarray
    starts_seconds: np.ndarray
    ends_seconds: np.ndarray
    no_speech: float

    @property
    def confidence(self) -> float:
        """The geometric mean of the probabilities."""
        return geometric_mean((float(one), 1.0) for one in self.probabilities)


@dataclass(frozen=True, eq=False)
class _Encoded:
    """What the encoder put out for a stretch, ``[S, D]``, and how long that is."""

    memory: np.ndarray
    heard_seconds: float  # with the silence that fills it up
    duration_seconds: float


class TimedDecoder:
    """Decodes stretches for one task.

    Args:
        model: The model.
        task: The task.
        task_embedding: ``[1, O]``, instead of the stored one.
        decoding: How to search.
        search: What searches, for instance together with others' sources; ``None``: the model.
    """

    def __init__(
        self,
        model: Decoder,
        task: Task,
        *,
        task_embedding: Tensor | None = None,
        decoding: DecodingSettings | None = None,
        search: Search | None = None,
    ) -> None:
        self._model = model
        self._task = task
        embedding = model.embedding_of(task, task_embedding)
        self._embedding = None if embedding is None else embedding.to(self._device)
        self._decoding = model.decoding if decoding is None else decoding
        self._search = search or self._search_alone
        trained = float(model.provenance.get("ctc_weight") or 0) > 0
        self._uses_ctc = task.kind == "asr" and (trained or self._decoding.ctc_weight > 0)
        self._head_scores: Tensor | None = None  # summed over the stretches so far

    @property
    def batch_size(self) -> int:
        """Stretches that are decoded together."""
        return self._decoding.examples_per_batch

    def encode(self, features: Sequence[np.ndarray], seconds: Sequence[float]) -> list[_Encoded]:
        """Return what the encoder puts out for features ``[frames, F]`` of stretches."""
        model, transformer = self._model, self._model.transformer
        found: list[_Encoded | None] = [None] * len(features)
        hop_seconds = model.feature_settings.hop_ms / 1000
        lengths = [len(one) for one in features]
        for chosen in batches(lengths, self._decoding.examples_per_batch):
            source, source_lengths = pad_sources([features[i] for i in chosen])
            with (
                torch.inference_mode(),
                reporting_short_memory(int(source_lengths.max())),
                transformer.adapters.use(self._task.name),
            ):
                sequence, of_sequence = transformer.preprocess_source(
                    source.to(self._device), source_lengths.to(self._device), "speech"
                )
                memory, memory_lengths = transformer.encoder_output(
                    sequence, of_sequence, self._embedding
                )
            rows = memory.float().cpu()
            for row, (i, length) in enumerate(zip(chosen, memory_lengths.tolist(), strict=True)):
                heard = max(lengths[i] * hop_seconds, seconds[i])
                found[i] = _Encoded(rows[row, :length].numpy().copy(), heard, seconds[i])
        return [one for one in found if one is not None]

    def decode(
        self, encoded: Sequence[_Encoded], *, no_repeat: int | None = None
    ) -> list[TimedHypothesis]:
        """Return the best output of each stretch, with times.

        Args:
            encoded: What ``encode`` gave.
            no_repeat: In place of the setting of this name (``DecodingSettings``).
        """
        decoding = replace(self._decoding, num_best=1)
        if no_repeat is not None:
            decoding = replace(decoding, no_repeat=no_repeat)
        hypotheses = self._search([one.memory for one in encoded], decoding)
        found: list[TimedHypothesis] = []
        chosen: list[int] = []
        for i in range(len(encoded)):  # of their weights, a few stretches fill the memory
            chosen.append(i)
            if (
                i + 1 == len(encoded)
                or self._num_weights(encoded, hypotheses, [*chosen, i + 1]) > _WEIGHTS_TOGETHER
            ):
                found += self._read_again(
                    [encoded[i] for i in chosen], [hypotheses[i][0] for i in chosen]
                )
                chosen = []
        return found

    def _search_alone(
        self, memories: Sequence[np.ndarray], decoding: DecodingSettings
    ) -> list[list[Hypothesis]]:
        return self._model.decode(
            self._task,
            memories,
            task_embedding=self._embedding,
            decoding=decoding,
            is_encoded=True,
        )

    def _num_weights(
        self,
        encoded: Sequence[_Encoded],
        hypotheses: Sequence[Sequence[Hypothesis]],
        chosen: Sequence[int],
    ) -> int:
        """Return how many weights of attention a second reading of these stretches holds."""
        settings = self._model.settings
        longest = max(len(hypotheses[i][0].token_ids) for i in chosen)
        positions = max(len(encoded[i].memory) for i in chosen)
        heads = settings.num_decoder_layers * settings.num_heads
        return len(chosen) * heads * (longest + 8) * positions

    @property
    def _device(self) -> torch.device:
        return self._model.transformer.token_embedding.weight.device

    @torch.inference_mode()
    def _read_again(
        self, encoded: Sequence[_Encoded], hypotheses: Sequence[Hypothesis]
    ) -> list[TimedHypothesis]:
        """Give the decoder what it wrote, and note how likely each piece is and where it looks."""
        transformer, vocabulary = self._model.transformer, self._model.vocabulary
        prompt = self._model.cue(self._task).prompt
        rows = [(*prompt, *one.token_ids) for one in hypotheses]
        longest = max(map(len, rows))
        target_BT = torch.tensor(
            [(*row, *[vocabulary.EOS] * (longest - len(row))) for row in rows], device=self._device
        )
        source, lengths = pad_sources([one.memory for one in encoded])
        with transformer.adapters.use(self._task.name):
            states = transformer.encode(
                source.to(self._device),
                lengths.to(self._device),
                self._embedding,
                is_encoded=True,
            )
            with cross_attention_weights(transformer.decoder) as weights:
                decoded_BTD = transformer.decode(
                    transformer.token_embedding.embed(target_BT),
                    torch.tensor([len(row) for row in rows], device=self._device),
                    states,
                )
            ctc_BSV = self._ctc_log_probs(states.memory_BSD)
        first = len(prompt) - 1
        # A task embedding that is prepended stands before the pieces, and in the memory.
        extra = int(states.vector_BD is not None)
        weights_BHTS = weights.stacked()
        found = []
        for row, (one, hypothesis) in enumerate(zip(encoded, hypotheses, strict=True)):
            num = len(hypothesis.token_ids)
            logits_TV = transformer.token_embedding.logits(decoded_BTD[row, : first + num + 1])
            log_probs_TV = logits_TV.float().log_softmax(dim=-1)
            written = torch.tensor([*hypothesis.token_ids, vocabulary.EOS], device=self._device)
            chosen_N = log_probs_TV[first:].gather(1, written[:, None])[:, 0]
            positions = int(states.mask_BS[row].sum()) - extra
            heard = max(math.ceil(positions * one.duration_seconds / one.heard_seconds), 1)
            starts, ends = self._times(
                weights_BHTS[
                    row, :, extra + first : extra + first + num + 1, extra : extra + heard
                ],
                None if ctc_BSV is None else ctc_BSV[row, extra : extra + heard],
                hypothesis.token_ids,
                one.heard_seconds / positions,
                one.duration_seconds,
            )
            found.append(
                TimedHypothesis(
                    hypothesis=hypothesis,
                    probabilities=chosen_N.double().exp().cpu().numpy(),
                    starts_seconds=starts,
                    ends_seconds=ends,
                    no_speech=self._no_speech(log_probs_TV),
                )
            )
        return found

    def _times(
        self,
        weights_HNS: Tensor,
        ctc_SV: np.ndarray | None,
        pieces: Sequence[int],
        position_seconds: float,
        duration_seconds: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return when each piece begins and ends, the end of the output counted, in seconds."""
        if ctc_SV is not None:
            places = ctc_places(ctc_SV, list(pieces))
            if places is not None:
                starts = np.append(places[:, 0] * position_seconds, duration_seconds)
                # Most pieces have one position: they last until the next one begins.
                ends = np.append(starts[1:], duration_seconds)
                return starts.clip(0, duration_seconds), ends.clip(0, duration_seconds)
        scores = head_scores(weights_HNS)
        known = self._head_scores
        self._head_scores = scores if known is None else known + scores
        cost = attention_cost(weights_HNS[best_heads(self._head_scores)])
        starts = warp(cost) * position_seconds
        ends = np.append(starts[1:], duration_seconds)
        return starts.clip(0, duration_seconds), ends.clip(0, duration_seconds)

    def _ctc_log_probs(self, memory_BSD: Tensor) -> np.ndarray | None:
        if not self._uses_ctc:
            return None
        logits = self._model.transformer.token_embedding.logits(memory_BSD)
        return logits.float().log_softmax(dim=-1).cpu().numpy()

    def _no_speech(self, log_probs_TV: Tensor) -> float:
        """Return Whisper's probability, after the first piece of its prompt, that nobody speaks."""
        vocabulary = self._model.vocabulary
        for tag in _NO_SPEECH_TAGS:
            if vocabulary.has_tag(tag):
                return float(log_probs_TV[0, vocabulary.tag_id(tag)].exp())
        return 0.0
