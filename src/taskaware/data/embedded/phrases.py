"""What a sentence says, before any language says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from taskaware.data.embedded.words import Adjective, Modal, Noun, Number, Place, Time, Verb

Determiner = Literal["the", "a", "my", ""]
Question = Literal["", "yes_no", "who", "what", "where"]
Conjunction = Literal["and", "but", "because"]


@dataclass(frozen=True, kw_only=True)
class NounPhrase:
    """A noun with what stands around it.

    Attributes:
        noun: The noun or pronoun.
        determiner: "the", "a", "my", or none.
        adjective: One adjective, or none.
        number: Puts the noun into the plural, without determiner.
    """

    noun: Noun
    determiner: Determiner = ""
    adjective: Adjective | None = None
    number: Number | None = None


@dataclass(frozen=True, kw_only=True)
class Clause:
    """Somebody does something.

    Attributes:
        verb: What is done.
        subject: Who does it; absent where the clause asks for it.
        object: The direct object, or none.
        companion: "with the young man".
        place: "in the garden".
        time: "on Monday".
        time_first: Whether the time opens the clause.
        past: Past instead of present; not with a modal verb.
        modal: A modal verb, or none.
        negated: Whether it is not done; not with a modal verb.
        question: What is asked, if anything.
    """

    verb: Verb
    subject: NounPhrase | None = None
    object: NounPhrase | None = None
    companion: NounPhrase | None = None
    place: Place | None = None
    time: Time | None = None
    time_first: bool = False
    past: bool = False
    modal: Modal | None = None
    negated: bool = False
    question: Question = ""


@dataclass(frozen=True, kw_only=True)
class Description:
    """Somebody or something is somehow or somewhere.

    Attributes:
        subject: Who or what is described.
        adjective: How it is; absent where ``place`` says where it is, or where that is asked.
        place: Where it is.
        past: "was" instead of "is".
        negated: Whether it is not so.
        question: "", "yes_no" or "where".
    """

    subject: NounPhrase
    adjective: Adjective | None = None
    place: Place | None = None
    past: bool = False
    negated: bool = False
    question: Question = ""


@dataclass(frozen=True, kw_only=True)
class Compound:
    """Two statements in one sentence; "because" makes the second one subordinate."""

    first: Clause
    conjunction: Conjunction
    second: Clause


Meaning = Clause | Description | Compound
