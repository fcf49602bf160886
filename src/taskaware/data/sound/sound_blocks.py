"""Recordings that are read by blocks: one of many hours takes no more memory than a short one.

Shape legend: N samples of a block.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from taskaware.data.sound import audio
from taskaware.data.sound.piped import read_pipe
from taskaware.errors import AudioError
from taskaware.files import require_name

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK_SECONDS = 16.0


@dataclass(frozen=True, kw_only=True)
class LongSound:
    """A recording, or a stretch of one, that can be read by blocks any number of times.

    Use ``long_sound`` and ``long_waveform``.

    Attributes:
        name: What messages call it.
        duration_seconds: How long it is.
        sample_rate_hz: Its own rate.
        file: Where it is; ``None`` where ``waveform`` is it.
        waveform: float32 ``[samples]`` at its own rate.
        position: Where in an open file the recording begins, in bytes.
        start_seconds: Where in the recording the stretch begins.
        wanted_seconds: How long the stretch is; ``None``: to the end.
        channel: The channel that is heard, from 1; ``None``: the mean of all.
    """

    name: str
    duration_seconds: float
    sample_rate_hz: int
    file: Path | BinaryIO | None = None
    waveform: np.ndarray | None = None
    position: int = 0
    start_seconds: float = 0.0
    wanted_seconds: float | None = None
    channel: int | None = None

    def blocks(
        self, sample_rate_hz: int, *, block_seconds: float = BLOCK_SECONDS
    ) -> Iterator[np.ndarray]:
        """Yield the samples in order, float32 ``[N]`` at another rate; N varies.

        Raises:
            AudioError: The file ends before its header says, or a sample is not finite.
        """
        own = self.sample_rate_hz
        blocks = self._own_blocks(max(int(block_seconds * own), 1))
        if own == sample_rate_hz:
            yield from blocks
            return
        import soxr

        stream = soxr.ResampleStream(own, sample_rate_hz, 1, dtype="float32", quality="HQ")
        for block in blocks:
            yield stream.resample_chunk(block)
        yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)

    def _own_blocks(self, size: int) -> Iterator[np.ndarray]:
        """Yield blocks of ``size`` samples at the recording's own rate."""
        if self.waveform is not None:
            for start in range(0, len(self.waveform), size):
                yield self._finite(self.waveform[start : start + size])
            return
        assert self.file is not None
        if not isinstance(self.file, Path):
            self.file.seek(self.position)
        with audio.opened(self.file) as (file, name):
            first, wanted = audio.segment_frames(
                file, name, self.start_seconds, self.wanted_seconds
            )
            for samples in audio.decoded_blocks(file, first, wanted, name, size=size):
                yield self._finite(audio.mixed(samples, self.channel)[0])

    def _finite(self, waveform: np.ndarray) -> np.ndarray:
        audio.require_samples(waveform, self.name)
        return waveform


def long_sound(
    source: Path | str | BinaryIO,
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    channel: int | None = None,
) -> LongSound:
    """Return a recording of any length, of which the header alone is read here.

    Args:
        source: The file, or a binary file object. What cannot be sought in is read whole.
        start_seconds: Where a stretch of it begins.
        duration_seconds: How long the stretch is; ``None``: to the end of the recording.
        channel: The channel, from 1; ``None``: the mean of all.

    Raises:
        AudioError: See ``audio.read_sound``.
    """
    file: Path | BinaryIO
    if isinstance(source, str | Path):
        file = Path(source)
        require_name(file)
        if file.exists() and not file.is_file() and not file.is_dir():  # a pipe: read once
            file = io.BytesIO(read_pipe(file, audio.shown(file)))
    else:
        file = audio.seekable(source)
    position = 0 if isinstance(file, Path) else file.tell()
    with audio.opened(file) as (opened, name):
        rate = opened.samplerate
        _, wanted = audio.segment_frames(opened, name, start_seconds, duration_seconds)
        if channel is not None and not 1 <= channel <= opened.channels:
            raise AudioError(
                f"{name}: the channel must be from 1 to {opened.channels}, but is {channel}"
            )
    return LongSound(
        name=name,
        duration_seconds=wanted / rate,
        sample_rate_hz=rate,
        file=file,
        position=position,
        start_seconds=start_seconds,
        wanted_seconds=duration_seconds,
        channel=channel,
    )


def long_waveform(waveform: np.ndarray, sample_rate_hz: int, *, name: str) -> LongSound:
    """Return a waveform, float32 ``[samples]``, as a recording.

    Raises:
        AudioError: It is empty.
    """
    if not len(waveform):
        raise AudioError(f"{name}: the recording is empty (0 samples)")
    return LongSound(
        name=name,
        duration_seconds=len(waveform) / sample_rate_hz,
        sample_rate_hz=sample_rate_hz,
        waveform=waveform,
    )
