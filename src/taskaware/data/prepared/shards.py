"""Shards: the files that hold the examples of a split, written once and read from end to end.

A shard is a file of a standard format and an index beside it::

    speech-000000.tar        a WebDataset archive: KEY.json and KEY.npy, KEY.flac, KEY.mp3, ...
    text-000000.jsonl        an example a line
    *.index.npy              a row an example: task, lengths, and where its bytes are

The archive is plain tar, in the layout of https://github.com/webdataset/webdataset: members with
the same KEY are one sample. ``KEY.json`` is a list, as several tasks may share a recording. The
index holds what ``INDEX`` says; everything can be read without it, only not so fast. Sizes and
SHA-256 of all files stand in ``prepared.json``.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import tarfile
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from taskaware.data.prepared.settings import MAX_BYTES
from taskaware.errors import DataError
from taskaware.files import atomic_file, to_json
from taskaware.types import MODALITIES, Example, Speech

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from taskaware.data.prepared.settings import ShardLimits
    from taskaware.types import Modality

INDEX = np.dtype(
    [
        ("task", "<u2"),  # position in the prepared folder's list of tasks
        ("entry", "<u2"),  # position in the list that KEY.json is
        ("source_length", "<i4"),  # frames, or pieces of the source text
        ("target_length", "<i4"),  # pieces of the target text
        ("example_offset", "<u4"),  # where the JSON is in the shard
        ("example_bytes", "<u4"),
        ("source_offset", "<u4"),  # where features or audio are; 0 bytes for a text
        ("source_bytes", "<u4"),
    ]
)

_NAME = re.compile(r"[a-z]+-[0-9]{6,}\.(?:tar|jsonl)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = tarfile.BLOCKSIZE
NPY_HEADER_BYTES = 128


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """What is known of a shard without opening it.

    Attributes:
        name: File name in the split's folder.
        num_bytes: Size of the file.
        sha256: Of the file, in hexadecimal.
        index_sha256: Of the index file.
        examples: Number of examples by task.
        num_frames: Feature frames of all sources; what several examples share counts once.
        num_speech_frames: Those of them that are speech.
    """

    name: str
    num_bytes: int
    sha256: str
    index_sha256: str
    examples: dict[str, int]
    num_frames: int
    num_speech_frames: int

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if not _NAME.fullmatch(self.name):
            yield (
                "name",
                f"must be a file name such as speech-000000.tar, but is {self.name[:80]!r}",
            )
        for name in ("sha256", "index_sha256"):
            if not _SHA256.fullmatch(getattr(self, name)):
                yield name, "must be a SHA-256 in hexadecimal"
        for name in ("num_bytes", "num_frames", "num_speech_frames"):
            if getattr(self, name) < 0:
                yield name, "must be at least 0"
        if any(not 0 <= number < 1 << 40 for number in self.examples.values()):
            yield "examples", "must be numbers of examples, from 0 up"

    @property
    def num_examples(self) -> int:
        """Examples of all tasks."""
        return sum(self.examples.values())

    @property
    def index_name(self) -> str:
        """File name of the index."""
        return index_name(self.name)


def index_name(shard_name: str) -> str:
    """Return the file name of a shard's index."""
    return f"{shard_name.partition('.')[0]}.index.npy"


def npy_bytes(rows: NDArray[np.float16]) -> bytes:
    """Return float16 ``[S, F]`` as a NumPy file (format 1.0) whose header has a fixed length."""
    description = f"{{'descr': '<f2', 'fortran_order': False, 'shape': {rows.shape}, }}".encode()
    num_bytes = NPY_HEADER_BYTES - 10  # magic 6, version 2, length 2
    padded = description.ljust(num_bytes - 1) + b"\n"
    header = b"\x93NUMPY\x01\x00" + num_bytes.to_bytes(2, "little") + padded
    return header + np.ascontiguousarray(rows).tobytes()


def example_to_record(example: Example) -> dict[str, object]:
    """Return an example as what JSON can hold; fields that are empty are left out."""
    record: dict[str, object] = {}
    for name, value in vars(example).items():  # asdict() would copy deeply
        if isinstance(value, Speech):
            record[name] = {**vars(value), "path": str(value.path)}
        elif isinstance(value, Path):
            record[name] = str(value)
        elif value not in (None, "") or name == "dataset":
            record[name] = value
    return record


def example_to_json(example: Example) -> bytes:
    """Return an example as one line of JSON."""
    return to_json(example_to_record(example))


def example_from_record(said: object) -> Example:
    """Return the example that ``example_to_record`` wrote.

    Raises:
        ValueError: A part is missing, of another type, or no valid Unicode.
        TypeError: There is a part of another name.
    """
    fields = dict(_checked(said, "an example", dict))
    for name, value in fields.items():
        if name not in ("speech", "features_path"):  # a name of a file may hold any bytes
            _checked(value, f"`{name}`", str).encode()
    if "speech" in fields:
        fields["speech"] = _speech(_checked(fields["speech"], "`speech`", dict))
    if "features_path" in fields:
        fields["features_path"] = Path(_checked(fields["features_path"], "`features_path`", str))
    return Example(**fields)


def _speech(said: Mapping[str, Any]) -> Speech:
    speech = Speech(**{**said, "path": Path(_checked(said.get("path"), "`path`", str))})
    seconds = (speech.start_seconds, speech.duration_seconds)
    are_times = all(
        one is None or (type(one) in (int, float) and 0 <= one < math.inf) for one in seconds
    )
    is_channel = speech.channel is None or (type(speech.channel) is int and speech.channel > 0)
    if seconds[0] is None or not are_times or not is_channel:
        raise ValueError("`speech` must have times from 0 up and a channel from 1 up")
    return speech


