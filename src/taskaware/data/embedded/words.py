"""What the dictionary says about a word of the embedded corpus, by part of speech."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar


@dataclass(frozen=True, kw_only=True)
class Noun:
    """A noun, or a pronoun of the third person, which is declined as a noun without article.

    Attributes:
        english: Singular.
        english_plural: Plural.
        german: Nominative singular.
        german_gender: ``m``, ``f`` or ``n``.
        german_plural: Nominative plural.
        german_dative: Dative singular, where it differs from the nominative (weak nouns).
        turkish: Singular, with the suffix of possession where the determiner is "my".
        turkish_stem: What a suffix with a vowel is added to, where it differs (kitap, kitab-ı).
        romanian: Singular without article.
        romanian_definite: Singular with its suffixed article.
        romanian_gender: ``m``, ``f`` or ``n`` (masculine in the singular, feminine in the plural).
        romanian_plural: Plural without article.
        kinds: What it is, for adjectives and verbs: person, animal, thing, food, drink, and
            readable, openable, washable, portable.
    """

    english: str
    english_plural: str
    german: str
    german_gender: str
    german_plural: str
    german_dative: str
    turkish: str
    turkish_stem: str
    romanian: str
    romanian_definite: str
    romanian_gender: str
    romanian_plural: str
    kinds: str


@dataclass(frozen=True, kw_only=True)
class Adjective:
    """An adjective.

    Attributes:
        english: The only form.
        german: Predicative form.
        german_stem: What endings are added to, where it differs (teuer, teur-e).
        turkish: The only form.
        romanian_masculine: Singular, masculine and neuter.
        romanian_feminine: Singular, feminine.
        romanian_masculine_plural: Plural, masculine.
        romanian_feminine_plural: Plural, feminine and neuter.
        kinds: The kinds of nouns that it may describe.
    """

    english: str
    german: str
    german_stem: str
    turkish: str
    romanian_masculine: str
    romanian_feminine: str
    romanian_masculine_plural: str
    romanian_feminine_plural: str
    kinds: str


@dataclass(frozen=True, kw_only=True)
class Verb:
    """A verb; all finite forms are third person singular.

    Attributes:
        english: Base form.
        english_present: Present.
        english_past: Past; empty where its sound or spelling would be ambiguous.
        english_particle: "up" in "wakes up".
        german_present: Present, without the separable prefix.
        german_prefix: Separable prefix.
        german_infinitive: Infinitive, with the prefix.
        german_participle: Past participle.
        german_auxiliary: "hat" or "ist", with the participle.
        turkish: Stem before a consonant.
        turkish_stem: Stem before a vowel or its buffer y, where it differs (et-ti, ed-iyor).
        turkish_present: Present in -yor.
        romanian_present: Present, without its pronoun.
        romanian_subjunctive: Subjunctive, after "să".
        romanian_infinitive: Infinitive, after "va".
        romanian_participle: Past participle, after "a".
        romanian_reflexive: "se" where the verb is reflexive.
        kinds: The kinds of nouns that may be its object; for a verb without object, which
            adverbials it takes: place, companion.
    """

    english: str
    english_present: str
    english_past: str
    english_particle: str
    german_present: str
    german_prefix: str
    german_infinitive: str
    german_participle: str
    german_auxiliary: str
    turkish: str
    turkish_stem: str
    turkish_present: str
    romanian_present: str
    romanian_subjunctive: str
    romanian_infinitive: str
    romanian_participle: str
    romanian_reflexive: str
    kinds: str


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place: "under the tree".

    Attributes:
        english: Preposition of the English phrase.
        english_noun: Its noun.
        german: German preposition, which takes the dative here.
        german_noun: Its noun, dative.
        german_gender: ``m``, ``f`` or ``n``.
        turkish: Noun.
        turkish_stem: What a suffix with a vowel is added to, where it differs.
        turkish_postposition: "altında" after the genitive; empty where the locative says it.
        romanian: The whole phrase.
    """

    english: str
    english_noun: str
    german: str
    german_noun: str
    german_gender: str
    turkish: str
    turkish_stem: str
    turkish_postposition: str
    romanian: str


@dataclass(frozen=True, kw_only=True)
class Time:
    """When something happens.

    Attributes:
        english: The phrase.
        german: The phrase.
        turkish: The phrase.
        romanian: The phrase.
        tenses: The tenses that it goes with: present, past, future (every modal verb).
    """

    english: str
    german: str
    turkish: str
    romanian: str
    tenses: str


@dataclass(frozen=True, kw_only=True)
class Modal:
    """A modal verb, third person singular present. Turkish says it with a suffix, by rule.

    Attributes:
        english: Modal verb.
        german: Modal verb, followed by an infinitive at the end.
        romanian: Modal verb.
        romanian_subjunctive: "să" where a subjunctive follows; empty where an infinitive does.
        asks: "asks" where English puts it before the subject in a question.
    """

    english: str
    german: str
    romanian: str
    romanian_subjunctive: str
    asks: str


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number that has one form for all genders."""

    english: str
    german: str
    turkish: str
    romanian: str


Word = TypeVar("Word", Noun, Adjective, Verb, Place, Time, Modal, Number)


def read_table(word: type[Word], table: str) -> tuple[Word, ...]:
    """Read a table whose columns are the fields of ``word``, in their order.

    Raises:
        ValueError: A row has too many or too few cells.
    """
    names = [field.name for field in fields(word)]
    words = []
    for row in table.strip().splitlines():
        cells = [cell.strip() for cell in row.split("|")]
        filled = ["" if cell == "-" else cell for cell in cells]
        words.append(word(**dict(zip(names, filled, strict=True))))
    return tuple(words)
