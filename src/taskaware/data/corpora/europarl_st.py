"""Europarl-ST (Iranzo-Sánchez et al., 2020): speeches of the European Parliament, translated.

https://www.mllp.upv.es/europarl-st/, release 1.1::

    v1.1/SOURCE/audios/SPEECH.m4a
    v1.1/SOURCE/TARGET/SPLIT/segments.lst         SPEECH START END, in seconds
    v1.1/SOURCE/TARGET/SPLIT/segments.SOURCE      the transcript, in the same line
    v1.1/SOURCE/TARGET/SPLIT/segments.TARGET      the translation, in the same line
    v1.1/SOURCE/TARGET/SPLIT/{speeches,speakers}.lst

The folder is ``v1.1``, the one above it, or ``v1.1/SOURCE`` for one source language. The splits are
train, train-noisy (a second set for training that was not filtered as strictly; train alone is what
papers mean), dev and test. Texts are as the corpus has them, with spaces around some punctuation.

The recordings are M4A, which libsndfile does not read: convert them first, beside the originals, to
FLAC, WAV, Ogg or MP3. Every pair of languages has segments of its own; a transcript that an
earlier pair gave to recognition is not repeated.
"""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING

from taskaware.data.corpora.files import read_parallel, require_file, require_folder
from taskaware.data.corpora.languages import wanted_languages
from taskaware.data.corpora.rows import ASR, ST
from taskaware.data.corpora.segments import Segment, SegmentRows
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from taskaware.data.corpora.rows import Found, Request

_SPLITS = ("train", "train-noisy", "dev", "test")
_FORMATS = ("flac", "wav", "ogg", "mp3")


def read(request: Request) -> Iterator[Found]:
    """Yield the corpus's rows: pair by pair, split by split, the kinds of a segment together.

    Raises:
        CorpusError: The folder has no pair of languages, a file is not as released, or a recording
            is not converted yet.
    """
    pairs = _find_pairs(require_folder(request.folder, "the unpacked Europarl-ST"))
    wanted = wanted_languages(request, {target for _, target in pairs})
    rows = SegmentRows(request.kinds)
    needs_audio = ASR in request.kinds or ST in request.kinds
    for (source, target), folder in pairs.items():
        for split in _SPLITS:
            if target in wanted and (folder / split).is_dir():
                for segment in _read_split(folder / split, source, target, needs_audio):
                    yield from rows.rows(segment)


def _find_pairs(folder: Path) -> dict[tuple[str, str], Path]:
    """Return the folders by source and target language."""
    folder = folder.absolute()
    folder = folder / "v1.1" if (folder / "v1.1").is_dir() else folder
    lists = sorted([*folder.glob("*/*/segments.lst"), *folder.glob("*/*/*/segments.lst")])
    pairs = {(path.parents[2].name, path.parents[1].name): path.parents[1] for path in lists}
    if not pairs:
        raise CorpusError(
            f"{folder} must contain files such as en/de/train/segments.lst, but does not: name the "
            "folder v1.1 that the archive was unpacked in"
        )
    return pairs


def _read_split(folder: Path, source: str, target: str, needs_audio: bool) -> Iterator[Segment]:
    names = ("segments.lst", f"segments.{source}", f"segments.{target}")
    files = [require_file(folder / name, "a file of Europarl-ST") for name in names]
    speakers = _read_speakers(folder)
    audios = folder.parents[1] / "audios"
    speech, audio = "", None
    for number, (line, transcript, translation) in enumerate(read_parallel(*files), start=1):
        place = f"{files[0]}, line {number}"
        name, start, end = _parse(line, place)
        if name != speech:
            speech, audio = name, _find_audio(audios, name) if needs_audio else None
        yield Segment(
            split=folder.name,
            id=f"{name}-{number:05d}",
            place=place,
            dataset="europarl_st",
            source_language=source,
            target_language=target,
            recording=name,
            audio=audio,
            start_seconds=start,
            duration_seconds=round(end - start, 6),
            transcript=transcript.strip(),
            translation=translation.strip(),
            speaker=speakers.get(name, ""),
        )


def _read_speakers(folder: Path) -> dict[str, str]:
    """Return the speakers by speech, where the corpus says."""
    speeches, speakers = folder / "speeches.lst", folder / "speakers.lst"
    if not (speeches.is_file() and speakers.is_file()):
        return {}
    return {
        speech.strip(): speaker.strip() for speech, speaker in read_parallel(speeches, speakers)
    }


def _parse(line: str, place: str) -> tuple[str, float, float]:
    """Return the speech, and the start and the end of the segment in seconds."""
    try:
        name, start, end = line.split()
        times = float(start), float(end)
        if not all(map(math.isfinite, times)):
            raise ValueError
    except ValueError:
        raise CorpusError(
            f"{place} must be a speech, a start and an end in seconds, such as "
            f"'en.20080924.31.3-213 0.0 10.77', but is '{line[:200]}': unpack the corpus again"
        ) from None
    return name, *times


def _find_audio(audios: Path, speech: str) -> Path | None:
    """Return the recording of a speech in a form that can be read, or ``None`` without one.

    Raises:
        CorpusError: It is there, but not converted.
    """
    # Names of speeches have dots in them, so that a suffix is added, never replaced.
    for ending in _FORMATS:
        if (audios / f"{speech}.{ending}").is_file():
            return audios / f"{speech}.{ending}"
    if (audios / f"{speech}.m4a").is_file():
        raise CorpusError(
            f"{audios / speech}.m4a must be converted first, as M4A cannot be read, but there is "
            f"no {', '.join(_FORMATS)} of that name beside it; with ffmpeg (https://ffmpeg.org):\n"
            f'for file in {shlex.quote(str(audios))}/*.m4a; do ffmpeg -nostdin -n -i "$file" -ac 1 '
            '-ar 16000 "${file%.m4a}.flac"; done'
        )
    return None
