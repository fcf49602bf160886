"""A prepared folder: everything that training and evaluation read, checked and complete.

``prepare`` writes it, with ``prepared.json`` last; a folder without that file is not complete.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from taskaware.data.features import FeatureSettings
from taskaware.data.vocabulary import Vocabulary
from taskaware.errors import DataError, UnknownTaskError, nearest
from taskaware.types import Example, FeatureRows, Speech, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMAT_VERSION = 1
MARKER_NAME = "prepared.json"
VOCABULARY_NAME = "vocabulary.model"
REPORT_NAME = "report.tsv"


def examples_path(folder: Path, split: str) -> Path:
    """Return the file that lists the examples of a split."""
    return folder / f"{split}.jsonl"


def features_path(folder: Path, split: str) -> Path:
    """Return the file that holds the features of a split."""
    return folder / f"{split}.features.npy"


def example_to_json(example: Example) -> str:
    """Return an example as one line of JSON."""
    return json.dumps(asdict(example), ensure_ascii=False, default=str)


def example_from_json(line: str) -> Example:
    """Return the example that ``example_to_json`` wrote."""
    fields = json.loads(line)
    if fields["speech"] is not None:
        fields["speech"] = Speech(**{**fields["speech"], "path": Path(fields["speech"]["path"])})
    if fields["features_path"] is not None:
        fields["features_path"] = Path(fields["features_path"])
    if fields["feature_rows"] is not None:
        fields["feature_rows"] = FeatureRows(**fields["feature_rows"])
    return Example(**fields)


@dataclass(frozen=True)
class _Pieces:
    """Piece ids of many texts, end to end: text i is ``ids[offsets[i] : offsets[i + 1]]``."""

    ids: np.ndarray  # int32
    offsets: np.ndarray  # int64

    @classmethod
    def encode(cls, texts: Sequence[str], vocabulary: Vocabulary) -> _Pieces:
        rows = vocabulary.encode_many(texts)
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        ids = np.fromiter((i for row in rows for i in row), dtype=np.int32, count=offsets[-1])
        return cls(ids, offsets)

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.ids[self.offsets[i] : self.offsets[i + 1]].astype(np.int64)


class Split:
    """The examples of one split, with their sources and targets as arrays.

    Attributes:
        name: The split's name, e.g. ``"train"``.
        examples: The examples, in the order of the manifests.
        source_lengths: int64 ``[number of examples]``: frames, or pieces of the source text.
        target_lengths: int64 ``[number of examples]``: pieces of the target text, without begin-
            and end-of-sequence.
    """

    def __init__(
        self,
        name: str,
        examples: Sequence[Example],
        vocabulary: Vocabulary,
        features: np.ndarray | None,
    ) -> None:
        """Encode the texts of ``examples``; ``features`` is float16 ``[total frames, F]``."""
        self.name = name
        self.examples = examples
        self._features = features
        self._targets = _Pieces.encode([e.target_text for e in examples], vocabulary)
        self._sources = _Pieces.encode([e.source_text or "" for e in examples], vocabulary)
        rows = [-1 if e.feature_rows is None else e.feature_rows.num_rows for e in examples]
        frames = np.array(rows, dtype=np.int64)
        self.source_lengths = np.where(frames >= 0, frames, self._sources.lengths)
        self.target_lengths = self._targets.lengths

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def _indices(self) -> Mapping[str, np.ndarray]:
        by_task: dict[str, list[int]] = {}
        for i, example in enumerate(self.examples):
            by_task.setdefault(example.task, []).append(i)
        return {task: np.array(indices, dtype=np.int64) for task, indices in by_task.items()}

    def indices(self, task_name: str) -> np.ndarray:
        """Return the positions of a task's examples, int64, empty where there are none."""
        return self._indices.get(task_name, np.zeros(0, dtype=np.int64))

    def source(self, index: int) -> np.ndarray:
        """Return a source: float32 ``[S, F]``, or the piece ids of a source text, int64 ``[S]``."""
        rows = self.examples[index].feature_rows
        if rows is None or self._features is None:
            return self._sources[index]
        return self._features[rows.first_row : rows.first_row + rows.num_rows].astype(np.float32)

    def target(self, index: int) -> np.ndarray:
        """Return the target's piece ids, int64 ``[T]``, without begin- and end-of-sequence."""
        return self._targets[index]


