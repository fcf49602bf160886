"""What goes in and out as JSON, as the OpenAPI page shows it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from taskaware.serve.service import WIDEST_BEAM
from taskaware.serve.task_book import NAME_PATTERN

_MOST_SOURCES = 1_000
_MOST_MIXED = 16
_LANGUAGE = "^[A-Za-z0-9_-]{0,32}$"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Source(_Strict):
    """One source: exactly one of the three."""

    text: str | None = Field(None, description="A text.")
    audio: str | None = Field(
        None, description="A recording (wav, flac, mp3, ogg, NIST sphere) in base64."
    )
    features: str | None = Field(
        None, description="A NumPy file (.npy) of an array [frames, columns], in base64."
    )


class RunRequest(_Strict):
    """Sources to run tasks on."""

    sources: list[Source] = Field(min_length=1, max_length=_MOST_SOURCES)
    tasks: list[str] | None = Field(
        None,
        min_length=1,
        max_length=_MOST_SOURCES,
        description="Default: all of the model's own that fit; those of examples are named.",
    )
    mix: dict[str, Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]] | None = Field(
        None,
        min_length=1,
        max_length=_MOST_MIXED,
        description="In place of `tasks`: a task whose embedding is the weighted sum of theirs.",
    )
    times: bool = Field(
        False, description="Whether recordings get times of segments and words, and subtitles."
    )
    map: bool = Field(False, description="Whether the places of the task embeddings are wanted.")
    beam: int | None = Field(None, ge=1, le=WIDEST_BEAM)
    num_best: int = Field(1, ge=1, le=WIDEST_BEAM)


class Alternative(BaseModel):
    """One hypothesis."""

    text: str
    confidence: float
    score: float
    log_prob: float
    finished: bool


class TimedWord(BaseModel):
    """A word of a recording."""

    text: str
    start_seconds: float
    end_seconds: float
    confidence: float


class TimedSegment(TimedWord):
    """A stretch of a recording."""

    words: list[TimedWord]


class Subtitles(BaseModel):
    """The same in two formats."""

    srt: str
    vtt: str


class Output(BaseModel):
    """What a task made of a source."""

    source: int = Field(description="Which of the sources, from 0.")
    task: str
    text: str
    confidence: float = Field(description="Geometric mean of the probabilities of the pieces.")
    warnings: list[str] = Field(description="Why the output may be worth nothing.")
    duration_seconds: float | None = None
    alternatives: list[Alternative] = []
    segments: list[TimedSegment] | None = None
    subtitles: Subtitles | None = None


class Place(BaseModel):
    """A task embedding in two dimensions."""

    name: str
    kind: Literal["task", "stored", "mix", "example"]
    x: float
    y: float


class RunAnswer(BaseModel):
    """All outputs, source by source."""

    outputs: list[Output]
    seconds: float = Field(description="From the request's arrival to this answer.")
    map: list[Place] | None = None


class ExamplePair(_Strict):
    """A source and the text that a task makes of it."""

    source: Source
    target: str


class NewTask(_Strict):
    """A task by some examples of it."""

    name: str = Field(pattern=NAME_PATTERN)
    examples: list[ExamplePair] = Field(min_length=1, max_length=_MOST_SOURCES)
    like: str | None = Field(
        None, description="A task of the model that takes the same kind of source and languages."
    )
    source_language: str | None = Field(None, pattern=_LANGUAGE)
    target_language: str | None = Field(None, pattern=_LANGUAGE)


class ModelEntry(BaseModel):
    """A task, as an entry of OpenAI's list of models; or, asked for by a name of it, the model.

    The model is no one task: the four fields that tell tasks apart are then ``null``.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    kind: str | None
    source_modality: str | None
    source_language: str | None
    target_language: str | None
    is_stored: bool = Field(description="Whether it was made from examples.")
    has_embedding: bool


class ModelList(BaseModel):
    """All tasks."""

    object: Literal["list"] = "list"
    data: list[ModelEntry]


class TaskEmbeddings(BaseModel):
    """The task embeddings of all tasks, in two dimensions (principal components)."""

    data: list[Place]
    can_be_made: bool = Field(description="Whether tasks can be made from examples.")


class LogMel(BaseModel):
    """What the model hears of a recording."""

    num_frames: int
    num_bins: int
    seconds_a_frame: float
    duration_seconds: float
    values: str = Field(
        description="Bytes [frames, bins] in base64, 0 the lowest, 255 the highest."
    )


class Transcription(BaseModel):
    """The output for a recording: `json`, and with times `verbose_json`."""

    model_config = ConfigDict(extra="allow")

    text: str


class Health(BaseModel):
    """Whether outputs can be made."""

    status: Literal["ok", "stopping"]


class ErrorContent(BaseModel):
    """What is wrong, where, and what to do."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """An error, in the form of OpenAI's API."""

    error: ErrorContent


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorAnswer, "description": "The request cannot be answered as it is."},
    "5XX": {
        "model": ErrorAnswer,
        "description": "The service fails, is stopping, or was too slow.",
    },
}
