"""What training data must not contain: what a later split is scored on.

Held in memory are the later splits alone, a few 64-bit hashes an example; train may have any size.
Pass once over the later splits with ``HeldOut.add``, then over train with ``HeldOut.find``.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from taskaware.data.hashes import hash_texts
from taskaware.data.quality.checks import Finding
from taskaware.data.quality.settings import OverlapSettings
from taskaware.data.writing_systems import count_words, lower, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from taskaware.types import Example

Rule = Literal["recording", "text pair", "transcript", "source text", "target text"]
RULES: tuple[Rule, ...] = ("recording", "text pair", "transcript", "source text", "target text")
"""How two examples can overlap, what matters most first."""
HARMLESS: tuple[Rule, ...] = ("source text", "target text")
"""The rules that only count."""
_Segment = tuple[int, float, float]  # hash of the file, start and end in seconds
_DASH = re.compile(r"[\u2010-\u2015\u2212\u2043\uFE58\uFE63\uFF0D]")
_SPACED_SIGN = re.compile(r"(?<=\d) +([-/*:÷×+=<>]) +(?=\d)")
_NUMBERS_APART = re.compile(r"(?<=\d)(?:\s+|[,.;:!?]\s+)(?=\d)")
# Corpora round times to a hundredth of a second, so that neighbours seem to share that much.
_ROUNDING_SECONDS = 0.01


@dataclass(frozen=True, kw_only=True)
class OverlapCounts:
    """How much train and a later split share; an example counts once, under its first rule.

    Attributes:
        train: Number of train examples that the later split has as well, by task and rule.
        held_out: Number of examples of the later split that train has as well, by task and rule.
    """

    train: Counter[tuple[str, Rule]]
    held_out: Counter[tuple[str, Rule]]


class HeldOut:
    """What train must not contain.

    A train example overlaps with a held-out one if one of these rules says so:

    - ``recording``: both use the same file, and their segments share more than 0.01 s; so do two
      examples that name the same file of features. The task does not matter: a transcript in train
      tells much of the translation in test.
    - ``text pair``: both have a source text and a target text, and these are the same two texts,
      in either direction and whatever the task; both have ``min_pair_words`` words or more.
    - ``transcript``: both have speech (or features), their task and their target text are the same,
      and that text has ``min_words`` words or more, whoever speaks.

    Two further rules only count, as much in language recurs naturally: ``source text`` and
    ``target text``, where that text alone is the source (target) text of a held-out example of any
    task and kind.

    Texts are the same if ``bare`` makes the same of them. The same recording under another name, or
    in another coding, is not seen.
    """

    def __init__(self, settings: OverlapSettings | None = None) -> None:
        self._settings = settings or OverlapSettings()
        self._splits: dict[str, _HeldSplit] = {}

    def add(self, split: str, example: Example) -> None:
        """Hold an example of a later split; to be done for all of them before ``find``."""
        held = self._splits.setdefault(split, _HeldSplit())
        held.add(example, self._keys(example), _segment_of(example))

    def find(self, example: Example, column: str = "audio") -> Finding | None:
        """Say what a train example shares with a held-out one; ``None``: nothing that matters.

        The reason names the split and the id of a held-out example that it is shared with.
        Whatever is found is counted, texts shared alone too. ``column`` is the one of the manifest
        that gives the source.
        """
        keys, segment = self._keys(example), _segment_of(example)
        found: Finding | None = None
        for name, held in self._splits.items():
            shared = list(held.shared(keys, segment))
            if not shared:
                continue
            rule, number = shared[0]
            held.in_train[example.task, rule] += 1
            if found is None and rule not in HARMLESS:
                found = _finding(rule, column, name, held.ids[number])
        return found

    def counts(self) -> dict[str, OverlapCounts]:
        """Return what ``find`` has found so far, by held-out split."""
        return {
            name: OverlapCounts(train=held.in_train, held_out=held.count_met())
            for name, held in self._splits.items()
        }

    def warnings(self) -> list[str]:
        """Say what train and the later splits share, a sentence for each split, task and rule.

        Only what is trained on: with the action ``"drop"`` the texts that are shared alone.
        """
        allowed = RULES if self._settings.action == "allow" else HARMLESS
        return [
            f"{name}: {number:,} of {held.tasks.count(task):,} examples of the task '{task}' have "
            f"a {rule} that is also in train"
            for name, held in self._splits.items()
            for (task, rule), number in sorted(held.count_met().items())
            if rule in allowed
        ]

    def _keys(self, example: Example) -> list[tuple[Rule, int]]:
        """Return the hashes of an example's texts, by the rules that compare them."""
        target = bare(example.target_text)
        keys: list[tuple[Rule, int]] = []
        if example.source_text is not None:
            source = bare(example.source_text)
            shorter = min(map(count_words, (example.source_text, example.target_text)))
            if shorter >= self._settings.min_pair_words:
                keys.append(("text pair", hash_texts("text pair", *sorted((source, target)))))
            keys.append(("source text", hash_texts("source text", source)))
        elif count_words(example.target_text) >= self._settings.min_words:
            keys.append(("transcript", hash_texts("transcript", example.task, target)))
        keys.append(("target text", hash_texts("target text", target)))
        return keys


