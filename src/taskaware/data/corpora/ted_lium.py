"""TED-LIUM 3 (Hernandez et al., 2018): English TED talks, https://www.openslr.org/51.

::

    TEDLIUM_release-3/legacy/{dev,test}/{stm,sph}/TALK.{stm,sph}
    TEDLIUM_release-3/legacy/train/{stm,sph}        links to data/
    TEDLIUM_release-3/data/{stm,sph}/TALK.{stm,sph}

The legacy repartition is read, whose dev and test sets are those of releases 1 and 2; the one for
speaker adaptation is not. Where unpacking has lost the links, train is all of ``data`` but the
talks of dev and test. A line of STM (the format of NIST's sclite) is
``TALK CHANNEL SPEAKER START END <LABEL> TEXT``.

One rule makes a transcript of a text: what stands in ``<>``, ``{}``, ``[]`` or ``()`` is not speech
written down (labels, ``<sil>``, ``{NOISE}``, the variant of a pronunciation in ``for(2)``, the
segment's name) and goes, also ``<unk>``, whose word the corpus does not know; an apostrophe that
stands apart joins the word before it (``it 's`` becomes ``it's``). Segments that the corpus marks
with ``ignore_time_segment_in_scoring`` are left out.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from taskaware.data.corpora.files import read_lines, require_folder, visible
from taskaware.data.corpora.rows import ASR, Found, LeftOut, Request, Row
from taskaware.data.quality.settings import CheckSettings
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MARK = re.compile(r"<[^<>]*>|\{[^{}]*\}|\[[^\[\]]*\]|\([^()]*\)")
_IGNORED = "ignore_time_segment_in_scoring"


def read(request: Request) -> Iterator[Found]:
    """Yield the corpus's rows.

    Raises:
        CorpusError: The folder is not laid out as the release.
    """
    folder = require_folder(request.folder, "the unpacked TED-LIUM 3")
    if (folder / "TEDLIUM_release-3").is_dir():
        folder = folder / "TEDLIUM_release-3"
    held_out = {split: _transcripts(folder / "legacy" / split / "stm") for split in ("dev", "test")}
    for split, transcripts in held_out.items():
        if not transcripts:
            raise CorpusError(
                f"{folder / 'legacy' / split / 'stm'} must contain the transcripts of {split} "
                "(*.stm),"
                " but does not: give the folder TEDLIUM_release-3, unpacked completely"
            )
    train = _transcripts(folder / "legacy" / "train" / "stm")
    if not train:
        names = {path.name for paths in held_out.values() for path in paths}
        train = [path for path in _transcripts(folder / "data" / "stm") if path.name not in names]
    if not train:
        raise CorpusError(
            f"{folder} must contain the transcripts of train (*.stm) in legacy/train/stm or "
            "data/stm, "
            "but does not: unpack the corpus completely"
        )
    if ASR not in request.kinds or (request.languages and "en" not in request.languages):
        return
    for split, transcripts in {"train": train, **held_out}.items():
        for transcript in transcripts:
            yield from _read_talk(transcript, split, folder / "data")


def _transcripts(folder: Path) -> list[Path]:
    """Return the files of transcripts; a link that leads nowhere is none."""
    return [path for path in visible(folder.glob("*.stm")) if path.is_file()]


def _read_talk(transcript: Path, split: str, data: Path) -> Iterator[Found]:
    for number, line in enumerate(read_lines(transcript), start=1):
        if not line.strip() or line.startswith(";;"):  # a comment of STM
            continue
        found = _parse(line)
        if isinstance(found, str):
            yield LeftOut(split=split, place=f"{transcript}, line {number}", reason=found)
            continue
        talk, speaker, start, end, text = found
        audio = transcript.parent.parent / "sph" / f"{talk}.sph"
        if not audio.is_file() and (data / "sph" / audio.name).is_file():
            audio = data / "sph" / audio.name
        id_ = f"{transcript.stem}-{number:04d}"
        yield Row(
            split=split,
            id=id_,
            kind=ASR,
            dataset="ted_lium",
            source_language="en",
            target_language="en",
            target_text=text,
            audio=audio,
            start_seconds=start,
            duration_seconds=round(end - start, 6),
            speaker=speaker,
            utterance=id_,
        )


def _parse(line: str) -> tuple[str, str, float, float, str] | str:
    """Return talk, speaker, start and end in seconds, and transcript; or why there are none."""
    cells = line.split(maxsplit=5)
    try:
        talk, _, speaker = cells[:3]
        start, end = float(cells[3]), float(cells[4])
    except (ValueError, IndexError):
        return "not a line of STM"
    if not (math.isfinite(start) and math.isfinite(end)):
        return "not a line of STM"
    text = clean_transcript(cells[5]) if len(cells) > 5 else ""
    if text == _IGNORED:
        return f"marked {_IGNORED}"
    if not text:
        return "no transcript"
    if start < 0:
        return "the segment starts before its recording"
    if end - start < CheckSettings.min_seconds:
        return f"the segment is shorter than {CheckSettings.min_seconds:g} s"
    return talk, speaker, start, end, text


def clean_transcript(text: str) -> str:
    """Return what is said, of a text of the corpus; see the rule above."""
    words = " ".join(_MARK.sub(" ", text).split())
    return words.replace(" '", "'")
