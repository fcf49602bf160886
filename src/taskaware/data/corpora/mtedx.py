"""Multilingual TEDx (Salesky et al., 2021): talks in eight languages, transcribed and translated.

https://www.openslr.org/100::

    XX-XX/data/SPLIT/txt/SPLIT.yaml     recognition: the segments of a talk
    XX-XX/data/SPLIT/txt/SPLIT.XX       a segment's transcript, line by line
    XX-YY/data/SPLIT/txt/SPLIT.yaml     translation: other segments of fewer talks
    XX-YY/data/SPLIT/txt/SPLIT.{XX,YY}
    XX-.../data/SPLIT/wav/TALK.flac     the lists of segments call it TALK.wav

SPLIT is train, valid or test; valid becomes dev. Further sets of the release (``iwslt2021``) have
other files and are not read. The folder is the one above all pairs, or one pair.

Recognition of a language comes from its ``XX-XX``, which has all its talks. Only where that is not
there, or not asked for, it comes from the pairs. ``Request.languages`` are the pairs' second
languages: ``en`` takes all that is translated into English, ``es`` the recognition of Spanish and
all that is translated into Spanish.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import zip_longest
from typing import TYPE_CHECKING

from taskaware.data.corpora.files import read_parallel, require_file, require_folder
from taskaware.data.corpora.languages import wanted_languages
from taskaware.data.corpora.rows import ASR
from taskaware.data.corpora.segment_list import read_segment_list
from taskaware.data.corpora.segments import Segment, SegmentRows
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from taskaware.data.corpora.rows import Found, Request

_PAIR = re.compile(r"([a-z]{2})-([a-z]{2})")
_SPLITS = {"train": "train", "valid": "dev", "test": "test"}


def read(request: Request) -> Iterator[Found]:
    """Yield the corpus's rows: pair by pair, split by split, the kinds of a segment together.

    Raises:
        CorpusError: The folder has no pair, or a pair is not laid out as its release.
    """
    pairs = _find_pairs(require_folder(request.folder, "the unpacked Multilingual TEDx"))
    wanted = wanted_languages(request, {target for _, target in pairs})
    pairs = {pair: folder for pair, folder in pairs.items() if pair[1] in wanted}
    recognition = SegmentRows(tuple(kind for kind in request.kinds if kind == ASR))
    translation = SegmentRows(tuple(kind for kind in request.kinds if kind != ASR))
    everything = SegmentRows(request.kinds)
    for (source, target), folder in pairs.items():
        if source == target:
            rows = recognition
        else:
            rows = translation if (source, source) in pairs else everything
        for split in _SPLITS:
            if (folder / "data" / split).is_dir():
                for segment in _read_split(folder / "data" / split, source, target):
                    yield from rows.rows(segment)


def _find_pairs(folder: Path) -> dict[tuple[str, str], Path]:
    """Return the folders by source and target language."""
    folder = folder.absolute()
    pairs = {
        (match[1], match[2]): path
        for path in [folder, *sorted(folder.iterdir())]
        if (match := _PAIR.fullmatch(path.name)) and (path / "data").is_dir()
    }
    if not pairs:
        raise CorpusError(
            f"{folder} must be a folder such as es-en with a subfolder 'data', or a folder of "
            "such folders: give the folder in which the archives were unpacked"
        )
    for (source, target), path in pairs.items():
        if not any((path / "data" / split).is_dir() for split in _SPLITS):
            raise CorpusError(
                f"{path / 'data'} must contain train, valid or test, but does not: unpack "
                f"{source}-{target} completely"
            )
    return pairs


def _read_split(folder: Path, source: str, target: str) -> Iterator[Segment]:
    name = folder.name
    ends = [source] if source == target else [source, target]
    yaml, *texts = (
        require_file(folder / "txt" / f"{name}.{end}", "a file of Multilingual TEDx")
        for end in ("yaml", *ends)
    )
    num_segments: Counter[str] = Counter()  # by talk
    for listed, lines in zip_longest(read_segment_list(yaml), read_parallel(*texts)):
        if listed is None or lines is None:
            raise CorpusError(
                f"{yaml} must have as many segments as {texts[0]} has lines, but has "
                f"{'fewer' if listed is None else 'more'}: unpack {source}-{target} again"
            )
        talk = listed.recording.removesuffix(".wav").removesuffix(".flac")
        num_segments[talk] += 1
        yield Segment(
            split=_SPLITS[name],
            id=f"{source}-{talk}-{num_segments[talk]:04d}",
            place=listed.place,
            dataset="mtedx",
            source_language=source,
            target_language=target,
            recording=talk,
            audio=folder / "wav" / f"{talk}.flac" if talk else None,
            start_seconds=listed.start_seconds,
            duration_seconds=listed.duration_seconds,
            transcript=lines[0].strip(),
            translation="" if source == target else lines[1].strip(),
            speaker=listed.speaker or talk,
        )
