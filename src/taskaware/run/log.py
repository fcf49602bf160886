"""The log of a run: ``log.jsonl``, and the same figures for TensorBoard.

A line is a JSON object: ``kind`` (``"progress"``, ``"validation"`` or ``"remark"``), ``update``,
and the fields of ``training.progress.TrainingProgress``, ``training.loop.Validation`` or
``idle_settings.Remark``. A line of kind ``"change"`` says which fields of the experiment are others
from there on. A line of kind ``"resumed"`` says that the run had ended early and went on after this
update: ``time`` (UTC, ISO 8601) and ``version`` (of taskaware).
"""

from __future__ import annotations

import contextlib
import json
import threading
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TextIO

from taskaware.files import parse_json, reporting, write_text
from taskaware.training.checkpoint import require_in_place
from taskaware.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return a run's log, oldest line first.

    What is no line of a log is passed over: a process that was killed leaves half of one, and one
    may be read while it is written.
    """
    path = folder / "log.jsonl"
    if not path.is_file():  # a device would have no end
        return []
    return list(_lines(path.read_text(encoding="utf-8", errors="replace")))


def _lines(text: str) -> Iterator[dict[str, Any]]:
    for line in text.split("\n"):
        try:
            found = parse_json(line)
        except ValueError:
            continue
        if isinstance(found, dict) and _is_line(found):
            yield found


def _is_line(found: dict[str, Any]) -> bool:
    """Return whether a line is one that ``RunLog`` writes, in what is read of it again."""
    if type(found.get("update")) is not int or not isinstance(found.get("kind"), str):
        return False
    if found["kind"] != "progress":
        return True
    losses = found.get("losses")
    numbers = [found.get("seconds", 0.0), *(losses.values() if isinstance(losses, dict) else "x")]
    return all(type(number) in (int, float) for number in numbers)


class RunLog:
    """Appends lines of JSON, and the same figures for TensorBoard where it is installed.

    A context; where it is not ``on`` (all processes but the first), it writes nothing.
    """

    def __init__(self, folder: Path, *, first_update: int, on: bool) -> None:
        self._folder = folder
        self._first_update = first_update
        self._on = on
        self._file: TextIO | None = None
        self._remarks: list[dict[str, Any]] = []
        self._board: Any = None
        self._hook_before = threading.excepthook

    def __enter__(self) -> RunLog:
        if not self._on:
            return self
        # Lines after the checkpoint that the run resumes from would come twice.
        kept = [line for line in read_log(self._folder) if line["update"] <= self._first_update]
        self._remarks = [line for line in kept if line["kind"] == "remark"]
        path = self._folder / "log.jsonl"
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        with reporting(path):
            self._file = path.open("a", encoding="utf-8")
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            board_folder = self._folder / "tensorboard"
            threading.excepthook = self._pass_over_boards
            self._board = SummaryWriter(str(board_folder), purge_step=self._first_update + 1)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        if self._board is not None:
            with contextlib.suppress(OSError):
                self._board.close()
            threading.excepthook = self._hook_before

    def write_remark(self, line: dict[str, Any]) -> None:
        """Append a remark, unless one that is the same but for the update is there already."""
        if self._file is None or any(
            line == {**old, "update": line["update"]} for old in self._remarks
        ):
            return
        self.write(line)

    def write_resumed(self) -> None:
        """Append that the run goes on from here, and when, and with which version."""
        time = datetime.now(UTC).isoformat(timespec="seconds")
        update = self._first_update
        self.write({"kind": "resumed", "update": update, "time": time, "version": __version__})

    def write(self, line: dict[str, Any]) -> None:
        """Append a line, so that it is there even if the run is killed right after.

        Raises:
            WriteError: The disk is full, for example, or the run's folder was moved.
        """
        if self._file is None:
            return
        require_in_place(self._folder)
        with reporting(self._folder / "log.jsonl"):
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        if self._board is not None:
            with reporting(self._folder / "tensorboard"):
                self._show(line)

    def _pass_over_boards(self, ended: threading.ExceptHookArgs) -> None:
        """Print no traceback of TensorBoard's thread, whose error the next ``write`` raises."""
        is_boards = type(ended.thread).__module__.startswith("tensorboard.")
        if not (is_boards and isinstance(ended.exc_value, OSError)):
            self._hook_before(ended)

    def _show(self, line: dict[str, Any]) -> None:
        for name, value in line.items():
            if isinstance(value, dict):
                for task, figure in value.items():
                    if isinstance(figure, int | float):
                        tag = f"{line['kind']}/{name}/{task}"
                        self._board.add_scalar(tag, figure, line["update"])
            elif isinstance(value, float):
                self._board.add_scalar(f"{line['kind']}/{name}", value, line["update"])
