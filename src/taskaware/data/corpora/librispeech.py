"""LibriSpeech (Panayotov et al., 2015): read English, https://www.openslr.org/12.

::

    LibriSpeech/PART/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt      ID TRANSCRIPT
    LibriSpeech/PART/SPEAKER/CHAPTER/ID.flac

All parts that are there are read: ``train-*`` (train-clean-5 of the mini release too) as train,
``dev-clean`` as dev, ``test-clean`` as test, ``dev-other`` and ``test-other`` as splits of those
names. Transcripts are capitals without punctuation and stay so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.data.corpora.files import read_lines, require_folder, visible
from taskaware.data.corpora.rows import ASR, Found, LeftOut, Request, Row
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SPLITS = {"dev-clean": "dev", "test-clean": "test"}


def read(request: Request) -> Iterator[Found]:
    """Yield the corpus's rows.

    Raises:
        CorpusError: The folder has none of the release's parts.
    """
    folder = require_folder(request.folder, "the unpacked LibriSpeech")
    folder = folder / "LibriSpeech" if (folder / "LibriSpeech").is_dir() else folder
    parts = sorted(
        part
        for part in folder.iterdir()
        if part.is_dir() and part.name.startswith(("train-", "dev-", "test-"))
    )
    if not parts:
        raise CorpusError(
            f"{folder} must contain parts such as train-clean-100 or dev-clean, but does not: give "
            "the folder that LibriSpeech's archives were unpacked in"
        )
    if ASR not in request.kinds or (request.languages and "en" not in request.languages):
        return
    for part in parts:
        split = "train" if part.name.startswith("train-") else _SPLITS.get(part.name, part.name)
        for transcripts in visible(part.glob("*/*/*.trans.txt")):
            yield from _read_chapter(transcripts, split)


def _read_chapter(transcripts: Path, split: str) -> Iterator[Found]:
    for number, line in enumerate(read_lines(transcripts), start=1):
        id_, _, text = line.partition(" ")
        if not text.strip():
            yield LeftOut(
                split=split, place=f"{transcripts}, line {number}", reason="no transcript"
            )
            continue
        yield Row(
            split=split,
            id=id_,
            kind=ASR,
            dataset="librispeech",
            source_language="en",
            target_language="en",
            target_text=text.strip(),
            audio=transcripts.parent / f"{id_}.flac",
            speaker=id_.partition("-")[0],
            utterance=id_,
        )
