"""Which of a model's tasks a user means who does not give its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.errors import UnknownTaskError
from taskaware.inference.sources import modality_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.inference.sources import Source
    from taskaware.types import Task


def translation_task(
    tasks: Sequence[Task], source: Source, to: str, source_language: str | None
) -> str:
    """Return the name of the one task that translates a source.

    Raises:
        UnknownTaskError: There is none, or there are several.
    """
    found = [
        task
        for task in tasks
        if task.target_language == to
        and task.source_language != to
        and source_language in (None, task.source_language)
    ]
    modalities = {task.source_modality for task in found}
    # A string is what the tasks take, where they all take the same.
    is_clear = isinstance(source, str) and len(modalities) == 1
    modality = modalities.pop() if is_clear else modality_of(source)
    fitting = [task for task in found if task.source_modality == modality]
    return only_task(tasks, fitting, f"translation of {modality}", to, "to")


def only_task(
    tasks: Sequence[Task], found: Sequence[Task], what: str, language: str | None, option: str
) -> str:
    """Return the name of the one task that was found among a model's tasks.

    Raises:
        UnknownTaskError: There is none, or there are several.
    """
    names = ", ".join(task.name for task in tasks)
    if not found:
        is_target = option in ("to", "target_language")
        wanted = f" {'into' if is_target else 'for'} '{language}'" if language else ""
        raise UnknownTaskError(
            f"the model must have a task for {what}{wanted}, but its tasks are {names}"
        )
    if len(found) > 1:
        raise UnknownTaskError(
            f"`{option}` must identify one task for {what}, but "
            f"{', '.join(task.name for task in found)} fit; use model.run(task, source)"
        )
    return found[0].name
