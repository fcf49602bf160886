"""Changed copies of recordings, written once as files: the paper's synthetic signals.

::

    FOLDER/DATASET/3f/ID-aug1-3f9c....flac      16 bits, one channel, at its recording's rate
    FOLDER/left_out.tsv                         id and reason of every copy that was not made

The name of a copy holds a hash of all that decides it: the segment of the recording and what is
drawn for it. So a second call keeps what the first one finished, and other settings or another
seed never meet a copy that was made with these.
"""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from taskaware.data.hashes import hash_texts
from taskaware.data.sound import audio
from taskaware.data.sound.augmentation import IDENTITY, Draw, augment, draws
from taskaware.errors import AudioError, UserError
from taskaware.files import atomic_file
from taskaware.line_file import open_lines
from taskaware.threads import in_order
from taskaware.types import Speech

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from taskaware.data.sound.settings import AugmentationSettings
    from taskaware.types import Example

_PROGRESS_EVERY = 100
_GREATEST_SAMPLE = np.float32(32_767 / 32_768)
_NOT_IN_FILE_NAMES = re.compile(r"[^\w.+-]+")
_MAX_NAME_CHARACTERS = 40  # of an id or a data set: 160 bytes at most; file systems allow 255

_Copy: TypeAlias = "Example | tuple[str, str]"  # or the id of one that cannot be made, and why


def augment_signals(
    examples: Iterable[Example],
    folder: Path,
    copies: Mapping[str, int],
    settings: AugmentationSettings,
    seed: int,
    num_workers: int,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Example]:
    """Write changed copies of the recordings of speech examples and yield an example for each.

    Args:
        examples: Read one by one; those without speech or of other data sets are passed over.
        folder: Where to write. Complete copies of an earlier call are kept.
        copies: Data set to number of copies, e.g. ``{"iwslt": 4, "europarl_st": 2}``.
        settings: From what ranges to draw; ``share`` does not count, every copy is changed.
        seed: With data set, id and number of the copy it decides what is drawn.
        num_workers: Threads.
        progress: Called with the number of copies now and then, and at the end.

    Yields:
        Each copy, in the order of ``examples``: the example with ``-aug1``, ``-aug2``, ... at the
        end of its id, the copy as its speech, and what was done added to its ``origin``, e.g.
        ``"signal speed 0.97 tempo 1.1 echo 120 ms 0.1"``.

    Raises:
        UserError: The settings change nothing, or a number is impossible.
        AudioError: No copy at all could be made. A single recording that cannot be read is left
            out; ``left_out.tsv`` says why.
        WriteError: A file cannot be written.
    """
    settings = replace(settings, share=1.0)
    _check(copies, settings, num_workers)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = (each for each in examples if each.speech and copies.get(each.dataset, 0) > 0)

    def make(example: Example) -> list[_Copy]:
        return _copies_of(example, folder, copies[example.dataset], settings, seed)

    num_made = num_left_out = 0
    first_reason = ""
    with (
        open_lines(folder / "left_out.tsv") as left_out,
        closing(in_order(make, chosen, num_workers=num_workers)) as made,
    ):
        left_out.write("id\treason\n")
        for copy in chain.from_iterable(made):
            if isinstance(copy, tuple):
                num_left_out += 1
                first_reason = first_reason or copy[1]
                left_out.write("\t".join(" ".join(cell.split()) for cell in copy) + "\n")
                continue
            num_made += 1
            if progress is not None and num_made % _PROGRESS_EVERY == 0:
                progress(num_made)
            yield copy
    if num_left_out and not num_made:
        raise AudioError(
            f"at least one recording must be readable, but no copy could be made, of "
            f"{num_left_out} asked for; the first: {first_reason}"
        )
    if progress is not None:
        progress(num_made)


def _check(copies: Mapping[str, int], settings: AugmentationSettings, num_workers: int) -> None:
    if not settings.changes_signal:
        raise UserError(
            "copies must be changed by at least one of speed, tempo and echo, but all are switched "
            "off"
        )
    for dataset, num in copies.items():
        if num < 0:
            raise UserError(f"the copies of '{dataset}' must be 0 or more, but are {num}")
    if num_workers < 1:
        raise UserError(f"the number of workers must be at least 1, but is {num_workers}")


