"""Features of many recordings, computed in threads and written to one array file.

Threads rather than processes: decoding, resampling and torch release Python's lock, so that two
threads take as long as two processes, start at once, and need nothing of the caller's script.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from taskaware.data import audio
from taskaware.data.checks import (
    CheckSettings,
    Finding,
    check_features,
    check_recording,
    check_waveform,
)
from taskaware.data.features import FeatureSettings, log_mel
from taskaware.errors import AudioError
from taskaware.types import FeatureRows, Speech

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from types import TracebackType

Source = Speech | Path
"""A stretch of a recording, or a NumPy file of features."""

_SOURCES_PER_CALL = 16
_CALLS_AHEAD_PER_WORKER = 4  # bounds what waits in memory for its turn
_HEADER_BYTES = 128


def extract_source(
    source: Source, features: FeatureSettings, checks: CheckSettings, num_columns: int | None
) -> np.ndarray | Finding:
    """Return the features of one source, float16 ``[S, F]``, or what is wrong with it.

    Args:
        source: A stretch of a recording, or a NumPy file ``[S, F]``.
        features: How a waveform becomes features.
        checks: When a recording is not used.
        num_columns: F of features that come from NumPy files; ``None`` for any.
    """
    if isinstance(source, Path):
        return _read_features(source, num_columns)
    try:
        finding = check_recording(audio.info(source.path), source, checks)
        if finding is not None:
            return finding
        waveform = audio.read(
            source.path,
            sample_rate_hz=features.sample_rate_hz,
            start_seconds=source.start_seconds,
            duration_seconds=source.duration_seconds,
        )
    except AudioError as error:
        return Finding(field="audio", reason=str(error))
    finding = check_waveform(waveform, checks)
    if finding is not None:
        return finding
    rows = log_mel(torch.from_numpy(waveform), features)
    if len(rows) == 0:
        reason = f"the speech must be longer than one window ({features.window_ms:g} ms)"
        return Finding(field="audio", reason=reason)
    return rows.half().numpy()


def extract(
    sources: Sequence[Source],
    extract_one: Callable[[Source], np.ndarray | Finding],
    *,
    num_workers: int,
) -> Generator[np.ndarray | Finding, None, None]:
    """Yield ``extract_one`` of each source, in order, from ``num_workers`` threads.

    Close the iterator to stop early: what has not begun is dropped. A few results wait in memory at
    a time, whatever the number of sources. Torch runs on one thread meanwhile.
    """
    calls = iter(
        [sources[i : i + _SOURCES_PER_CALL] for i in range(0, len(sources), _SOURCES_PER_CALL)]
    )
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    executor = ThreadPoolExecutor(num_workers, thread_name_prefix="features")
    waiting: deque[Future[list[np.ndarray | Finding]]] = deque()
    try:
        for call in itertools.islice(calls, num_workers * _CALLS_AHEAD_PER_WORKER):
            waiting.append(executor.submit(_extract_each, extract_one, call))
        while waiting:
            results = waiting.popleft().result()
            for call in itertools.islice(calls, 1):
                waiting.append(executor.submit(_extract_each, extract_one, call))
            yield from results
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(threads_before)


def _extract_each(
    extract_one: Callable[[Source], np.ndarray | Finding], sources: Sequence[Source]
) -> list[np.ndarray | Finding]:
    return [extract_one(source) for source in sources]


def num_available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_feature_columns(path: Path) -> int | None:
    """Return F of a NumPy file ``[S, F]``, or ``None`` where it is not one."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array.shape[1] if isinstance(array, np.ndarray) and array.ndim == 2 else None


def _read_features(path: Path, num_columns: int | None) -> np.ndarray | Finding:
    if not path.is_file():
        return Finding(field="features", reason=f"{path}: the file does not exist")
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        return Finding(field="features", reason=f"{path}: must be a NumPy .npy file ({error})")
    if not isinstance(array, np.ndarray):
        return Finding(field="features", reason=f"{path}: must be a NumPy .npy file, but is .npz")
    finding = check_features(array, num_columns)
    return array.astype(np.float16) if finding is None else finding


class FeatureArrayWriter:
    """Writes a float16 ``.npy`` file ``[total frames, F]`` row by row, without knowing its length.

    A context manager; the file is a valid array only after a clean exit.
    """

    def __init__(self, path: Path) -> None:
        """Open ``path`` for writing; an older file there is replaced."""
        self._path = path
        self._file = path.open("wb")
        self._file.write(bytes(_HEADER_BYTES))
        self.num_rows = 0
        self.num_columns = 0

    def append(self, rows: np.ndarray) -> FeatureRows:
        """Write ``rows``, float16 ``[S, F]``, and say where they lie."""
        if rows.dtype != np.float16 or (self.num_rows and rows.shape[1] != self.num_columns):
            raise ValueError(
                f"`rows` must be float16 [S, {self.num_columns}], but is {rows.dtype} "
                f"{list(rows.shape)} instead"
            )
        self.num_columns = rows.shape[1]
        where = FeatureRows(first_row=self.num_rows, num_rows=len(rows))
        self._file.write(np.ascontiguousarray(rows).data)
        self.num_rows += len(rows)
        return where

    def __enter__(self) -> FeatureArrayWriter:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exception_type is None:
            self._file.seek(0)
            self._file.write(_npy_header((self.num_rows, self.num_columns)))
        self._file.close()


def _npy_header(shape: tuple[int, int]) -> bytes:
    """Return the header of a float16 array, NumPy format 1.0, padded to ``_HEADER_BYTES``."""
    description = f"{{'descr': '<f2', 'fortran_order': False, 'shape': {shape}, }}".encode()
    num_bytes = _HEADER_BYTES - 10  # magic 6, version 2, length 2
    padded = description.ljust(num_bytes - 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + num_bytes.to_bytes(2, "little") + padded
