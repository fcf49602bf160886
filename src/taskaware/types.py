"""What the rooms hand to one another: modalities, tasks, examples, batches, hypotheses.

Shape legend: B batch, S source positions (frames or pieces), F feature bins, T target positions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from torch import Tensor

StageProgress = Callable[[str, int, int], None]
"""Called as long work advances: with the stage, how much of it is done, and how much there is."""

TRAIN = "train"
"""The split that is trained on; the others are held out."""

CTC_BLANK = 0
"""The piece that CTC puts out for none: padding, which no text has."""

Modality = Literal["text", "speech", "features"]
EncoderPrecision = Literal["float32", "bfloat16"]  # what a frozen encoder computes in


@dataclass(frozen=True, kw_only=True)
class ModalityFacts:
    """What the rooms ask of a kind of source, instead of comparing its name.

    Attributes:
        name: What tasks call it, also the name of its shards (``speech-000000.tar``).
        column: The column of a manifest that gives a source.
        unit: What a source is made of, and so which limits apply. ``"pieces"``: a text in the
            manifest. ``"frames"``: rows of numbers, from a file that the manifest names.
        is_recording: Whether that file is a recording, of which the manifest may name a segment and
            a channel, whose features are computed, and whose signal can be augmented. Other files
            of frames are NumPy arrays ``[S, F]``.
        kind: Kind of a task whose manifest names none.
        kind_between_languages: The same where source and target language are given and differ.
    """

    name: Modality
    column: str
    unit: Literal["pieces", "frames"]
    is_recording: bool = False
    kind: str
    kind_between_languages: str

    @property
    def is_text(self) -> bool:
        """Whether a source is a text."""
        return self.unit == "pieces"


# A new modality is its name in `Modality`, an entry here, and its front end in
# `model.parts.create_frontend`. The order is that of the shards and of the front ends' weights.
MODALITIES: Mapping[Modality, ModalityFacts] = {
    facts.name: facts
    for facts in (
        ModalityFacts(
            name="text",
            column="source_text",
            unit="pieces",
            kind="mt",
            kind_between_languages="mt",
        ),
        ModalityFacts(
            name="speech",
            column="audio",
            unit="frames",
            is_recording=True,
            kind="asr",
            kind_between_languages="st",
        ),
        ModalityFacts(
            name="features",
            column="features",
            unit="frames",
            kind="other",
            kind_between_languages="other",
        ),
    )
}

_LANGUAGE_NAMES = {
    "cs": "Czech",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "nl": "Dutch",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sv": "Swedish",
    "tr": "Turkish",
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """One source -> text task, for example English speech to German text.

    Attributes:
        name: What manifests, experiments and the command line call it, e.g. ``"st_en_de"``.
        kind: ``"asr"``, ``"st"``, ``"mt"``, or a word of the user's own. Decides the metric: word
            error rate for ``asr``, BLEU for all others.
        source_modality: What a source is made of.
        source_language: Language of the source, or empty where it has none.
        target_language: Language of the target text, or empty where it has none.
    """

    name: str
    kind: str
    source_modality: Modality
    source_language: str = ""
    target_language: str = ""

    @property
    def modality(self) -> ModalityFacts:
        """What is known of the kind of source."""
        return MODALITIES[self.source_modality]

    @property
    def label(self) -> str:
        """The task as text, put before a text source by the ``text_label`` cue (section 3.1.1)."""
        if self.source_language and self.target_language:
            source = _LANGUAGE_NAMES.get(self.source_language, self.source_language)
            target = _LANGUAGE_NAMES.get(self.target_language, self.target_language)
            return f"translate {source} to {target}:"
        return f"{self.name}:"


@dataclass(frozen=True)
class Text:
    """A text as a source, whatever it looks like: ``Text("talk.m4a")`` is no file.

    Attributes:
        text: The text.
    """

    text: str


@dataclass(frozen=True, kw_only=True)
class Speech:
    """A segment of a recording.

    Attributes:
        path: The audio file.
        start_seconds: Where the segment starts.
        duration_seconds: How long it is; ``None`` means to the end of the file.
        channel: The channel that is heard, from 1; ``None``: the mean of all channels.
    """

    path: Path
    start_seconds: float = 0.0
    duration_seconds: float | None = None
    channel: int | None = None


@dataclass(frozen=True, kw_only=True)
class Example:
    """One source and its target text, for one task.

    Exactly one of ``source_text``, ``speech`` and ``features_path`` describes the source, whichever
    the modality of its task says (``ModalityFacts``).

    Attributes:
        id: Unique within its split.
        task: Name of its task.
        dataset: Name of the corpus that it comes from.
        target_text: What the model must write.
        source_text: The source, where it is a text.
        speech: The source, where it is a recording.
        features_path: The source, where it is a NumPy file ``[S, F]``.
        speaker: Who speaks, where known.
        utterance: What several examples share when they come from the same input, so that the
            references of the other tasks on that input are known (confusion rate).
        origin: Where a synthetic source or target comes from, e.g. which model and beam; empty
            where people made both.
    """

    id: str
    task: str
    dataset: str
    target_text: str
    source_text: str | None = None
    speech: Speech | None = None
    features_path: Path | None = None
    speaker: str = ""
    utterance: str = ""
    origin: str = ""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Padded examples of one task, or of several with the same kind of source.

    Attributes:
        task: The task of every example in the batch; the first row's where there are several.
        source: float32 ``[B, S, F]`` for speech and features, int64 ``[B, S]`` for text.
        source_lengths: int64 ``[B]``, valid source positions.
        target_input: int64 ``[B, T]``, begins with the begin-of-sequence piece.
        target_output: int64 ``[B, T]``, ``target_input`` shifted left, ends with end-of-sequence.
        target_lengths: int64 ``[B]``, valid target positions.
        example_ids: Where the rows came from.
        num_prompt_pieces: Pieces at the beginning of ``target_input`` that the decoder is given and
            need not learn to write: 1, or the length of a pretrained model's prompt.
        cue_examples: Other examples of the task, of lengths that tell nothing about these: an
            implicit task network looks at them while training. ``None``: at the batch itself.
        is_encoded: Whether ``source`` is what the model's encoder put out earlier, float32
            ``[B, S, D]``: the encoder is then not run.
        row_tasks: The task of every row, those of a task one after the other; empty where all rows
            are of ``task``.
    """

    task: Task
    source: Tensor
    source_lengths: Tensor
    target_input: Tensor
    target_output: Tensor
    target_lengths: Tensor
    example_ids: tuple[str, ...] = ()
    num_prompt_pieces: int = 1
    cue_examples: Batch | None = None
    is_encoded: bool = False
    row_tasks: tuple[Task, ...] = ()

    @property
    def num_examples(self) -> int:
        """B."""
        return self.source.shape[0]

    @property
    def parts(self) -> list[tuple[Task, range]]:
        """Each task of the batch with its rows."""
        if not self.row_tasks:
            return [(self.task, range(self.num_examples))]
        parts: list[tuple[Task, range]] = []
        start = 0
        for task, rows in itertools.groupby(self.row_tasks):
            end = start + len(list(rows))
            parts.append((task, range(start, end)))
            start = end
        return parts

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return replace(
            self,
            source=self.source.to(device, non_blocking=True),
            source_lengths=self.source_lengths.to(device, non_blocking=True),
            target_input=self.target_input.to(device, non_blocking=True),
            target_output=self.target_output.to(device, non_blocking=True),
            target_lengths=self.target_lengths.to(device, non_blocking=True),
            cue_examples=None if self.cue_examples is None else self.cue_examples.to(device),
        )


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One output of decoding.

    Attributes:
        token_ids: Pieces without begin- and end-of-sequence.
        text: The pieces as text.
        log_prob: Natural logarithm of the probability of the pieces and of end-of-sequence (nats).
        score: ``log_prob`` divided by the length penalty; what hypotheses are ranked by.
        finished: Whether end-of-sequence was reached before the length limit.
    """

    token_ids: tuple[int, ...]
    text: str
    log_prob: float
    score: float
    finished: bool = True

    @property
    def confidence(self) -> float:
        """The geometric mean of the probabilities of the pieces and their end, from 0 to 1."""
        return min(math.exp(self.log_prob / (len(self.token_ids) + 1)), 1.0)
