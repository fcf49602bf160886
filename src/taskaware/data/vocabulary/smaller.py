"""The vocabulary of a pretrained model, cut to the pieces that some texts need."""

from __future__ import annotations

import base64
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskaware.data.vocabulary import tokenizer_pieces
from taskaware.data.vocabulary.cut_mapped import kept_ids, without_pieces
from taskaware.data.vocabulary.cut_tokenizer import cut_tokenizer, kept_names
from taskaware.data.vocabulary.mapped_pieces import mapped_bytes
from taskaware.data.vocabulary.prompts import prompt_tags
from taskaware.data.vocabulary.tokenizer_pieces import BYTE_NAMES, tokenizer_bytes
from taskaware.data.vocabulary.vocabulary import Vocabulary
from taskaware.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

_TEXTS_PER_CALL = 1000


@dataclass(frozen=True, kw_only=True)
class SmallerVocabulary:
    """A vocabulary that has some pieces of another.

    Attributes:
        vocabulary: The smaller one.
        kept: Of each of its pieces in order, the id in the other.
    """

    vocabulary: Vocabulary
    kept: tuple[int, ...]


def cut_to(vocabulary: Vocabulary, texts: Iterable[str]) -> SmallerVocabulary:
    """Return the vocabulary with the pieces that texts need, and those of all prompts.

    Args:
        vocabulary: A pretrained model's.
        texts: Sources and targets, any number, in any order; read once.

    Raises:
        UserError: There is no text but empty ones, or the vocabulary was trained here.
    """
    if not vocabulary.family:
        raise UserError(
            "a vocabulary to cut must be a pretrained model's, but is one that was trained here: "
            "train a smaller one with `taskaware prepare --vocabulary-size`"
        )
    used = _used(vocabulary, texts)
    if not used:
        raise UserError(
            "the texts that a vocabulary is cut to must be at least one, but there is no text, or "
            "all are empty"
        )
    values = json.loads(vocabulary.model_bytes)
    if values["format"] == tokenizer_pieces.FORMAT:
        return _byte_level(vocabulary, values, used)
    return _mapped(vocabulary, values, used)


def _used(vocabulary: Vocabulary, texts: Iterable[str]) -> set[int]:
    """Return the pieces of texts, each cut both as a source and as a target."""
    used: set[int] = set()
    remaining = (text for text in texts if text.strip())
    while some := list(itertools.islice(remaining, _TEXTS_PER_CALL)):
        for encode in (vocabulary.encode_many, vocabulary.encode_sources):
            used.update(*encode(some))
    return used


def _byte_level(
    vocabulary: Vocabulary, values: dict[str, Any], used: set[int]
) -> SmallerVocabulary:
    tokenizer, special = values["tokenizer"], ("pad", "begin", "end")
    names = vocabulary.pieces(range(vocabulary.size))
    ids = {name: i for i, name in enumerate(names)}
    needed = {*prompt_tags(vocabulary), *(names[values[key]] for key in special)}
    controls = sorted(needed.intersection(vocabulary.tags), key=ids.__getitem__)
    kept = kept_names(tokenizer, (names[i] for i in used), BYTE_NAMES)
    smaller, named = cut_tokenizer(tokenizer, kept, controls)
    # Padding may be a row of the embedding that has no piece.
    ordered = named + sorted(needed.difference(named), key=ids.__getitem__)
    new_ids = {name: i for i, name in enumerate(ordered)}
    found = Vocabulary(
        tokenizer_bytes(
            smaller,
            family=vocabulary.family,
            size=len(ordered),
            adds_space=values["adds_space"],
            **{key: new_ids[names[values[key]]] for key in special},
        )
    )
    assert found.pieces(range(len(named))) == named  # the library numbers them as we do
    return SmallerVocabulary(vocabulary=found, kept=tuple(ids[name] for name in ordered))


def _mapped(vocabulary: Vocabulary, values: dict[str, Any], used: set[int]) -> SmallerVocabulary:
    special = {key: values[key] for key in ("pad", "begin", "end", "unknown")}
    kept = sorted(kept_ids(values["ids"], used) | {*vocabulary.control_ids})
    new_ids = {old: new for new, old in enumerate(kept)}
    gone = sorted(name for name, old in values["ids"].items() if old not in new_ids)
    source, target = (
        without_pieces(base64.b64decode(values[name]), gone)
        for name in ("source_model", "target_model")
    )
    content = mapped_bytes(
        family=vocabulary.family,
        ids={name: new_ids[old] for name, old in values["ids"].items() if old in new_ids},
        controls={name: new_ids[old] for name, old in values["controls"].items()},
        source_model=source,
        target_model=target,
        size=len(kept),
        case=values["case"],
        lost=[*values.get("lost", ()), *(name for name in gone if len(name) == 1)],
        **{key: new_ids[old] for key, old in special.items()},
    )
    return SmallerVocabulary(vocabulary=Vocabulary(content), kept=tuple(kept))
