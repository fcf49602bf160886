"""How Turkish says it: vowel harmony, case suffixes, verb last.

Order of a clause: time (where it is first), subject, time, place or companion, object, verb. What
is asked for stands right before the verb.
"""

from __future__ import annotations

from taskaware.data.embedded.phrases import Clause, Compound, Description, Meaning, NounPhrase

_VOWELS = "aıoueiöü"
_VOICELESS = "pçtkfhsş"
_CONJUNCTIONS = {"and": " ve", "but": ", ama", "because": ", çünkü"}


def turkish(meaning: Meaning) -> str:
    """The words of the sentence, without capital and final mark."""
    match meaning:
        case Compound(first=first, conjunction=conjunction, second=second):
            return f"{_clause(first)}{_CONJUNCTIONS[conjunction]} {_clause(second)}"
        case Description():
            return _description(meaning)
        case Clause():
            return _clause(meaning)


def low_vowel(word: str) -> str:
    """The vowel, a or e, of a suffix that harmonises with the last vowel of ``word``."""
    return "a" if _last_vowel(word) in "aıou" else "e"


def high_vowel(word: str) -> str:
    """The vowel, ı, i, u or ü, of a suffix that harmonises with the last vowel of ``word``."""
    vowel = _last_vowel(word)
    harmony = {"aı": "ı", "ei": "i", "ou": "u", "öü": "ü"}
    return next(high for lasts, high in harmony.items() if vowel in lasts)


def accusative(noun: str, stem: str = "") -> str:
    """``noun`` as a definite object; ``stem`` replaces it before a vowel."""
    if noun[-1] in _VOWELS:
        return noun + "y" + high_vowel(noun)
    return (stem or noun) + high_vowel(noun)


def genitive(noun: str, stem: str = "") -> str:
    """``noun`` as a possessor; ``stem`` replaces it before a vowel."""
    if noun[-1] in _VOWELS:
        return noun + "n" + high_vowel(noun) + "n"
    return (stem or noun) + high_vowel(noun) + "n"


def locative(noun: str) -> str:
    """At or in ``noun``."""
    return noun + _dental(noun) + low_vowel(noun)


def instrumental(noun: str) -> str:
    """With ``noun``."""
    return noun + _buffer(noun) + "l" + low_vowel(noun)


def _last_vowel(word: str) -> str:
    return next(letter for letter in reversed(word) if letter in _VOWELS)


def _dental(word: str) -> str:
    return "t" if word[-1] in _VOICELESS else "d"


def _buffer(word: str) -> str:
    return "y" if word[-1] in _VOWELS else ""


def _noun_phrase(phrase: NounPhrase, noun: str) -> str:
    """Adjective, "bir" or number, and ``noun``, which carries the suffixes already."""
    adjective = phrase.adjective.turkish if phrase.adjective else ""
    if phrase.number:
        return _joined(phrase.number.turkish, adjective, noun)
    return _joined(adjective, "bir" if phrase.determiner == "a" else "", noun)


def _direct_object(clause: Clause) -> str:
    """Definite objects are accusative; what is not done to any object has no "bir"."""
    phrase = clause.object
    if phrase is None:
        return ""
    if phrase.determiner == "the":
        return _noun_phrase(phrase, accusative(phrase.noun.turkish, phrase.noun.turkish_stem))
    if clause.negated:
        adjective = phrase.adjective.turkish if phrase.adjective else ""
        return _joined(adjective, phrase.noun.turkish)
    return _noun_phrase(phrase, phrase.noun.turkish)


def _place(clause: Clause | Description) -> str:
    place = clause.place
    if place is None:
        return ""
    if place.turkish_postposition:
        return f"{genitive(place.turkish, place.turkish_stem)} {place.turkish_postposition}"
    return locative(place.turkish)


def _clause(clause: Clause) -> str:
    subject = _noun_phrase(clause.subject, clause.subject.noun.turkish) if clause.subject else ""
    time = clause.time.turkish if clause.time else ""
    place = _place(clause)
    if clause.companion:
        place = _noun_phrase(clause.companion, instrumental(clause.companion.noun.turkish))
    direct_object, verb = _direct_object(clause), _verb(clause)
    before = [time, subject] if clause.time_first else [subject, time]
    match clause.question:
        case "who" if clause.object and clause.object.determiner == "the":
            return _joined(time, place, direct_object, "kim", verb)
        case "who":
            return _joined(time, place, "kim", direct_object, verb)
        case "what":
            return _joined(*before, "ne", verb)
        case "where":
            return _joined(*before, "nerede", verb)
        case "yes_no":
            return _joined(*before, place, direct_object, verb, "m" + high_vowel(verb))
        case _:
            return _joined(*before, place, direct_object, verb)


def _verb(clause: Clause) -> str:
    """The verb with the suffixes of modality, negation and tense."""
    stem = clause.verb.turkish
    before_vowel = clause.verb.turkish_stem or stem
    low = low_vowel(stem)
    match clause.modal.english if clause.modal else "":
        case "wants to":
            return f"{stem}m{low}k istiyor"
        case "can":
            return before_vowel + _buffer(before_vowel) + low + "bilir"
        case "must":
            return stem + "m" + low + "l" + high_vowel(low)
        case "will":
            return before_vowel + _buffer(before_vowel) + low + "c" + low + "k"
    if clause.past:
        past_stem = stem + "m" + low if clause.negated else stem
        return past_stem + _dental(past_stem) + high_vowel(past_stem)
    if clause.negated:
        return stem + "m" + high_vowel(stem) + "yor"
    return clause.verb.turkish_present


def _description(description: Description) -> str:
    phrase = description.subject
    subject = _noun_phrase(phrase, phrase.noun.turkish or "o")
    if description.question == "where":
        predicate = "nerede"
    elif description.adjective:
        predicate = description.adjective.turkish
    else:
        predicate = _place(description)
    words = [subject, predicate]
    if description.negated:
        words.append("değil")
    if description.question == "yes_no":
        words.append("m" + high_vowel(predicate))
    if description.past:
        words[-1] += _buffer(words[-1]) + _dental(words[-1]) + high_vowel(words[-1])
    return _joined(*words)


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)
