"""Where a prepared folder is: on this machine, or on object storage through fsspec.

A file of object storage is fetched whole into a cache on this machine, under its SHA-256, and read
from there: shards are written once and read from end to end.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Protocol

from taskaware.errors import DataError, MissingDependencyError
from taskaware.files import atomic_file, read_regular

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(.*)", re.DOTALL)
_CACHE_GIGABYTES = 50.0


class Store(Protocol):
    """A folder of files."""

    @property
    def address(self) -> str:
        """What users call it."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return a small file, or ``None`` where there is none."""
        ...

    def fetch(self, name: str, sha256: str) -> Path:
        """Return a file on this machine that has the bytes of ``name``.

        Raises:
            DataError: There is no such file.
        """
        ...

    def forget(self, sha256: str) -> bool:
        """Drop a copy that turned out damaged; return whether fetching again makes sense."""
        ...


def open_store(address: Path | str) -> Store:
    """Return the folder at a path or a URL such as ``s3://bucket/folder``.

    A URL that went through ``Path``, which makes one slash of two, is understood as well.
    """
    match = _URL.fullmatch(str(address))
    if match is None:
        return LocalStore(Path(address))
    if match[1] == "file":
        return LocalStore(Path("/" + match[2].lstrip("/")))
    return RemoteStore(f"{match[1]}://{match[2]}")


class LocalStore:
    """A folder on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def address(self) -> str:
        """The path."""
        return str(self._folder)

    def read(self, name: str) -> bytes | None:
        """Return a small file, or ``None`` where there is none."""
        try:
            return read_regular(self._folder / name)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def fetch(self, name: str, sha256: str) -> Path:
        """Return the file itself."""
        path = self._folder / name
        if not path.is_file():
            raise DataError(
                f"{path}: the file is missing: restore it, or prepare the folder again with "
                "`taskaware prepare`"
            )
        return path

    def forget(self, sha256: str) -> bool:
        """There is no copy."""
        return False


class RemoteStore:
    """A folder on object storage, or wherever else fsspec reads.

    Args:
        url: For example ``s3://bucket/folder``; fsspec's own configuration holds the credentials.
        cache: Where files are kept; by default ``TASKAWARE_CACHE`` or ``~/.cache/taskaware``.
        cache_gigabytes: Files that were not used for longest are deleted beyond this size.
    """

    def __init__(
        self, url: str, cache: Path | None = None, cache_gigabytes: float = _CACHE_GIGABYTES
    ) -> None:
        self._url = url.rstrip("/")
        named = os.environ.get("TASKAWARE_CACHE")
        self._cache = cache or (Path(named) if named else Path.home() / ".cache" / "taskaware")
        self._max_bytes = cache_gigabytes * 1e9

    @property
    def address(self) -> str:
        """The URL."""
        return self._url

    def _open(self, name: str) -> tuple[Any, str]:
        """Return the file system and the path on it; not kept, as processes cannot share it."""
        import fsspec

        try:
            return fsspec.url_to_fs(f"{self._url}/{name}")
        except (ImportError, ValueError) as error:
            raise MissingDependencyError(
                f"{self._url}: must be a URL that fsspec reads, but is not ({error})"
            ) from error

    def read(self, name: str) -> bytes | None:
        """Return a small file, or ``None`` where there is none."""
        file_system, path = self._open(name)
        try:
            return file_system.cat_file(path)
        except FileNotFoundError:
            return None

    def fetch(self, name: str, sha256: str) -> Path:
        """Return the file in the cache, fetched where it is not there yet."""
        path = self._cache / sha256[:2] / sha256
        if path.is_file():
            os.utime(path)  # used now
            return path
        file_system, remote = self._open(name)
        with atomic_file(path) as partial:
            try:
                file_system.get_file(remote, str(partial))
            except OSError as error:
                raise DataError(
                    f"{self._url}/{name}: the file cannot be fetched ({error})"
                ) from error
        self._shrink(keep=path)
        return path

    def forget(self, sha256: str) -> bool:
        """Delete the copy in the cache."""
        (self._cache / sha256[:2] / sha256).unlink(missing_ok=True)
        return True

    def _shrink(self, keep: Path) -> None:
        # Whoever has a deleted file open still reads it.
        files = [(file.stat(), file) for file in self._cache.glob("??/*") if file.is_file()]
        total = sum(stat.st_size for stat, _ in files)
        for stat, file in sorted(files, key=lambda item: item[0].st_mtime):
            if total <= self._max_bytes:
                return
            if file != keep:
                file.unlink(missing_ok=True)
                total -= stat.st_size
