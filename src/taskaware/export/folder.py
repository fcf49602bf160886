"""The folder of an export: new, empty, or an earlier export, which is replaced when all is made.

Files are made in a folder inside it, ``.taskaware-unfinished``, so that they need only be renamed,
also where the folder is a file system of its own. An earlier export is moved there, not deleted,
until the new one has taken its place. What a killed command left there, the next one puts back.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

from taskaware.errors import OutputError
from taskaware.files import atomic_file, reporting, sync
from taskaware.inference.model_card import CARD_NAME, is_somebodys
from taskaware.inference.model_folder import MODEL_FILES
from taskaware.output_folder import claimed, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from taskaware.output_folder import OutputFolder

Result = TypeVar("Result")
UNFINISHED = ".taskaware-unfinished"
# What exports of any form consist of: in a folder with other files of ours nothing is replaced.
_NAMES = (
    *MODEL_FILES,
    *("*.onnx", "*.onnx.data", "features.npz", "decode.py", "export.json"),
    *("model.bin", "config.json", "*vocabulary.json"),
    *("*_config.json", "tokenizer.json", "vocab.json", "*.spm"),
    *(UNFINISHED, "*.unfinished"),
)


def write_into(folder: Path, last: str, make: Callable[[Path], Result]) -> Result:
    """Have files made in a place of their own, then move them to a folder.

    Args:
        folder: New, empty, or an earlier export, which is replaced once all is made.
        last: The file without which the others are of no use: it comes last.
        make: Writes the files into an empty folder; what it returns is returned.

    Raises:
        OutputError: The folder holds anything but an export, or a file of it was changed.
        WriteError: The disk is full, for example; an earlier export is as it was.
    """
    with claimed(folder) as claim:
        _require_export(claim)
        with reporting(folder), _unfinished(claim) as place:
            claim.require_free(_there(claim))  # before the long work
            new = place / "new"
            new.mkdir()
            result = make(new)
            _exchange(claim, place, last)
        claim.forget()
        return result


@contextmanager
def _unfinished(claim: OutputFolder) -> Iterator[Path]:
    """Yield an empty folder inside the claimed one, which is taken away at the end."""
    place = claim.path / UNFINISHED
    if os.path.lexists(place):
        if UNFINISHED not in claim.written:
            claim.require_free([UNFINISHED])
        _put_back(claim, place / "old")
        shutil.rmtree(place)
    claim.adopt([UNFINISHED])
    try:
        place.mkdir()
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _there(claim: OutputFolder) -> list[str]:
    """Return the files of an earlier export; those that say what it is, which are JSON, first."""
    names = [
        name for name in claim.written if name != UNFINISHED and os.path.lexists(claim.path / name)
    ]
    return sorted(names, key=lambda name: not name.endswith(".json"))


def _exchange(claim: OutputFolder, place: Path, last: str) -> None:
    """Move the files of ``new`` to their places, and those that were there to ``old``."""
    new, old = place / "new", place / "old"
    names = sorted((path.name for path in new.iterdir()), key=lambda name: (name == last, name))
    for name in names:
        sync(new / name)
    there = _there(claim)
    claim.require_free([*there, *names])
    for name in names:
        claim.begin(name)
    try:
        for name in there:
            (old / name).parent.mkdir(parents=True, exist_ok=True)
            (claim.path / name).replace(old / name)
        for name in names:
            with atomic_file(claim.path / name, place / "partial") as partial:
                (new / name).replace(partial)
    except BaseException:
        claim.remove(name for name in names if name not in there)
        _put_back(claim, old)
        raise
    for name in names:
        claim.finish(name)


def _put_back(claim: OutputFolder, old: Path) -> None:
    """Move an earlier export back to its place, of which some may never have been moved."""
    paths = [path for path in old.rglob("*") if not path.is_dir()]
    names = [path.relative_to(old).as_posix() for path in paths]
    for name in sorted(names, key=lambda name: name.endswith(".json")):
        (old / name).replace(claim.path / name)
    for name in names:
        claim.finish(name)


def _require_export(claim: OutputFolder) -> None:
    changed = is_somebodys(claim.path / CARD_NAME)
    known = _NAMES if changed else (*_NAMES, CARD_NAME)
    others = [
        name
        for name in claim.written
        if (claim.path / name).exists() and not any(fnmatchcase(name, one) for one in known)
    ]
    if others:
        raise OutputError(
            f"{claim.path} must be a new or an empty folder, or an earlier export, but holds "
            f"{listed(claim.path, others)} of another command or of your own: give another folder; "
            "nothing was changed"
        )
