"""Recordings of any length: cut at pauses, decoded in batches by length, joined with times.

The recording is read twice, by blocks: once to hear where somebody speaks, once to decode. What is
in memory at a time is a block, and the stretches that are decoded together.
"""

from __future__ import annotations

import io
import itertools
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO, TypeGuard

import numpy as np

from taskaware.data.quality.doubts import doubt_about_length
from taskaware.data.sound.segmentation import cut
from taskaware.data.sound.sound_blocks import LongSound
from taskaware.data.sound.speech_detection import detect_speech
from taskaware.errors import TaskawareError, UserError
from taskaware.inference.recordings.settings import LongRecordingSettings, cut_settings
from taskaware.inference.recordings.sources import open_recording
from taskaware.inference.recordings.stretches import StretchDecoder
from taskaware.inference.recordings.timed_decoding import TimedDecoder
from taskaware.inference.sources import Hearing
from taskaware.settings import typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from taskaware.data.sound.segmentation import Stretch
    from taskaware.decoding.settings import DecodingSettings
    from taskaware.inference.decoder import Decoder
    from taskaware.inference.recordings.timed_decoding import Search
    from taskaware.inference.recordings.transcript import Transcript
    from taskaware.inference.sources import Source
    from taskaware.types import StageProgress, Task

__all__ = [
    "LISTENING",
    "is_long",
    "is_stream",
    "transcribe",
    "transcribe_long",
]

LISTENING = "listening"  # the stage in which the detector hears the recording

_SHORTEST_SECONDS = 0.1  # what is shorter is no speech
_STRETCHES_TOGETHER = 32  # among which batches of equal length are sought


def transcribe(
    model: Decoder,
    source: Source | LongSound,
    task: str,
    settings: LongRecordingSettings | None = None,
    *,
    hearing: Hearing | None = None,
    task_embedding: Tensor | None = None,
    decoding: DecodingSettings | None = None,
    progress: StageProgress | None = None,
    search: Search | None = None,
    on_text: Callable[[str], None] | None = None,
) -> Transcript:
    """Return the output of a task for a recording of any length.

    Args:
        model: The model.
        source: A recording (see ``sources``), or one that is open already.
        task: The name of a task that takes speech.
        settings: How to cut and decode it.
        hearing: The rate of waveforms, the channel of recordings.
        task_embedding: ``[1, O]`` from ``embed_task``, instead of the stored one.
        decoding: How to search, instead of the model's own settings; one output is returned,
            whatever its `num_best`.
        progress: Called with a stage (``LISTENING``, then the task), the seconds of the recording
            that are done, and those that there are.
        search: See ``TimedDecoder``.
        on_text: See ``StretchDecoder``. Fewer stretches are then decoded together, so that the
            first part of the text comes soon.

    Raises:
        UnknownTaskError: The model has no such task.
        UserError: The task takes no recording, or a setting is impossible.
        AudioError: The recording cannot be used.
        MissingDependencyError: The detector that is asked for is not installed.
    """
    settings = LongRecordingSettings() if settings is None else settings
    typed.require_valid(settings, where="long recording", kind=LongRecordingSettings)
    found = model.task(task)
    if not found.modality.is_recording:
        raise UserError(
            f"the task of a recording must take speech, but '{task}' takes {found.source_modality}"
        )
    sound = source
    if not isinstance(sound, LongSound):
        sound = open_recording(sound, model.feature_settings, hearing or Hearing())
    total = max(round(sound.duration_seconds), 1)

    def report(stage: str, seconds: float) -> None:
        if progress is not None:
            progress(stage, min(int(seconds), total), total)

    detected = detect_speech(
        sound, settings.detector, progress=lambda done: report(LISTENING, done)
    )
    cutting = cut_settings(model, found, settings)
    stretches = [
        one
        for one in cut(detected.probabilities, sound.duration_seconds, cutting)
        if one.end_seconds - one.start_seconds >= _SHORTEST_SECONDS
    ]
    report(found.name, 0)
    decoder = TimedDecoder(
        model, found, task_embedding=task_embedding, decoding=decoding, search=search
    )
    work = StretchDecoder(
        model,
        found,
        settings,
        detected,
        decoder,
        overlap_seconds=cutting.overlap_seconds,
        on_text=on_text,
    )
    waveforms = _waveforms(sound, stretches, model.feature_settings.sample_rate_hz)
    joined = {one for one, after in pairwise(stretches) if after.cut_before is not None}
    sizes = _sizes(is_awaited=on_text is not None)
    while group := list(itertools.islice(waveforms, next(sizes))):
        work.add(
            group,
            progress=lambda seconds: report(found.name, seconds),
            is_joined_to_next=group[-1][0] in joined,
        )
    report(found.name, total)
    return work.transcript(sound)


def is_long(model: Decoder, tasks: Sequence[Task], sound: LongSound) -> bool:
    """Return whether a recording is too long for a model to decode it at once.

    It is where the encoder cannot take it, and where it is much longer than anything in training
    (``data.quality.doubts``), so that a warning would be due.
    """
    features = model.feature_settings
    num_frames = int(sound.duration_seconds * 1000 / features.hop_ms)
    longest = model.settings.longest_recording_frames
    padded = features.padded_seconds
    if (longest and num_frames > longest) or 0 < padded < sound.duration_seconds:
        return True
    return any(
        doubt_about_length(
            num_frames, model.longest_sources.get(task.name), task.modality, features
        )
        is not None
        for task in tasks
    )


def is_stream(source: Source) -> TypeGuard[BinaryIO]:
    """Return whether a source is an open file, which may be read but once."""
    return hasattr(source, "read") and not isinstance(source, io.TextIOBase)


def transcribe_long(
    model: Decoder,
    task: Task,
    sources: Sequence[Source],
    hearing: Hearing,
    *,
    task_embedding: Tensor | None = None,
    decoding: DecodingSettings | None = None,
) -> dict[int, Transcript]:
    """Return the transcripts of those sources that are too long to be decoded at once, by place.

    What cannot be opened is left to whoever reads it, who says why.

    Raises:
        AudioError, UserError: See ``transcribe``.
    """
    found: dict[int, Transcript] = {}
    for place, source in enumerate(sources) if task.modality.is_recording else ():
        sound = None
        with suppress(TaskawareError):
            sound = open_recording(source, model.feature_settings, hearing)
        if sound is not None and is_long(model, [task], sound):
            found[place] = transcribe(
                model, sound, task.name, task_embedding=task_embedding, decoding=decoding
            )
    return found


def _sizes(*, is_awaited: bool) -> Iterator[int]:
    """Yield how many stretches are decoded together: few where somebody awaits their text."""
    if is_awaited:
        yield from (1, 2)
    yield from itertools.repeat(4 if is_awaited else _STRETCHES_TOGETHER)


def _waveforms(
    sound: LongSound, stretches: Sequence[Stretch], rate_hz: int
) -> Iterator[tuple[Stretch, np.ndarray]]:
    """Yield each stretch with its samples; the recording is read once, by blocks."""
    kept = np.zeros(0, dtype=np.float32)
    first = 0  # the sample of the recording that `kept` begins with
    blocks = sound.blocks(rate_hz)
    for stretch in stretches:
        start, end = (round(s * rate_hz) for s in (stretch.start_seconds, stretch.end_seconds))
        while first + len(kept) < end:
            block = next(blocks, None)
            if block is None:
                break
            drop = min(max(start - first, 0), len(kept))
            kept = np.concatenate([kept[drop:], block])
            first += drop
        part = kept[max(start - first, 0) : end - first]
        if len(part):
            yield stretch, part.copy()
