"""Settings in words, from their classes alone: for a TOML template, for the documentation."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from dataclasses import MISSING, dataclass, is_dataclass
from typing import TYPE_CHECKING, Any, get_args, get_origin

from taskaware.settings.annotations import default_of, description, hints_of, without_none
from taskaware.settings.toml_text import toml_value
from taskaware.settings.typed import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import DataclassInstance


@dataclass(frozen=True, kw_only=True)
class DescribedField:
    """A field of settings, in words.

    Attributes:
        name: Its name.
        meaning: What the class's docstring says of it.
        kind: What a value must be.
        default: The default as TOML; ``None``: it must be given.
        is_of_a_preset: Whether a preset decides it, where one is chosen.
    """

    name: str
    meaning: str
    kind: str
    default: str | None
    is_of_a_preset: bool


@dataclass(frozen=True, kw_only=True)
class DescribedTable:
    """A table of a settings file, in words.

    Attributes:
        name: Dotted, as in ``model.encoder``; empty at the top.
        meaning: What it is for.
        fields: Its fields, but for those that are tables.
        is_repeated: Whether it is an element of a list: ``[[name]]``.
    """

    name: str
    meaning: str
    fields: tuple[DescribedField, ...]
    is_repeated: bool = False


def tables(cls: Any) -> Iterator[DescribedTable]:
    """Yield the tables of a settings file in order, from the docstrings and fields of its class."""
    yield from _tables(cls, "", _documentation(cls).partition("\n\n")[0], is_repeated=False)


def describe(cls: type[DataclassInstance]) -> str:
    """A TOML template: every field with its documentation and its default.

    A field is commented out where it has no default, and where a preset decides it.
    """
    found: list[str] = []
    repeated: list[str] = []
    for table in tables(cls):
        is_inside = any(table.name.startswith(f"{name}.") for name in repeated)
        found += _lines(table, is_inside=is_inside)
        repeated += [table.name] if table.is_repeated else []
    return "\n".join(found).strip() + "\n"


def _tables(cls: Any, name: str, meaning: str, *, is_repeated: bool) -> Iterator[DescribedTable]:
    documentation = _documentation(cls)
    presets = cls.presets() if hasattr(cls, "presets") else {}
    decided = {field for values in presets.values() for field in values}
    fields: list[DescribedField] = []
    inner: list[tuple[str, Any, bool]] = []
    for each in dataclasses.fields(cls):
        hint = hints_of(cls)[each.name]
        default = default_of(each)
        is_list = get_origin(hint) is tuple and is_dataclass(get_args(hint)[0])
        if is_list or (is_dataclass(without_none(hint)) and default is not None):
            inner.append((each.name, get_args(hint)[0] if is_list else without_none(hint), is_list))
            continue
        words = _attribute(documentation, each.name)
        if presets and each.name == "preset":
            words = f"{words} Presets: {', '.join(presets)}."
        fields.append(
            DescribedField(
                name=each.name,
                meaning=words,
                kind=description(hint),
                default=None if default is MISSING else toml_value(plain(default)),
                is_of_a_preset=each.name in decided,
            )
        )
    yield DescribedTable(name=name, meaning=meaning, fields=tuple(fields), is_repeated=is_repeated)
    for part, of, is_list in inner:
        dotted = f"{name}.{part}".removeprefix(".")
        words = _attribute(documentation, part)
        yield from _tables(of, dotted, words, is_repeated=is_list)


def _lines(table: DescribedTable, *, is_inside: bool) -> Iterator[str]:
    # A list is shown as one commented element: its default may be empty.
    prefix = "# " if table.is_repeated or is_inside else ""
    if not table.name:
        yield from _comment(table.meaning)
    else:
        outer = "# " if is_inside else ""
        yield from ("", *(outer + line for line in _comment(table.meaning)))
        yield prefix + (f"[[{table.name}]]" if table.is_repeated else f"[{table.name}]")
    for each in table.fields:
        kind = f"({each.kind}{'; required' if each.default is None else ''})"
        yield ""
        yield from (prefix + line for line in _comment(f"{each.meaning} {kind}"))
        is_commented = (each.default is None or each.is_of_a_preset) and not prefix
        value = "..." if each.default is None else each.default
        yield f"{prefix}{'# ' if is_commented else ''}{each.name} = {value}"


def _documentation(cls: Any) -> str:
    return inspect.getdoc(cls) or ""


def _attribute(documentation: str, name: str) -> str:
    """What the section ``Attributes:`` of a class's docstring says of a field."""
    section = documentation.partition("\nAttributes:\n")[2]
    found = re.search(rf"^    {name}: (.*(?:\n     +.*)*)", section, flags=re.MULTILINE)
    return " ".join(found[1].split()).replace("``", "") if found else ""


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), width=96)]
