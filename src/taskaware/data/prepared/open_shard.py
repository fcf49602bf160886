"""Shards as they are read: what is damaged, or a stranger's, is found before it is used."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from taskaware.data.prepared.shards import INDEX, NPY_HEADER_BYTES, example_from_record
from taskaware.errors import DataError, counted
from taskaware.files import NUMPY_ERRORS, file_sha256, parse_json, require_regular

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from taskaware.data.prepared.shards import ShardRecord
    from taskaware.types import Example, Task


class OpenShard:
    """A shard, opened; its bytes are read when they are asked for.

    Several processes may share one: no position is kept.

    Attributes:
        index: ``[examples]`` of ``INDEX``.
    """

    def __init__(self, path: Path, index_path: Path, *, num_examples: int) -> None:
        """Open the two files; the index must have ``num_examples`` rows.

        Raises:
            DataError: One is missing or damaged.
        """
        self.path = path
        self.index = read_index(index_path, num_examples=num_examples)
        try:
            require_regular(path)
            self._file = os.open(path, os.O_RDONLY)
            self._num_bytes = os.fstat(self._file).st_size
        except OSError as error:
            raise DataError(f"{path}: the shard is missing or damaged ({error})") from error

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def example(self, row: int) -> Example:
        """Return an example."""
        place = self.index[row]
        data = self._read(int(place["example_offset"]), int(place["example_bytes"]))
        try:
            said = parse_json(data)
            return example_from_record(
                said[int(place["entry"])] if isinstance(said, list) else said
            )
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise DataError(
                f"{self.path}: example {row:,} must be as it was written, but is not ({error}): "
                "prepare the folder again with `taskaware prepare`"
            ) from error

    def source(self, row: int) -> bytes:
        """Return the bytes of a source that is not a text."""
        place = self.index[row]
        return self._read(int(place["source_offset"]), int(place["source_bytes"]))

    def _read(self, offset: int, num_bytes: int) -> bytes:
        # Before room is taken for so many bytes: an index may claim any number.
        ends_inside = offset + num_bytes <= self._num_bytes
        data = os.pread(self._file, num_bytes, offset) if ends_inside else None
        if data is None or len(data) != num_bytes:
            raise DataError(
                f"{self.path}: the shard is truncated, or its index is of another: restore both, "
                "or prepare the folder again with `taskaware prepare`"
            )
        return data


def read_index(path: Path, *, num_examples: int) -> NDArray[np.void]:
    """Return the rows of an index file, ``[examples]`` of ``INDEX``.

    Raises:
        DataError: It is missing or damaged, or has another number of rows than ``num_examples``.
    """
    try:
        require_regular(path)
        index = np.load(path, mmap_mode="r", allow_pickle=False)  # a header may claim any size
    except NUMPY_ERRORS as error:
        raise DataError(f"{path}: the index is missing or damaged ({error})") from error
    if not isinstance(index, np.ndarray) or index.dtype != INDEX or index.ndim != 1:
        raise DataError(f"{path}: the index must be a NumPy file of rows, but is something else")
    if len(index) != num_examples:
        raise DataError(
            f"{path}: the index must have {counted(num_examples, 'row')}, as prepared.json "
            f"says, but has {len(index):,}: prepare the folder again with `taskaware prepare`"
        )
    return np.array(index)


def require_possible(
    index: NDArray[np.void],
    where: str,
    record: ShardRecord,
    *,
    tasks: Sequence[Task],
    columns: Sequence[int | None],
) -> None:
    """Require that an index can be that of a shard: it may be a stranger's, checksums and all.

    Args:
        index: ``[examples]`` of ``INDEX``.
        where: Its path or URL.
        record: What is known of the shard.
        tasks: In the order of their numbers in the index.
        columns: Of the array that each task's sources are; ``None``: they are no arrays.

    Raises:
        DataError: It cannot.
    """
    if what := _impossible(index, record, tasks, columns):
        raise DataError(
            f"{where}: the index must be that of {record.name}, but {what}: restore the file, or "
            "prepare the folder again with `taskaware prepare`"
        )


def _impossible(
    index: NDArray[np.void],
    record: ShardRecord,
    tasks: Sequence[Task],
    columns: Sequence[int | None],
) -> str:
    """Return what cannot be in an index, or ``""``."""
    numbers = index["task"]
    if len(index) and numbers.max() >= len(tasks):
        return "an example is not of a task that there is"
    counts = np.bincount(numbers, minlength=len(tasks)).tolist()
    for task, count in zip(tasks, counts, strict=True):
        if count != record.examples.get(task.name, 0):
            return f"the number of examples of '{task.name}' is not that of prepared.json"
    sizes, lengths = index["source_bytes"].astype(np.int64), index["source_length"].astype(np.int64)
    is_text = np.array([task.modality.is_text for task in tasks], dtype=bool)[numbers]
    if ((sizes == 0) != is_text).any():
        return "a source is a text where its task's are not, or the other way round"
    if min(lengths.min(initial=0), index["target_length"].min(initial=0)) < 0:
        return "a length is below 0"
    for part in ("example", "source"):
        ends = index[f"{part}_offset"].astype(np.int64) + index[f"{part}_bytes"]
        if ends.max(initial=0) > record.num_bytes:
            return "an example is beyond the end of the shard"
    widths = np.array([-1 if width is None else width for width in columns], dtype=np.int64)[
        numbers
    ]
    wanted = NPY_HEADER_BYTES + lengths * widths * np.dtype(np.float16).itemsize
    if (~is_text & (widths >= 0) & (sizes != wanted)).any():
        return "a source has another size than its length says"
    return ""


def check_shard(path: Path, index_path: Path, record: ShardRecord) -> None:
    """Compare the files of a shard with what is known of it.

    Raises:
        DataError: One is missing, has another size, or another byte anywhere.
    """
    for file in (path, index_path):
        if not file.is_file():
            raise _damaged(file, "is missing")
    num_bytes = path.stat().st_size
    if num_bytes != record.num_bytes:
        raise _damaged(path, f"has {num_bytes:,} bytes and must have {record.num_bytes:,}")
    for file, wanted in ((path, record.sha256), (index_path, record.index_sha256)):
        if file_sha256(file) != wanted:
            raise _damaged(file, "has other bytes than were written (its SHA-256 differs)")


def _damaged(path: Path, what: str) -> DataError:
    return DataError(
        f"{path}: the shard {what}: restore the file, or prepare the folder again with "
        "`taskaware prepare`; nothing of it is trained on"
    )
