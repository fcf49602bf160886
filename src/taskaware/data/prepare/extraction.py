"""Sources as shards hold them: features of many recordings, computed in threads.

Threads rather than processes: decoding, resampling and torch release Python's lock, so that two
threads take as long as two processes, start at once, and need nothing of the caller's script.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from taskaware.data.manifest.source_files import file_problem
from taskaware.data.prepared.shards import npy_bytes
from taskaware.data.quality.checks import Finding, check_features, check_recording, check_sound
from taskaware.data.sound import audio
from taskaware.data.sound.features import log_mel, num_frames
from taskaware.errors import AudioError
from taskaware.files import NUMPY_ERRORS, require_regular
from taskaware.threads import in_order
from taskaware.types import Speech

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from numpy.typing import NDArray

    from taskaware.data.quality.settings import CheckSettings
    from taskaware.data.sound.settings import FeatureSettings

SourceFile = Speech | Path
"""What a shard gets its bytes from: a segment of a recording, or a NumPy file of features."""

_SOURCES_PER_CALL = 4

_Source = TypeVar("_Source")
_Found = TypeVar("_Found")


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """A source as a shard holds it.

    Attributes:
        data: A NumPy file of float16 ``[S, F]``, or a recording.
        suffix: ``"npy"``, or that of the recording's format.
        num_frames: S, the feature frames.
        num_positions: What an encoder made of them; ``None``: they are as they were.
    """

    data: bytes
    suffix: str
    num_frames: int
    num_positions: int | None = None

    @property
    def length(self) -> int:
        """How long the stored source is."""
        return self.num_frames if self.num_positions is None else self.num_positions


def extract_source(
    source: SourceFile,
    *,
    column: str,
    features: FeatureSettings,
    checks: CheckSettings,
    num_columns: int | None,
    keep_audio: bool,
) -> Extracted | Finding:
    """Return one source as a shard holds it, or what is wrong with it.

    Args:
        source: A segment of a recording, or a NumPy file ``[S, F]``.
        column: Of the manifest, which gives it.
        features: How a waveform becomes features.
        checks: When a recording is not used.
        num_columns: F of features that come from NumPy files; ``None`` for any.
        keep_audio: Whether to return recordings instead of their features: compressed ones as they
            are where they are used whole, all others as 16-bit FLAC at their own rate.
    """
    if isinstance(source, Path):
        problem = file_problem(source)
        if problem is not None:
            return Finding(field=column, reason=f"{source}: {problem}")
        rows = _read_features(source, column, num_columns)
        return rows if isinstance(rows, Finding) else _features(rows)
    waveform = _waveform(source, column=column, features=features, checks=checks)
    if isinstance(waveform, Finding):
        return waveform
    if keep_audio:
        try:
            data, suffix = audio.compressed(source)
        except (AudioError, OSError) as error:
            return _unreadable(error, source.path, column)
        length = num_frames(len(waveform), features)
        return Extracted(data=data, suffix=suffix, num_frames=length)
    return _features(log_mel(torch.from_numpy(waveform), features).half().numpy())


def speech_features(
    source: Speech, *, column: str, features: FeatureSettings, checks: CheckSettings
) -> NDArray[np.float32] | Finding:
    """Return the features of a recording, float32 ``[S, F]``, or what is wrong with it."""
    waveform = _waveform(source, column=column, features=features, checks=checks)
    if isinstance(waveform, Finding):
        return waveform
    return log_mel(torch.from_numpy(waveform), features).numpy()


def _waveform(
    source: Speech, *, column: str, features: FeatureSettings, checks: CheckSettings
) -> NDArray[np.float32] | Finding:
    """Return the samples of a recording that has a frame or more."""
    problem = file_problem(source.path)
    if problem is not None:
        return Finding(field=column, reason=f"{source.path}: {problem}")
    try:
        finding = check_recording(audio.info(source.path), source, checks)
        if finding is not None:
            return finding
        sound = audio.read_speech(source, sample_rate_hz=features.sample_rate_hz)
        finding = check_sound(sound, checks)
        if finding is not None:
            return finding
        if num_frames(len(sound.waveform), features) == 0:
            reason = f"the speech must be longer than one window ({features.window_ms:g} ms)"
            return Finding(field=column, reason=reason)
    except (AudioError, OSError) as error:
        return _unreadable(error, source.path, column)
    return sound.waveform


def _unreadable(error: AudioError | OSError, path: Path, column: str) -> Finding:
    if isinstance(error, AudioError):
        return Finding(field=column, reason=str(error))
    # Of a disk or a network: one recording, not all the work.
    return Finding(field=column, reason=f"{path}: cannot be read ({error.strerror or error})")


def _features(rows: np.ndarray) -> Extracted:
    return Extracted(data=npy_bytes(rows), suffix="npy", num_frames=len(rows))


def extract(
    sources: Sequence[_Source], extract_one: Callable[[_Source], _Found], *, num_workers: int
) -> Generator[_Found, None, None]:
    """Yield ``extract_one`` of each source, in order, from ``num_workers`` threads.

    Close the iterator to stop early: what has not begun is dropped. A few results wait in memory at
    a time, whatever the number of sources. Torch runs on one thread meanwhile.
    """
    calls = [sources[i : i + _SOURCES_PER_CALL] for i in range(0, len(sources), _SOURCES_PER_CALL)]
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        each = partial(_extract_each, extract_one)
        with closing(in_order(each, calls, num_workers=num_workers)) as results:
            for found in results:
                yield from found
    finally:
        torch.set_num_threads(threads_before)


def _extract_each(
    extract_one: Callable[[_Source], _Found], sources: Sequence[_Source]
) -> list[_Found]:
    return [extract_one(source) for source in sources]


def num_available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_feature_columns(path: Path) -> int | None:
    """Return F of a NumPy file ``[S, F]``, or ``None`` where it is not one."""
    try:
        require_regular(path)
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # a header may claim any size
    except NUMPY_ERRORS:
        return None
    return array.shape[1] if isinstance(array, np.ndarray) and array.ndim == 2 else None


def _read_features(path: Path, column: str, num_columns: int | None) -> np.ndarray | Finding:
    try:
        require_regular(path)
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # a header may claim any size
    except NUMPY_ERRORS as error:
        return Finding(field=column, reason=f"{path}: must be a NumPy .npy file ({error})")
    if not isinstance(array, np.ndarray):
        return Finding(field=column, reason=f"{path}: must be a NumPy .npy file, but is .npz")
    finding = check_features(array, num_columns, column)
    return array.astype(np.float16) if finding is None else finding
