"""How English says it: articles a/an, auxiliary "do", verb particles."""

from __future__ import annotations

from taskaware.data.embedded.phrases import Clause, Compound, Description, Meaning, NounPhrase


def english(meaning: Meaning) -> str:
    """The words of the sentence, without capital and final mark."""
    match meaning:
        case Compound(first=first, conjunction=conjunction, second=second):
            comma = "," if conjunction == "but" else ""
            return f"{_clause(first)}{comma} {conjunction} {_clause(second)}"
        case Description():
            return _description(meaning)
        case Clause():
            return _clause(meaning)


def _noun_phrase(phrase: NounPhrase) -> str:
    noun = phrase.noun.english_plural if phrase.number else phrase.noun.english
    words = [phrase.adjective.english] if phrase.adjective else []
    words.append(noun)
    if phrase.number:
        words.insert(0, phrase.number.english)
    elif phrase.determiner == "a":
        words.insert(0, "an" if words[0][0] in "aeiou" else "a")
    elif phrase.determiner:
        words.insert(0, phrase.determiner)
    return " ".join(words)


def _description(description: Description) -> str:
    subject = _noun_phrase(description.subject)
    verb = "was" if description.past else "is"
    rest = ["not"] if description.negated else []
    if description.adjective:
        rest.append(description.adjective.english)
    if description.place:
        rest.append(f"{description.place.english} the {description.place.english_noun}")
    match description.question:
        case "where":
            words = ["where", verb, subject]
        case "yes_no":
            words = [verb, subject, *rest]
        case _:
            words = [subject, verb, *rest]
    return " ".join(words)


def _clause(clause: Clause) -> str:
    subject = _noun_phrase(clause.subject) if clause.subject else "who"
    auxiliary, verb = _verb(clause)
    words = {
        "": [subject, auxiliary, verb],
        "yes_no": [auxiliary, subject, verb],
        "who": [subject, auxiliary, verb],
        "what": ["what", auxiliary, subject, verb],
        "where": ["where", auxiliary, subject, verb],
    }[clause.question]
    words.append(clause.verb.english_particle)
    if clause.object:
        words.append(_noun_phrase(clause.object))
    if clause.companion:
        words.append(f"with {_noun_phrase(clause.companion)}")
    if clause.place:
        words.append(f"{clause.place.english} the {clause.place.english_noun}")
    if clause.time:
        words.insert(0 if clause.time_first else len(words), clause.time.english)
    return " ".join(word for word in words if word)


def _verb(clause: Clause) -> tuple[str, str]:
    """The auxiliary, which a question puts before the subject, and the verb without particle."""
    if clause.modal:
        return clause.modal.english, clause.verb.english
    if clause.negated or clause.question in ("yes_no", "what", "where"):
        auxiliary = "did" if clause.past else "does"
        return auxiliary + (" not" if clause.negated else ""), clause.verb.english
    return "", clause.verb.english_past if clause.past else clause.verb.english_present
