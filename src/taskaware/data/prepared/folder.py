"""A prepared folder: everything that training and evaluation read, checked and complete.

``prepare`` writes it, with ``prepared.json`` last; a folder without that file is not complete. What
is read of a split is what is asked for: its size does not matter.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from taskaware.data.manifest.tasks import require_good_names
from taskaware.data.prepared.contents import Contents
from taskaware.data.prepared.marker import read_contents
from taskaware.data.prepared.split import Split
from taskaware.data.prepared.storage import Store, open_store
from taskaware.data.vocabulary.vocabulary import Vocabulary
from taskaware.errors import DataError, nearest, unknown_task
from taskaware.files import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from taskaware.types import Task

FORMAT_VERSION = 2
MARKER_NAME = "prepared.json"
VOCABULARY_NAME = "vocabulary.model"
REPORT_NAME = "report.tsv"


class PreparedData:
    """A prepared folder, opened.

    Attributes:
        folder: Where it is: a path or a URL.
        tasks: The tasks, in an order that depends on the manifests alone.
        vocabulary: The word pieces of all tasks.
        feature_settings: How the features were computed; a new recording needs the same.
        num_feature_columns: F of the features, also where they are encoded; 0 where all sources are
            texts.
        encoder: Whose outputs are kept in place of the features of recordings; ``None``: features.
        stores_audio: Whether recordings are kept instead of features.
        fingerprint: What the folder holds, as a hash; see ``content_fingerprint``.
        split_names: The splits, ``"train"`` first.
    """

    def __init__(self, store: Store, marker: Mapping[str, Any], vocabulary: Vocabulary) -> None:
        """Use ``PreparedData.open``."""
        self.folder = store.address
        said = read_contents(marker, f"{self.folder}/{MARKER_NAME}")
        self.tasks = said.tasks
        require_good_names((task.name for task in self.tasks), self.folder)
        self.vocabulary = vocabulary
        self.feature_settings = said.features
        self.num_feature_columns: int = said.num_feature_columns
        self.encoder = said.encoder
        self.stores_audio: bool = said.stores_audio
        self.fingerprint = content_fingerprint(marker)
        self.split_names: tuple[str, ...] = tuple(said.shards)
        self._store = store
        self._shards = said.shards
        self._splits: dict[str, Split] = {}
        if self.vocabulary.sha256 != said.vocabulary_sha256:
            raise DataError(
                f"{self.folder}/{VOCABULARY_NAME}: the vocabulary must be the one that the folder "
                "was prepared with, but is another: prepare the folder again with "
                "`taskaware prepare`"
            )

    @classmethod
    def open(cls, folder: Path | str) -> PreparedData:
        """Open a folder that ``prepare`` completed, by path or by URL.

        Raises:
            DataError: The folder is missing, incomplete or damaged.
        """
        store = open_store(folder)
        marker = read_marker(store)
        try:
            model = store.read(VOCABULARY_NAME)
        except OSError as error:
            raise DataError(
                f"{store.address}/{VOCABULARY_NAME}: the vocabulary must be readable, but: "
                f"{error.strerror or error}"
            ) from error
        if marker is None or model is None:
            missing = MARKER_NAME if marker is None else VOCABULARY_NAME
            raise DataError(
                f"{store.address}: the prepared folder does not exist or is not complete "
                f"({missing} is missing): make it with `taskaware prepare`, or "
                "give the place that it was moved to"
            )
        return cls(store, marker, Vocabulary(model))

    @property
    def hop_ms(self) -> float:
        """Milliseconds from one position of a stored recording to the next."""
        frames = 1 if self.encoder is None else self.encoder.frames_per_position
        return self.feature_settings.hop_ms * frames

    def task(self, name: str) -> Task:
        """Return a task.

        Raises:
            UnknownTaskError: There is no task of this name.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        names = [task.name for task in self.tasks]
        raise unknown_task(name, names, of=str(self.folder))

    def split(self, name: str) -> Split:
        """Return a split; its shards are read when they are needed.

        Raises:
            DataError: There is no split of this name.
        """
        if name not in self._shards:
            raise DataError(
                f"{self.folder}: the split must be one of {', '.join(self.split_names)}, but is "
                f"'{name}'{nearest(name, self.split_names)}"
            )
        if name not in self._splits:
            contents = Contents(
                tasks=self.tasks,
                vocabulary=self.vocabulary,
                features=self.feature_settings,
                stores_audio=self.stores_audio,
                stores_encoded=self.encoder is not None,
                num_feature_columns=self.num_feature_columns,
                num_encoded_columns=None if self.encoder is None else self.encoder.width,
            )
            self._splits[name] = Split(name, self._store, self._shards[name], contents)
        return self._splits[name]


def content_fingerprint(marker: Mapping[str, Any]) -> str:
    """Return a hash of all that training sees of a prepared folder, in hexadecimal.

    Two folders have the same one where their vocabulary, tasks, features and shards are equal, byte
    for byte, wherever they are and whenever they were written. It is computed from what
    ``prepared.json`` says of the shards, which every shard is compared with before it is read.
    """
    settings = marker["settings"]
    content: dict[str, Any] = {
        "vocabulary": marker["vocabulary_sha256"],
        "tasks": marker["tasks"],
        "features": settings["features"],
        "store": settings["store"],
        "splits": {
            name: [[shard["sha256"], shard["index_sha256"]] for shard in split["shards"]]
            for name, split in marker["splits"].items()
        },
    }
    if marker.get("encoder") is not None:  # the model's name does not count
        content["encoder"] = marker["encoder"]["sha256"]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_marker(store: Store) -> dict[str, Any] | None:
    """Return what ``prepared.json`` says, or ``None`` where the folder is not complete.

    Raises:
        DataError: Another version of taskaware wrote the folder.
    """
    where = f"{store.address}/{MARKER_NAME}"
    try:
        data = store.read(MARKER_NAME)
        marker = None if data is None else parse_json(data)
    except PermissionError as error:
        raise DataError(
            f"{where}: must be readable for you, but is not: ask for permission"
        ) from error
    except OSError as error:
        raise DataError(
            f"{where}: cannot be read ({error.strerror or error}): check the path and its "
            "permissions"
        ) from error
    except ValueError as error:
        raise DataError(
            f"{where}: cannot be read ({error}): delete the folder and prepare it again"
        ) from error
    if data is None:
        return None
    version = marker.get("format") if isinstance(marker, dict) else None
    if not isinstance(marker, dict) or type(version) is not int or version != FORMAT_VERSION:
        version = repr(version)[:40]
        raise DataError(
            f"{where}: the format must be {FORMAT_VERSION}, but is {version}: delete the folder "
            "and prepare it again with `taskaware prepare`"
        )
    return marker
