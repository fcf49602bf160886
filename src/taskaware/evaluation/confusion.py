"""Confusion rate: how many outputs belong to another task on the same input.

A model without a cue hears English and cannot know whether English or German is wanted. WER and
BLEU punish its wrong guess like any other error; the confusion rate counts the wrong guesses.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskaware.data.writing_systems import is_sign
from taskaware.errors import UnknownTaskError, nearest
from taskaware.evaluation.metrics import normalise_transcript

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from taskaware.types import Example, Task


@dataclass(frozen=True, kw_only=True)
class ConfusionResult:
    """How often outputs belong to another task.

    Attributes:
        rate: Confused outputs over ``num_examples``, a fraction; ``None`` where that is 0.
        num_examples: Examples with a reference of another task, so that confusion can be seen.
        confused: For every output in order, whether it belongs to another task.
    """

    rate: float | None
    num_examples: int
    confused: tuple[bool, ...]


def similarity(text: str, other: str) -> float:
    """How alike two sentences are, from 0 to 1: the F1 score of their character trigrams.

    ``2 |A ∩ B| / (|A| + |B|)`` with A, B the multisets of trigrams of the sentences after
    ``normalise_transcript`` (no case, no punctuation) and with a space at both ends, so that one
    letter is a trigram too. A sign of Chinese or Japanese stands for a word: it gets a space at
    both ends, so that single signs and pairs are compared. Two empty sentences have similarity 0.

    Trigrams, because they ask least of an output. Measured on pairs of real references (300 each),
    with outputs that have nothing to do with their input, the worst case: on captions of 11 words
    95-97 % of those in the other language were seen and 2 % of those in the right one blamed
    (words: 84-89 % and 0-2 %; chrF: 90-92 % and 3-4 %), on game dialogue of 6 words only 54-59 %
    and 12-24 %. Of right-language outputs that were half right, none was blamed on either.
    """
    own, others = _trigrams(text), _trigrams(other)
    total = own.total() + others.total()
    return 2 * (own & others).total() / total if total else 0.0


def confusion_rate(
    outputs: Sequence[str],
    own_references: Sequence[str],
    other_references: Sequence[Sequence[str]],
) -> ConfusionResult:
    """The share of outputs that belong to another task.

    An output is confused if it is strictly more similar to a reference of another task on the same
    input than to its own reference; so an empty output never is, nor one with equal references.

    Args:
        outputs: What the model wrote.
        own_references: What it should have written.
        other_references: What other tasks should write on the same input; may be empty for some.
    """
    counts = {len(outputs), len(own_references), len(other_references)}
    if len(counts) != 1:
        raise ValueError(
            f"outputs and both kinds of references must have the same number, but have {counts}"
        )
    confused = tuple(
        any(similarity(output, other) > similarity(output, own) for other in others)
        for output, own, others in zip(outputs, own_references, other_references, strict=True)
    )
    num_examples = sum(bool(others) for others in other_references)
    rate = sum(confused) / num_examples if num_examples else None
    return ConfusionResult(rate=rate, num_examples=num_examples, confused=confused)


def references_of_other_tasks(
    examples: Sequence[Example],
    tasks: Iterable[Task],
    pool: Iterable[Example] | None = None,
) -> list[list[str]]:
    """For each example, what tasks with another target language should write on the same input.

    Args:
        examples: The examples that were decoded.
        tasks: Every task that ``examples`` and ``pool`` name.
        pool: Where references are looked for, by ``Example.utterance``; by default in ``examples``.

    Raises:
        UnknownTaskError: An example names a task that is not among ``tasks``.
    """
    languages = {task.name: task.target_language for task in tasks}
    by_utterance: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for example in examples if pool is None else pool:
        if example.utterance:
            target = (_language(example, languages), example.target_text)
            by_utterance[example.utterance].append(target)
    found = []
    for example in examples:
        own = _language(example, languages)
        targets = by_utterance.get(example.utterance, [])
        others = [text for language, text in targets if language != own]
        found.append(list(dict.fromkeys(others)))
    return found


def _language(example: Example, languages: dict[str, str]) -> str:
    if example.task not in languages:
        known = ", ".join(languages)
        raise UnknownTaskError(
            f"example '{example.id}': its task must be one of {known}, but is '{example.task}'"
            + nearest(example.task, languages)
        )
    return languages[example.task]


def _trigrams(text: str) -> Counter[str]:
    signs = (f" {sign} " if is_sign(sign) else sign for sign in normalise_transcript(text))
    words = "".join(signs).split()
    if not words:
        return Counter()
    padded = f" {' '.join(words)} "
    return Counter(padded[start : start + 3] for start in range(len(padded) - 2))
