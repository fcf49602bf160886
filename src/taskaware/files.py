"""Writing files so that nobody reads half of one, and reading those of strangers: in one way each.

What is written gets its name by a rename, once it is complete and on the disk. A failure leaves
what was there before, and nothing beside it. Files get the mode that the umask says, whoever writes
them: safetensors, for one, writes for the owner alone.

A folder of somebody else's may hold anything under the names that are read: a pipe that waits for
ever, a device without an end, JSON that is nested a million times. Links are followed, as the
caches of model hubs are made of them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import threading
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from taskaware.errors import UserError, WriteError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# What NumPy raises at a file that is none of its own: Python's tokenizer reads the header.
NUMPY_ERRORS = (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError, MemoryError)
_SHOWN_CHARACTERS = 100
MOST_BYTES = 1 << 28  # of what is read whole as text or JSON; the largest known is a tenth of it


def require_name(path: Path) -> None:
    """Require that there can be a file or folder of this name, whether or not there is.

    Raises:
        UserError: It is too long, no text of the system's, or in a folder that may not be entered.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        name = ascii(str(path))[1:-1]
        short = name if len(name) <= _SHOWN_CHARACTERS else f"{name[:_SHOWN_CHARACTERS]}..."
        if isinstance(error, PermissionError):
            raise UserError(
                f"{short} must be in a folder that you may enter, but permission is denied: change "
                "the permissions of the folders above it, or give another path"
            ) from error
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{short}: the name cannot be used ({reason}): give another one") from error


def require_regular(path: Path) -> None:
    """Require that a path leads to a file: what is no file might never end.

    Raises:
        OSError: It is missing, a folder, a pipe or a device.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no file, but a pipe, a socket or a device", str(path))


def read_regular(path: Path, *, most_bytes: int = MOST_BYTES) -> bytes:
    """Return what a file holds that a stranger may have made.

    Args:
        path: The file.
        most_bytes: A larger one is refused, before it fills the memory.

    Raises:
        OSError: See ``require_regular``; or it is larger.
    """
    require_regular(path)
    with path.open("rb") as file:
        return read_at_most(file, path, most_bytes)


def read_at_most(file: BinaryIO, path: Path, most_bytes: int) -> bytes:
    """Return what an open file has left; an ``OSError`` names it where that is more."""
    content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        reason = f"it must have at most {most_bytes:,} bytes, but has more"
        raise OSError(errno.EINVAL, reason, str(path))  # EFBIG is of files that are written
    return content


def parse_json(text: bytes | str, *, names_once: bool = False) -> Any:
    """Return the value of a JSON text in UTF-8.

    Args:
        text: The text.
        names_once: Whether a name that stands twice in an object is refused. JSON allows it, and
            the last value counts: what people wrote by hand would be changed silently.

    Raises:
        ValueError: It is none, or is nested too deeply, or has a name twice.
    """
    hook = _with_names_once if names_once else None
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        return json.loads(text, object_pairs_hook=hook)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _with_names_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"the name '{twice[:80]}' stands twice")
    return found


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file of a stranger's holds.

    Raises:
        OSError: See ``read_regular``.
        ValueError: It is no JSON object, or a text in it is not valid Unicode.
    """
    value = parse_json(read_regular(path))
    if not isinstance(value, dict):
        raise ValueError(f"it must be a JSON object, but is of type {type(value).__name__}")
    json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no character
    return value


