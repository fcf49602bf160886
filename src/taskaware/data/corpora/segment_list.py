"""Lists of segments as TED corpora hand them out: YAML, a sequence of flat mappings.

One mapping a line, ``- {duration: 3.5, offset: 16.08, speaker_id: spk.1, wav: ted_1.wav}``, or one
that goes on in the lines below; quoted or not. A list has up to a quarter of a million of them and
must be read one at a time, which readers of all of YAML do not do.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskaware.data.corpora.files import read_lines
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FIELD = re.compile(
    r"""(?:^\s*-|[{,\n])\s*["']?(\w+)["']?\s*:\s*(?:"([^"]*)"|'([^']*)'|([^,}\n]*))"""
)


@dataclass(frozen=True, kw_only=True)
class ListedSegment:
    """One entry of a list.

    Attributes:
        place: File and line.
        start_seconds: Where in the recording it starts (the list's ``offset``).
        duration_seconds: How long it is.
        recording: The recording's file name, as the list has it; empty where it has none.
        speaker: Who speaks; empty where the list does not say.
    """

    place: str
    start_seconds: float
    duration_seconds: float
    recording: str
    speaker: str


def read_segment_list(path: Path) -> Iterator[ListedSegment]:
    """Yield the entries of a list, in order.

    Raises:
        CorpusError: An entry has no offset or duration that is a number of seconds.
    """
    first, entry = 0, ""
    for number, line in enumerate(read_lines(path), start=1):
        if line.lstrip().startswith("- "):
            if entry:
                yield _parse(entry, f"{path}, line {first}")
            first, entry = number, line
        elif entry and line.strip():
            entry += "\n" + line
        elif line.strip() not in ("", "---") and not line.lstrip().startswith("#"):
            raise CorpusError(
                f"{path}, line {number} must begin a segment with '- ', but is '{line[:200]}'"
            )
    if entry:
        yield _parse(entry, f"{path}, line {first}")


def _parse(entry: str, place: str) -> ListedSegment:
    fields = {name: (a or b or c).strip() for name, a, b, c in _FIELD.findall(entry)}
    try:
        start, duration = float(fields["offset"]), float(fields["duration"])
    except (KeyError, ValueError):
        start = duration = math.nan
    if not (math.isfinite(start) and math.isfinite(duration)):
        raise CorpusError(
            f"{place} must be a segment such as '- {{duration: 3.5, offset: 16.08, speaker_id: "
            f"spk.1, wav: ted_1.wav}}', but is '{entry[:200]}': unpack the corpus again"
        )
    return ListedSegment(
        place=place,
        start_seconds=start,
        duration_seconds=duration,
        recording=fields.get("wav", ""),
        speaker=fields.get("speaker_id", ""),
    )
