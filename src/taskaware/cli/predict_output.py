"""What ``predict`` writes: lines of text with as few labels as needed, or JSON lines."""

from __future__ import annotations

import io
import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from taskaware.cli.printable import printable, printable_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.cli.predict_inputs import Item
    from taskaware.inference.recordings.transcript import Transcript
    from taskaware.types import Hypothesis

# Whatever a program may take for the end of a line: what `str.splitlines` splits at.
_LINE_END = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_SPLITS_JSON = re.compile("[\x85\u2028\u2029]")  # those that JSON leaves as they are


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The columns that stand before a text, separated by tabs.

    Attributes:
        file: Whether the input is named: there are several.
        task: Whether the task is named: an input goes to several.
        rank: Whether the rank is given, from 1: there are several outputs for a source.
    """

    file: bool
    task: bool
    rank: bool


class Writer:
    """Writes outputs to standard output, in UTF-8, one a line."""

    def __init__(self, form: Literal["text", "jsonl"], labels: Labels) -> None:
        self._form = form
        self._labels = labels
        self._stream = sys.stdout  # a progress bar puts itself in its place
        self._is_terminal = self._stream.isatty()  # a file or a pipe gets what a model writes
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Whatever the terminal's language, as the texts that are read are in UTF-8.
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")

    def outputs(
        self, item: Item, task: str, hypotheses: Sequence[Hypothesis], doubts: Sequence[str]
    ) -> None:
        """Write the outputs of one task for one source, best first."""
        for rank, hypothesis in enumerate(hypotheses, start=1):
            if self._form == "text":
                self._text(item, task, rank, hypothesis.text)
                continue
            self._json(
                item,
                task=task,
                rank=rank,
                text=hypothesis.text,
                score=hypothesis.score,
                log_prob=hypothesis.log_prob,
                finished=hypothesis.finished,
                warnings=list(doubts),
            )

    def transcript(self, item: Item, transcript: Transcript) -> None:
        """Write the output for a recording that was decoded in parts."""
        if self._form == "text":
            self._text(item, transcript.task, 1, transcript.text)
            return
        from dataclasses import asdict

        from taskaware.inference.recordings.formats import segment_fields

        self._json(
            item,
            task=transcript.task,
            rank=1,
            text=transcript.text,
            score=transcript.log_prob,
            log_prob=transcript.log_prob,
            finished=True,
            warnings=list(transcript.warnings),
            confidence=round(transcript.confidence, 4),
            segments=[segment_fields(one) for one in transcript.segments],
            guarded=asdict(transcript.guarded),
        )

    def failure(self, item: Item, task: str, reason: str) -> None:
        """Write that a source has no output: for a line, an empty one keeps its place."""
        if self._form == "jsonl":
            self._json(item, task=task, error=reason)
        elif item.line is not None:
            self._text(item, task, 1, "")

    def flush(self) -> None:
        """Show what is written."""
        self._stream.flush()

    def _text(self, item: Item, task: str, rank: int, text: str) -> None:
        from taskaware.cli.predict_inputs import TEXTS

        text = _one_line(text)
        cells = [
            *([_one_line(printable_name(item.file or TEXTS))] if self._labels.file else []),
            *([task] if self._labels.task else []),
            *([str(rank)] if self._labels.rank else []),
            printable(text) if self._is_terminal else text,
        ]
        self._stream.write("\t".join(cells) + "\n")

    def _json(self, item: Item, **values: object) -> None:
        place = {"file": item.file or None, "line": item.line, "source": item.shown}
        line = json.dumps({**place, **item.fields, **values}, ensure_ascii=False)
        escaped = _SPLITS_JSON.sub(lambda sign: f"\\u{ord(sign[0]):04x}", line)
        self._stream.write(escaped + "\n")


def _one_line(text: str) -> str:
    return _LINE_END.sub(" ", text)
