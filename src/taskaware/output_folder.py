"""Folders that commands write, and the record of what they wrote: nobody else's file is touched.

Every command that writes a folder claims it here first. ``FOLDER/.taskaware-written`` names every
file that was written, one line of JSON each, before its first byte: only what stands there is ever
deleted or written over. A file whose contents were noted, and are other ones now, belongs to
whoever changed it. Everything else in the folder is somebody's work, whatever its name: where it is
in the way, the command refuses before it does anything.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from taskaware.errors import OutputError
from taskaware.files import atomic_file, file_sha256
from taskaware.output_record import (
    add_to_record,
    is_inside,
    is_pattern,
    read_record,
    require_inside,
    require_no_link,
    rewrite_record,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

RECORD_NAME = ".taskaware-written"
LOCK_NAME = ".taskaware-lock"
RUN_LOCK_NAME = ".lock"  # of a run (``run.lock``)
_PARTIAL_RECORD_NAME = f"{RECORD_NAME}.partial"
# What systems and version control put into empty folders; never written, so never in the way.
_NOT_CONTENT = {RECORD_NAME, _PARTIAL_RECORD_NAME, LOCK_NAME, RUN_LOCK_NAME}
_NOT_CONTENT |= {".DS_Store", ".gitkeep", ".gitignore", "lost+found"}
_NUM_NAMED = 5
_SECONDS_TO_WAIT = 60.0


class OutputFolder:
    """A folder that is claimed: what may be written and deleted in it. Use ``claimed``.

    Names are relative to the folder, with ``/`` between their parts.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._record = path / RECORD_NAME
        self._written = read_record(self._record)
        self._patterns = [name for name in self._written if is_pattern(name)]

    @property
    def holds_ours(self) -> bool:
        """Whether anything is there that a command of ours wrote."""
        return any(is_pattern(name) or os.path.lexists(self.path / name) for name in self._written)

    @property
    def written(self) -> tuple[str, ...]:
        """The names of all files that commands of ours wrote here, whether or not still there."""
        return tuple(self._written)

    def owns(self, name: str) -> bool:
        """Whether a file, or something in a folder, was written by a command of ours."""
        return self._owns_file(name) or any(each.startswith(f"{name}/") for each in self._written)

    def adopt(self, names: Iterable[str]) -> None:
        """Record files as ours without writing them: of an earlier version, or all of a pattern.

        In a pattern a star stands for any characters, as in ``"tensorboard/*tfevents*"``, and
        ``[0-9]`` for a digit.
        """
        self._note({name: "" for name in names if name not in self._written and is_inside(name)})

    def assume(self, names: Iterable[str]) -> None:
        """Record files as ``adopt`` does, but for this object alone: nothing is written."""
        new = [name for name in names if name not in self._written and is_inside(name)]
        self._remember(dict.fromkeys(new, ""))

    def require_free(self, names: Iterable[str]) -> None:
        """Require that nothing of these names is there, or only what commands of ours wrote.

        Raises:
            OutputError: Something is somebody's, was changed since it was written, or is elsewhere.
        """
        names = list(names)
        require_inside(self.path, names)
        there = [name for name in names if os.path.lexists(self.path / name)]
        foreign = [name for name in there if not self._is_ours(name)]
        if foreign:
            raise OutputError(
                f"{self.path} holds {listed(self.path, foreign)}, which taskaware did not write "
                "and does not write over: give another folder, or move what is there; nothing "
                "was changed"
            )
        for name in there:
            self._require_unchanged(name)

    def begin(self, name: str) -> Path:
        """Return the path of a file that is about to be written, and record that it is ours.

        Raises:
            OutputError: It is there and is somebody's.
        """
        path = self.path / name
        self.require_free([name])
        if self._written.get(name) != "":
            self._note({name: ""})
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def finish(self, name: str) -> None:
        """Note the contents of a file that is written, so that a later change is noticed."""
        path = self.path / name
        stat = path.stat()
        self._note({name: f"{stat.st_size} {stat.st_mtime_ns} {file_sha256(path)}"})

    @contextmanager
    def writing(self, name: str, *, noted: bool = True) -> Iterator[Path]:
        """Yield where to write a file, ``NAME.unfinished``, that gets its name at the end.

        On failure nothing of it is left, and what had the name before is unchanged.

        Args:
            name: Its name.
            noted: Whether a change of it by somebody makes it theirs.

        Raises:
            OutputError: It is there and is somebody's.
            WriteError: See ``files.atomic_file``.
        """
        self.require_free([name])
        with atomic_file(self.path / name, self.begin(f"{name}.unfinished")) as partial:
            yield partial
            self.begin(name)
        if noted:
            self.finish(name)

    def write(self, name: str, data: bytes, *, noted: bool = True) -> Path:
        """Write a file in one step, see ``writing``."""
        with self.writing(name, noted=noted) as partial:
            partial.write_bytes(data)
        return self.path / name

    def copy(self, source: Path, name: str) -> Path:
        """Write a file in one step, with the contents of another; see ``writing``."""
        with self.writing(name) as partial:
            shutil.copyfile(source, partial)
        return self.path / name

    def remove(self, names: Iterable[str]) -> None:
        """Delete files that commands of ours wrote, and the folders that become empty by it.

        Nothing is deleted where one of them may not be.

        Raises:
            OutputError: One is not ours, or was changed since it was written.
        """
        names = list(names)
        for name in names:
            if not self._owns_file(name):
                path = self.path / name
                raise OutputError(f"{path} must be a file that taskaware wrote, but is not")
        self.require_free(names)  # of all, before one is deleted
        folders: set[Path] = set()
        for name in names:
            if os.path.lexists(self.path / name):
                (self.path / name).unlink(missing_ok=True)
            folders.update(self.path / part for part in PurePosixPath(name).parents)
        for folder in sorted(folders - {self.path}, reverse=True):  # the innermost first
            with contextlib.suppress(OSError):
                folder.rmdir()  # not where somebody's files are in it

    def remove_below(self, name: str) -> None:
        """Delete all that commands of ours wrote in an inner folder; the rest of it stays."""
        self.remove([each for each in self._written if each.startswith(f"{name}/")])

    def forget(self) -> None:
        """Leave files out of the record that are not there; without any, there is no record."""
        kept = {
            name: of
            for name, of in self._written.items()
            if is_pattern(name) or os.path.lexists(self.path / name)
        }
        self._written = kept
        if not kept:
            self._record.unlink(missing_ok=True)
            return
        rewrite_record(self._record, kept, partial=self.path / _PARTIAL_RECORD_NAME)

    def _is_ours(self, name: str) -> bool:
        """Whether what is there is ours: a folder is, where something of ours is in it."""
        path = self.path / name
        if not path.is_dir():
            return self.owns(name)
        inside = [each for each in self._written if each.startswith(f"{name}/")]
        is_ours = any(is_pattern(each) or os.path.lexists(self.path / each) for each in inside)
        return is_ours or not _holds_a_file(path)

    def _owns_file(self, name: str) -> bool:
        return name in self._written or any(fnmatchcase(name, of) for of in self._patterns)

    def _require_unchanged(self, name: str) -> None:
        path, noted = self.path / name, self._written.get(name, "")
        if not noted or not path.is_file():
            return
        size, time, sha256 = noted.split()
        stat = path.stat()
        if (str(stat.st_size), str(stat.st_mtime_ns)) == (size, time):
            return
        if str(stat.st_size) != size or file_sha256(path) != sha256:
            raise OutputError(
                f"{path} must be as taskaware wrote it, but somebody changed it, and it is not "
                "written over: keep it under another name, or delete it"
            )

    def _note(self, names: dict[str, str]) -> None:
        if names:
            add_to_record(self._record, names)
            self._remember(names)

    def _remember(self, names: dict[str, str]) -> None:
        self._written |= names
        self._patterns += [name for name in names if is_pattern(name)]


