"""What a task may be called, and whether two places mean the same task by one name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from taskaware.data.writing_systems import language_code
from taskaware.errors import DataError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from taskaware.types import Task

_NAME = re.compile(r"[\w.+-]+")
_MAX_NAME_BYTES = 100  # file systems allow 255, and names of files are made of it
# `all` stands for the mean over the tasks, `none` for nothing; the others are a run's models.
_RESERVED = frozenset(
    {"all", "none", "model", "best", "last", "average", "taskwise", "evaluation", "checkpoints"}
)
# Windows takes these for devices, whatever stands behind a dot.
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
)


def form_problem(name: str) -> str:
    """What is wrong with the characters of a task's name, as the end of a sentence; or empty."""
    if _NAME.fullmatch(name):
        return ""
    return f"must be a name of letters, digits and any of _.+-, but is {_shown(name)}"


def name_problem(name: str) -> str:
    """What is wrong with a task's name, as the end of a sentence; empty where it is good.

    Folders and files are named after tasks, so a name is at most 100 bytes of letters, digits and
    ``_ . + -``, begins with none of ``. + -`` and ends with no dot, and is no reserved word.
    """
    if problem := form_problem(name):
        return problem
    if name[0] in ".+-" or name[-1] == ".":
        return f"must begin with a letter, a digit or _ and end with no dot, but is {_shown(name)}"
    if len(name.encode()) > _MAX_NAME_BYTES:
        return f"must be a name of at most {_MAX_NAME_BYTES} bytes, but is {_shown(name)}"
    word = name.casefold()
    if word in _RESERVED or word.partition(".")[0] in _DEVICES:
        return f"must not be a reserved word, but is {_shown(name)}: give the task another name"
    return ""


def names_problem(names: Iterable[str]) -> str:
    """What is wrong with the names of a model's tasks, as a sentence; empty where they are good."""
    seen: set[str] = set()
    for name in names:
        if problem := name_problem(name):
            return f"a task's name {problem}"
        if name in seen:
            return f"two tasks must not have one name, but are called {_shown(name)}"
        seen.add(name)
    return ""


def require_good_names(names: Iterable[str], where: object) -> None:
    """Require that tasks which were prepared or trained earlier have names that are good now.

    Raises:
        DataError: A name is not.
    """
    for name in names:
        if problem := name_problem(name):
            raise DataError(f"{where}: a task's name {problem}; prepare the manifests again")


def describe(task: Task) -> str:
    """A task in words: kind, kind of source, languages."""
    source = f" in '{task.source_language}'" if task.source_language else ""
    target = f" in '{task.target_language}'" if task.target_language else ""
    return f"{task.kind}, from {task.source_modality}{source} to text{target}"


def require_same_tasks(
    tasks: Iterable[Task], others: Iterable[Task], *, where: object, others_where: object
) -> None:
    """Require that tasks of one name are one task in two places: in a model and in data, say.

    Kind and kind of source must be equal, and each language that both give; ``en`` and ``en-GB``
    and ``eng`` are one language here. A name that only one place has is not looked at.

    Args:
        tasks: The tasks of one place.
        others: The tasks of the other place.
        where: What the first place is called.
        others_where: What the other place is called.

    Raises:
        UserError: A name means two tasks.
    """
    known = {task.name: task for task in tasks}
    for other in others:
        task = known.get(other.name)
        if task is not None and not _is_same(task, other):
            raise UserError(
                f"the task '{other.name}' must be the same in {where} and in {others_where}, but "
                f"in {where} it is {describe(task)}, and in {others_where} {describe(other)}; give "
                "one of them another name, or correct the manifest and prepare it again"
            )


def _is_same(task: Task, other: Task) -> bool:
    if (task.kind, task.source_modality) != (other.kind, other.source_modality):
        return False
    pairs = (
        (task.source_language, other.source_language),
        (task.target_language, other.target_language),
    )
    return all(not (one and two) or language_code(one) == language_code(two) for one, two in pairs)


def _shown(name: str) -> str:
    short = name if len(name) <= 60 else f"{name[:57]}..."
    return f"'{short}'"
