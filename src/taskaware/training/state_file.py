"""The ``state.json`` of a checkpoint, read and checked: what is damaged is not used."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from taskaware.errors import CheckpointError, DamagedCheckpointError
from taskaware.files import read_json_object

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORMAT_VERSION = 1


def read_content(path: Path) -> dict[str, Any]:
    """Return what a checkpoint's ``state.json`` says.

    Raises:
        DamagedCheckpointError: It is missing, truncated, or says too little.
        CheckpointError: Another version of taskaware wrote it.
    """
    try:
        content = read_json_object(path / "state.json")
    except (OSError, ValueError) as error:
        raise DamagedCheckpointError(
            f"{path} must be a checkpoint, but state.json: {error}"
        ) from error
    version = content.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} must have format version {FORMAT_VERSION}, but has {repr(version)[:40]}: "
            "another version of taskaware wrote it"
        )
    if not set(content) >= _NEEDED:
        raise DamagedCheckpointError(
            f"{path / 'state.json'} must say {', '.join(sorted(_NEEDED))}, but does not"
        )
    wrong = [name for name, kind in _KINDS.items() if name in content and not kind(content[name])]
    if wrong:
        raise DamagedCheckpointError(
            f"{path / 'state.json'} must be as it was written, but what it says of `{wrong[0]}` "
            "cannot be"
        )
    return content


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_best(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(one, dict) and _is_number(one.get("value")) and _is_count(one.get("update"))
        for one in value.values()
    )


_NEEDED = {"update", "batches", "best", "seconds", "num_ranks", "sha256"}
_KINDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("update", "num_ranks", "stale"), _is_count),
    **dict.fromkeys(("batches", "retention", "data", "sha256"), _is_mapping),
    "seconds": _is_number,
    "best": _is_best,
}
