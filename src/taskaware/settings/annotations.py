"""What the annotations of settings classes say: types, defaults, and how messages put them."""

from __future__ import annotations

import re
from dataclasses import MISSING, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from taskaware.settings.toml_text import NONE_TEXT

if TYPE_CHECKING:
    import dataclasses
    from collections.abc import Iterable

    from taskaware.settings.toml_text import Key

SCALARS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path",
}


def hints_of(cls: Any) -> dict[str, Any]:
    """The annotations of a settings class as types.

    Path is given by hand, since linters move an import that only annotations use out of reach.
    """
    return get_type_hints(cls, localns={"Path": Path})


def words_of(hint: Any) -> tuple[Any, ...]:
    """The words of ``X | Literal["word"]``; none for any other annotation."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else ()
    literals = [part for part in parts if get_origin(part) is Literal]
    return get_args(literals[0]) if literals and NoneType not in parts else ()


def without_none(hint: Any) -> Any:
    """``X`` of ``X | None`` or ``X | Literal["word"]``; any other annotation as it is."""
    if get_origin(hint) not in (Union, UnionType):
        return hint
    has_words = bool(words_of(hint))
    others = [
        part
        for part in get_args(hint)
        if part is not NoneType and not (has_words and get_origin(part) is Literal)
    ]
    if len(others) != 1:
        raise TypeError(
            f"a settings field cannot be of type {hint}: the only unions are X | None and "
            'X | Literal["word"]'
        )
    return others[0]


def default_of(each: dataclasses.Field[Any]) -> Any:
    """The default of a field, a new one each time."""
    return each.default if each.default_factory is MISSING else each.default_factory()


def has_default(each: dataclasses.Field[Any]) -> bool:
    """Whether a field may be left out."""
    return each.default is not MISSING or each.default_factory is not MISSING


def description(hint: Any) -> str:
    """What a value of this type must be, in words."""
    arguments = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        return f"{description(without_none(hint))}, or {listed(words_of(hint) or (NONE_TEXT,))}"
    if get_origin(hint) is Literal:
        return f"one of {listed(arguments)}"
    if get_origin(hint) is tuple:
        size = "a list" if arguments[1:] == (...,) else f"a list of {len(arguments)}"
        return f"{size}, each {description(arguments[0])}"
    return "a table" if get_origin(hint) is dict or is_dataclass(hint) else SCALARS[hint]


def shown(value: Any) -> str:
    """A value as a message shows it: as TOML would write it, shortened."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    try:
        text = str(value)
    except (ValueError, RecursionError):  # of thousands of digits, or nested very deeply
        return f"a value of type {type(value).__name__} that is too long to show"
    text = text if len(text) <= 60 else f"{text[:60]}..."
    if not isinstance(value, str):
        return text
    looks_otherwise = re.fullmatch(r"[-+0-9.e_]+|true|false", text)
    return f"'{text}' (text)" if looks_otherwise else f"'{text}'"


def listed(values: Iterable[Any]) -> str:
    """Values as a message shows them, one after the other."""
    return ", ".join(shown(value) for value in values)


def dotted(key: Key) -> str:
    """A key as people write it: ``model.cnn_strides[0]``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return "".join(parts).removeprefix(".")
