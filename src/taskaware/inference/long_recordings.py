"""Recordings of any length: cut at pauses, decoded in batches by length, joined with times.

The recording is read twice, by blocks: once to hear where somebody speaks, once to decode. What is
in memory at a time is a block, and the stretches that are decoded together.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from taskaware.data.sound.segmentation import cut
from taskaware.data.sound.speech_detection import detect_speech
from taskaware.data.writing_systems import separates_words, written_language
from taskaware.errors import UserError
from taskaware.inference import guards
from taskaware.inference.joining import joined
from taskaware.inference.long_recording_settings import LongRecordingSettings, cut_settings
from taskaware.inference.long_sources import open_recording
from taskaware.inference.sources import Hearing
from taskaware.inference.timed_decoding import TimedDecoder
from taskaware.inference.transcript import Guarded, Segment, Transcript
from taskaware.inference.words import piece_ends, within_speech, words_of
from taskaware.settings import typed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from taskaware.data.sound.segmentation import Stretch
    from taskaware.data.sound.sound_blocks import LongSound
    from taskaware.data.sound.speech_detection import Detected
    from taskaware.decoding.settings import DecodingSettings
    from taskaware.inference.model import TaskAwareModel
    from taskaware.inference.sources import Source
    from taskaware.inference.timed_decoding import TimedHypothesis
    from taskaware.inference.transcript import Word
    from taskaware.types import StageProgress, Task

__all__ = ["LISTENING", "LongRecordingSettings", "transcribe"]

LISTENING = "listening"  # the stage in which the detector hears the recording

_SHORTEST_SECONDS = 0.1  # what is shorter is no speech
_STRETCHES_TOGETHER = 16


def transcribe(
    model: TaskAwareModel,
    source: Source,
    task: str,
    settings: LongRecordingSettings | None = None,
    *,
    hearing: Hearing | None = None,
    task_embedding: Tensor | None = None,
    decoding: DecodingSettings | None = None,
    progress: StageProgress | None = None,
) -> Transcript:
    """Return the output of a task for a recording of any length.

    Args:
        model: The model.
        source: A recording (see ``sources``).
        task: The name of a task that takes speech.
        settings: How to cut and decode it.
        hearing: The rate of waveforms, the channel of recordings.
        task_embedding: ``[1, O]`` from ``embed_task``, instead of the stored one.
        decoding: How to search, instead of the model's own settings.
        progress: Called with a stage (``LISTENING``, then the task), the seconds of the recording
            that are done, and those that there are.

    Raises:
        UnknownTaskError: The model has no such task.
        UserError: The task takes no recording, or a setting is impossible.
        AudioError: The recording cannot be used.
        MissingDependencyError: The detector that is asked for is not installed.
    """
    settings = settings or LongRecordingSettings()
    typed.require_valid(settings, where="long recording")
    found = model.task(task)
    if not found.modality.is_recording:
        raise UserError(
            f"the task of a recording must take speech, but '{task}' takes {found.source_modality}"
        )
    sound = open_recording(source, model.feature_settings, hearing or Hearing())
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
    decoder = TimedDecoder(model, found, task_embedding=task_embedding, decoding=decoding)
    work = _Work(model, found, settings, detected, decoder)
    waveforms = _waveforms(sound, stretches, model.feature_settings.sample_rate_hz)
    while group := list(itertools.islice(waveforms, _STRETCHES_TOGETHER)):
        work.add(group)
        report(found.name, group[-1][0].end_seconds)
    report(found.name, total)
    return work.transcript(sound, cutting.overlap_seconds)


class _Work:
    """Decodes stretches of one recording, group after group, and puts together what comes out."""

    def __init__(
        self,
        model: TaskAwareModel,
        task: Task,
        settings: LongRecordingSettings,
        detected: Detected,
        decoder: TimedDecoder,
    ) -> None:
        self._model = model
        self._task = task
        self._settings = settings
        self._detected = detected
        self._decoder = decoder
        self._found: list[_Decoded] = []
        self._num_repeating = 0
        self._num_silent = 0

    def add(self, group: Sequence[tuple[Stretch, np.ndarray]]) -> None:
        """Decode stretches with their samples, which follow one another."""
        modality = self._task.source_modality
        read = [self._model.read_source(waveform, modality).array for _, waveform in group]
        seconds = [one.end_seconds - one.start_seconds for one, _ in group]
        encoded = self._decoder.encode(read, seconds)
        outputs = self._decoder.decode(encoded)
        loops: set[int] = set()
        if self._settings.guards:
            loops = {i for i, one in enumerate(outputs) if guards.repeats(one.hypothesis.text)}
            again = self._decoder.decode(
                [encoded[i] for i in sorted(loops)], no_repeat=guards.NO_REPEAT
            )
            for i, one in zip(sorted(loops), again, strict=True):
                outputs[i] = one if one.hypothesis.finished else outputs[i]
        self._num_repeating += len(loops)
        for i, ((stretch, _), output) in enumerate(zip(group, outputs, strict=True)):
            self._found.append(self._decoded(stretch, output, is_loop=i in loops))

    def _decoded(self, stretch: Stretch, output: TimedHypothesis, *, is_loop: bool) -> _Decoded:
        """Return what a stretch says, nothing where that was invented."""
        is_speech = self._detected.is_speech(stretch.start_seconds, stretch.end_seconds)
        pieces = output.hypothesis.token_ids
        text = self._model.vocabulary.decode(pieces)
        if (
            self._settings.guards
            and text.strip()
            and guards.is_invented(
                no_speech=output.no_speech,
                confidence=output.confidence,
                is_speech=is_speech,
                detector_hears=self._detected.detector != "level",
            )
        ):
            self._num_silent += 1
            return _Decoded(stretch, "", [], output.confidence)
        words = words_of(
            text,
            piece_ends(self._model.vocabulary, pieces, text),
            output.starts_seconds + stretch.start_seconds,
            output.ends_seconds + stretch.start_seconds,
            output.probabilities,
        )
        if is_loop and guards.repeats(text):
            words = [words[i] for i in guards.without_repeats([word.text for word in words])]
            text = self._separator(text).join(word.text for word in words)
        words = within_speech(words, self._detected)
        return _Decoded(stretch, text.strip(), words, output.confidence)

    def _separator(self, text: str) -> str:
        language = written_language(self._task.target_language, [text])
        return " " if separates_words(language) else ""

    def transcript(self, sound: LongSound, overlap_seconds: float) -> Transcript:
        """Return all that was decoded, overlaps joined."""
        found = self._found
        stretches = [one.stretch for one in found]
        separator = self._separator(" ".join(one.text for one in found))
        for i in range(1, len(found)):
            place = stretches[i].cut_before
            if place is None or not found[i - 1].words or not found[i].words:
                continue
            before, after = joined(found[i - 1].words, found[i].words, place, overlap_seconds)
            found[i - 1] = found[i - 1].with_words(before, separator)
            found[i] = found[i].with_words(after, separator)
        segments = [self._segment(one) for one in found if one.text]
        warnings = []
        if not stretches:
            warnings.append(
                f"nobody speaks in it, as far as is heard (its peak is {self._detected.peak:.2g} "
                "of full scale): there is no output; where its channels cancel each other, choose "
                "one"
            )
        return Transcript(
            task=self._task.name,
            segments=tuple(segments),
            duration_seconds=sound.duration_seconds,
            separator=separator,
            guarded=Guarded(
                num_stretches=len(stretches),
                num_repeating=self._num_repeating,
                num_silent=self._num_silent,
                silent_seconds=sound.duration_seconds - _covered_seconds(stretches),
            ),
            warnings=tuple(warnings),
        )

    def _segment(self, one: _Decoded) -> Segment:
        start, end = one.stretch.start_seconds, one.stretch.end_seconds
        if one.words:
            start, end = one.words[0].start_seconds, one.words[-1].end_seconds
        return Segment(
            text=one.text,
            start_seconds=start,
            end_seconds=end,
            confidence=one.confidence,
            words=tuple(one.words) if self._settings.words else (),
        )


@dataclass(frozen=True)
class _Decoded:
    """What a stretch says."""

    stretch: Stretch
    text: str
    words: list[Word]
    confidence: float

    def with_words(self, words: list[Word], separator: str) -> _Decoded:
        """Return the same with some of its words."""
        if len(words) == len(self.words):
            return replace(self, words=words)
        return replace(self, text=separator.join(word.text for word in words), words=words)


def _covered_seconds(stretches: Sequence[Stretch]) -> float:
    """Return how much of a recording the stretches cover, overlaps once."""
    covered = reached = 0.0
    for one in stretches:
        covered += max(one.end_seconds - max(one.start_seconds, reached), 0.0)
        reached = max(reached, one.end_seconds)
    return covered


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