@contextmanager
def claimed(
    folder: Path,
    *,
    names: Sequence[str] = (),
    whole: bool = True,
    earlier: Callable[[], Sequence[str]] = tuple,
    waits: bool = False,
) -> Iterator[OutputFolder]:
    """Hold a folder to write into, alone; it must be ours, or have nothing in the way.

    Args:
        folder: The folder; made where it is missing, and taken away again where nothing came.
        names: What will be written, files or inner folders: they must be free, see
            ``OutputFolder.require_free``.
        whole: Whether the folder must be new, empty or one that a command of ours wrote before;
            inner folders with a record of their own do not count. Otherwise ``names`` alone do.
        earlier: Returns what an earlier version wrote, which kept no record; asked where none is.
        waits: Whether to wait for another command that holds the folder for a moment.

    Raises:
        OutputError: Somebody's files are in the way, the folder cannot be written, or another
            command is writing it.
    """
    # Once before the lock, which is a file in the folder: a folder of somebody's gets none.
    require_usable(folder, names=names, whole=whole, earlier=earlier)
    made = _make(folder)
    try:
        with _locked(folder, waits=waits):
            with _as_output_error(folder, "written"):
                # Of a process that was killed inside ``forget``, which not every command reaches.
                (folder / _PARTIAL_RECORD_NAME).unlink(missing_ok=True)
            claim = OutputFolder(folder)
            if not claim.holds_ours:
                claim.adopt(earlier())
            _check(claim, names, whole=whole)
            try:
                yield claim
            except BaseException:
                with contextlib.suppress(OSError):  # the disk may be full
                    claim.forget()
                raise
    finally:
        with contextlib.suppress(OSError):  # not where anything is in it
            for path in reversed(made):
                path.rmdir()


