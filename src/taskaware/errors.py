"""The exceptions that taskaware raises for its users.

::

    TaskawareError                  everything below; exit code 1 on the command line
    ├── UserError                   the request is wrong; exit code 2
    │   ├── ExperimentError         an experiment file or override: unknown key, type, value
    │   ├── ManifestError           a manifest: file, line and field
    │   ├── CorpusError             a corpus folder that is not laid out as its release
    │   ├── UnknownTaskError        a task that the model or the data does not have
    │   └── MissingDependencyError  an optional dependency is needed and not installed
    ├── AudioError                  a recording that cannot be used
    ├── DataError                   a prepared folder that is missing, incomplete or does not fit
    ├── CheckpointError             a model or checkpoint folder: missing, incomplete, does not fit
    └── TrainingError               training cannot go on (for example, the loss is not finite)

Every message says what must be, what is, where, and what to do. ``SourceWarning`` is a warning of
Python's: there is an output, but little reason to trust it.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


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


class UnknownTaskError(UserError):
    """A task is asked for that the model or the data does not have."""


class MissingDependencyError(UserError):
    """An optional dependency is needed for this and is not installed."""


class AudioError(TaskawareError):
    """A recording cannot be used: missing, truncated, silent, not finite, too short or long."""


class DataError(TaskawareError):
    """A prepared data folder is missing, incomplete, or does not fit the model."""


class CheckpointError(TaskawareError):
    """A model or checkpoint folder is missing, incomplete, or does not fit what is asked of it."""


class TrainingError(TaskawareError):
    """Training cannot go on."""


class SourceWarning(UserWarning):
    """A source that the model is unlikely to do well on: silent, or far longer than in training."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known name closest to ``name``, else ``""``."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{matches[0]}'?)" if matches else ""
