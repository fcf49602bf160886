"""MuST-C (Di Gangi et al., 2019; Cattoni et al., 2021): English TED talks, translated.

https://mt.fbk.eu/must-c/, releases 1, 2 and 3::

    en-XX/data/SPLIT/txt/SPLIT.yaml      a segment a line, as a flow mapping of YAML:
                                         - {duration: 3.5, offset: 16.08, ..., wav: ted_767.wav}
    en-XX/data/SPLIT/txt/SPLIT.en        its transcript, in the same line
    en-XX/data/SPLIT/txt/SPLIT.XX        its translation, in the same line
    en-XX/data/SPLIT/wav/ted_767.wav

``tst-COMMON`` is read as test, the others by their names (train, dev, tst-HE). The folder is the
one above all ``en-XX``, or one of them. Features that a release holds (``h5``) are not read.

Every pair has its own talks and its own segmentation: sentences are aligned with their translations
first, and a segment is what one aligned sentence covers (Di Gangi et al., section 3). The talks of
tst-COMMON, which all pairs share, make 2,641 segments in German and fewer in French. So each pair
gives its own transcripts to recognition; the ones that an earlier pair gave are not repeated.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING

from taskaware.data.corpora.files import read_parallel, require_file, require_folder
from taskaware.data.corpora.languages import wanted_languages
from taskaware.data.corpora.segments import Segment, SegmentRows
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from taskaware.data.corpora.rows import Found, Request

_SPLITS = {"tst-COMMON": "test"}
_PAIR = re.compile(r"en-([a-z]{2,3})")
_MAPPING = re.compile(r"\s*-\s*\{(.*)\}\s*")


def read(request: Request) -> Iterator[Found]:
    """Yield the corpus's rows: pair by pair, split by split, the kinds of a segment together.

    Raises:
        CorpusError: The folder has no pair of languages, or one of its files is not as released.
    """
    pairs = _find_pairs(require_folder(request.folder, "the unpacked MuST-C"))
    wanted = wanted_languages(request, pairs)
    rows = SegmentRows(request.kinds)
    for language, folder in pairs.items():
        if language not in wanted:
            continue
        splits = sorted(part for part in (folder / "data").iterdir() if (part / "txt").is_dir())
        if not splits:
            raise CorpusError(
                f"{folder / 'data'} must contain folders such as train/txt and tst-COMMON/txt, but "
                "does not: unpack the corpus completely"
            )
        for split in splits:
            for segment in _read_split(split, language):
                yield from rows.rows(segment)


def _find_pairs(folder: Path) -> dict[str, Path]:
    """Return the pairs' folders by target language."""
    candidates = [folder.absolute(), *sorted(folder.absolute().iterdir())]
    found = {
        match[1]: path
        for path in candidates
        if (match := _PAIR.fullmatch(path.name)) and (path / "data").is_dir()
    }
    if not found:
        raise CorpusError(
            f"{folder} must be a folder such as en-de with a subfolder 'data', or a folder of "
            "such folders: give the folder in which MuST-C's archives were unpacked"
        )
    return found


def _read_split(folder: Path, language: str) -> Iterator[Segment]:
    name = folder.name
    yaml, transcripts, translations = (
        require_file(folder / "txt" / f"{name}.{end}", "a file of MuST-C")
        for end in ("yaml", "en", language)
    )
    num_segments: Counter[str] = Counter()  # by talk
    lines = read_parallel(yaml, transcripts, translations)
    for number, (line, transcript, translation) in enumerate(lines, start=1):
        place = f"{yaml}, line {number}"
        fields, start, duration = _parse(line, place)
        talk = fields["wav"].removesuffix(".wav")
        num_segments[talk] += 1
        yield Segment(
            split=_SPLITS.get(name, name),
            id=f"{talk}-{num_segments[talk]:04d}",
            place=place,
            dataset="must_c",
            source_language="en",
            target_language=language,
            recording=talk,
            audio=folder / "wav" / fields["wav"],
            start_seconds=start,
            duration_seconds=duration,
            transcript=transcript.strip(),
            translation=translation.strip(),
            speaker=fields.get("speaker_id", ""),
        )


def _parse(line: str, place: str) -> tuple[dict[str, str], float, float]:
    """Return the fields of a line, its start and its duration in seconds.

    A release's train file has a quarter of a million lines of this one form, for which a reader of
    all of YAML takes more than a minute.
    """
    mapping = _MAPPING.fullmatch(line)
    parts = mapping[1].split(",") if mapping else []
    fields = {
        name.strip(): value.strip().strip("'\"")
        for name, _, value in (part.partition(":") for part in parts)
    }
    try:
        start, duration = float(fields["offset"]), float(fields["duration"])
        if not (fields["wav"] and math.isfinite(start) and math.isfinite(duration)):
            raise ValueError
    except (KeyError, ValueError):
        raise CorpusError(
            f"{place} must be one segment such as '- {{duration: 3.5, offset: 16.08, speaker_id: "
            f"spk.1, wav: ted_1.wav}}', but is '{line[:200]}': unpack the corpus again, or write "
            "the segments one a line"
        ) from None
    return fields, start, duration