class _HeldSplit:
    """One later split, and what of it was met in train."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.tasks: list[str] = []
        self.in_train: Counter[tuple[str, Rule]] = Counter()
        self._holders: dict[int, list[int]] = {}  # by hash of a text
        self._segments: dict[int, dict[_Segment, list[int]]] = {}  # by file
        self._ranks = bytearray()  # the first of RULES by which each example was met
        self._met: set[int | _Segment] = set()  # the hashes and segments that were met

    def add(
        self, example: Example, keys: Sequence[tuple[Rule, int]], segment: _Segment | None
    ) -> None:
        number = len(self.ids)
        self.ids.append(example.id)
        self.tasks.append(example.task)
        self._ranks.append(len(RULES))
        if segment is not None:
            self._segments.setdefault(segment[0], {}).setdefault(segment, []).append(number)
        for _, key in keys:
            self._holders.setdefault(key, []).append(number)

    def shared(
        self, keys: Sequence[tuple[Rule, int]], segment: _Segment | None
    ) -> Iterator[tuple[Rule, int]]:
        """Yield what a train example shares: rule and held-out example, what matters most first."""
        if segment is not None:
            for other, numbers in self._segments.get(segment[0], {}).items():
                if min(segment[2], other[2]) - max(segment[1], other[1]) > _ROUNDING_SECONDS:
                    self._meet(other, "recording", numbers)
                    yield "recording", numbers[0]
        for rule, key in keys:
            if numbers := self._holders.get(key):
                self._meet(key, rule, numbers)
                yield rule, numbers[0]

    def count_met(self) -> Counter[tuple[str, Rule]]:
        return Counter(
            (task, RULES[rank])
            for task, rank in zip(self.tasks, self._ranks, strict=True)
            if rank < len(RULES)
        )

    def _meet(self, key: int | _Segment, rule: Rule, numbers: Sequence[int]) -> None:
        if key in self._met:  # a text that is everywhere is marked once
            return
        self._met.add(key)
        rank = RULES.index(rule)
        for number in numbers:
            self._ranks[number] = min(self._ranks[number], rank)


def _segment_of(example: Example) -> _Segment | None:
    speech = example.speech
    if speech is not None:
        length = speech.duration_seconds
        end = math.inf if length is None else speech.start_seconds + length
        return hash_texts("audio", str(speech.path)), speech.start_seconds, end
    if example.features_path is not None:
        return hash_texts("features", str(example.features_path)), 0.0, math.inf
    return None


def _finding(rule: Rule, column: str, split: str, id_: str) -> Finding:
    has = {
        "recording": "uses the same segment of this recording",
        "text pair": "has the same source and target text",
        "transcript": "has the same text in the same task",
    }
    return Finding(
        field=column if rule == "recording" else "target_text",
        reason=f"must not be in the split '{split}' as well, but its example '{id_}' {has[rule]}",
    )


def bare(text: str) -> str:
    """Return what makes a text the text it is, so that two of them can be compared.

    Kept are letters with their marks (vowel signs of Indic scripts and Thai, vowel points of Arabic
    and Hebrew) in lower case, digits, symbols (``+``, ``=``, ``$``, also ``#``, ``%``, ``&`` and
    ``@``), and what belongs to a number: a sign between two digits ("3.5", "10:30", "1 - 2", "1/2")
    and a minus before one ("-5"). Numbers stay apart. All other punctuation and white space goes,
    with what nobody sees (``writing.visible``). A text without any of that is returned as it is.
    """
    folded = lower(visible(visible(text).casefold()))
    kept = _SPACED_SIGN.sub(r"\1", _DASH.sub("-", folded))
    kept = _NUMBERS_APART.sub("\x00", kept)  # a place that nothing else may fill
    found = "".join(
        character
        for position, character in enumerate(kept)
        if _counts(character) or _is_of_number(kept, position)
    )
    return found.replace("\x00", " ") or text


def _counts(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LNM" or category in ("Sm", "Sc", "So") or character in "#%‰&@\x00"


def _is_of_number(text: str, position: int) -> bool:
    """Whether a sign of punctuation stands between two digits, or is the minus of one."""
    before, after = text[position - 1 : position], text[position + 1 : position + 2]
    if text[position].isspace() or not after.isdigit():
        return False
    return before.isdigit() or (text[position] == "-" and (not before or before in " ([="))