def require_usable(
    folder: Path,
    *,
    names: Sequence[str] = (),
    whole: bool = True,
    earlier: Callable[[], Sequence[str]] = tuple,
) -> None:
    """Require before long work that ``claimed`` will take a folder afterwards; see there.

    Nothing is made or written, so that any number of commands may ask at a time.
    """
    _require_place(folder)
    if not folder.is_dir():
        return

    def look() -> None:
        claim = OutputFolder(folder)
        if not claim.holds_ours:
            claim.assume(earlier())
        _check(claim, names, whole=whole)

    try:
        look()
    except OutputError:  # or another command has written the record, and a file, since it was read
        look()


def _check(claim: OutputFolder, names: Sequence[str], *, whole: bool) -> None:
    if whole and not claim.holds_ours:
        _require_empty(claim.path)
    claim.require_free(names)


def _require_place(folder: Path) -> None:
    """Require that there is a folder that can be written, or that one can be made."""
    with _as_output_error(folder, "written" if os.path.isdir(folder) else "made"):  # noqa: PTH112 -- Path.is_dir raises where a folder may not be entered
        if os.path.lexists(folder) and not folder.is_dir():
            what = "a link to nothing" if folder.is_symlink() else "a file"
            raise OutputError(f"{folder}: must be a folder, but is {what}: give another name")
        place = next((path for path in (folder, *folder.parents) if path.exists()), None)
        if place is not None and not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if place is not None and not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _make(folder: Path) -> list[Path]:
    """Make a folder; return those that were missing, the outermost first."""
    with _as_output_error(folder, "made"):
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


@contextmanager
def _locked(folder: Path, *, waits: bool) -> Iterator[None]:
    require_no_link(folder / LOCK_NAME)
    lock = FileLock(folder / LOCK_NAME, timeout=_SECONDS_TO_WAIT if waits else 0)
    with _as_output_error(folder, "written"):
        try:
            lock.acquire()
        except Timeout:
            raise OutputError(
                f"{folder}: only one command may write a folder at a time, but another one is "
                "writing this one: wait until it is done, or give another folder"
            ) from None
        except NotImplementedError:
            pass  # some network file systems have no locks
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if not (folder / RECORD_NAME).exists():  # nothing was written: leave no trace
                (folder / LOCK_NAME).unlink(missing_ok=True)
        lock.release()


@contextmanager
def _as_output_error(folder: Path, what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # a loop of links is the latter
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"{folder}: the folder cannot be {what} ({reason}): name one that can be written"
        ) from error


def _require_empty(folder: Path) -> None:
    with _as_output_error(folder, "read"):
        there = sorted(
            path.name
            for path in folder.iterdir()
            if path.name not in _NOT_CONTENT
            and not (path / RECORD_NAME).is_file()
            and (not path.is_dir() or path.is_symlink() or _holds_a_file(path))
        )
    if there:
        raise OutputError(
            f"{folder} must be a new or an empty folder, or one that taskaware wrote, but holds "
            f"{listed(folder, there)}, which taskaware did not write: give another folder, "
            "which may be a new one inside it; nothing was changed"
        )


def _holds_a_file(folder: Path) -> bool:
    return any(not path.is_dir() and path.name not in _NOT_CONTENT for path in folder.rglob("*"))


def listed(folder: Path, names: Sequence[str]) -> str:
    """Return the first names for a message, folders with a slash, and how many more there are."""
    shown = [f"{name}/" if (folder / name).is_dir() else name for name in names[:_NUM_NAMED]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