class PreparedData:
    """A prepared folder, opened.

    Attributes:
        folder: Where it is.
        tasks: The tasks, in an order that depends on the manifests alone.
        vocabulary: The word pieces of all tasks.
        feature_settings: How the features were computed; a new recording needs the same.
        num_feature_columns: F of the features; 0 where all sources are texts.
        fingerprint: Changes with the manifests, the recordings' files and the settings.
        split_names: The splits, ``"train"`` first.
    """

    def __init__(self, folder: Path, marker: Mapping[str, Any]) -> None:
        """Use ``PreparedData.open``."""
        self.folder = folder
        self.tasks = tuple(Task(**task) for task in marker["tasks"])
        self.vocabulary = Vocabulary.load(folder / VOCABULARY_NAME)
        self.feature_settings = FeatureSettings(**marker["settings"]["features"])
        self.num_feature_columns: int = marker["num_feature_columns"]
        self.fingerprint: str = marker["fingerprint"]
        self.split_names: tuple[str, ...] = tuple(marker["splits"])
        self._split_records = marker["splits"]
        self._splits: dict[str, Split] = {}
        if self.vocabulary.sha256 != marker["vocabulary_sha256"]:
            raise DataError(
                f"{folder / VOCABULARY_NAME}: the vocabulary must be the one that the folder was "
                "prepared with, but is another: prepare the folder again with `taskaware prepare`"
            )

    @classmethod
    def open(cls, folder: Path | str) -> PreparedData:
        """Open a folder that ``prepare`` completed.

        Raises:
            DataError: The folder is missing, incomplete or damaged.
        """
        folder = Path(folder)
        marker = read_marker(folder)
        if marker is None:
            what = "is not complete" if folder.is_dir() else "does not exist"
            raise DataError(
                f"{folder}: the prepared folder {what} ({MARKER_NAME} is missing): make it with "
                "`taskaware prepare`"
            )
        return cls(folder, marker)

    def task(self, name: str) -> Task:
        """Return a task.

        Raises:
            UnknownTaskError: There is no task of this name.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        names = [task.name for task in self.tasks]
        raise UnknownTaskError(
            f"{self.folder}: the task must be one of {', '.join(names)}, but is '{name}'"
            f"{nearest(name, names)}"
        )

    def split(self, name: str) -> Split:
        """Return a split; its texts are encoded at the first call, its features are mapped.

        Raises:
            DataError: There is no split of this name, or its files are damaged.
        """
        if name not in self._split_records:
            raise DataError(
                f"{self.folder}: the split must be one of {', '.join(self.split_names)}, but is "
                f"'{name}'{nearest(name, self.split_names)}"
            )
        if name not in self._splits:
            self._splits[name] = self._read_split(name)
        return self._splits[name]

    def _read_split(self, name: str) -> Split:
        record = self._split_records[name]
        path = examples_path(self.folder, name)
        array_path = features_path(self.folder, name)
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
            examples = [example_from_json(line) for line in lines if line]
            features = None
            if record["num_frames"]:
                features = np.load(array_path, mmap_mode="r", allow_pickle=False)
                features = np.asarray(features)  # a plain view of the map: slices are cheaper
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self.folder}: the files of the split '{name}' are missing or damaged ({error}): "
                "prepare the folder again with `taskaware prepare`"
            ) from error
        num_frames = 0 if features is None else len(features)
        num_examples = sum(record["examples"].values())
        if len(examples) != num_examples or num_frames != record["num_frames"]:
            raise DataError(
                f"{self.folder}: the split '{name}' must have {num_examples} examples and "
                f"{record['num_frames']} frames, but has {len(examples)} and {num_frames}: prepare "
                "the folder again with `taskaware prepare`"
            )
        return Split(name, examples, self.vocabulary, features)


def read_marker(folder: Path) -> dict[str, Any] | None:
    """Return what ``prepared.json`` says, or ``None`` where the folder is not complete.

    Raises:
        DataError: Another version of taskaware wrote the folder.
    """
    path = folder / MARKER_NAME
    try:
        marker = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}): delete the folder and prepare it again"
        ) from error
    if not isinstance(marker, dict) or marker.get("format") != FORMAT_VERSION:
        version = marker.get("format") if isinstance(marker, dict) else None
        raise DataError(
            f"{path}: the format must be {FORMAT_VERSION}, but is {version}: delete the folder and "
            "prepare it again with `taskaware prepare`"
        )
    return marker
