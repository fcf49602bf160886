"""The pieces that tell a pretrained model what to do: around its source, before its output."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskaware.errors import UnknownTaskError, nearest

if TYPE_CHECKING:
    from taskaware.data.vocabulary.vocabulary import Vocabulary
    from taskaware.types import Task

_START, _TRANSCRIBE, _TRANSLATE = "<|startoftranscript|>", "<|transcribe|>", "<|translate|>"
_NO_TIMES = "<|notimestamps|>"
_ENGLISH = "en"
_SHOWN = 20  # languages in one message
_LANGUAGE = re.compile(r"<\|[a-z]{2,3}\|>")
# English-only models have the names of the languages, but other ids and one piece less: theirs
# begins where that of the multilingual ones ends a text. Cut to some pieces (which leaves out the
# text before), they have no language.
_START_OF_ENGLISH_ONLY = 50_257
_TEXT_BEFORE = "<|startofprev|>"


@dataclass(frozen=True, kw_only=True)
class OwnPieces:
    """What a pretrained model is given besides its source.

    Attributes:
        prompt: Before the decoder's output.
        source_prefix: Before a text source.
        source_suffix: Behind a text source.
    """

    prompt: tuple[int, ...]
    source_prefix: tuple[int, ...] = ()
    source_suffix: tuple[int, ...] = ()


def own_pieces(vocabulary: Vocabulary, task: Task, *, names_task: bool) -> OwnPieces:
    """Return the pieces of a task in the way of the vocabulary's family.

    Args:
        vocabulary: A pretrained model's.
        task: The task.
        names_task: Whether the pieces tell the task; else all tasks of a source language have the
            same, and something else must tell.

    Raises:
        UnknownTaskError: The model does not know a language of the task.
    """
    end = (vocabulary.EOS,)
    target = task.target_language if names_task else task.source_language
    match vocabulary.family:
        case "whisper":
            return OwnPieces(prompt=whisper_prompt(vocabulary, task, names_task=names_task))
        case "marian":  # models of several target languages name it before the source
            language = f">>{target}<<"
            known = vocabulary.has_tag(language)
            if not known and any(tag.startswith(">>") for tag in vocabulary.tags):
                raise _unknown(task, target, vocabulary, ">>", "<<")
            prefix = (vocabulary.tag_id(language),) if known else ()
            return OwnPieces(prompt=(vocabulary.BOS,), source_prefix=prefix, source_suffix=end)
        case "m2m_100":
            form = "__{}__" if any(tag.startswith("__") for tag in vocabulary.tags) else "{}"
            before, behind = form.split("{}")
            for language in (task.source_language, target):
                if not vocabulary.has_tag(form.format(language)):
                    raise _unknown(task, language, vocabulary, before, behind)
            return OwnPieces(
                prompt=(vocabulary.BOS, vocabulary.tag_id(form.format(target))),
                source_prefix=(vocabulary.tag_id(form.format(task.source_language)),),
                source_suffix=end,
            )
        case _:  # Speech2Text, which names the target's language where it has several
            language = f"<lang:{target}>"
            if vocabulary.has_tag(language):
                return OwnPieces(prompt=(vocabulary.BOS, vocabulary.tag_id(language)))
            if any(tag.startswith("<lang:") for tag in vocabulary.tags):
                raise _unknown(task, target, vocabulary, "<lang:", ">")
            return OwnPieces(prompt=(vocabulary.BOS,))


def _unknown(
    task: Task, language: str, vocabulary: Vocabulary, before: str, behind: str
) -> UnknownTaskError:
    languages = [
        tag.removeprefix(before).removesuffix(behind)
        for tag in vocabulary.tags
        if tag.startswith(before) and tag.endswith(behind)
    ]
    return UnknownTaskError(
        f"the language of task '{task.name}' must be one that the model knows "
        f"({', '.join(languages[:_SHOWN])}{', ...' if len(languages) > _SHOWN else ''}), but is "
        f"'{language}'{nearest(language, languages)}"
    )


def is_whisper(vocabulary: Vocabulary) -> bool:
    """Return whether a vocabulary has the pieces of Whisper's prompts."""
    return all(vocabulary.has_tag(tag) for tag in (_START, _TRANSCRIBE, _NO_TIMES))


def is_multilingual(vocabulary: Vocabulary) -> bool:
    """Return whether a Whisper was trained on more than English."""
    if vocabulary.has_tag(_TEXT_BEFORE) and vocabulary.tag_id(_START) == _START_OF_ENGLISH_ONLY:
        return False
    return any(_LANGUAGE.fullmatch(tag) for tag in vocabulary.tags)


def prompt_tags(vocabulary: Vocabulary) -> list[str]:
    """Return the control pieces that prompts are made of, of whatever task and language.

    Of Whisper's, those of times, of the text before and of silence are not; of other families, all
    control pieces are languages.
    """
    if vocabulary.family != "whisper":
        return vocabulary.tags
    wanted = {_START, _TRANSCRIBE, _TRANSLATE, _NO_TIMES}
    languages = is_multilingual(vocabulary)
    return [
        tag for tag in vocabulary.tags if tag in wanted or (languages and _LANGUAGE.fullmatch(tag))
    ]


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
