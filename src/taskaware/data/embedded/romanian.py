"""How Romanian says it: suffixed article, gender, adjectives after nouns, subjunctive with "să"."""

from __future__ import annotations

from taskaware.data.embedded.phrases import Clause, Compound, Description, Meaning, NounPhrase

_CONJUNCTIONS = {"and": " și", "but": ", dar", "because": " pentru că"}


def romanian(meaning: Meaning) -> str:
    """The words of the sentence, without capital and final mark."""
    match meaning:
        case Compound(first=first, conjunction=conjunction, second=second):
            return f"{_clause(first)}{_CONJUNCTIONS[conjunction]} {_clause(second)}"
        case Description():
            return _description(meaning)
        case Clause():
            return _clause(meaning)


def _noun_phrase(phrase: NounPhrase) -> str:
    noun = phrase.noun
    feminine = noun.romanian_gender == "f"
    adjective = ""
    if phrase.number:
        if phrase.adjective:
            masculine = noun.romanian_gender == "m"
            adjective = (
                phrase.adjective.romanian_masculine_plural
                if masculine
                else phrase.adjective.romanian_feminine_plural
            )
        return _joined(phrase.number.romanian, noun.romanian_plural, adjective)
    if phrase.adjective:
        adjective = (
            phrase.adjective.romanian_feminine if feminine else phrase.adjective.romanian_masculine
        )
    match phrase.determiner:
        case "the":
            return _joined(noun.romanian_definite, adjective)
        case "my":
            return _joined(noun.romanian_definite, "mea" if feminine else "meu", adjective)
        case "a":
            return _joined("o" if feminine else "un", noun.romanian, adjective)
        case _:
            return _joined(noun.romanian, adjective)


def _description(description: Description) -> str:
    subject = _noun_phrase(description.subject)
    verb = "era" if description.past else "este"
    if description.question == "where":
        return _joined("unde", verb, subject)
    adjective = ""
    if description.adjective:
        feminine = description.subject.noun.romanian_gender == "f"
        adjective = (
            description.adjective.romanian_feminine
            if feminine
            else description.adjective.romanian_masculine
        )
    place = description.place.romanian if description.place else ""
    return _joined(subject, "nu" if description.negated else "", verb, adjective, place)


def _clause(clause: Clause) -> str:
    subject = _noun_phrase(clause.subject) if clause.subject else ""
    time = clause.time.romanian if clause.time else ""
    verb = _verb(clause)
    match clause.question:
        case "what" | "where":
            return _joined("ce" if clause.question == "what" else "unde", verb, subject, time)
        case "who":
            subject = "cine"
    before = [time, subject] if clause.time_first else [subject]
    after = [
        _noun_phrase(clause.object) if clause.object else "",
        f"cu {_noun_phrase(clause.companion)}" if clause.companion else "",
        clause.place.romanian if clause.place else "",
        "" if clause.time_first else time,
    ]
    return _joined(*before, verb, *after)


def _verb(clause: Clause) -> str:
    verb = clause.verb
    reflexive = verb.romanian_reflexive
    negation = "nu" if clause.negated else ""
    if clause.modal and clause.modal.romanian_subjunctive:
        modal, particle = clause.modal.romanian, clause.modal.romanian_subjunctive
        return _joined(modal, particle, reflexive, verb.romanian_subjunctive)
    if clause.modal:
        return _joined(reflexive, clause.modal.romanian, verb.romanian_infinitive)
    if clause.past:
        auxiliary = "s-a" if reflexive else "a"
        return _joined(negation, auxiliary, verb.romanian_participle)
    return _joined(negation, reflexive, verb.romanian_present)


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)
