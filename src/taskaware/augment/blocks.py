"""Manifests written block by block, so that a stopped command resumes where it was.

::

    NAME.jsonl.unfinished    whole blocks, and perhaps a part of one
    NAME.journal.json        how many blocks are whole, what they are made from, the counts so far
    NAME.jsonl               the manifest, once it is complete

After each block the manifest's bytes are on disk before the journal says so; what the journal does
not vouch for is cut off when the command resumes. A block depends on its own inputs alone, so the
manifest is the same, byte for byte, however often it was stopped.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock, Timeout

from taskaware.errors import DataError, UserError
from taskaware.files import publish, read_json_object, write_text
from taskaware.output_folder import claimed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")
Counts = Counter[tuple[str, str]]
"""Numbers by dataset and what was counted, e.g. ``("must_c", "written")``."""

_RECORDINGS = ("*.flac", "*left_out.tsv")

_MOST = (1 << 63) - 1  # of inputs or bytes that a system counts

READ, WRITTEN = "read", "written"


@dataclass(frozen=True, kw_only=True)
class Made:
    """What becomes of one block of inputs.

    Attributes:
        lines: Lines of the manifest, each with its line feed.
        counts: What there is to count about them.
    """

    lines: Sequence[str]
    counts: Counts


@dataclass(frozen=True, kw_only=True)
class Written:
    """A complete manifest.

    Attributes:
        path: Where it is.
        counts: What became of the inputs, by dataset.
        was_complete: Whether it was there already.
        went_on_from: Number of inputs that an earlier call had done.
        num_bad_lines: Lines of the inputs that cannot be read; ``taskaware prepare`` lists such.
    """

    path: Path
    counts: Counts
    was_complete: bool = False
    went_on_from: int = 0
    num_bad_lines: int = 0

    def total(self, what: str) -> int:
        """Return a count over all datasets."""
        return sum(number for (_, counted), number in self.counts.items() if counted == what)

    def of_dataset(self, dataset: str, what: str) -> int:
        """Return a count of one dataset."""
        return self.counts[dataset, what]


@dataclass
class _Journal:
    made_from: dict[str, Any]
    num_inputs: int = 0
    num_bytes: int = 0
    counts: Counts = field(default_factory=Counter)
    complete: bool = False


def complete_manifest(path: Path, made_from: Mapping[str, Any]) -> Written | None:
    """Return the manifest if it is complete, or ``None`` where there is work left.

    Args:
        path: The manifest.
        made_from: All that its content depends on, as JSON has it.

    Raises:
        UserError: The manifest, or what is done of it, is made from something else.
        DataError: It was changed since it was written.
    """
    journal = _read_journal(path)
    if journal is None:
        for there in (path, _partial_path(path)):
            if os.path.lexists(there):
                raise UserError(
                    f"{there} must be a new file or one that this command wrote, but exists "
                    f"without {_journal_path(path).name}: name another file, or move it away"
                )
        return None
    partial = _partial_path(path)
    if not path.exists() and not partial.exists():
        return None
    _require_same(path, journal, made_from)
    if journal.complete and not path.exists():
        publish(partial, path)
    if not journal.complete:
        return None
    if path.stat().st_size != journal.num_bytes:
        raise DataError(
            f"{path} must have {journal.num_bytes:,} bytes as it was written, but has "
            f"{path.stat().st_size:,}: it was changed by something else; delete it and "
            f"{_journal_path(path).name} to make it again"
        )
    return Written(path=path, counts=journal.counts, was_complete=True)


def claim_recordings(path: Path, folder: Path) -> None:
    """Make a folder that of a manifest's recordings, or find that it is.

    Raises:
        OutputError: It holds somebody's files.
    """
    # A version that kept no record of the folder kept the journal.
    is_ours = _journal_path(path).exists()
    with claimed(folder, earlier=lambda: _RECORDINGS if is_ours else (), waits=True) as output:
        output.adopt(_RECORDINGS)


def write_in_blocks(
    path: Path,
    made_from: Mapping[str, Any],
    inputs: Iterable[T],
    make: Callable[[Sequence[T], int], Made],
    *,
    block_size: int,
) -> Written:
    """Write a manifest, or resume one that an earlier call began.

    Args:
        path: The manifest.
        made_from: All that its content depends on, as JSON has it.
        inputs: What it is made from, in an order that is always the same; read as it is needed.
        make: Makes the lines of a block; given the block and the number of its first input. It must
            depend on nothing else.
        block_size: Inputs in a block: what is lost at most when the command is stopped.

    Raises:
        UserError: See ``complete_manifest``; or another command is writing it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        done = complete_manifest(path, made_from)
        if done is not None:
            return done
        partial = _partial_path(path)
        journal = _read_journal(path) if partial.exists() else None
        if journal is None:
            # Before the first byte: the journal of a manifest that was deleted may be there still.
            journal = _Journal(made_from=_plain(made_from))
            _write_journal(path, journal)
        went_on_from = journal.num_inputs
        with partial.open("ab") as file:
            _cut(file.fileno(), journal, partial)
            remaining = itertools.islice(inputs, journal.num_inputs, None)
            while block := list(itertools.islice(remaining, block_size)):
                made = make(block, journal.num_inputs)
                file.write("".join(made.lines).encode())
                file.flush()
                os.fsync(file.fileno())
                journal.num_inputs += len(block)
                journal.num_bytes = file.tell()
                journal.counts += made.counts
                _write_journal(path, journal)
        journal.complete = True
        _write_journal(path, journal)
        publish(partial, path)
    return Written(path=path, counts=journal.counts, went_on_from=went_on_from)


