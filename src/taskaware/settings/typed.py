"""Typed settings: nested frozen dataclasses, read from TOML, checked, and written back.

A settings class is a frozen, keyword-only dataclass. Its fields may be ``str``, ``int``, ``float``,
``bool``, ``Path``, ``Literal[...]``, another settings class, and ``X | None``,
``X | Literal["word"]``, ``tuple[X, ...]``, ``tuple[X, Y]`` and ``dict[str, X]`` of these. Every
``float`` is finite. All mistakes are reported at once, each with file,
line, dotted key, what must be, what is, and the nearest valid name. What the types do not show:

* TOML has no null: in a field of type ``X | None`` the text ``"none"`` means ``None``.
* A method ``validate(self) -> Iterator[tuple[str, str]]`` yields what types cannot say, as pairs of
  field and message: ``("d_model", "must be a multiple of num_heads (8), but is 100")``.
* A class method ``presets(cls) -> Mapping[str, Mapping[str, Any]]``, together with a field
  ``preset``, names sets of values that hold where the file itself sets nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin

from taskaware.errors import ExperimentError, nearest
from taskaware.file_forms import HEAD_BYTES, advised, other_than_text
from taskaware.pipes import read_given
from taskaware.settings.annotations import (
    SCALARS,
    description,
    dotted,
    has_default,
    hints_of,
    listed,
    shown,
    without_none,
    words_of,
)
from taskaware.settings.toml_text import NONE_TEXT, key_lines, toml_lines

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from taskaware.settings.toml_text import Key

T = TypeVar("T", bound="DataclassInstance")

MOST_WORKERS = 1024
"""Threads or processes that a setting may ask for: with many more, libraries end the process."""

# What TOML promises (https://toml.io/en/v1.0.0#integer), and other languages' libraries count with.
_LEAST_INTEGER, _GREATEST_INTEGER = -(1 << 63), (1 << 63) - 1
_MOST_BYTES = 1 << 24  # of a settings file
_MOST_PROBLEMS = 50  # that are told at once
_INVALID = object()  # stands for a value whose problem has been noted


def load(
    cls: type[T],
    path: Path | None,
    overrides: Sequence[str] = (),
    *,
    below: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> T:
    """Read one settings object from a TOML file.

    Args:
        cls: The settings class.
        path: The file, UTF-8; ``None``: there is none, but perhaps overrides.
        overrides: ``"training.updates=100"``: a dotted key and a TOML value that wins over the
            file's. Text that is no TOML value is taken as a string.
        below: Is given what file and overrides say, and returns what holds where neither they nor a
            preset that they choose say anything, in place of the defaults.

    Raises:
        ExperimentError: All that is wrong, one problem a line.
    """
    text = "" if path is None else _read_text(path)
    try:
        mapping = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        at = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", str(error))
        line = at[1] if at and at[1] else text.rstrip().count("\n") + 1
        column = f", column {at[2]}" if at and at[2] else ""
        reason = str(error)[: at.start()] if at else str(error)
        if isinstance(error, RecursionError):
            reason = "it is nested too deeply"
        raise ExperimentError(f"{path}, line {line}{column}: not valid TOML: {reason}") from error
    reading = _Reading(name=str(path or "the settings"), lines=key_lines(text))
    for override in overrides:
        _apply_override(mapping, override, reading)
    if below is not None and not reading.problems:
        mapping = _above(cls, below(mapping), mapping)
    return _finish(cls, mapping, reading)


def from_mapping(cls: type[T], mapping: Mapping[str, Any], *, where: str = "settings") -> T:
    """Build one settings object from plain values, for example parsed JSON (``null`` is ``None``).

    Raises:
        ExperimentError: All that is wrong, one problem a line, each beginning with ``where``.
    """
    return _finish(cls, mapping, _Reading(name=where))


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """Where values come from, and what was found wrong with them.

    Attributes:
        name: The file, or what stands for it in messages.
        lines: The line of the file that sets a key.
        overrides: The override that sets a key.
        override_texts: What an override says after its equals sign.
        problems: The messages so far.
    """

    name: str
    lines: Mapping[Key, int] = field(default_factory=dict)
    overrides: dict[Key, str] = field(default_factory=dict)
    override_texts: dict[Key, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def note(self, key: Key, message: str) -> Any:
        """Remember a problem with its place: the key's own, or else that of its table."""
        self.problems.append(f"{self._place(key)}: {dotted(key)} {message}")
        return _INVALID

    def _place(self, key: Key) -> str:
        for length in range(len(key), 0, -1):
            if key[:length] in self.overrides:
                return f"override '{self.overrides[key[:length]]}'"
            if key[:length] in self.lines:
                return f"{self.name}, line {self.lines[key[:length]]}"
        return self.name


