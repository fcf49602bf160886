"""Which runs stand on a prepared folder: a line each in ``FOLDER/.taskaware-runs``.

It serves one message alone: whoever prepares the folder again learns which runs cannot be resumed.
"""

from __future__ import annotations

import json
from pathlib import Path

from taskaware.data.prepared import folder as prepared
from taskaware.data.prepared.storage import LocalStore, open_store
from taskaware.errors import DataError
from taskaware.files import parse_json, read_regular

_NAME = ".taskaware-runs"
_NUM_NAMED = 5


def note_run(data: Path | str, run: Path) -> None:
    """Note that a run trains on a prepared folder, where the folder can be written at all."""
    store = open_store(data)
    if not isinstance(store, LocalStore):
        return
    folder = Path(store.address)
    try:
        entry = {
            "run": str(run.absolute()),
            "data": str(folder.resolve()),
            "fingerprint": _fingerprint(folder),
        }
        notes = folder / _NAME
        is_elsewhere = notes.is_symlink() or (notes.exists() and not notes.is_file())
        if not is_elsewhere and entry not in _entries(folder):
            with (folder / _NAME).open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
    except (OSError, DataError, KeyError, TypeError, AttributeError):
        return  # a colleague's folder, or one that is not complete


def stale_runs(folder: Path) -> list[str]:
    """Return a warning where runs stand on what a folder held before it was prepared again.

    Args:
        folder: The prepared folder, as it is now.
    """
    now, here = _fingerprint(folder), str(folder.resolve())  # a copy of a folder has no runs yet
    runs = [
        entry["run"]
        for entry in _entries(folder)
        if entry.get("data", here) == here
        and entry.get("fingerprint") != now
        and (Path(entry["run"]) / "experiment.toml").is_file()
    ]
    if not runs:
        return []
    more = f" and {len(runs) - _NUM_NAMED} more" if len(runs) > _NUM_NAMED else ""
    return [
        f"{folder} holds other data than before, but runs were trained on what it held: "
        f"{', '.join(runs[:_NUM_NAMED])}{more}. They cannot be resumed with this data: train again "
        "with another --to, and prepare into another folder while a run is needed"
    ]


def _fingerprint(folder: Path) -> str | None:
    marker = prepared.read_marker(LocalStore(folder))
    return None if marker is None else prepared.content_fingerprint(marker)


def _entries(folder: Path) -> list[dict[str, str]]:
    try:
        lines = read_regular(folder / _NAME).decode("utf-8").splitlines()
    except (OSError, ValueError):
        return []
    entries: list[dict[str, str]] = []
    for line in lines:
        try:
            entry = parse_json(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("run"), str):
            entries.append(entry)
    return entries
