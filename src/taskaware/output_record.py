"""The record of what was written into a folder: one that is read may come from a stranger."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from taskaware.errors import OutputError
from taskaware.files import atomic_file, parse_json, read_regular, reporting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_HEADER = {"taskaware": "files written by taskaware, which alone it may replace", "format": 1}


def require_no_link(path: Path, what: str = "a file") -> None:
    """Require that what is written in place is no link, which a stranger may have put there.

    Raises:
        OutputError: It is one: what it leads to would be changed.
    """
    if path.is_symlink():
        raise OutputError(
            f"{path} must be {what}, but is a link, through which nothing is written: delete it, "
            "or give another folder"
        )


def require_inside(folder: Path, names: Iterable[str]) -> None:
    """Require that names stand for files of the folder: nothing is written or deleted elsewhere.

    Raises:
        OutputError: One leads out of it, by itself or through a link that stands for a folder.
    """
    for name in names:
        if not is_inside(name):
            raise OutputError(
                f"{folder} must be where a file is written, but its name leads elsewhere: '{name}'"
            )
        for part in list(PurePosixPath(name).parents)[:-1]:
            require_no_link(folder / part, "a folder")


def read_record(path: Path) -> dict[str, str]:
    """Return what was written, with size, time and SHA-256 where they were noted.

    Raises:
        OutputError: The record is a link, or cannot be read.
    """
    require_no_link(path)
    try:
        lines = read_regular(path).decode("utf-8").split("\n")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"{path}: the record of the folder cannot be read ({error})") from error
    written: dict[str, str] = {}
    for line in lines:
        try:
            entry = parse_json(line)
        except ValueError:  # empty, or half a line: what no line vouches for is not ours
            continue
        match entry:
            case [str(name), str(noted)] if is_inside(name):
                written[name] = noted
    return written


def add_to_record(path: Path, names: Mapping[str, str]) -> None:
    """Append what is about to be written, or was, with what is noted of each.

    Raises:
        WriteError: The disk is full, for example.
    """
    with reporting(path), path.open("a", encoding="utf-8") as file:
        if not file.tell():
            file.write(json.dumps(_HEADER))
        # A line feed comes first as well, as a command may have been killed inside a line.
        lines = [json.dumps([name, noted]) for name, noted in names.items()]
        file.write("\n" + "\n".join(lines) + "\n")


def rewrite_record(path: Path, names: Mapping[str, str], *, partial: Path) -> None:
    """Write a record anew, by way of another file: what a killed command left there is replaced.

    It has one name, as one command at a time writes the folder.

    Raises:
        WriteError: See ``files.atomic_file``.
    """
    lines = [json.dumps(_HEADER), *(json.dumps([name, of]) for name, of in names.items())]
    partial.unlink(missing_ok=True)
    with atomic_file(path, partial):
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def is_inside(name: str) -> bool:
    """Whether a name stands for a file of the folder, and of no other one."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts


def is_pattern(name: str) -> bool:
    """Whether a name stands for several files; see ``OutputFolder.adopt``."""
    return "*" in name or "[0-9]" in name
