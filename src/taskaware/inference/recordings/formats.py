"""A transcript as text, JSON lines, SRT, VTT, TSV, CTM or STM.

- SRT: https://en.wikipedia.org/wiki/SubRip
- VTT: https://www.w3.org/TR/webvtt1/
- CTM and STM: NIST, SCTK, https://github.com/usnistgov/SCTK/blob/master/doc/infmts.htm
- TSV: a head ``start``, ``end``, ``text``; times in whole milliseconds, as Whisper writes it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal, get_args

from taskaware.errors import UserError, nearest
from taskaware.inference.recordings.subtitles import cues, timed_words

if TYPE_CHECKING:
    from taskaware.inference.recordings.transcript import Segment, Transcript

Form = Literal["text", "jsonl", "srt", "vtt", "tsv", "ctm", "stm"]
"""How a transcript can be written."""

FORMS: tuple[Form, ...] = get_args(Form)

_WHITE = re.compile(r"\s+")
_SPLITS_LINES = re.compile("[\x85\u2028\u2029]")  # those that JSON leaves as they are


def format_transcript(transcript: Transcript, form: str, *, recording: str = "recording") -> str:
    """Return a transcript as a text of whole lines; an empty one where nothing is to be said.

    Args:
        transcript: The transcript.
        form: One of ``FORMS``.
        recording: What CTM and STM call the recording; white space in it becomes ``_``.

    Raises:
        UserError: There is no such form.
    """
    name = _WHITE.sub("_", recording.strip()) or "recording"
    match form:
        case "text":
            return f"{one_line(transcript.text)}\n"
        case "jsonl":
            return "".join(f"{_json_line(one, transcript.task)}\n" for one in transcript.segments)
        case "srt":
            return _srt(transcript)
        case "vtt":
            return _vtt(transcript)
        case "tsv":
            return _tsv(transcript)
        case "ctm":
            return _ctm(transcript, name)
        case "stm":
            return _stm(transcript, name)
    raise UserError(
        f"the form of a transcript must be one of {', '.join(FORMS)}, but is "
        f"{form!r}{nearest(str(form), FORMS)}"
    )


def one_line(text: str) -> str:
    """Return a text with one space in the place of any white space."""
    return _WHITE.sub(" ", text).strip()


def segment_fields(segment: Segment) -> dict[str, Any]:
    """Return a segment as JSON has it."""
    return {
        "start_seconds": round(segment.start_seconds, 3),
        "end_seconds": round(segment.end_seconds, 3),
        "text": segment.text,
        "confidence": round(segment.confidence, 4),
        "words": [
            {
                "text": word.text,
                "start_seconds": round(word.start_seconds, 3),
                "end_seconds": round(word.end_seconds, 3),
                "confidence": round(word.confidence, 4),
            }
            for word in segment.words
        ],
    }


def _json_line(segment: Segment, task: str) -> str:
    line = json.dumps({"task": task, **segment_fields(segment)}, ensure_ascii=False)
    return _SPLITS_LINES.sub(lambda sign: f"\\u{ord(sign[0]):04x}", line)


def _srt(transcript: Transcript) -> str:
    blocks = []
    for number, cue in enumerate(cues(transcript), start=1):
        times = f"{_clock(cue.start_seconds, ',')} --> {_clock(cue.end_seconds, ',')}"
        blocks.append("\n".join((str(number), times, *cue.lines)) + "\n")
    return "\n".join(blocks)


def _vtt(transcript: Transcript) -> str:
    blocks = ["WEBVTT\n"]
    for cue in cues(transcript):
        times = f"{_clock(cue.start_seconds, '.')} --> {_clock(cue.end_seconds, '.')}"
        lines = [
            line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            for line in cue.lines
        ]
        blocks.append("\n".join((times, *lines)) + "\n")
    return "\n".join(blocks)


def _clock(seconds: float, point: str) -> str:
    """Return ``hours:minutes:seconds`` with milliseconds after ``point``."""
    milliseconds = max(round(1000 * seconds), 0)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    whole, thousandths = divmod(rest, 1000)
    return f"{hours:02d}:{minutes:02d}:{whole:02d}{point}{thousandths:03d}"


def _tsv(transcript: Transcript) -> str:
    rows = [
        f"{round(1000 * one.start_seconds)}\t{round(1000 * one.end_seconds)}\t{one_line(one.text)}"
        for one in transcript.segments
    ]
    return "".join(f"{row}\n" for row in ("start\tend\ttext", *rows))


def _ctm(transcript: Transcript, name: str) -> str:
    return "".join(
        f"{name} 1 {word.start_seconds:.3f} {word.end_seconds - word.start_seconds:.3f} "
        f"{_WHITE.sub('_', word.text)} {word.confidence:.4f}\n"
        for segment in transcript.segments
        for word in timed_words(segment)
    )


def _stm(transcript: Transcript, name: str) -> str:
    return "".join(
        f"{name} 1 unknown {one.start_seconds:.3f} {one.end_seconds:.3f} {one_line(one.text)}\n"
        for one in transcript.segments
        if one_line(one.text)
    )
