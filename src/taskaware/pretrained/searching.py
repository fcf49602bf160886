"""How a pretrained model searches: what its generation_config.json says, as our settings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from taskaware.decoding.settings import DecodingSettings
from taskaware.errors import CheckpointError
from taskaware.pretrained.files import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from taskaware.data.vocabulary.vocabulary import Vocabulary
    from taskaware.model.pretrained.source import Config, Pretrained

# Pieces: longer than what people say twice in 30 s, shorter than a looped sentence. A Whisper that
# hears less than in its training also says short sentences twice (docs/pretrained.md).
_NO_REPEAT = 10
_NO_REPEAT_HEARING_LESS = 4
RECORDINGS_TOGETHER = 8  # of 30 s each
_TEXTS_TOGETHER = 32
_LONGEST = 200  # pieces, where nothing is said
_SHOWN = 80  # characters of a wrong value in one message
_MOST = (1 << 31) - 1  # of any number: what model.json says must be read again


def decoding_settings(
    folder: Path,
    config: Config,
    pretrained: Pretrained,
    vocabulary: Vocabulary,
    *,
    hears_less: bool = False,
) -> DecodingSettings:
    """Return the settings with which our search gives the sequences of ``generate``.

    Beside a ``beam`` that nothing says, 4, the guard against repetition for Whisper is ours: it is
    stricter where the model hears less than it was trained on.

    Raises:
        CheckpointError: A value is impossible.
    """
    path = folder / "generation_config.json"
    said = {**config.values, **(read_json(path) or {})}  # older models say it all in config.json
    is_whisper = pretrained.family == "whisper"
    suppressed = _ids(path, said, "suppress_tokens", vocabulary)
    first = _ids(path, said, "begin_suppress_tokens", vocabulary)
    if is_whisper and suppressed is None:  # no prompt, language or time within a text
        suppressed = sorted({*vocabulary.control_ids} - {pretrained.end})
    if is_whisper and first is None:  # neither nothing nor two spaces
        first = [pretrained.end, *vocabulary.encode(" ")[:1]]
    counted_prompt = 1 if _has_language(vocabulary) else 0
    no_repeat = _NO_REPEAT_HEARING_LESS if hears_less else _NO_REPEAT
    settings = DecodingSettings(
        beam=_number(path, said, "num_beams", 4),
        length_penalty=_penalty(path, said),
        extra_pieces=1000,
        max_pieces=None if is_whisper else _longest(path, said, counted_prompt),
        examples_per_batch=RECORDINGS_TOGETHER if is_whisper else _TEXTS_TOGETHER,
        stopping="full" if said.get("early_stopping") is True else "heuristic",
        counted_prompt=counted_prompt,
        end_at_limit=said.get("forced_eos_token_id") == pretrained.end,
        suppressed=(*(suppressed or ()), *_single(path, said, vocabulary)),
        suppressed_first=tuple(first or ()),
        no_repeat=no_repeat if is_whisper else _number(path, said, "no_repeat_ngram_size", 0),
    )
    problems = [f"{name} {message}" for name, message in settings.validate()]
    if problems:
        raise CheckpointError(f"{path} must say how to search, but {'; '.join(problems)}")
    return settings


def _has_language(vocabulary: Vocabulary) -> bool:
    """Return whether the language is a piece that ``generate`` forces, and so counts."""
    return vocabulary.family == "m2m_100" or any(
        tag.startswith("<lang:") for tag in vocabulary.tags
    )


def _longest(path: Path, said: Mapping[str, Any], counted_prompt: int) -> int:
    # Theirs counts the decoder's first piece, and the language.
    return max(_number(path, said, "max_length", _LONGEST) - 1 - counted_prompt, 1)


def _number(path: Path, said: Mapping[str, Any], name: str, default: int) -> int:
    value = said.get(name)
    if value is None:
        return default
    if type(value) is not int or not 0 <= value <= _MOST:
        raise CheckpointError(
            f"{path}: {name} must be a whole number from 0 to {_MOST:,}, but is "
            f"{repr(value)[:_SHOWN]}"
        )
    return value


def _penalty(path: Path, said: Mapping[str, Any]) -> float:
    value = said.get("length_penalty") or 1.0
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or abs(value) > _MOST or not math.isfinite(value):
        raise CheckpointError(
            f"{path}: length_penalty must be a number, but is {repr(value)[:_SHOWN]}"
        )
    return float(value)


def _single(path: Path, said: Mapping[str, Any], vocabulary: Vocabulary) -> list[int]:
    """Return the pieces that are forbidden by themselves."""
    name = "bad_words_ids"
    rows = said.get(name)
    rows = rows if isinstance(rows, list) else []
    found = [row[0] for row in rows if isinstance(row, list) and len(row) == 1]
    return _require_ids(path, name, found, vocabulary)


def _ids(
    path: Path, said: Mapping[str, Any], name: str, vocabulary: Vocabulary
) -> list[int] | None:
    ids = said.get(name)
    return None if ids is None else _require_ids(path, name, ids, vocabulary)


def _require_ids(path: Path, name: str, ids: Any, vocabulary: Vocabulary) -> list[int]:
    if not isinstance(ids, list | tuple) or not all(
        type(i) is int and 0 <= i < vocabulary.size for i in ids
    ):
        raise CheckpointError(
            f"{path}: {name} must be ids of pieces from 0 to {vocabulary.size - 1}, but is "
            f"{repr(ids)[:_SHOWN]}"
        )
    return list(ids)
