"""Folders that are exchanged whole for new ones: models and checkpoints.

A new ``NAME`` is filled as ``.NAME.partial`` and gets its name once it is complete and on the disk;
the one that was there is ``.NAME.old`` meanwhile. Files that only that one has, such as a user's
notes, go to the new one. Of what a killed process leaves, ``.NAME.partial`` may be deleted, and
``.NAME.old`` is put back: it never goes through the other, where a second kill would lose it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from taskaware.errors import WriteError
from taskaware.files import held, reporting, sync

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill, which becomes ``folder`` at the end; on failure it is removed.

    What a killed process left is put right first. Of a link to a folder, the folder is exchanged.

    Raises:
        WriteError: See ``files.atomic_file``; or another process is writing the folder, or it
            cannot be exchanged, as it is a file, a file system begins there, or this process works
            in it.
    """
    with reporting(folder):
        _require_exchangeable(folder)
    place, partial = _place(folder), partial_folder(folder)
    with contextlib.ExitStack() as stack:
        with reporting(folder):
            try:
                stack.enter_context(held(partial, _make_folder, waits=False))
            except BlockingIOError:
                raise WriteError(
                    f"{folder} must be free, but another command is writing it: wait until it is "
                    "done, or give another folder"
                ) from None
        try:
            with reporting(folder):
                put_back(folder)
                _clear(partial)
                yield partial
                for path in partial.rglob("*"):
                    sync(path)
                if place.exists():
                    place.replace(_old(folder))
                partial.replace(place)
                put_back(folder)
                sync(place.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def partial_folder(folder: Path) -> Path:
    """Return what a folder is called until it is complete."""
    return _place(folder).with_name(f".{_place(folder).name}.partial")


def put_back(folder: Path) -> None:
    """Return the files to a folder that a killed process did not return.

    Raises:
        OSError: They cannot be moved.
    """
    place, old = _place(folder), _old(folder)
    if old.exists() and not place.exists():
        old.replace(place)
    # A process whose folder has just got its name may be doing it as well.
    with contextlib.suppress(FileNotFoundError):
        for path in list(old.iterdir()):
            if not (place / path.name).exists():
                path.replace(place / path.name)
        shutil.rmtree(old)


def remove_folder(folder: Path) -> None:
    """Delete a folder that is never seen in part.

    Raises:
        OSError: It cannot be deleted.
    """
    shutil.rmtree(folder.replace(partial_folder(folder)))


def _place(folder: Path) -> Path:
    return Path(os.path.realpath(folder))  # which is no error in a loop of links


def _old(folder: Path) -> Path:
    return _place(folder).with_name(f".{_place(folder).name}.old")


def _require_exchangeable(folder: Path) -> None:
    place = _place(folder)
    reason = ""
    if os.path.lexists(folder) and not folder.is_dir():
        reason = "a file" if folder.exists() else "a link to nothing"
    elif os.path.ismount(place):
        reason = "a mount point, where a file system begins"
    elif place.is_dir() and _place(Path(os.curdir)).is_relative_to(place):
        reason = "that in which the program works"
    if reason:
        raise WriteError(
            f"{folder} must be a folder that can be exchanged for another, but is {reason}: give "
            "a folder inside it, or another name; nothing was changed"
        )


def _make_folder(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
