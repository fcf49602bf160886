"""Which runs stand on a prepared folder: a line each in ``FOLDER/.taskaware-runs``.

It serves one message alone: whoever prepares the folder again learns which runs cannot be resumed.
A line holds the way from the folder to the run, and the way back: both stay right where the two are
moved together, and say nothing of the machine that is not between them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from taskaware.data.prepared import folder as prepared
from taskaware.data.prepared.storage import LocalStore, open_store
from taskaware.errors import DataError
from taskaware.files import parse_json, read_regular

_NAME = ".taskaware-runs"
_WAYS = ("run", "data")
_NUM_NAMED = 5


def note_run(data: Path | str, run: Path) -> None:
    """Note that a run trains on a prepared folder, where the folder can be written at all."""
    store = open_store(data)
    if not isinstance(store, LocalStore):
        return
    folder = Path(store.address)
    try:
        entry = {
            "run": _way(folder, run),
            "data": _way(run, folder),
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
    now = _fingerprint(folder)
    stale = (entry for entry in _entries(folder) if entry.get("fingerprint") != now)
    runs = [str(run) for entry in stale if (run := _run_of(entry, folder)) is not None]
    if not runs:
        return []
    more = f" and {len(runs) - _NUM_NAMED} more" if len(runs) > _NUM_NAMED else ""
    return [
        f"{folder} holds other data than before, but runs were trained on what it held: "
        f"{', '.join(runs[:_NUM_NAMED])}{more}. They cannot be resumed with this data: train again "
        "with another --to, and prepare into another folder while a run is needed"
    ]


def _way(start: Path, end: Path) -> str:
    """Return the relative path from one folder to another, without links."""
    return os.path.relpath(end.resolve(), start.resolve())


def _run_of(entry: dict[str, str], folder: Path) -> Path | None:
    """Return the run of a line, or ``None`` where there is none that stands on this folder.

    The lines of a copy name the runs of the folder that was copied: from these, the way back leads
    there. Where it leads to nothing, the folder has another name than before. Lines of before
    November 2026 hold absolute paths, which mean the same.
    """
    here = folder.resolve()
    run = Path(os.path.normpath(here / entry["run"]))
    if not (run / "experiment.toml").is_file():
        return None
    data = Path(os.path.normpath(run / entry["data"]))
    is_of_another = data != here and (data / prepared.MARKER_NAME).is_file()
    return None if is_of_another else run


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
        if isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in _WAYS):
            entries.append(entry)
    return entries
