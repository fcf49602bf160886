"""Data folders of Kaldi (Povey et al., 2011), https://kaldi-asr.org/doc/data_prep.html.

::

    FOLDER/wav.scp      RECORDING PATH
    FOLDER/text         UTTERANCE TRANSCRIPT
    FOLDER/segments     UTTERANCE RECORDING START END      in seconds; without it, utterances are
                                                           whole recordings of the same name
    FOLDER/utt2spk      UTTERANCE SPEAKER                  where it is there

The request names one such folder, or a folder of some: ``train*`` are train, ``dev`` and ``test``
are those, others are splits of their names; a folder that is named itself is train unless it is one
of these. Files are sorted by their first word as ``utils/fix_data_dir.sh`` sorts them, by bytes.
Kaldi's files do not say the language, so the request must. A relative path is looked up from the
data folder, then from the folder that is named, then from the one above it. Recordings must be
files: commands (which end with ``|``) are not run, and Kaldi's archives are not read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taskaware.data.corpora.files import read_lines, require_folder
from taskaware.data.corpora.rows import ASR, Found, LeftOut, Request, Row
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ARCHIVE = re.compile(r"\.ark(:\d+)?$")
_NOT_IN_A_SPLIT = re.compile(r"[^\w-]+")
_NO_TRANSCRIPT, _NO_RECORDING = "no transcript", "a transcript without a recording"


@dataclass(frozen=True, kw_only=True)
class _Segment:
    recording: Path
    start_seconds: float = 0.0
    duration_seconds: float | None = None


def read(request: Request) -> Iterator[Found]:
    """Yield the corpus's rows: folder by folder, in the order of their utterances.

    Raises:
        CorpusError: There is no data folder, no language or several are asked for, a file is not
            sorted or a line of it is not of Kaldi's form, or a recording is no file.
    """
    folder = require_folder(request.folder, "a data folder of Kaldi, or a folder of some")
    parts = [folder] if _is_data_folder(folder) else sorted(filter(_is_data_folder, _inner(folder)))
    if not parts:
        raise CorpusError(
            f"{folder} must contain wav.scp and text, or folders with them such as train and dev, "
            "but "
            "does not: name a data folder of Kaldi"
        )
    if len(request.languages) != 1:
        asked = ", ".join(request.languages) or "none"
        raise CorpusError(
            f"the one language of {folder} must be given by its code, as Kaldi's files do not say "
            f"it, but {asked} is: --language en"
        )
    if ASR not in request.kinds:
        return
    for part in parts:
        split = _split(part.absolute().name, alone=part == folder)
        yield from _read_part(part, split, request.languages[0], folder)


def _is_data_folder(folder: Path) -> bool:
    return (folder / "wav.scp").is_file() and (folder / "text").is_file()


def _inner(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_dir())


def _split(name: str, *, alone: bool) -> str:
    if name.startswith("train"):
        return "train"
    if alone and not name.startswith(("dev", "test", "valid", "eval")):
        return "train"
    return _NOT_IN_A_SPLIT.sub("_", name)


def _read_part(part: Path, split: str, language: str, root: Path) -> Iterator[Found]:
    """Yield the rows of one data folder, reading its sorted files side by side."""
    segments = _segments(part, root)
    speakers = _sorted_lines(part / "utt2spk") if (part / "utt2spk").is_file() else iter(())
    segment, speaker = next(segments, None), next(speakers, None)
    for _, id_, text in _sorted_lines(part / "text"):
        while segment is not None and _key(segment[0]) < _key(id_):
            yield LeftOut(split=split, place=f"{part}, {segment[0]}", reason=_NO_TRANSCRIPT)
            segment = next(segments, None)
        while speaker is not None and _key(speaker[1]) < _key(id_):
            speaker = next(speakers, None)
        if segment is None or segment[0] != id_:
            yield LeftOut(split=split, place=f"{part}, {id_}", reason=_NO_RECORDING)
            continue
        found, segment = segment[1], next(segments, None)
        if isinstance(found, str) or not text:
            reason = found if isinstance(found, str) else _NO_TRANSCRIPT
            yield LeftOut(split=split, place=f"{part}, {id_}", reason=reason)
            continue
        yield Row(
            split=split,
            id=id_,
            kind=ASR,
            dataset="kaldi",
            source_language=language,
            target_language=language,
            target_text=text,
            audio=found.recording,
            start_seconds=found.start_seconds,
            duration_seconds=found.duration_seconds,
            speaker=speaker[2] if speaker is not None and speaker[1] == id_ else "",
            utterance=id_,
        )
    while segment is not None:
        yield LeftOut(split=split, place=f"{part}, {segment[0]}", reason=_NO_TRANSCRIPT)
        segment = next(segments, None)


def _segments(part: Path, root: Path) -> Iterator[tuple[str, _Segment | str]]:
    """Yield utterances, each with where it is said, or why it cannot be used."""
    recordings = _recordings(part, root)
    segments = part / "segments"
    if not segments.is_file():
        for id_, path in recordings:
            yield id_, _Segment(recording=path)
        return
    paths = dict(recordings)
    for number, id_, rest in _sorted_lines(segments):
        yield id_, _parsed(f"{segments}, line {number}", rest.split(), paths)


def _parsed(place: str, words: list[str], paths: dict[str, Path]) -> _Segment | str:
    try:
        recording, start, end = words[0], float(words[1]), float(words[2])
    except (IndexError, ValueError) as error:
        raise CorpusError(
            f"{place}: must be UTTERANCE RECORDING START END, with two numbers of seconds, but is "
            "not: correct the line"
        ) from error
    if recording not in paths:
        return "a segment of a recording that wav.scp does not have"
    if end == -1:  # Kaldi's sign for the end of the recording
        return _Segment(recording=paths[recording], start_seconds=max(start, 0.0))
    if not 0 <= start < end:
        return "a segment that does not end after its start"
    duration = round(end - start, 6)
    return _Segment(recording=paths[recording], start_seconds=start, duration_seconds=duration)


def _recordings(part: Path, root: Path) -> Iterator[tuple[str, Path]]:
    places = (part, root, root.absolute().parent)
    base: Path | None = None
    for number, id_, name in _sorted_lines(part / "wav.scp"):
        place = f"{part / 'wav.scp'}, line {number}"
        if name.endswith("|") or name.startswith("|"):
            raise CorpusError(
                f"{place}: a recording must be a file, but '{id_}' is a command, which is not run: "
                f"make files of such recordings (for example `{name.rstrip('| ')[:80]} > "
                f"{id_}.wav`) and name them in wav.scp, or go through Lhotse: `lhotse kaldi import`"
                ", CutSet.save_audios, then `taskaware prepare lhotse`"
            )
        if not name or _ARCHIVE.search(name):
            what = f"is in an archive of Kaldi ({name[:80]})" if name else "has no name"
            raise CorpusError(
                f"{place}: a recording must be a file, but '{id_}' {what}: make files of such "
                "recordings, for example with Kaldi's wav-copy, and name them in wav.scp"
            )
        path = Path(name)
        if not path.is_absolute():
            # The first one decides; recordings are not looked for one by one.
            base = base or next((b for b in places if (b / path).exists()), part)
            path = base / path
        yield id_, path


def _sorted_lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line numbers, first words and the rest of the lines.

    Raises:
        CorpusError: The first words do not ascend.
    """
    before = ""
    for number, line in enumerate(read_lines(path), start=1):
        id_, _, rest = line.strip().replace("\t", " ", 1).partition(" ")
        if not id_:
            continue
        if before and _key(id_) <= _key(before):
            what = "is there twice" if id_ == before else f"comes after '{before}'"
            raise CorpusError(
                f"{path}, line {number}: lines must be sorted by their first words, each there "
                f"once, but '{id_}' {what}: sort them with Kaldi's utils/fix_data_dir.sh"
            )
        before = id_
        yield number, id_, rest.strip()


def _key(id_: str) -> bytes:
    return id_.encode(errors="surrogateescape")  # the order of bytes, as LC_ALL=C has it
