"""What a report shows, as plain data that any run can fill."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskaware.report.figures import LossCurve


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One score of one model on one task.

    Attributes:
        model: What the model is called in the report.
        task: The task's name.
        metric: ``"wer"``, ``"cer"``, ``"bleu"``, ``"chrf"``, or another name.
        score: ``wer`` and ``cer`` in percent, others from 0 to 100.
        num_examples: How many examples it is over.
        confusion_rate: A fraction; ``None`` where no other task shares the input.
        seconds: What decoding them took; ``None`` where it was not measured.
        signature: How the score was computed.
    """

    model: str
    task: str
    metric: str
    score: float
    num_examples: int
    confusion_rate: float | None = None
    seconds: float | None = None
    signature: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelLosses:
    """The loss curves of one model."""

    model: str
    curves: Sequence[LossCurve]


@dataclass(frozen=True, kw_only=True)
class EmbeddingPicture:
    """The task embeddings of one model.

    Attributes:
        model: What the model is called in the report.
        svg: What ``embeddings.tsne_figure`` gave. It is put into the page as it is.
        num_embeddings: How many points it shows.
        silhouette: How well the tasks stand apart, -1 to 1, where known.
    """

    model: str
    svg: str
    num_embeddings: int
    silhouette: float | None = None


@dataclass(frozen=True, kw_only=True)
class ShownOutput:
    """What one model wrote.

    Attributes:
        model: What the model is called in the report.
        text: Its output.
        wrong: Whether it differs from the reference.
        confused: Whether it belongs to another task.
    """

    model: str
    text: str
    wrong: bool
    confused: bool = False


@dataclass(frozen=True, kw_only=True)
class ShownExample:
    """One source, what it should become and what it became.

    Attributes:
        task: The task's name.
        reference: What it should become.
        outputs: What each model wrote.
        source_text: The source where it is text, or what else there is to say of it.
        audio: The source where it is speech: an audio file's bytes.
        audio_type: The media type of ``audio``.
        origin: Where it comes from: its id, corpus, speaker.
    """

    task: str
    reference: str
    outputs: Sequence[ShownOutput]
    source_text: str = ""
    audio: bytes = b""
    audio_type: str = "audio/wav"
    origin: str = ""


@dataclass(frozen=True, kw_only=True)
class PartParameters:
    """How many parameters a part of a model has."""

    model: str
    part: str
    num_parameters: int


@dataclass(frozen=True, kw_only=True)
class ReportContents:
    """All that a report shows. A section without contents is left out.

    Attributes:
        title: The heading.
        summary: One sentence: what was trained, on what data.
        scores: In the order to show; the first model is the one that the report is about.
        synthetic: Whether the data is synthetic; the page then says so at its top.
        losses: Training loss by task, a figure a model.
        embeddings: Task embeddings, a figure a model.
        examples: Decoded examples.
        parameters: Parameters by part.
        provenance: Name to value: command, machine, updates, seeds, versions.
    """

    title: str
    summary: str
    scores: Sequence[ScoreRow]
    synthetic: bool = False
    losses: Sequence[ModelLosses] = ()
    embeddings: Sequence[EmbeddingPicture] = ()
    examples: Sequence[ShownExample] = ()
    parameters: Sequence[PartParameters] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
