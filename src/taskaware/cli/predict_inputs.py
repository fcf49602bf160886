"""What ``predict`` is given: files, texts and standard input, as single sources.

A text file and standard input are read line by line. A line ends with a line feed or with a
carriage return and a line feed; nothing else ends one, and a byte order mark at the beginning is
no part of the first.
"""

from __future__ import annotations

import codecs
import io
import itertools
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from taskaware.errors import UserError, counted
from taskaware.file_forms import HEAD_BYTES, other_than_recording, other_than_text
from taskaware.pipes import open_pipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from taskaware.inference.sources import Source
    from taskaware.types import Modality

Reading = Literal["auto", "text", "manifest"]
TEXTS = "--text"  # what the texts of the command line are called where there are files too
_HEAD_BYTES = 1 << 16
_MOST_TOLD = 50  # files that cannot be used
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One source.

    Attributes:
        file: The input that it comes from; empty for a text of the command line.
        line: Its line there, from 1; ``None`` for a recording, or features.
        modality: What it is.
        source: The source; ``None`` where there is a problem.
        shown: What the output calls it: a text, or a path.
        task: The task that a manifest names for it, or empty.
        fields: What else the output says of it: where a segment is, its id.
        problem: Why it cannot be used.
    """

    file: str
    line: int | None = None
    modality: Modality
    source: Source | None
    shown: str
    task: str = ""
    fields: dict[str, Any]
    problem: str = ""

    @property
    def place(self) -> str:
        """What messages call it."""
        if self.line is None:
            return self.shown
        return f"{self.file}, line {self.line}" if self.file else f"{TEXTS} {self.line}"


@dataclass(frozen=True, kw_only=True)
class Input:
    """One file, standard input, or the texts of the command line.

    Attributes:
        name: What the output calls it.
        items: Its sources, in order.
        modalities: What it may hold.
        tasks: The tasks that its lines name; ``None``: none of them names one.
        total: How many sources it has, where that is known.
    """

    name: str
    items: Iterable[Item]
    modalities: frozenset[Modality]
    tasks: frozenset[str] | None = None
    total: int | None = None


def open_inputs(
    files: tuple[Path, ...], given_texts: tuple[str, ...], reading: Reading
) -> list[Input]:
    """Return what is to be read, in order: the texts first.

    Raises:
        UserError: The request cannot be right: all that is wrong with its files.
    """
    inputs = [_given(given_texts)] if given_texts else []
    if [str(file) for file in files].count("-") > 1:
        raise UserError("standard input (`-`) must be given once, as it is read once")
    problems: list[UserError] = []
    for path in files:
        try:
            inputs.append(_standard_input(reading) if str(path) == "-" else _file(path, reading))
        except UserError as error:  # the other files are looked at first: all are told at once
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        told = [str(error) for error in problems[:_MOST_TOLD]]
        more = len(problems) - len(told)
        rest = [f"and {more:,} more"] if more > 0 else []
        first = f"{len(problems):,} of {counted(len(files), 'file')} cannot be used, so none is:"
        raise UserError("\n".join([first, *told, *rest]))
    return inputs


def _given(texts: tuple[str, ...]) -> Input:
    from taskaware.types import Text

    for number, text in enumerate(texts, start=1):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"--text must be UTF-8, but text {number} has bytes that are not: {_shown(text)}"
            ) from error
    items = [
        Item(file="", line=number, modality="text", source=Text(text), shown=text, fields={})
        for number, text in enumerate(texts, start=1)
    ]
    return Input(name=TEXTS, items=items, modalities=frozenset({"text"}), total=len(items))


def _file(path: Path, reading: Reading) -> Input:
    """Return a file as what its name or its beginning says that it is."""
    from taskaware.data.manifest.source_list import LIST_SUFFIXES
    from taskaware.data.sound import audio
    from taskaware.inference.sources import AUDIO_SUFFIXES

    suffix = path.suffix.lower()
    if path.is_dir():
        raise UserError(f"{_shown(path)} must be a file, but is a folder: give the files in it")
    if path.is_fifo():
        return _stream(_shown(path), open_pipe(path), reading)
    if path.is_char_device():
        return _stream(_shown(path), path.open("rb"), reading)
    if reading == "manifest" or (reading == "auto" and suffix in LIST_SUFFIXES):
        return _manifest(path)
    if suffix == ".npy":
        return _single(path, "features")
    if suffix.removeprefix(".") in AUDIO_SUFFIXES:
        return _single(path, "speech")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{_shown(path)} must be a file that can be read, but: {reason}") from error
    name = _shown(path)
    # libsndfile takes UTF-16 for MP3, and says so on standard error.
    if not head.startswith(_UTF_16) and audio.is_recording(path):
        return _single(path, "speech")
    if not _is_text(head, name):
        what = other_than_recording(head[:HEAD_BYTES]) or other_than_text(head[:HEAD_BYTES])
        raise UserError(
            f"{name} must be a recording ({audio.READABLE}), features (npy), a manifest or UTF-8 "
            f"text, but is {what or 'none of them'}"
        )
    if reading == "auto" and _begins_like_a_list(head):
        return _manifest(path)
    return _lines(name, lambda: path.open("rb"), head, reading, total=_count_lines(path))


def _standard_input(reading: Reading) -> Input:
    if sys.stdin is None or sys.stdin.closed:
        raise UserError("`-` is standard input, which must be open, but is closed")
    return _stream("standard input", sys.stdin.buffer, reading)


def _stream(name: str, stream: BinaryIO, reading: Reading) -> Input:
    """Return what can be read only once, as a recording or as text lines."""
    head = stream.read(_HEAD_BYTES)
    whole = io.BufferedReader(_Rewound(head, stream))
    if not _is_text(head, name):
        from taskaware.data.sound.piped import read_piped

        content = read_piped(whole, name)
        item = Item(file=name, modality="speech", source=content, shown=name, fields={})
        return Input(name=name, items=[item], modalities=frozenset({"speech"}), total=1)
    if reading == "manifest" or (reading == "auto" and _begins_like_a_list(head)):
        raise UserError(
            f"a manifest must be given as a file, but is on {name}: its paths start from its "
            "folder (to take its lines for texts: --input text)"
        )
    return _lines(name, lambda: whole, head, reading)


class _Rewound(io.RawIOBase):
    """A stream of which the beginning has been read already."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head, self._stream = head, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] or self._stream.read(len(buffer))
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)