@contextlib.contextmanager
def reporting(path: Path) -> Iterator[None]:
    """Turn the operating system's errors into one that says what to do.

    Raises:
        WriteError: In place of an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from error


@contextlib.contextmanager
def atomic_file(path: Path, partial: Path | None = None) -> Iterator[Path]:
    """Yield where to write a file that becomes ``path`` at the end; on failure nothing is left.

    The folder is made where it is missing. Any way to write is possible: whether the given path is
    opened, or replaced by another file.

    Args:
        path: The file.
        partial: What it is called until then; ``None``: a name that is this thread's own, so that
            several may write one file. Such a file is locked while it is written, and those that
            killed processes left are deleted.

    Raises:
        WriteError: The disk is full, the folder may not be written, or something of the kind.
    """
    with contextlib.ExitStack() as stack:
        with reporting(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if partial is None:
                remove_left(path.parent, re.escape(path.name))
                partial = path.with_name(
                    f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial"
                )
                stack.enter_context(held(partial, Path.touch, waits=True))
            with partial.open("wb") as file:
                mode = os.fstat(file.fileno()).st_mode & 0o777  # what the umask leaves
        try:
            with reporting(path):
                yield partial
                partial.chmod(mode)
                publish(partial, path)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)


def remove_left(folder: Path, name: str) -> None:
    """Delete the unfinished files that killed processes left in a folder (``atomic_file``).

    Args:
        folder: The folder.
        name: What the finished ones are called, a regular expression.
    """
    pattern = re.compile(rf"\.{name}\.\d+-\d+\.partial")
    # What cannot be looked at or deleted does no harm.
    with contextlib.suppress(OSError):
        for left in folder.iterdir():
            if fcntl is None or not pattern.fullmatch(left.name) or left.is_symlink():
                continue
            with contextlib.suppress(OSError), _opened(left) as descriptor:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()


@contextlib.contextmanager
def held(path: Path, make: Callable[[Path], None], *, waits: bool) -> Iterator[None]:
    """Make a file or folder and hold it by a lock of the system's, which ends with the process.

    Where there are no such locks, as on some network file systems, it is only made.

    Args:
        path: The file or folder.
        make: Makes it, or does nothing where it is there.
        waits: Whether to wait for another process that holds it.

    Raises:
        BlockingIOError: Another one holds it.
    """
    if fcntl is None:
        make(path)
        yield
        return
    flags = fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB)
    is_held = False
    while not is_held:
        make(path)
        with contextlib.ExitStack() as stack:
            # Until it is held, another process may rename or delete it.
            with contextlib.suppress(FileNotFoundError):
                descriptor = stack.enter_context(_opened(path))
                try:
                    fcntl.flock(descriptor, flags)
                except BlockingIOError:
                    raise
                except OSError:
                    pass  # the file system has no locks
                is_held = os.path.samestat(path.stat(), os.fstat(descriptor))
            if is_held:
                yield


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def publish(partial: Path, path: Path) -> None:
    """Give a complete file its name, once it is on the disk."""
    sync(partial)
    partial.replace(path)
    sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, lines ending as they are; what was there is replaced at once.

    Raises:
        WriteError: See ``atomic_file``.
    """
    with atomic_file(path) as partial:
        partial.write_bytes(text.encode("utf-8"))


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` another name of a file, or a copy where the file system has no hard links.

    Raises:
        WriteError: See ``atomic_file``.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}.link")
    try:
        with reporting(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.unlink(missing_ok=True)
            os.link(source, partial)
            partial.replace(target)
            # Where both were one file already, renaming does nothing.
            partial.unlink(missing_ok=True)
    except WriteError:
        with atomic_file(target) as copy:
            shutil.copyfile(source, copy)


def sync(path: Path) -> None:
    """Have a file, or a folder's names, on the disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # Some file systems cannot do it for folders; for a file, it is where a full disk shows.
        with contextlib.suppress(OSError) if path.is_dir() else contextlib.nullcontext():
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: See ``require_regular``.
    """
    require_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def num_bytes_in(folder: Path) -> int:
    """Return the size of the files that lie in a folder itself, together."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def write_error(path: Path, error: Exception, *, num_bytes: int = 0) -> WriteError:
    """Return the exception for a file or folder that could not be written.

    Args:
        path: The file or folder.
        error: Why.
        num_bytes: What was to be written, where that is known.
    """
    reason = getattr(error, "strerror", None) or str(error)
    if num_bytes:
        reason += f" ({num_bytes / 1e6:,.1f} MB are to be written)"
    advice = "Make room on the disk, or make the folder writable,"
    if isinstance(error, FileNotFoundError):  # folders are made where they are missing
        advice = "If a folder was moved or deleted meanwhile, move it back,"
    return WriteError(
        f"{path} must be writable, but: {reason}. {advice} and give the same command again; what "
        "was there before is unchanged"
    )


def to_json(value: object) -> bytes:
    """Return a value as one line of JSON, as people read it; in ASCII where it is not Unicode.

    That is the case of the name of a file, which may hold any bytes.
    """
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()
