"""What ``tomllib`` leaves out of TOML: on which line a key is set, and writing."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Key = tuple[str | int, ...]  # the names and list positions that lead to a value

_LINE = 100  # characters
NONE_TEXT = "none"  # TOML has no null


def key_lines(text: str) -> dict[Key, int]:
    """The line on which each key of a valid TOML text is set; what is inline has its key's line.

    Lines are gathered until ``tomllib`` accepts them: one statement, which names its keys.
    """
    lines: dict[Key, int] = {}
    array_sizes: dict[Key, int] = {}
    table: Key = ()
    statement: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        statement.append(line)
        try:
            parsed = tomllib.loads("\n".join(statement))
        except tomllib.TOMLDecodeError:
            continue
        if statement[0].lstrip().startswith("["):
            table = _enter_table(parsed, number, array_sizes, lines)
        else:
            for key in _keys_within(parsed):
                lines.setdefault((*table, *key), number - len(statement) + 1)
        statement = []
    return lines


def _enter_table(
    parsed: dict[str, Any], number: int, array_sizes: dict[Key, int], lines: dict[Key, int]
) -> Key:
    """The key of the table that a header opens: a name of an array means its last element."""
    header = list(_keys_within(parsed))
    opens_element = header[-1][-1] == 0  # [[a.b]] parses as {"a": {"b": [{}]}}
    names = [name for name in header[-1] if isinstance(name, str)]
    table: Key = ()
    for depth, name in enumerate(names, start=1):
        table = (*table, name)
        lines.setdefault(table, number)
        if opens_element and depth == len(names):
            array_sizes[table] = array_sizes.get(table, 0) + 1
        if table in array_sizes:
            table = (*table, array_sizes[table] - 1)
            lines.setdefault(table, number)
    return table


def _keys_within(value: Any) -> Iterator[Key]:
    """Yield the key of every value, a table before what is in it; tables may lie in any depth."""
    waiting: list[tuple[Key, Any]] = [((), value)]
    while waiting:
        key, inner = waiting.pop()
        if key:
            yield key
        if isinstance(inner, dict | list):
            pairs = inner.items() if isinstance(inner, dict) else enumerate(inner)
            waiting += reversed([((*key, name), part) for name, part in pairs])


def toml_lines(mapping: Mapping[str, Any], table: tuple[str, ...] = ()) -> Iterator[str]:
    """Plain values as TOML, line by line; ``None`` is written as the text ``"none"``."""
    # Plain values come first: what follows a [table] header belongs to that table.
    for name, value in mapping.items():
        if not isinstance(value, dict) and not _is_array_of_tables(value):
            yield from _assignment(_toml_key(name), value)
    for name, value in mapping.items():
        inner = (*table, _toml_key(name))
        if isinstance(value, dict):
            yield from ("", f"[{'.'.join(inner)}]", *toml_lines(value, inner))
        elif _is_array_of_tables(value):
            for part in value:
                yield from ("", f"[[{'.'.join(inner)}]]", *toml_lines(part, inner))


def _assignment(name: str, value: Any) -> Iterator[str]:
    """A plain value with its name; a list that is too long for a line stands on several."""
    line = f"{name} = {toml_value(value)}"
    if len(line) <= _LINE or not isinstance(value, list):
        yield line
        return
    yield f"{name} = ["
    line = ""
    for part in value:
        item = f"{toml_value(part)},"
        if line and len(line) + 1 + len(item) > _LINE:
            yield line
            line = ""
        line = f"{line} {item}" if line else f"    {item}"
    yield from (line, "]")


def toml_value(value: Any) -> str:
    """One plain value as TOML on one line."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(toml_value(part) for part in value)}]"
    if isinstance(value, dict):
        pairs = (f"{_toml_key(name)} = {toml_value(part)}" for name, part in value.items())
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    # JSON's escapes are TOML's, except that TOML wants DEL escaped as well.
    text = json.dumps(NONE_TEXT if value is None else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)


def _is_array_of_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) for part in value)