def _partial_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.unfinished")


def _journal_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}.journal.json")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), blocking=False):
            yield
    except Timeout:
        raise UserError(
            f"{path}: only one command may write it at a time, but another one is writing it"
        ) from None


def _cut(descriptor: int, journal: _Journal, partial: Path) -> None:
    """Cut off what the journal does not vouch for."""
    size = os.fstat(descriptor).st_size
    if size < journal.num_bytes:
        raise DataError(
            f"{partial} must have {journal.num_bytes:,} bytes or more, but has {size:,}: it was "
            "changed "
            "by something else; delete it to start over"
        )
    os.ftruncate(descriptor, journal.num_bytes)


def _read_journal(path: Path) -> _Journal | None:
    journal_path = _journal_path(path)
    try:
        fields = read_json_object(journal_path)
        counts = Counter(
            {
                (dataset, what): int(number)
                for dataset, numbers in fields.pop("counts").items()
                for what, number in numbers.items()
            }
        )
        journal = _Journal(**fields, counts=counts)
        numbers = (journal.num_inputs, journal.num_bytes)
        if not all(type(number) is int and 0 <= number <= _MOST for number in numbers):
            raise ValueError("its numbers must be whole and at least 0")
        if type(journal.complete) is not bool:
            raise ValueError("`complete` must be true or false")
        return journal
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{journal_path} must be the journal of {path.name}, but is not ({error}): delete both "
            "to start over"
        ) from error


def _write_journal(path: Path, journal: _Journal) -> None:
    counts: dict[str, dict[str, int]] = {}
    for (dataset, what), number in journal.counts.items():
        counts.setdefault(dataset, {})[what] = number
    content = {
        "made_from": journal.made_from,
        "num_inputs": journal.num_inputs,
        "num_bytes": journal.num_bytes,
        "counts": counts,
        "complete": journal.complete,
    }
    write_text(_journal_path(path), json.dumps(content, ensure_ascii=False, indent=1))


def _require_same(path: Path, journal: _Journal, made_from: Mapping[str, Any]) -> None:
    before, now = _flat(journal.made_from), _flat(_plain(made_from))
    different = [
        f"{name} was {before.get(name, 'absent')} and is {now.get(name, 'absent')}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]
    if not different:
        return
    here = path if path.exists() else _partial_path(path)
    raise UserError(
        f"{here} must be made from the same inputs, models and settings as when it was started, "
        "but "
        f"{'; '.join(different)}: use the same ones, choose another file, or delete {here.name} "
        f"and {_journal_path(path).name} to start over"
    )


def _plain(made_from: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(made_from))


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Return the leaves of nested JSON by dotted name, as text."""
    if isinstance(value, dict):
        parts = [(f"{name}.{key}" if name else key, part) for key, part in value.items()]
    elif isinstance(value, list) and any(isinstance(part, dict | list) for part in value):
        parts = [(f"{name}[{number}]", part) for number, part in enumerate(value, start=1)]
    else:
        return {name: json.dumps(value, ensure_ascii=False)}
    return {leaf: text for inner, part in parts for leaf, text in _flat(part, inner).items()}
