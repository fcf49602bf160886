"""The pieces with which a pretrained model is told what to do, before its decoder's output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.errors import UnknownTaskError

if TYPE_CHECKING:
    from taskaware.data.vocabulary.vocabulary import Vocabulary
    from taskaware.types import Task

_START, _TRANSCRIBE, _TRANSLATE = "<|startoftranscript|>", "<|transcribe|>", "<|translate|>"
_NO_TIMES = "<|notimestamps|>"
_ENGLISH = "en"
# English-only models have the names of the languages, but other ids and one piece less: theirs
# begins where that of the multilingual ones ends a text.
_START_OF_ENGLISH_ONLY = 50_257


def is_whisper(vocabulary: Vocabulary) -> bool:
    """Return whether a vocabulary is one of Whisper's."""
    return all(vocabulary.has_tag(tag) for tag in (_START, _TRANSCRIBE, _NO_TIMES))


def is_multilingual(vocabulary: Vocabulary) -> bool:
    """Return whether a Whisper was trained on more than English."""
    return vocabulary.tag_id(_START) != _START_OF_ENGLISH_ONLY


def whisper_prompt(vocabulary: Vocabulary, task: Task, *, names_task: bool) -> tuple[int, ...]:
    """Return the prompt of a task.

    A multilingual one says the language and what to do: recognition; translation into English from
    the language named. For any other language, which Whisper was not trained to write of speech of
    another, it is the target's, as if that were spoken.

    Args:
        vocabulary: Whisper's.
        task: The task.
        names_task: Whether the prompt tells the task; else that of recognition of the source's
            language stands for all, and something else must tell.

    Raises:
        UnknownTaskError: Whisper does not know the language.
    """
    source, target = task.source_language, task.target_language
    is_translation = source != target and bool(source and target)
    language, what = source or target or _ENGLISH, _TRANSCRIBE
    if names_task and is_translation:
        language, what = (source, _TRANSLATE) if target == _ENGLISH else (target, _TRANSCRIBE)
    if not is_multilingual(vocabulary):
        if names_task and (language != _ENGLISH or is_translation):
            raise UnknownTaskError(
                f"an English-only Whisper recognises English, but the task '{task.name}' is another"
            )
        return vocabulary.tag_id(_START), vocabulary.tag_id(_NO_TIMES)
    tag = f"<|{language}|>"
    if not vocabulary.has_tag(tag):
        raise UnknownTaskError(
            f"the language of task '{task.name}' must be one that Whisper knows, such as en, de or "
            f"zh, but is '{language}'"
        )
    return tuple(vocabulary.tag_id(name) for name in (_START, tag, what, _NO_TIMES))