def _finish(cls: type[T], mapping: Mapping[str, Any], reading: _Reading) -> T:
    if not isinstance(mapping, Mapping):  # what a JSON file says may be anything
        raise ExperimentError(f"{reading.name}: must be a table, but is {shown(mapping)}")
    settings = _build(cls, mapping, (), reading)
    if problems := reading.problems:
        more = len(problems) - _MOST_PROBLEMS
        rest = [f"and {more:,} more of the kind"] if more > 0 else []
        raise ExperimentError("\n".join([*problems[:_MOST_PROBLEMS], *rest]))
    return settings


def _build(cls: type, mapping: Mapping[str, Any], key: Key, reading: _Reading) -> Any:
    """The object that ``mapping`` describes, or ``_INVALID``; problems go to ``reading``."""
    fields = {each.name: each for each in dataclasses.fields(cls)}
    hints = hints_of(cls)
    mapping = _with_preset(cls, mapping, key, reading)
    values: dict[str, Any] = {}
    for name in mapping:
        if name not in fields:
            hint = nearest(name, fields) or f"; the known keys are {', '.join(fields)}"
            values[name] = reading.note((*key, name), f"is not a known key{hint}")
    for name, each in fields.items():
        if name in mapping:
            values[name] = _convert(hints[name], mapping[name], (*key, name), reading)
        elif not has_default(each):
            what = description(hints[name])
            values[name] = reading.note((*key, name), f"must be set: {what}")
    if any(value is _INVALID for value in values.values()):
        return _INVALID
    settings = cls(**values)
    if hasattr(settings, "validate"):
        for name, message in settings.validate():
            reading.note((*key, name), message)
    return settings


def _with_preset(
    cls: Any, mapping: Mapping[str, Any], key: Key, reading: _Reading
) -> Mapping[str, Any]:
    """The values of the chosen preset, if any, below those of ``mapping``."""
    if not hasattr(cls, "presets"):
        return mapping
    presets = cls.presets()
    default = next(each.default for each in dataclasses.fields(cls) if each.name == "preset")
    name = mapping.get("preset", default)
    if not isinstance(name, str) or name in ("", NONE_TEXT):
        return mapping
    if name not in presets:
        message = f"must be one of {listed(presets)}, but is {shown(name)}"
        reading.note((*key, "preset"), message + nearest(name, presets))
        return mapping
    return _layered(cls, presets[name], mapping)