def _checked(value: Any, name: str, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{name} is of type {type(value).__name__} in place of {kind.__name__}")
    return value


class _Hashed(io.RawIOBase):
    """A file that hashes what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.num_bytes = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.num_bytes

    def write(self, data) -> int:  # type: ignore[override]
        self._file.write(data)
        self._digest.update(data)
        self.num_bytes += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


class _AbandonedError(Exception):
    """A file is not to be completed."""


class ShardWriter:
    """Writes the shards of one modality, e.g. ``text-NNNNNN.jsonl`` or ``speech-NNNNNN.tar``.

    Equal examples in equal order give equal bytes.

    Args:
        folder: The split's folder.
        modality: Of all examples.
        task_numbers: Position of each task, by name.
        limits: When a shard is full.
        first: Number of the first shard, where earlier ones are there already.
        writing: Yields where to write a file of this name in the folder, which gets its name at the
            end.
    """

    def __init__(
        self,
        folder: Path,
        modality: Modality,
        task_numbers: Mapping[str, int],
        limits: ShardLimits,
        first: int = 0,
        writing: Callable[[str], AbstractContextManager[Path]] | None = None,
    ) -> None:
        self._folder = folder
        self._modality = MODALITIES[modality]
        self._task_numbers = task_numbers
        self._limits = limits
        self._number = first
        self._writing = writing or (lambda name: atomic_file(folder / name))
        self._unfinished = ExitStack()  # the files that get their names when it is closed
        self._file: _Hashed | None = None
        self._tar: tarfile.TarFile | None = None

    @property
    def is_full(self) -> bool:
        """Whether the shard under way should be closed."""
        return self._file is not None and (
            self._file.num_bytes >= self._limits.megabytes * 1_000_000
            or len(self._rows) >= self._limits.examples
        )

    def add_text(self, example: Example, *, source_length: int, target_length: int) -> None:
        """Write a text example."""
        file = self._opened()
        line = example_to_json(example) + b"\n"
        row = (file.num_bytes, len(line), 0, 0)
        file.write(line)
        self._add_row(example, 0, source_length, target_length, row)

    def add_source(
        self,
        examples: Sequence[tuple[Example, int]],
        data: bytes,
        suffix: str,
        *,
        num_frames: int,
    ) -> None:
        """Write a source and the examples on it, each with its number of target pieces."""
        file = self._opened()
        key = f"{self._num_sources:08d}"
        records = [example_to_record(example) for example, _ in examples]
        text = to_json(records)
        text_place = self._add_member(f"{key}.json", text)
        data_place = self._add_member(f"{key}.{suffix}", data)
        if file.num_bytes > MAX_BYTES:
            raise DataError(f"a shard must be smaller than 4 GB, but {key}.{suffix} is larger")
        for entry, (example, target_length) in enumerate(examples):
            self._add_row(example, entry, num_frames, target_length, (*text_place, *data_place))
        self._num_sources += 1
        self._num_frames += num_frames
        self._num_speech_frames += num_frames if self._modality.is_recording else 0

    def close(self) -> ShardRecord | None:
        """Complete the shard under way; ``None`` where nothing was written to it."""
        if self._file is None:
            return None
        if self._tar is not None:
            self._tar.close()
        file, name = self._file, self._name
        file.close()
        index_path = self._folder / index_name(name)
        index = np.array(self._rows, dtype=INDEX)
        with (
            self._unfinished,
            self._writing(index_path.name) as partial,
            partial.open("wb") as index_file,
        ):
            np.save(index_file, index)
        self._file = self._tar = None
        self._number += 1
        return ShardRecord(
            name=name,
            num_bytes=file.num_bytes,
            sha256=file.sha256,
            index_sha256=hashlib.sha256(index_path.read_bytes()).hexdigest(),
            examples=dict(self._counts),
            num_frames=self._num_frames,
            num_speech_frames=self._num_speech_frames,
        )

    def abandon(self) -> None:
        """Drop a shard that will not be completed."""
        if self._file is not None:
            self._file.close()
            self._file = self._tar = None
            with suppress(_AbandonedError), self._unfinished:
                raise _AbandonedError

    @property
    def _name(self) -> str:
        suffix = "jsonl" if self._modality.is_text else "tar"
        return f"{self._modality.name}-{self._number:06d}.{suffix}"

    def _opened(self) -> _Hashed:
        if self._file is None:
            partial = self._unfinished.enter_context(self._writing(self._name))
            # Buffered: members of an archive are written in several small pieces.
            self._file = _Hashed(partial.open("wb", 1 << 20))
            if not self._modality.is_text:
                self._tar = tarfile.open(  # noqa: SIM115 - closed with the shard
                    fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT
                )
            self._rows: list[tuple[int, ...]] = []
            self._counts: dict[str, int] = {}
            self._num_sources = self._num_frames = self._num_speech_frames = 0
        return self._file

    def _add_member(self, name: str, data: bytes) -> tuple[int, int]:
        """Write a file into the archive; return where its bytes are."""
        assert self._tar is not None
        assert self._file is not None
        info = tarfile.TarInfo(name)  # no time, no owner: equal inputs give equal bytes
        info.size = len(data)
        offset = self._file.num_bytes + _BLOCK
        self._tar.addfile(info, io.BytesIO(data))
        self._tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
        return offset, len(data)

    def _add_row(
        self,
        example: Example,
        entry: int,
        source_length: int,
        target_length: int,
        places: tuple[int, int, int, int],
    ) -> None:
        task = self._task_numbers[example.task]
        self._rows.append((task, entry, source_length, target_length, *places))
        self._counts[example.task] = self._counts.get(example.task, 0) + 1