def _single(path: Path, modality: Modality) -> Input:
    item = Item(file=_shown(path), modality=modality, source=path, shown=_shown(path), fields={})
    return Input(name=_shown(path), items=[item], modalities=frozenset({modality}), total=1)


# --- texts ---


def _lines(
    name: str,
    open_file: Callable[[], BinaryIO],
    head: bytes,
    reading: Reading,
    total: int | None = None,
) -> Input:
    """Return the lines of a text."""
    from taskaware.inference.sources import names_a_file

    first = _first_line(head)
    if reading == "auto" and names_a_file(first):
        raise UserError(
            f"{name} must hold texts, but its first line names a recording, '{first[:80]}': give "
            "the recordings themselves or a manifest (to take the lines for texts: --input text)"
        )
    return Input(
        name=name, items=_text_items(name, open_file), modalities=frozenset({"text"}), total=total
    )


def _text_items(name: str, open_file: Callable[[], BinaryIO]) -> Iterator[Item]:
    from taskaware.types import Text

    with open_file() as file:
        for number, data in enumerate(file, start=1):
            start = len(codecs.BOM_UTF8) if number == 1 and data.startswith(codecs.BOM_UTF8) else 0
            try:
                line = data[start:].decode("utf-8").removesuffix("\n").removesuffix("\r")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{name}, line {number}: must be UTF-8, but has the byte "
                    f"0x{data[start + error.start]:02X}: save the file as UTF-8 (for example: "
                    "iconv -f latin1 -t utf-8)"
                ) from error
            if number == 1 and not line and not data.endswith(b"\n"):
                return  # a byte order mark and nothing else
            yield Item(
                file=name, line=number, modality="text", source=Text(line), shown=line, fields={}
            )


def _is_text(head: bytes, name: str) -> bool:
    """Return whether the beginning of a file is UTF-8 text.

    Raises:
        UserError: It is text in UTF-16.
    """
    if head.startswith(_UTF_16):
        raise UserError(f"{name} must be UTF-8, but is UTF-16: save it as UTF-8")
    if other_than_text(head[:HEAD_BYTES]) is not None:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError as error:
        # Bytes that are no UTF-8 among lines of text are told with their line.
        return error.start > 0 and b"\n" in head and not _has_control_bytes(head)
    return b"\0" not in head


def _has_control_bytes(data: bytes) -> bool:
    """Return whether there are bytes that no encoding of text has but for binary files."""
    return any(byte < 32 and byte not in b"\t\n\r\f\v\x1b" for byte in data)


def _begins_like_a_list(head: bytes) -> bool:
    from taskaware.data.manifest.source_list import looks_like_a_list

    return looks_like_a_list(_first_line(head))


def _first_line(head: bytes) -> str:
    """Return the first line that is not blank."""
    lines = head.removeprefix(codecs.BOM_UTF8).decode("utf-8", errors="replace").split("\n")
    return next((line.strip() for line in lines if line.strip()), "")


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


# --- manifests ---


def _manifest(path: Path) -> Input:
    from taskaware.data.manifest.source_list import read_source_list

    name = _shown(path)
    items = []
    for listed in read_source_list(path):
        fields: dict[str, Any] = {"id": listed.id} if listed.id else {}
        shown, source = _shown_source(listed.source, fields)
        items.append(
            Item(
                file=name,
                line=listed.line,
                modality=listed.modality,
                source=source,
                shown=shown,
                task=listed.task,
                fields=fields,
                problem=listed.problem,
            )
        )
    good = [item for item in items if not item.problem]
    named = frozenset(item.task for item in good if item.task)
    return Input(
        name=name,
        items=items,
        modalities=frozenset(item.modality for item in good),
        tasks=named if good and all(item.task for item in good) else None,
        total=len(items),
    )


def _shown_source(source: Any, fields: dict[str, Any]) -> tuple[str, Any]:
    """Return what the output calls a listed source; add where a segment is to ``fields``."""
    from taskaware.types import Speech, Text

    match source:
        case Text():
            return source.text, source
        case Speech():
            if source.start_seconds or source.duration_seconds is not None:
                fields["start_seconds"] = source.start_seconds
                fields["duration_seconds"] = source.duration_seconds
            if source.channel is not None:
                fields["channel"] = source.channel
            return _shown(source.path), source
        case None:
            return "", None
    return _shown(source), source


def _shown(path: object) -> str:
    r"""Return a path as it is shown: bytes that are not UTF-8 as ``\xE9``."""
    return os.fsencode(str(path)).decode("utf-8", errors="backslashreplace")


def grouped(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield items that follow one another and can be decoded together, at most ``size``."""

    def kind(item: Item) -> tuple[str, str, bool]:
        return item.modality, item.task, bool(item.problem)

    for _, run in itertools.groupby(items, key=kind):
        while group := list(itertools.islice(run, size)):
            yield group
