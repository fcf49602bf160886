"""Sentences of everyday life in English, with their German, Turkish and Romanian translations.

A sentence is drawn as a meaning (``phrases``) from the words of ``lexicon``, and each language says
it by its own rules (``english``, ``german``, ``turkish``, ``romanian``). An English sentence has
exactly one translation into each language.
"""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from taskaware.data.embedded import lexicon
from taskaware.data.embedded.english import english
from taskaware.data.embedded.german import german
from taskaware.data.embedded.phrases import (
    Clause,
    Compound,
    Conjunction,
    Description,
    Meaning,
    NounPhrase,
)
from taskaware.data.embedded.romanian import romanian
from taskaware.data.embedded.turkish import turkish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.data.embedded.words import Adjective, Modal, Noun, Time, Verb

_Entry = TypeVar("_Entry")

# The grammar has many more; this many it gives in about ten seconds.
MAX_NUM_SENTENCES = 100_000
# A sentence is spoken in about two seconds, and is never a mere "Who sings?".
MIN_NUM_WORDS, MAX_NUM_WORDS = 3, 9
# So many draws without a new sentence: there are hardly any left.
_MAX_DRAWS_IN_VAIN = 200_000

_ADJECTIVE_OF_SUBJECT_PROBABILITY = 0.1
_ADJECTIVE_OF_OBJECT_PROBABILITY = 0.3
_TIME_PROBABILITY = 0.18
_NUMBER_PROBABILITY = 0.35
_TIME_FIRST_PROBABILITY = 0.5
_PAST_PROBABILITY = 0.4
_CONJUNCTIONS: tuple[Conjunction, ...] = ("and", "but", "because")


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One sentence in four languages, cased and punctuated.

    Attributes:
        english: 3 to 9 words.
        german: Its translation.
        turkish: Its translation.
        romanian: Its translation.
    """

    english: str
    german: str
    turkish: str
    romanian: str


def generate(
    num_sentences: int,
    *,
    seed: int,
    lexicon_share: float = 1.0,
    max_words: int = MAX_NUM_WORDS,
) -> list[Sentence]:
    """Distinct English sentences with their translations, the same ones for the same seed.

    A longer list begins with the shorter list of the same seed.

    Args:
        num_sentences: How many, 0 to ``MAX_NUM_SENTENCES``.
        seed: Seed of the draws.
        lexicon_share: Share of the dictionary that they are made of, above 0 to 1: the beginning of
            each of its tables.
        max_words: English words of a sentence at most.

    Raises:
        ValueError: ``num_sentences`` is negative or more than ``MAX_NUM_SENTENCES``, or so small a
            part of the grammar does not have as many.
    """
    if not 0 <= num_sentences <= MAX_NUM_SENTENCES:
        raise ValueError(
            f"`num_sentences` must be in 0..{MAX_NUM_SENTENCES}, but is {num_sentences} instead."
        )
    rng = random.Random(seed)
    allowed = vocabulary(lexicon_share)
    sentences: dict[str, Sentence] = {}
    in_vain = 0
    while len(sentences) < num_sentences:
        sentence = say(draw(rng))
        words = re.findall(r"\w+", sentence.english.lower())
        in_vain += 1
        fits = MIN_NUM_WORDS <= len(words) <= max_words and allowed.issuperset(words)
        if fits and sentence.english not in sentences:
            sentences[sentence.english] = sentence
            in_vain = 0
        elif in_vain > _MAX_DRAWS_IN_VAIN:
            raise ValueError(
                f"`num_sentences` must be at most about {len(sentences)} where `lexicon_share` is "
                f"{lexicon_share} and `max_words` is {max_words}, but is {num_sentences} instead."
            )
    return list(sentences.values())


def vocabulary(lexicon_share: float = 1.0) -> set[str]:
    """The English words that sentences are made of, in lower case.

    Args:
        lexicon_share: Share of each table of the dictionary, its beginning; above 0 to 1.
    """

    def part(table: Sequence[_Entry]) -> Sequence[_Entry]:
        return table[: math.ceil(lexicon_share * len(table))]

    phrases = ["the a an my does did not is was who what where and but because with"]
    nouns = (*part(lexicon.PERSONS), *part(lexicon.FAMILY), *lexicon.PRONOUNS)
    for noun in (*nouns, *part(lexicon.OBJECTS), *part(lexicon.DRINKS)):
        phrases += [noun.english, noun.english_plural]
    for verb in (*part(lexicon.TRANSITIVE_VERBS), *part(lexicon.INTRANSITIVE_VERBS)):
        phrases += [verb.english, verb.english_present, verb.english_past, verb.english_particle]
    for place in part(lexicon.PLACES):
        phrases += [place.english, place.english_noun]
    for table in (lexicon.ADJECTIVES, lexicon.TIMES, lexicon.MODALS, lexicon.NUMBERS):
        phrases += [word.english for word in part(table)]
    return {word.lower() for phrase in phrases for word in phrase.split()}


def say(meaning: Meaning) -> Sentence:
    """The meaning in four languages."""
    asks = not isinstance(meaning, Compound) and meaning.question != ""
    mark = "?" if asks else "."
    turkish_words = turkish(meaning)
    # Only Turkish has a capital dotted i.
    turkish_capital = "İ" if turkish_words[0] == "i" else turkish_words[0].upper()
    return Sentence(
        english=_capitalised(english(meaning)) + mark,
        german=_capitalised(german(meaning)) + mark,
        turkish=turkish_capital + turkish_words[1:] + mark,
        romanian=_capitalised(romanian(meaning)) + mark,
    )


def draw(rng: random.Random) -> Meaning:
    """A meaning at random, each kind of sentence with its share."""
    shapes = {
        _transitive_statement: 25,
        _intransitive_statement: 17,
        _negation: 10,
        _modal_statement: 14,
        _yes_no_question: 8,
        _open_question: 8,
        _description: 12,
        _compound: 5,
    }
    (shape,) = rng.choices(list(shapes), weights=list(shapes.values()))
    return shape(rng)


def _capitalised(words: str) -> str:
    return words[0].upper() + words[1:]


def _happens(rng: random.Random, probability: float) -> bool:
    return rng.random() < probability


def _adjective(rng: random.Random, noun: Noun, probability: float) -> Adjective | None:
    """An adjective that suits the noun, or none."""
    if not _happens(rng, probability):
        return None
    kinds = set(noun.kinds.split())
    return rng.choice([word for word in lexicon.ADJECTIVES if kinds & set(word.kinds.split())])


def _somebody(rng: random.Random, *, indefinite: bool = False, pronoun: bool = True) -> NounPhrase:
    """A person who does something: the teacher, my tired sister, she."""
    share = rng.random()
    if pronoun and share < 0.28:
        return NounPhrase(noun=rng.choice(lexicon.PRONOUNS))
    if share < 0.46:
        noun = rng.choice(lexicon.FAMILY)
        determiner = "my"
    else:
        noun = rng.choice(lexicon.PERSONS)
        determiner = "a" if indefinite and _happens(rng, 0.2) else "the"
    adjective = _adjective(rng, noun, _ADJECTIVE_OF_SUBJECT_PROBABILITY)
    return NounPhrase(noun=noun, determiner=determiner, adjective=adjective)


def _deed(rng: random.Random, *, past: bool = False, countable: bool = True) -> Clause:
    """A verb with its object: reads the book, buys a red lamp, eats five apples, drinks cold milk.

    Args:
        rng: Source of the draws.
        past: Whether the verb needs a past form that can be told by ear.
        countable: Whether the object may have a number.
    """
    verbs = [verb for verb in lexicon.TRANSITIVE_VERBS if verb.english_past or not past]
    nouns = (*lexicon.OBJECTS, *lexicon.DRINKS)
    # Drawn from both sides, so that neither verbs nor nouns of few partners become rare.
    if _happens(rng, 0.5):
        verb = rng.choice(verbs)
        noun = rng.choice([noun for noun in nouns if _suits(verb, noun)])
    else:
        noun = rng.choice(nouns)
        verb = rng.choice([verb for verb in verbs if _suits(verb, noun)])
    adjective = _adjective(rng, noun, _ADJECTIVE_OF_OBJECT_PROBABILITY)
    if noun in lexicon.DRINKS:
        phrase = NounPhrase(noun=noun, adjective=adjective)
    elif countable and _happens(rng, _NUMBER_PROBABILITY):
        phrase = NounPhrase(noun=noun, number=rng.choice(lexicon.NUMBERS), adjective=adjective)
    else:
        determiner = "the" if _happens(rng, 0.55) else "a"
        phrase = NounPhrase(noun=noun, determiner=determiner, adjective=adjective)
    return Clause(verb=verb, object=phrase, past=past)


def _suits(verb: Verb, noun: Noun) -> bool:
    return not set(verb.kinds.split()).isdisjoint(noun.kinds.split())


def _time(rng: random.Random, tense: str, probability: float = _TIME_PROBABILITY) -> Time | None:
    if not _happens(rng, probability):
        return None
    return rng.choice([time for time in lexicon.TIMES if tense in time.tenses.split()])


def _with_adverbial(clause: Clause, rng: random.Random) -> Clause:
    """The clause with a place or a companion, where its verb takes one."""
    kinds = clause.verb.kinds.split()
    match rng.choice(kinds) if kinds else "":
        case "place":
            return replace(clause, place=rng.choice(lexicon.PLACES))
        case "companion":
            companion = _somebody(rng, pronoun=False)
            if clause.subject is None or companion.noun != clause.subject.noun:
                return replace(clause, companion=companion)
    return clause


def _transitive_statement(rng: random.Random) -> Clause:
    past = _happens(rng, _PAST_PROBABILITY)
    return replace(
        _deed(rng, past=past),
        subject=_somebody(rng, indefinite=True),
        time=_time(rng, "past" if past else "present"),
        time_first=_happens(rng, _TIME_FIRST_PROBABILITY),
    )


def _intransitive_statement(rng: random.Random) -> Clause:
    past = _happens(rng, _PAST_PROBABILITY)
    subject = _somebody(rng, indefinite=True)
    clause = Clause(subject=subject, verb=rng.choice(lexicon.INTRANSITIVE_VERBS), past=past)
    if _happens(rng, 0.7):
        clause = _with_adverbial(clause, rng)
    alone = clause.place is None and clause.companion is None
    time = _time(rng, "past" if past else "present", 1.0 if alone else _TIME_PROBABILITY)
    return replace(clause, time=time, time_first=_happens(rng, _TIME_FIRST_PROBABILITY))


def _negation(rng: random.Random) -> Clause:
    subject, past = _somebody(rng), _happens(rng, _PAST_PROBABILITY)
    if _happens(rng, 0.6):
        deed = _deed(rng, countable=False)
        return replace(deed, subject=subject, past=past, negated=True)
    verb = rng.choice(lexicon.INTRANSITIVE_VERBS)
    clause = Clause(subject=subject, verb=verb, past=past, negated=True)
    return _with_adverbial(clause, rng) if _happens(rng, 0.5) else clause


def _modal_statement(rng: random.Random) -> Clause:
    modal = rng.choice(lexicon.MODALS)
    time = _time(rng, "future")
    time_first = _happens(rng, _TIME_FIRST_PROBABILITY)
    subject = _somebody(rng)
    if _happens(rng, 0.6):
        clause = replace(_deed(rng), subject=subject, modal=modal)
    else:
        clause = Clause(subject=subject, verb=rng.choice(lexicon.INTRANSITIVE_VERBS), modal=modal)
        clause = clause if time else _with_adverbial(clause, rng)
    return replace(clause, time=time, time_first=time_first)


def _yes_no_question(rng: random.Random) -> Clause:
    modal, past = _asking_verb(rng)
    if _happens(rng, 0.6):
        clause = _deed(rng)
    else:
        clause = _with_adverbial(Clause(verb=rng.choice(lexicon.INTRANSITIVE_VERBS)), rng)
    subject = _somebody(rng)
    while clause.companion and clause.companion.noun == subject.noun:
        subject = _somebody(rng)
    return replace(clause, subject=subject, modal=modal, past=past, question="yes_no")


def _open_question(rng: random.Random) -> Clause:
    modal, past = _asking_verb(rng)
    tense = "future" if modal else "past" if past else "present"
    match rng.choice(["who", "what", "where"]):
        case "who" if _happens(rng, 0.6):
            clause = replace(_deed(rng, past=past), question="who")
        case "who":
            verb = rng.choice(lexicon.INTRANSITIVE_VERBS)
            clause = _with_adverbial(Clause(verb=verb, question="who"), rng)
        case "what":
            verb, subject = rng.choice(lexicon.TRANSITIVE_VERBS), _somebody(rng)
            clause = Clause(subject=subject, verb=verb, time=_time(rng, tense), question="what")
        case _:
            verbs = [v for v in lexicon.INTRANSITIVE_VERBS if "place" in v.kinds.split()]
            verb, subject = rng.choice(verbs), _somebody(rng)
            clause = Clause(subject=subject, verb=verb, time=_time(rng, tense), question="where")
    return replace(clause, modal=modal, past=past)


def _asking_verb(rng: random.Random) -> tuple[Modal | None, bool]:
    """A modal verb that a question may begin with, or none, and whether it is past instead."""
    if _happens(rng, 0.3):
        return rng.choice([modal for modal in lexicon.MODALS if modal.asks]), False
    return None, _happens(rng, _PAST_PROBABILITY)


def _description(rng: random.Random) -> Description:
    if _happens(rng, 0.5):
        subject = _somebody(rng)
    else:
        noun = rng.choice(lexicon.OBJECTS)
        adjective = _adjective(rng, noun, _ADJECTIVE_OF_OBJECT_PROBABILITY)
        subject = NounPhrase(noun=noun, determiner="the", adjective=adjective)
    description = Description(subject=subject, past=_happens(rng, _PAST_PROBABILITY))
    share = rng.random()
    if share < 0.15:
        return replace(description, question="where")
    if share < 0.55:
        plain = replace(description, subject=replace(subject, adjective=None))
        description = replace(plain, adjective=_adjective(rng, subject.noun, 1.0))
    else:
        description = replace(description, place=rng.choice(lexicon.PLACES))
    if _happens(rng, 0.2):
        return replace(description, question="yes_no")
    return replace(description, negated=_happens(rng, 0.25))


def _compound(rng: random.Random) -> Compound:
    """Two short statements in the same tense, about two persons and two deeds."""
    past = _happens(rng, _PAST_PROBABILITY)
    first_subject, second_subject = _somebody(rng), _somebody(rng, pronoun=False)
    while second_subject.noun == first_subject.noun:
        second_subject = _somebody(rng, pronoun=False)
    first_verb, second_verb = rng.sample(lexicon.INTRANSITIVE_VERBS, 2)
    second = Clause(subject=replace(second_subject, adjective=None), verb=second_verb, past=past)
    if _happens(rng, 0.4):
        second = replace(_deed(rng, past=past), subject=second.subject)
    return Compound(
        first=Clause(subject=replace(first_subject, adjective=None), verb=first_verb, past=past),
        conjunction=rng.choice(_CONJUNCTIONS),
        second=second,
    )
