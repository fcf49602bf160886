"""Stretches of a long recording at work: decoded group after group, guarded, put together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from taskaware.data.writing_systems import separates_words, written_language
from taskaware.decoding.batches import batches
from taskaware.inference.recordings import guards
from taskaware.inference.recordings.joining import joined
from taskaware.inference.recordings.transcript import Guarded, Segment, Transcript
from taskaware.inference.recordings.words import piece_ends, within_speech, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from taskaware.data.sound.segmentation import Stretch
    from taskaware.data.sound.sound_blocks import LongSound
    from taskaware.data.sound.speech_detection import Detected
    from taskaware.inference.decoder import Decoder
    from taskaware.inference.recordings.settings import LongRecordingSettings
    from taskaware.inference.recordings.timed_decoding import TimedDecoder, TimedHypothesis
    from taskaware.inference.recordings.transcript import Word
    from taskaware.types import Task


class StretchDecoder:
    """Decodes stretches of one recording, group after group, and puts together what comes out.

    Args:
        model: The model.
        task: The task.
        settings: How a long recording is decoded.
        detected: Where somebody speaks in it.
        decoder: Decodes stretches.
        overlap_seconds: How much two stretches both hear that were cut within speech.
        on_text: Called with each part of the text once nothing that is to come can change it, with
            what separates it from the part before.
    """

    def __init__(
        self,
        model: Decoder,
        task: Task,
        settings: LongRecordingSettings,
        detected: Detected,
        decoder: TimedDecoder,
        *,
        overlap_seconds: float,
        on_text: Callable[[str], None] | None = None,
    ) -> None:
        self._model = model
        self._task = task
        self._settings = settings
        self._detected = detected
        self._decoder = decoder
        self._overlap_seconds = overlap_seconds
        self._on_text = on_text
        self._found: list[_Decoded] = []
        self._num_told = 0
        self._has_text = False
        self._num_repeating = 0
        self._num_silent = 0
        self._log_prob = 0.0

    def add(
        self,
        group: Sequence[tuple[Stretch, np.ndarray]],
        *,
        progress: Callable[[float], None] | None = None,
        is_joined_to_next: bool = False,
    ) -> None:
        """Decode stretches, which follow one another, in batches by length.

        Args:
            group: The stretches with their samples.
            progress: Called with the seconds up to which the recording is decoded, or as much of it
                in another order.
            is_joined_to_next: Whether the last and the stretch after it were cut within speech, so
                that the text of the last may yet change.
        """
        found: dict[int, _Decoded] = {}
        seconds = [one.end_seconds - one.start_seconds for one, _ in group]
        done = group[0][0].start_seconds
        for chosen in batches([round(1000 * one) for one in seconds], self._decoder.batch_size):
            outputs, loops = self._batch([group[i] for i in chosen], [seconds[i] for i in chosen])
            for place, i in enumerate(chosen):
                found[i] = self._decoded(group[i][0], outputs[place], is_loop=place in loops)
            done += sum(seconds[i] for i in chosen)
            if progress is not None:
                progress(min(done, group[-1][0].end_seconds))
        for i in range(len(group)):
            self._found.append(found[i])
            self._join_last()
        self._tell(len(self._found) - is_joined_to_next)

    def _join_last(self) -> None:
        """Give each word that the last two stretches both heard to one of them."""
        place = self._found[-1].stretch.cut_before
        if place is None or len(self._found) < 2:
            return
        first, second = self._found[-2:]
        if first.words and second.words:
            before, after = joined(first.words, second.words, place, self._overlap_seconds)
            separator = self._separator_so_far()
            self._found[-2] = first.with_words(before, separator)
            self._found[-1] = second.with_words(after, separator)

    def _tell(self, end: int) -> None:
        """Tell the text of the stretches before a place, each once."""
        if self._on_text is None:
            return
        for one in self._found[self._num_told : end]:
            if one.text:
                separator = self._separator_so_far() if self._has_text else ""
                self._has_text = True
                self._on_text(f"{separator}{one.text}")
        self._num_told = max(self._num_told, end)

    def _batch(
        self, group: Sequence[tuple[Stretch, np.ndarray]], seconds: Sequence[float]
    ) -> tuple[list[TimedHypothesis], set[int]]:
        """Return the outputs of a batch, and the places of those that repeated themselves."""
        modality = self._task.source_modality
        read = [self._model.read_source(waveform, modality).array for _, waveform in group]
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
        self._log_prob += sum(one.hypothesis.log_prob for one in outputs)
        return outputs, loops

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

    def _separator_so_far(self) -> str:
        return self._separator(" ".join(one.text for one in self._found))

    def transcript(self, sound: LongSound) -> Transcript:
        """Return all that was decoded, overlaps joined."""
        found = self._found
        self._tell(len(found))
        stretches = [one.stretch for one in found]
        separator = self._separator_so_far()
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
            log_prob=self._log_prob,
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
