"""One split of a prepared folder: its examples by position, read from its shards."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from taskaware.data.prepared.length_limits import LengthLimits, TaskLengths, within_limits
from taskaware.data.prepared.open_shard import (
    OpenShard,
    check_shard,
    read_index,
    require_possible,
)
from taskaware.data.prepared.shards import NPY_HEADER_BYTES
from taskaware.data.sound import audio
from taskaware.data.sound.features import log_mel
from taskaware.errors import AudioError, DataError
from taskaware.types import Example

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from taskaware.data.prepared.contents import Contents
    from taskaware.data.prepared.shards import ShardRecord
    from taskaware.data.prepared.storage import Store
    from taskaware.types import Task

_MAX_OPEN_SHARDS = 64
_SHARDS_PER_SAMPLE = 8
_FRAMES_TOLERANCE = 25  # of a recording that is decoded again


class Split:
    """The examples of one split, by position: those of the first shard first.

    Nothing but the shards that are asked for is read. Before a shard's bytes are used they are
    compared with their checksum.

    Attributes:
        name: The split's name, e.g. ``"train"``.
        records: The shards.
    """

    def __init__(
        self, name: str, store: Store, records: Sequence[ShardRecord], contents: Contents
    ) -> None:
        """Use ``PreparedData.split``."""
        self.name = name
        self.records = tuple(records)
        self.contents = contents
        self.checks_shards = True  # worker processes read what the first has checked
        self._store = store
        self._numbers = {task.name: number for number, task in enumerate(contents.tasks)}
        counts = [record.num_examples for record in records]
        self._starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        self._open: OrderedDict[int, OpenShard] = OrderedDict()
        self._checked: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def examples(self) -> Sequence[Example]:
        """All examples; each is read when it is asked for."""
        return _Examples(self)

    def shards(self, task_name: str) -> list[int]:
        """Return the numbers of the shards that have examples of a task."""
        return [n for n, record in enumerate(self.records) if record.examples.get(task_name)]

    def open_shards(self, numbers: Sequence[int]) -> None:
        """Bring shards to this machine and compare them with their checksums.

        Raises:
            DataError: One is missing, truncated or has another byte.
        """
        for number in numbers:
            self._check(number)

    def verify(self, number: int) -> None:
        """Read all that a shard holds, as training would.

        Raises:
            DataError: It is missing or damaged, or what it holds cannot be trained on.
        """
        self._check(number)
        index = self._shard(number).index
        known = -1
        for row in range(len(index)):
            position = int(self._starts[number]) + row
            self.target(position)
            place = int(index["source_offset"][row])
            if index["source_bytes"][row] and place == known:
                continue  # several tasks have the recording
            if not np.isfinite(self.source(position)).all():
                raise self._not_as_written(position, "finite numbers, but has others")
            known = place

    def num_examples(self, task_name: str) -> int:
        """Return how many examples a task has."""
        return sum(record.examples.get(task_name, 0) for record in self.records)

    def indices(self, task_name: str, shards: Sequence[int] | None = None) -> NDArray[np.int64]:
        """Return the positions of a task's examples, int64, in all shards or in some."""
        numbers = self.shards(task_name) if shards is None else shards
        number = self._numbers.get(task_name, -1)
        found = [
            np.flatnonzero(self._shard(n).index["task"] == number) + self._starts[n]
            for n in numbers
        ]
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)

    def lengths(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return source lengths (frames or pieces) and target lengths (pieces), int64 each."""
        sources = np.zeros(len(indices), dtype=np.int64)
        targets = np.zeros(len(indices), dtype=np.int64)
        numbers, rows = self.places(indices)
        for number in np.unique(numbers):
            chosen = numbers == number
            found = self._shard(int(number)).index[rows[chosen]]
            sources[chosen], targets[chosen] = found["source_length"], found["target_length"]
        return sources, targets

    def read_lengths(self, task_names: Collection[str]) -> Iterator[TaskLengths]:
        """Yield the lengths of some tasks' examples, shard by shard and task by task.

        Of the shards it reads the indexes alone, each once, and keeps none open.

        Raises:
            DataError: An index is missing or damaged.
        """
        for number, record in enumerate(self.records):
            names = [name for name in record.examples if name in task_names]
            if not names:
                continue
            index = self._index(number)
            for name in names:
                rows = np.flatnonzero(index["task"] == self._numbers[name])
                yield TaskLengths(
                    task=name,
                    positions=rows + self._starts[number],
                    sources=index["source_length"][rows].astype(np.int64),
                    targets=index["target_length"][rows].astype(np.int64),
                )

    def places(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return in which shard each example is, and in which row of it."""
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        return numbers, indices - self._starts[numbers]

    def sample(
        self,
        task_name: str,
        number: int,
        random: np.random.Generator,
        *,
        limits: LengthLimits | None = None,
    ) -> NDArray[np.int64]:
        """Draw up to ``number`` examples of a task, from a few shards where it has many.

        Args:
            task_name: The task.
            number: How many examples.
            random: Decides which.
            limits: Longer examples are not drawn; ``None``: of any length.
        """
        shards = self.shards(task_name)
        if len(shards) > _SHARDS_PER_SAMPLE:
            chosen = random.choice(len(shards), size=_SHARDS_PER_SAMPLE, replace=False)
            shards = [shards[i] for i in sorted(chosen)]
        indices = self.indices(task_name, shards)
        if limits is not None:
            indices = indices[within_limits(*self.lengths(indices), limits)]
        return random.choice(indices, size=min(number, len(indices)), replace=False)

    @property
    def source_lengths(self) -> NDArray[np.int64]:
        """int64 ``[number of examples]``: frames, or pieces of the source text."""
        return self._all_lengths[0]

    @property
    def target_lengths(self) -> NDArray[np.int64]:
        """int64 ``[number of examples]``: pieces of the target text, without BOS and EOS."""
        return self._all_lengths[1]

    @cached_property
    def _all_lengths(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.lengths(np.arange(len(self)))

    def longest_source(self, task_name: str, *, at_most: int) -> int:
        """Return the length of a task's longest source that is not above ``at_most``, or 0.

        The indexes of the shards are read, not the shards.
        """
        task, longest = self._numbers.get(task_name, -1), 0
        for number in self.shards(task_name):
            rows = self._index(number)
            lengths = rows["source_length"][rows["task"] == task]
            longest = max(longest, int(lengths[lengths <= at_most].max(initial=0)))
        return longest

    def example(self, index: int) -> Example:
        """Return an example."""
        number, row = self._place(index)
        shard = self._shard(number)
        example, task = shard.example(row), self.contents.tasks[shard.index["task"][row]]
        if example.task != task.name:
            is_known = example.task in self._numbers
            what = f"'{task.name}', as its index says" if is_known else "a task that there is"
            raise self._not_as_written(index, f"{what}, but is of {example.task[:80]!r}")
        if (example.source_text is not None) != task.modality.is_text:
            wanted = f"task '{task.name}', whose sources are {task.source_modality}, but is not"
            raise self._not_as_written(index, wanted)
        return example

    def source(self, index: int) -> np.ndarray:
        """Return a source: float32 ``[S, F]``, or the piece ids of a source text, int64 ``[S]``.

        Where an encoder's outputs are stored, F of a recording is the encoder's D.
        """
        number, row = self._place(index)
        shard = self._shard(number)
        if not shard.index[row]["source_bytes"]:
            pieces = self.contents.vocabulary.encode_source(self.example(index).source_text or "")
            self.require_lengths([index], sources=[pieces])
            return np.array(pieces, dtype=np.int64)
        if self._holds_audio(shard, row):
            rows = log_mel(torch.from_numpy(self._waveform(shard, row)), self.contents.features)
            self._require_heard(index, len(rows))
            return rows.numpy()
        data = shard.source(row)
        try:
            features = np.frombuffer(data, dtype=np.float16, offset=NPY_HEADER_BYTES)
            rows = features.reshape(int(shard.index[row]["source_length"]), -1)
        except ValueError as error:
            raise DataError(
                f"{shard.path}: the features of example {row:,} must be as they were written, but "
                f"are not ({error}): prepare the folder again with `taskaware prepare`"
            ) from error
        return rows.astype(np.float32)

    def is_encoded(self, task: Task) -> bool:
        """Return whether a task's sources are what an encoder put out."""
        return self.contents.stores_encoded and task.modality.is_recording

    def waveform(self, index: int) -> np.ndarray | None:
        """Return the samples of a source, float32 ``[N]``; ``None`` where none are kept."""
        number, row = self._place(index)
        shard = self._shard(number)
        return self._waveform(shard, row) if self._holds_audio(shard, row) else None

    def target(self, index: int) -> np.ndarray:
        """Return the target's piece ids, int64 ``[T]``, without begin- and end-of-sequence."""
        pieces = self.contents.vocabulary.encode(self.example(index).target_text)
        self.require_lengths([index], targets=[pieces])
        return np.array(pieces, dtype=np.int64)

    def require_lengths(
        self,
        indices: Sequence[int],
        *,
        sources: Sequence[Sequence[int]] | None = None,
        targets: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """Require that texts have as many pieces as the index says, by which batches are made.

        Raises:
            DataError: One has more, or fewer: what is in a batch might not fit in memory.
        """
        of_sources, of_targets = self.lengths(np.array(indices))
        for side, texts, lengths in (
            ("source", sources, of_sources),
            ("target", targets, of_targets),
        ):
            found = [len(text) for text in texts or ()]
            if found and found != lengths.tolist():
                place = next(i for i, length in enumerate(found) if length != lengths[i])
                what = f"{lengths[place]:,} pieces in its {side}, as its index says, but has "
                raise self._not_as_written(indices[place], f"{what}{found[place]:,}")

    def _require_heard(self, index: int, num_frames: int) -> None:
        """Require about as many frames as the index says; decoders differ by some samples."""
        length = int(self.lengths(np.array([index]))[0][0])
        if abs(num_frames - length) > _FRAMES_TOLERANCE:
            what = f"{length:,} frames, as its index says, but of {num_frames:,}"
            raise self._not_as_written(index, what)

    def _not_as_written(self, index: int, what: str) -> DataError:
        return DataError(
            f"{self._store.address}, {self.name}: example {index:,} must be of {what}: restore the "
            "folder, or prepare it again with `taskaware prepare`"
        )

    def _holds_audio(self, shard: OpenShard, row: int) -> bool:
        return (
            self.contents.stores_audio
            and bool(shard.index[row]["source_bytes"])
            and self.contents.tasks[int(shard.index[row]["task"])].modality.is_recording
        )

    def _waveform(self, shard: OpenShard, row: int) -> np.ndarray:
        rate = self.contents.features.sample_rate_hz
        try:
            return audio.read(io.BytesIO(shard.source(row)), sample_rate_hz=rate)
        except AudioError as error:
            raise DataError(
                f"{shard.path}: the recording of example {row:,} must be as it was written, but: "
                f"{error}: restore the file, or prepare the folder again with `taskaware prepare`"
            ) from error

    def _place(self, index: int) -> tuple[int, int]:
        """Return shard and row."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"`index` must be below {len(self)}, but is {index} instead")
        index %= len(self)
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return number, int(index - self._starts[number])

    def _paths(self, number: int) -> tuple[Path, Path]:
        record = self.records[number]
        shard = self._store.fetch(f"{self.name}/{record.name}", record.sha256)
        return shard, self._store.fetch(f"{self.name}/{record.index_name}", record.index_sha256)

    def _check(self, number: int) -> None:
        path, index_path = self._paths(number)
        stat = path.stat()
        seen = (stat.st_size, stat.st_mtime_ns)
        if not self.checks_shards or self._checked.get(number) == seen:
            return
        record = self.records[number]
        try:
            check_shard(path, index_path, record)
        except DataError:
            again = [self._store.forget(sha) for sha in (record.sha256, record.index_sha256)]
            if not any(again):
                raise
            check_shard(*self._paths(number), record)  # what came from afar is fetched once more
        self._checked[number] = seen

    def _shard(self, number: int) -> OpenShard:
        if number not in self._open:
            self._check(number)
            record = self.records[number]
            shard = OpenShard(*self._paths(number), num_examples=record.num_examples)
            self._require_possible(shard.index, number)
            self._open[number] = shard
            if len(self._open) > _MAX_OPEN_SHARDS:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]

    def _index(self, number: int) -> NDArray[np.void]:
        """Return a shard's index, without the shard."""
        record = self.records[number]
        path = self._store.fetch(f"{self.name}/{record.index_name}", record.index_sha256)
        try:
            index = read_index(path, num_examples=record.num_examples)
            self._require_possible(index, number)
        except DataError:
            self._check(number)  # says whether it is damaged
            raise
        return index

    def _require_possible(self, index: NDArray[np.void], number: int) -> None:
        record, tasks = self.records[number], self.contents.tasks
        where = f"{self._store.address}/{self.name}/{record.index_name}"
        columns = [self.contents.columns(task) for task in tasks]
        require_possible(index, where, record, tasks=tasks, columns=columns)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what another process must open for itself."""
        return {**self.__dict__, "_open": OrderedDict()}


class _Examples(Sequence[Example]):
    """The examples of a split as a sequence, read one by one."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._split.example(i) for i in range(*index.indices(len(self)))]
        return self._split.example(int(index))
