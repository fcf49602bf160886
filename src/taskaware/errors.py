"""The exceptions that taskaware raises for its users.

::

    TaskawareError                  everything below; exit code 1 on the command line
    ├── UserError                   the request is wrong; exit code 2
    │   ├── ExperimentError         an experiment file or override: unknown key, type, value
    │   ├── ManifestError           a manifest: file, line and field
    │   ├── OutputError             a folder to write that is not free, or cannot be written
    │   ├── CorpusError             a corpus folder that is not laid out as its release
    │   ├── UnknownTaskError        a task that the model or the data does not have
    │   ├── RunInUseError           a run's folder that another command works in
    │   └── MissingDependencyError  an optional dependency is needed and not installed
    ├── AudioError                  a recording that cannot be used
    ├── DataError                   a prepared folder that is missing, incomplete or does not fit
    ├── CheckpointError             a model or checkpoint folder: missing, incomplete, does not fit
    │   └── DamagedCheckpointError  a checkpoint that is truncated, changed, or lacks a file
    ├── WriteError                  a file cannot be written: the disk is full, the folder read-only
    └── TrainingError               training cannot go on
        ├── NotFiniteError          a loss, a gradient, a weight or a moment is not finite
        └── LostProcessError        a process that trains with this one has ended

Every message says what must be, what is, where, and what to do. ``SourceWarning`` is a warning of
Python's: there is an output, but little reason to trust it.
"""

from __future__ import annotations

import difflib
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


_SHOWN_CHARACTERS = 100


class TaskawareError(Exception):
    """Any failure that taskaware foresees. The command line prints it without a traceback."""

    exit_code = 1


class UserError(TaskawareError):
    """The request itself is wrong, so a second try cannot help."""

    exit_code = 2


class ExperimentError(UserError):
    """An experiment file or a command-line override does not describe an experiment."""


class ManifestError(UserError):
    """A manifest cannot be read: the message names file, line and field."""


class CorpusError(UserError):
    """A folder is not laid out as the release of the corpus that it should hold."""


class OutputError(UserError):
    """What is to be written would meet somebody's files, or a folder that cannot be written."""


class UnknownTaskError(UserError):
    """A task is asked for that the model or the data does not have."""


class RunInUseError(UserError):
    """Another command works in a run's folder."""


class MissingDependencyError(UserError):
    """An optional dependency is needed for this and is not installed."""


class AudioError(TaskawareError):
    """A recording cannot be used: missing, truncated, silent, not finite, too short or long."""


class DataError(TaskawareError):
    """A prepared data folder is missing, incomplete, or does not fit the model."""


class CheckpointError(TaskawareError):
    """A model or checkpoint folder is missing, incomplete, or does not fit what is asked of it."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint is truncated, changed, or lacks a file, so that an older one must do."""


class WriteError(TaskawareError):
    """A file cannot be written: the disk is full, or the folder may not be written."""


class TrainingError(TaskawareError):
    """Training cannot go on."""


class NotFiniteError(TrainingError):
    """A loss, a gradient, a weight or a moment of the optimiser is not finite."""


class LostProcessError(TrainingError):
    """A process that trains together with this one has ended."""


class TerminatedInterrupt(KeyboardInterrupt):
    """SIGTERM or SIGHUP told the command to end: all is cleaned up as after Ctrl-C.

    Its text is the signal's name.
    """


class SourceWarning(UserWarning):
    """A source that the model is unlikely to do well on: silent, or far longer than in training."""


def counted(number: int, what: str, plural: str = "") -> str:
    """Return a number and what it counts as people write it: ``1 task``, ``2,000 tasks``.

    Args:
        number: How many.
        what: One of them.
        plural: Several of them, where that is not ``what`` with an ``s``.
    """
    return f"{number:,} {what if number == 1 else plural or f'{what}s'}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known name closest to ``name``, else ``""``.

    Capitals count only among names that differ in nothing else.
    """
    names = list(known)
    lowered = [one.lower() for one in names]
    matches = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    if not matches:
        return ""
    alike = [one for one, low in zip(names, lowered, strict=True) if low == matches[0]]
    (found,) = difflib.get_close_matches(name, alike, n=1, cutoff=0.0)
    return f" (did you mean '{found}'?)"


def unknown_task(name: object, known: Iterable[str], *, of: str = "") -> UnknownTaskError:
    """Return the error for a task that is not among those that are known.

    Args:
        name: What the user gave, of whatever type and length.
        known: The names that there are.
        of: What has these tasks, where that is not plain.
    """
    names = list(known)
    whose = f"those of {of} ({', '.join(names)})" if of else ", ".join(names)
    if not isinstance(name, str):
        given = f"of type {type(name).__name__}, not a name"
    else:
        short = name if len(name) <= _SHOWN_CHARACTERS else f"{name[:_SHOWN_CHARACTERS]}..."
        given = f"'{short}'{nearest(short, names)}"
    return UnknownTaskError(f"the task must be one of {whose}, but is {given}")


def require_packages(what: str, extra: str, *packages: str) -> None:
    """Refuse long work whose end needs what is not installed, before it begins.

    Args:
        what: Who needs the packages, as the message begins.
        extra: The extra of taskaware that installs them.
        packages: By the names under which they are imported.

    Raises:
        MissingDependencyError: At least one is not installed.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"{what} needs {' and '.join(missing)}, not installed here: "
            f"pip install 'taskaware[{extra}]', then run the same command again"
        )