def _copies_of(
    example: Example, folder: Path, num: int, settings: AugmentationSettings, seed: int
) -> list[_Copy]:
    """Return the copies of one example."""
    speech = example.speech
    if speech is None:
        raise ValueError(f"`example` must have speech, but '{example.id}' has none")
    drawn = draws(settings, seed=seed, epoch=0, key=(example.dataset, example.id), num=num)
    waveform_and_rate: tuple[np.ndarray, int] | None = None  # decoded once, and only if need be
    found: list[_Copy] = []
    for number in range(1, num + 1):
        draw = drawn[number - 1]
        id_ = f"{example.id}-aug{number}"
        path = _path(folder, example.dataset, id_, speech, draw)
        try:
            duration_seconds = _duration_of_complete(path)
            if duration_seconds is None:
                if waveform_and_rate is None:
                    waveform_and_rate = _read(speech)
                waveform, rate = waveform_and_rate
                duration_seconds = _write(path, augment(waveform, draw, rate), rate)
        except AudioError as error:
            found.append((id_, str(error)))
            continue
        found.append(
            replace(
                example,
                id=id_,
                speech=Speech(path=path, duration_seconds=duration_seconds),
                origin="; ".join(filter(None, (example.origin, describe(draw)))),
            )
        )
    return found


def describe(draw: Draw) -> str:
    """Return what is done to a signal, in words: ``"signal speed 0.97 echo 120 ms 0.1"``."""
    words = ["signal"]
    if draw.speed != IDENTITY.speed:
        words.append(f"speed {draw.speed:.3g}")
    if draw.tempo != IDENTITY.tempo:
        words.append(f"tempo {draw.tempo:.3g}")
    if draw.echo_decay != IDENTITY.echo_decay:
        words.append(f"echo {1000 * draw.echo_delay_seconds:.3g} ms {draw.echo_decay:.2g}")
    return " ".join(words)


def _path(folder: Path, dataset: str, id_: str, speech: Speech, draw: Draw) -> Path:
    key = hash_texts(
        *(dataset, id_, str(speech.path.absolute())),
        *(repr(speech.start_seconds), repr(speech.duration_seconds), repr(draw)),
        *(() if speech.channel is None else (repr(speech.channel),)),
    )
    # Of 256 folders, so that none holds too many files; the end of an id tells more.
    name = f"{_file_name(id_)}-{key:016x}.flac"
    return folder / _file_name(dataset) / f"{key:016x}"[:2] / name


def _file_name(text: str) -> str:
    return _NOT_IN_FILE_NAMES.sub("_", text)[-_MAX_NAME_CHARACTERS:].lstrip(".") or "_"


def _duration_of_complete(path: Path) -> float | None:
    """Return the length of a copy in seconds, or ``None`` where it is not there."""
    if not path.is_file():
        return None
    try:
        return audio.info(path).duration_seconds
    except AudioError:  # damaged since: made again
        return None


def _read(speech: Speech) -> tuple[np.ndarray, int]:
    rate = audio.info(speech.path).sample_rate_hz
    return audio.read_speech(speech, sample_rate_hz=rate).waveform, rate


def _write(path: Path, waveform: np.ndarray, sample_rate_hz: int) -> float:
    """Write a FLAC file, visible under its name when it is complete; return its seconds.

    Where an echo goes past full scale, the whole signal is made quieter: features normalised by
    utterance do not change, and clipped ones would.
    """
    if len(waveform) == 0:
        raise AudioError(f"{path.name}: the segment must hold samples, but is empty")
    peak = np.abs(waveform).max()
    if peak > _GREATEST_SAMPLE:
        waveform = waveform * (_GREATEST_SAMPLE / peak)
    with atomic_file(path) as partial:  # two examples, or two processes, may make the same copy
        partial.write_bytes(audio.flac(waveform, sample_rate_hz))
    return len(waveform) / sample_rate_hz
