"""A segment of translated speech, and the rows that become of it: recognition, speech translation
and text translation of the same sentence, next to each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskaware.data.corpora.rows import ASR, MT, ST, Found, LeftOut, Row
from taskaware.data.hashes import FirstSeen, hash_texts
from taskaware.data.quality.settings import CheckSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LEAST_SECONDS = CheckSettings.min_seconds


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One sentence of a recording, written down and translated.

    Attributes:
        split: Where its rows go.
        id: Unique among the segments of its split and language pair.
        place: File and line, for what is left out.
        dataset: The corpus.
        source_language: What is spoken.
        target_language: What it is translated into.
        recording: Name of the recording.
        audio: Its file; ``None``: there is none.
        start_seconds: Where in the recording the segment starts.
        duration_seconds: How long it is.
        transcript: What is said.
        translation: The same in the target language.
        speaker: Who speaks.
    """

    split: str
    id: str
    place: str
    dataset: str
    source_language: str
    target_language: str
    recording: str
    audio: Path | None
    start_seconds: float
    duration_seconds: float
    transcript: str
    translation: str
    speaker: str


class SegmentRows:
    """Makes rows of segments; knows which transcripts it has given already.

    Corpora of this kind have a folder for each pair of languages, and a recording that is
    translated into several languages is in several of them. Where the segment and its transcript
    are equal, recognition would be trained on it several times, so that only the first pair gives
    it; equal means equal to the millisecond and to the letter. What a pair itself repeats stays.

    Args:
        kinds: The kinds of task wanted.
    """

    def __init__(self, kinds: tuple[str, ...]) -> None:
        self._kinds = [kind for kind in (ASR, ST, MT) if kind in kinds]
        self._transcripts = FirstSeen()
        self._pairs: dict[tuple[str, str], int] = {}

    def rows(self, segment: Segment) -> Iterator[Found]:
        """Yield a segment's rows, in the order ASR, ST, MT, after what is wrong with it."""
        utterance = (
            f"{segment.recording}@{segment.start_seconds:.3f}+{segment.duration_seconds:.3f}"
        )
        speech, transcript, translation = _problems(segment)
        needs = {
            ASR: (speech, transcript),
            ST: (speech, translation),
            MT: (transcript, translation),
        }
        wrong = {kind: [reason for reason in needs[kind] if reason] for kind in self._kinds}
        for reason in dict.fromkeys(reason for reasons in wrong.values() for reason in reasons):
            yield LeftOut(split=segment.split, place=segment.place, reason=reason)
        for kind, reasons in wrong.items():
            if not reasons and not (kind == ASR and self._is_given(segment, utterance)):
                yield _row(segment, kind, utterance)

    def _is_given(self, segment: Segment, utterance: str) -> bool:
        """Return whether another pair gave this transcript; if none, this pair gives it."""
        languages = (segment.source_language, segment.target_language)
        pair = self._pairs.setdefault(languages, len(self._pairs))
        key = hash_texts(segment.split, segment.source_language, utterance, segment.transcript)
        first = self._transcripts.put(key, pair)
        return first is not None and first != pair


def _problems(segment: Segment) -> tuple[str, str, str]:
    """Return what is wrong with the speech, the transcript and the translation; empty: nothing."""
    if segment.audio is None:
        speech = "no recording"
    elif segment.start_seconds < 0:
        speech = "the segment starts before its recording"
    elif segment.duration_seconds < _LEAST_SECONDS:
        speech = f"the segment is shorter than {_LEAST_SECONDS:g} s"
    else:
        speech = ""
    return (
        speech,
        "" if segment.transcript else "no transcript",
        "" if segment.translation else "no translation",
    )


def _row(segment: Segment, kind: str, utterance: str) -> Row:
    is_speech = kind != MT
    return Row(
        split=segment.split,
        # The pair is part of a transcript's id as well: each pair counts its segments by itself.
        id=f"{segment.id}-{kind}-{segment.target_language}",
        kind=kind,
        dataset=segment.dataset,
        source_language=segment.source_language,
        target_language=segment.source_language if kind == ASR else segment.target_language,
        target_text=segment.transcript if kind == ASR else segment.translation,
        source_text=None if is_speech else segment.transcript,
        audio=segment.audio if is_speech else None,
        start_seconds=segment.start_seconds if is_speech else 0.0,
        duration_seconds=segment.duration_seconds if is_speech else None,
        speaker=segment.speaker,
        utterance=utterance,
    )
