"""How German says it: gender and case, adjective endings, verb second, verb last, separable verbs.

Order of a main clause: first field, finite verb, subject (where it is not first), time, object,
"nicht", companion or place, and at the end what the finite verb leaves behind: prefix, participle
or infinitive.
"""

from __future__ import annotations

from typing import Literal

from taskaware.data.embedded.phrases import Clause, Compound, Description, Meaning, NounPhrase

Case = Literal["nominative", "accusative", "dative"]

_DEFINITE_ARTICLES = {
    "nominative": {"m": "der", "f": "die", "n": "das"},
    "accusative": {"m": "den", "f": "die", "n": "das"},
    "dative": {"m": "dem", "f": "der", "n": "dem"},
}
# Of ein, kein and mein.
_INDEFINITE_ENDINGS = {
    "nominative": {"m": "", "f": "e", "n": ""},
    "accusative": {"m": "en", "f": "e", "n": ""},
    "dative": {"m": "em", "f": "er", "n": "em"},
}
_ADJECTIVE_ENDINGS_AFTER_DEFINITE = {
    "nominative": {"m": "e", "f": "e", "n": "e"},
    "accusative": {"m": "en", "f": "e", "n": "e"},
    "dative": {"m": "en", "f": "en", "n": "en"},
}
# After ein, kein and mein; without article the nominative and the accusative are the same.
_ADJECTIVE_ENDINGS_AFTER_INDEFINITE = {
    "nominative": {"m": "er", "f": "e", "n": "es"},
    "accusative": {"m": "en", "f": "e", "n": "es"},
    "dative": {"m": "en", "f": "en", "n": "en"},
}
_ADJECTIVE_ENDING_OF_PLURAL_WITHOUT_ARTICLE = "e"
_CONTRACTIONS = {"in dem": "im", "an dem": "am"}
_CONJUNCTIONS = {"and": " und", "but": ", aber", "because": ", weil"}


def german(meaning: Meaning) -> str:
    """The words of the sentence, without capital and final mark."""
    match meaning:
        case Compound(first=first, conjunction=conjunction, second=second):
            clause = _subordinate_clause(second) if conjunction == "because" else _clause(second)
            return f"{_clause(first)}{_CONJUNCTIONS[conjunction]} {clause}"
        case Description():
            return _description(meaning)
        case Clause():
            return _clause(meaning)


def _noun_phrase(phrase: NounPhrase, case: Case, *, negated: bool = False) -> str:
    """Article or number, adjective and noun; ``negated`` says "kein" where there is no "der"."""
    noun = phrase.noun
    gender = noun.german_gender
    adjective = ""
    if phrase.number:
        if phrase.adjective:
            stem = phrase.adjective.german_stem or phrase.adjective.german
            adjective = stem + _ADJECTIVE_ENDING_OF_PLURAL_WITHOUT_ARTICLE
        return _joined(phrase.number.german, adjective, noun.german_plural)
    article = ""
    if phrase.determiner == "the":
        article = _DEFINITE_ARTICLES[case][gender]
        endings = _ADJECTIVE_ENDINGS_AFTER_DEFINITE
    else:
        endings = _ADJECTIVE_ENDINGS_AFTER_INDEFINITE
        stem = "kein" if negated else {"a": "ein", "my": "mein", "": ""}[phrase.determiner]
        article = stem + _INDEFINITE_ENDINGS[case][gender] if stem else ""
    if phrase.adjective:
        stem = phrase.adjective.german_stem or phrase.adjective.german
        adjective = stem + endings[case][gender]
    word = (noun.german_dative or noun.german) if case == "dative" else noun.german
    return _joined(article, adjective, word)


def _place(clause: Clause | Description) -> str:
    if not clause.place:
        return ""
    article = _DEFINITE_ARTICLES["dative"][clause.place.german_gender]
    preposition = f"{clause.place.german} {article}"
    return f"{_CONTRACTIONS.get(preposition, preposition)} {clause.place.german_noun}"


def _description(description: Description) -> str:
    subject = _noun_phrase(description.subject, "nominative")
    verb = "war" if description.past else "ist"
    negation = "nicht" if description.negated else ""
    adjective = description.adjective.german if description.adjective else ""
    match description.question:
        case "where":
            return _joined("wo", verb, subject)
        case "yes_no":
            return _joined(verb, subject, negation, adjective, _place(description))
        case _:
            return _joined(subject, verb, negation, adjective, _place(description))


def _clause(clause: Clause) -> str:
    subject = _noun_phrase(clause.subject, "nominative") if clause.subject else ""
    finite, last = _verb(clause)
    first = {"yes_no": "", "who": "wer", "what": "was", "where": "wo", "": subject}[clause.question]
    if clause.time and clause.time_first:
        first = clause.time.german
    return _joined(first, finite, "" if first == subject else subject, *_middle_field(clause), last)


def _subordinate_clause(clause: Clause) -> str:
    """The clause after "weil": the finite verb comes last, and a separable prefix joins it."""
    subject = _noun_phrase(clause.subject, "nominative") if clause.subject else ""
    finite, last = _verb(clause)
    separated = clause.modal is None and not clause.past
    verb = last + finite if separated else _joined(last, finite)
    return _joined(subject, *_middle_field(clause), verb)


def _middle_field(clause: Clause) -> list[str]:
    time = clause.time.german if clause.time and not clause.time_first else ""
    direct_object = negation = companion = ""
    if clause.negated and (clause.object is None or clause.object.determiner == "the"):
        negation = "nicht"
    if clause.object:
        direct_object = _noun_phrase(clause.object, "accusative", negated=clause.negated)
    if clause.companion:
        companion = "mit " + _noun_phrase(clause.companion, "dative")
    return [time, direct_object, negation, companion, _place(clause)]


def _verb(clause: Clause) -> tuple[str, str]:
    """The finite verb and what stands at the end of the clause."""
    if clause.modal:
        return clause.modal.german, clause.verb.german_infinitive
    if clause.past:
        return clause.verb.german_auxiliary, clause.verb.german_participle
    return clause.verb.german_present, clause.verb.german_prefix


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)
