"""Which of a model's tasks a user means who does not give its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.errors import UnknownTaskError
from taskaware.inference.sources import modality_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from taskaware.inference.sources import Source
    from taskaware.types import Task


def translation_task(
    tasks: Sequence[Task], source: Source, to: str, source_language: str | None
) -> str:
    """Return the name of the one task that translates a source.

    Raises:
        UnknownTaskError: There is none, or there are several.
    """
    to = known_language(to, (task.target_language for task in tasks))
    if source_language is not None:
        spoken = (task.source_language for task in tasks)
        source_language = known_language(source_language, spoken, drops_region=True)
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


def known_language(said: str, known: Iterable[str], *, drops_region: bool = False) -> str:
    """Return the language of a model's that a user means: ``EN`` is ``en``, ``pt_br`` ``pt-BR``.

    Args:
        said: What the user says.
        known: The model's languages.
        drops_region: Whether ``en-US`` may be ``en``, as of what is spoken; what is written in
            ``zh-TW`` is not what is written in ``zh``.

    Returns:
        What the user says, where that is none of them.
    """
    names = list(known)
    if said in names or not isinstance(said, str):
        return said
    plain = _plain_code(said)
    wanted = [plain, plain.partition("-")[0]] if drops_region else [plain]
    by_code = {_plain_code(name): name for name in reversed(names)}
    return next((by_code[code] for code in wanted if code in by_code), said)


def _plain_code(language: str) -> str:
    return language.strip().lower().replace("_", "-")


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