def _above(cls: Any, low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """``high`` over ``low``, and what the presets that ``high`` chooses set over ``low`` too."""
    merged = _layered(cls, low, high)
    for name, hint in hints_of(cls).items():
        inner, own, base = without_none(hint), high.get(name), low.get(name)
        if is_dataclass(inner) and isinstance(own, Mapping) and isinstance(base, Mapping):
            presets: Any = getattr(inner, "presets", dict)()
            chosen = presets.get(str(own.get("preset")), {})
            merged[name] = _layered(inner, _layered(inner, base, chosen), own)
    return merged


def _layered(cls: Any, low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """``high`` over ``low``: nested settings are merged, lists and dictionaries replaced."""
    merged = {**low, **high}
    for name, hint in hints_of(cls).items():
        inner = without_none(hint)
        if is_dataclass(inner) and isinstance(low.get(name), Mapping):
            own = high.get(name, {})
            merged[name] = _layered(inner, low[name], own) if isinstance(own, Mapping) else own
    return merged


def _convert(hint: Any, value: Any, key: Key, reading: _Reading) -> Any:
    """``value`` as what the annotation asks for, or ``_INVALID``."""
    arguments = get_args(hint)
    wrong = f"must be {description(hint)}, but is {shown(value)}"
    if get_origin(hint) in (Union, UnionType):
        words = words_of(hint)
        if words:
            fits = type(value) is without_none(hint) or (isinstance(value, str) and value in words)
            return value if fits else reading.note(key, wrong)
        is_none = value is None or value == NONE_TEXT
        return None if is_none else _convert(without_none(hint), value, key, reading)
    if get_origin(hint) is Literal:
        return _convert_choice(arguments, value, key, reading)
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            return reading.note(key, wrong)
        items = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
        if len(items) != len(value):
            return reading.note(key, wrong)
        pairs = enumerate(zip(items, value, strict=True))
        parts = tuple(_convert(item, part, (*key, index), reading) for index, (item, part) in pairs)
        return _INVALID if any(part is _INVALID for part in parts) else parts
    if get_origin(hint) is dict or is_dataclass(hint):
        if not isinstance(value, Mapping):
            return reading.note(key, wrong)
        if isinstance(hint, type) and is_dataclass(hint):
            return _build(hint, value, key, reading)
        inner = arguments[1]
        table = {name: _convert(inner, value[name], (*key, name), reading) for name in value}
        return _INVALID if any(part is _INVALID for part in table.values()) else table
    return _convert_scalar(hint, value, key, reading)


def _convert_choice(choices: tuple[Any, ...], value: Any, key: Key, reading: _Reading) -> Any:
    for choice in choices:
        # Equal in Python is not enough: 1 == True.
        if type(choice) is type(value) and choice == value:
            return choice
    message = f"must be one of {listed(choices)}, but is {shown(value)}"
    return reading.note(key, message + nearest(str(value), [str(choice) for choice in choices]))


def _convert_scalar(hint: Any, value: Any, key: Key, reading: _Reading) -> Any:
    if hint not in SCALARS:
        raise TypeError(f"{dotted(key)}: a settings field cannot be of type {hint}")
    if hint in (str, Path):
        # `name=2024` on the command line is a name, although TOML reads a number.
        value = value if isinstance(value, str | Path) else reading.override_texts.get(key, value)
        if hint is Path and isinstance(value, str) and "\0" in value:
            return reading.note(key, "must be a path, but has a null character in it")
        if isinstance(value, str | Path):
            return hint(value)
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # a whole number of hundreds of digits
            if math.isfinite(value):
                return float(value)
        return reading.note(key, f"must be a finite number, but is {shown(value)}")
    elif type(value) is int and not _LEAST_INTEGER <= value <= _GREATEST_INTEGER:
        allowed = f"from {_LEAST_INTEGER} to {_GREATEST_INTEGER}"
        return reading.note(key, f"must be a number {allowed}, but is {shown(value)}")
    elif type(value) is hint:
        return value
    return reading.note(key, f"must be {SCALARS[hint]}, but is {shown(value)}")


def _apply_override(mapping: dict[str, Any], override: str, reading: _Reading) -> None:
    """Set what ``"a.b=value"`` says in ``mapping``."""
    key, equals, text = override.partition("=")
    names = tuple(name.strip() for name in key.split("."))
    if not equals or not all(names):
        message = "must be a dotted key, an equals sign and a value, as in training.updates=100"
        reading.problems.append(f"override '{override}': {message}")
        return
    table: Any = mapping
    for depth, name in enumerate(names[:-1], start=1):
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            where = f"override '{override}': {dotted(names[:depth])}"
            reading.problems.append(f"{where} must be a table, but is {shown(table)}")
            return
    text = text.strip()
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # of the latter: nested very deeply
        parsed = {}
    table[names[-1]] = parsed["value"] if set(parsed) == {"value"} else text
    reading.override_texts[names] = text
    reading.overrides[names] = override
    for depth in range(1, len(names)):
        if names[:depth] not in reading.lines:  # a table that only this override makes
            reading.overrides.setdefault(names[:depth], override)


def _read_text(path: Path) -> str:
    try:
        content = read_given(path, most_bytes=_MOST_BYTES)
        if (what := other_than_text(content[:HEAD_BYTES])) is not None:
            raise ExperimentError(
                f"{path}: must be settings in TOML, a text in UTF-8, but is {advised(what)}"
            )
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig").read()
    except FileNotFoundError:
        raise ExperimentError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ExperimentError(f"{path}: must be a readable UTF-8 text file: {reason}") from error


def require_valid(
    settings: DataclassInstance, *, where: str = "settings", kind: type | None = None
) -> None:
    """Check an object that was made in Python as one that was read from a file.

    Args:
        settings: The object.
        where: What messages call it.
        kind: What settings it must be; ``None``: any.

    Raises:
        ExperimentError: All that is wrong, one problem a line, each beginning with ``where``.
    """
    if not dataclasses.is_dataclass(settings) or isinstance(settings, type):
        raise ExperimentError(
            f"{where}: must be an object of settings, but is of type {type(settings).__name__}"
        )
    if kind is not None and not isinstance(settings, kind):
        raise ExperimentError(
            f"{where}: must be {kind.__name__}, but is of type {type(settings).__name__}"
        )
    from_mapping(type(settings), to_mapping(settings), where=where)


def is_folder_name(name: str) -> bool:
    """Return whether a name, joined to a folder, is that of something in it."""
    is_a_place = name.strip() in ("", ".", "..")
    return not is_a_place and "/" not in name and name.isprintable()


def to_mapping(settings: DataclassInstance) -> dict[str, Any]:
    """The settings as plain values that JSON can hold; ``from_mapping`` undoes it."""
    names = [each.name for each in dataclasses.fields(settings)]
    return {name: plain(getattr(settings, name)) for name in names}


def dump(settings: DataclassInstance) -> str:
    """The settings as TOML, every field written out; ``load`` of it gives an equal object."""
    return "\n".join(toml_lines(to_mapping(settings))).strip() + "\n"


def plain(value: Any) -> Any:
    """Return a value as TOML has it: a path as text, settings as a table."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    if isinstance(value, Mapping):
        return {name: plain(part) for name, part in value.items()}
    return to_mapping(value) if is_dataclass(value) and not isinstance(value, type) else value
