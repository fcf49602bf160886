"""Recordings of any length: cut at pauses, decoded in batches, joined with times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from taskaware.data.sound import audio
from taskaware.data.writing_systems import separates_words, written_language
from taskaware.inference.transcript import Segment, Transcript

if TYPE_CHECKING:
    from taskaware.inference.model import TaskAwareModel
    from taskaware.inference.sources import Hearing, Source
    from taskaware.types import StageProgress


@dataclass(frozen=True, kw_only=True)
class LongRecordingSettings:
    """How a long recording is cut and decoded.

    Attributes:
        longest_seconds: The longest stretch that is decoded at once.
        words: Whether words get times.
    """

    longest_seconds: float = 28.0
    words: bool = True


def transcribe(
    model: TaskAwareModel,
    source: Source,
    task: str,
    settings: LongRecordingSettings | None = None,
    *,
    hearing: Hearing | None = None,
    progress: StageProgress | None = None,
) -> Transcript:
    """Return the output of a task for a recording of any length.

    Args:
        model: The model.
        source: A recording (see ``sources``).
        task: The name of a task that takes speech.
        settings: How to cut and decode it.
        hearing: The rate of waveforms, the channel of recordings.
        progress: Called with the seconds that are done and those that there are.

    Raises:
        UnknownTaskError: The model has no such task.
        UserError: The task takes no recording.
        AudioError: The recording cannot be used.
    """
    settings = settings or LongRecordingSettings()
    found = model.task(task)
    rate = model.feature_settings.sample_rate_hz
    if isinstance(source, np.ndarray):
        waveform = source
    else:
        path = Path(source) if isinstance(source, str) else source
        waveform = audio.read_sound(path, sample_rate_hz=rate).waveform  # type: ignore[arg-type]
    longest = int(settings.longest_seconds * rate)
    segments = []
    for start in range(0, len(waveform), longest):
        part = waveform[start : start + longest]
        if len(part) < 0.1 * rate:
            continue
        read = model.read_source(part, found.source_modality, hearing=hearing)
        (hypotheses,) = model.decode_read(found, [read])
        best = hypotheses[0]
        segments.append(
            Segment(
                text=best.text.strip(),
                start_seconds=start / rate,
                end_seconds=(start + len(part)) / rate,
                confidence=math.exp(best.log_prob / (len(best.token_ids) + 1)),
            )
        )
        if progress is not None:
            progress(task, min(start + longest, len(waveform)) // rate, len(waveform) // rate)
    language = written_language(found.target_language, [one.text for one in segments])
    return Transcript(
        task=task,
        segments=tuple(one for one in segments if one.text),
        duration_seconds=len(waveform) / rate,
        separator=" " if separates_words(language) else "",
    )
