"""What ``prepared.json`` says, checked: it may be a stranger's, or from a damaged disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskaware.data.prepared.encoder import EncoderRecord
from taskaware.data.prepared.shards import ShardRecord
from taskaware.data.sound.settings import FeatureSettings
from taskaware.errors import DataError, ExperimentError
from taskaware.settings import typed
from taskaware.types import MODALITIES, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREPARE_AGAIN = "restore the file, or prepare the folder again with `taskaware prepare`"


@dataclass(frozen=True, kw_only=True)
class MarkedContents:
    """What a prepared folder holds.

    Attributes:
        tasks: In the order of their numbers in the shards.
        features: How the features were computed.
        num_feature_columns: F of the features; 0 where all sources are texts.
        encoder: Whose outputs are kept in place of the features of recordings.
        stores_audio: Whether recordings are kept instead of features.
        vocabulary_sha256: Of the vocabulary, in hexadecimal.
        shards: Of each split, in order.
    """

    tasks: tuple[Task, ...]
    features: FeatureSettings
    num_feature_columns: int
    encoder: EncoderRecord | None
    stores_audio: bool
    vocabulary_sha256: str
    shards: Mapping[str, tuple[ShardRecord, ...]]


def read_contents(marker: Mapping[str, Any], where: str) -> MarkedContents:
    """Return what the file says.

    Raises:
        DataError: A part is missing, of another type, or impossible.
    """
    try:
        settings = _part(marker, "settings", dict)
        tasks = tuple(_task(task) for task in _part(marker, "tasks", list))
        encoder = marker.get("encoder")
        contents = MarkedContents(
            tasks=tasks,
            features=typed.from_mapping(
                FeatureSettings, _part(settings, "features", dict), where=f"{where}, features"
            ),
            num_feature_columns=_part(marker, "num_feature_columns", int),
            encoder=None
            if encoder is None
            else typed.from_mapping(
                EncoderRecord, _checked(encoder, "encoder", dict), where=f"{where}, encoder"
            ),
            stores_audio=_stores_audio(_part(settings, "store", str)),
            vocabulary_sha256=_part(marker, "vocabulary_sha256", str),
            shards={
                _plain_name(name): _shards(split, where)
                for name, split in _part(marker, "splits", dict).items()
            },
        )
        _require_consistent(contents)
    except (ValueError, ExperimentError) as error:
        raise DataError(f"{where} must be as it was written, but: {error}; {_PREPARE_AGAIN}") from (
            error
        )
    return contents


def _task(said: Any) -> Task:
    """Return a task; its kind of source may be one that a user has added to the table."""
    said = _checked(said, "tasks", dict)
    try:
        task = Task(**{name: _checked(value, name, str) for name, value in said.items()})
    except TypeError as error:  # a field is missing, or unknown
        raise ValueError(f"`tasks`: {error}") from error
    if task.source_modality not in MODALITIES:
        raise ValueError(f"`tasks`: no source is of the kind '{task.source_modality[:80]}'")
    return task


def _shards(split: Any, where: str) -> tuple[ShardRecord, ...]:
    return tuple(
        typed.from_mapping(
            ShardRecord, _checked(shard, "shards", dict), where=f"{where}, splits, shards"
        )
        for shard in _part(_checked(split, "splits", dict), "shards", list)
    )


def _stores_audio(store: str) -> bool:
    if store not in ("features", "audio"):
        raise ValueError(f"`store` must be 'features' or 'audio', but is {store[:80]!r}")
    return store == "audio"


def _require_consistent(contents: MarkedContents) -> None:
    """Require that the parts fit one another; shards are compared with them as they are opened."""
    if not 0 <= contents.num_feature_columns < 1 << 31:
        raise ValueError("`num_feature_columns` must be a number of columns, from 0 up")
    if not contents.shards or not contents.tasks:
        what = "tasks" if contents.shards else "splits"
        raise ValueError(f"`{what}` must have one at least, but has none")
    known = {task.name for task in contents.tasks}
    if len(known) < len(contents.tasks):
        raise ValueError("two tasks have one name")
    for split, shards in contents.shards.items():
        if len({shard.name for shard in shards}) < len(shards):
            raise ValueError(f"two shards of the split '{split[:80]}' have one name")
        for shard in shards:
            if unknown := sorted(set(shard.examples) - known):
                raise ValueError(
                    f"{shard.name} has examples of '{unknown[0][:80]}', which is no task"
                )


def _plain_name(name: str) -> str:
    """Return the name of a split, which is that of a folder inside the prepared one."""
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise ValueError(f"a split must be named as a folder, but is {name[:80]!r}")
    return name


def _part(said: Mapping[str, Any], name: str, kind: type) -> Any:
    if name not in said:
        raise ValueError(f"`{name}` is missing")
    return _checked(said[name], name, kind)


def _checked(value: Any, name: str, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"`{name}` is of type {type(value).__name__} in place of {kind.__name__}")
    return value
