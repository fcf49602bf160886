"""What a data set holds, counted example by example in memory that hardly grows.

For each example 27 to 54 bytes are kept, to know it again; everything else is counts.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from taskaware.data.hashes import FirstSeen, hash_texts
from taskaware.data.manifest.line import LineProblem
from taskaware.data.manifest.read import iterate_manifest
from taskaware.data.manifest.source_files import file_problem
from taskaware.data.quality.overlap import HeldOut
from taskaware.data.writing_systems import count_words
from taskaware.errors import AudioError
from taskaware.types import TRAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from taskaware.data.prepared.folder import PreparedData
    from taskaware.data.quality.settings import OverlapSettings
    from taskaware.data.vocabulary.vocabulary import Vocabulary
    from taskaware.types import Example, Speech, Task

WORD_EDGES = (5, 10, 15, 20, 30, 40, 60, 100)
"""Where the bins of a histogram of words end, the last one has no end."""
SECOND_EDGES = (1, 2, 3, 5, 7, 10, 15, 20, 30)
"""Where the bins of a histogram of seconds end, the last one has no end."""
_SPACE_SIGN = "\u2581"  # stands for a space in a vocabulary's pieces
_EXAMPLES_PER_REPORT = 10_000
_MAX_UNREADABLE = 3  # recordings that are named; all are counted


@dataclass(frozen=True, kw_only=True, order=True)
class Group:
    """Examples that are counted together.

    Attributes:
        task: Their task's name.
        dataset: Their corpus.
        split: Their split.
    """

    task: str
    dataset: str
    split: str


class Distribution:
    """Numbers from 0 up: their count, sum and largest exactly, their quantiles to a hundredth."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.longest = 0.0
        self._hundredths: Counter[int] = Counter()

    def add(self, value: float) -> None:
        """Add a number."""
        self.count += 1
        self.total += value
        self.longest = max(self.longest, value)
        self._hundredths[round(value * 100)] += 1

    @property
    def mean(self) -> float:
        """The mean; 0 of no numbers."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """The smallest number that at least this share of all numbers, above 0, does not exceed.

        The nearest-rank quantile: always one of the numbers, to a hundredth; 0 of no numbers.
        """
        rank = math.ceil(share * self.count)
        seen = 0
        for hundredth in sorted(self._hundredths):
            seen += self._hundredths[hundredth]
            if seen >= rank:
                return hundredth / 100
        return 0.0

    def histogram(self, edges: Sequence[float]) -> list[int]:
        """How many numbers lie in each bin: below the first edge, ..., from the last edge up."""
        bins = [0] * (len(edges) + 1)
        for hundredth, number in self._hundredths.items():
            bins[sum(hundredth >= edge * 100 for edge in edges)] += number
        return bins


@dataclass
class GroupStatistics:
    """What the examples of one task, corpus and split hold.

    Attributes:
        task: Their task.
        examples: Number of examples.
        synthetic: How many of them have a source or target that people did not make
            (``Example.origin`` is not empty).
        seconds: Lengths of the speech.
        synthetic_seconds: The same of synthetic examples alone.
        unmeasured: Number of speech examples whose length is not known.
        source_words: Words between white space of each source text.
        target_words: The same of each target text.
        speakers: The speakers, as hashes.
        duplicates: Number of examples whose task, source and target text an earlier one of the
            split has as well.
        characters: Number of characters of all texts.
        outside: Characters that are no piece of the vocabulary, with how often they occur.
    """

    task: Task
    examples: int = 0
    synthetic: int = 0
    seconds: Distribution = field(default_factory=Distribution)
    synthetic_seconds: Distribution = field(default_factory=Distribution)
    unmeasured: int = 0
    source_words: Distribution = field(default_factory=Distribution)
    target_words: Distribution = field(default_factory=Distribution)
    speakers: FirstSeen = field(default_factory=FirstSeen)
    duplicates: int = 0
    characters: int = 0
    outside: Counter[str] = field(default_factory=Counter)


class Statistics:
    """Counts examples; those of train last, so that their overlap with the others is known.

    Attributes:
        groups: What was counted, by task, corpus and split.
        problems: Number of bad lines of manifests, by split.
        unreadable: Number of examples whose recording cannot be read.
        unreadable_reasons: Why, for the first of them.
        held_out: What the later splits share with train.
        has_vocabulary: Whether characters were looked up in one.
    """

    def __init__(
        self,
        *,
        vocabulary: Vocabulary | None = None,
        open_recordings: bool = True,
        overlap: OverlapSettings | None = None,
    ) -> None:
        """Make an empty count.

        Args:
            vocabulary: Where to look up characters; ``None``: nowhere.
            open_recordings: Read the header of a recording where an example has no length.
            overlap: What counts as overlap.
        """
        self.groups: dict[Group, GroupStatistics] = {}
        self.problems: Counter[str] = Counter()
        self.unreadable = 0
        self.unreadable_reasons: list[str] = []
        self.held_out = HeldOut(overlap)
        self.has_vocabulary = vocabulary is not None
        self._known = None if vocabulary is None else known_characters(vocabulary)
        self._open_recordings = open_recordings
        self._seen: dict[str, FirstSeen] = {}
        # Tasks that share a recording follow one another in manifests.
        self._recording_seconds = lru_cache(maxsize=1024)(_recording_seconds)

    @property
    def splits(self) -> list[str]:
        """The splits, train first, the others by name."""
        names = {group.split for group in self.groups} | set(self.problems)
        return sorted(names, key=lambda name: (name != TRAIN, name))

    def add(self, split: str, example: Example, task: Task) -> None:
        """Count one example.

        Args:
            split: Its split; ``"train"`` last of all.
            example: The example.
            task: The task that ``example.task`` names.
        """
        group = self.groups.setdefault(
            Group(task=task.name, dataset=example.dataset, split=split), GroupStatistics(task=task)
        )
        group.examples += 1
        group.synthetic += bool(example.origin)
        if split == TRAIN:
            self.held_out.find(example)
        else:
            self.held_out.add(split, example)
        if example.source_text is not None:
            group.source_words.add(count_words(example.source_text))
        group.target_words.add(count_words(example.target_text))
        if example.speaker:
            group.speakers.put(hash_texts(example.speaker))
        self._add_seconds(group, example)
        self._add_characters(group, example)
        key = hash_texts(task.name, *_source(example), example.target_text)
        group.duplicates += self._seen.setdefault(split, FirstSeen()).put(key) is not None

    def _add_seconds(self, group: GroupStatistics, example: Example) -> None:
        speech = example.speech
        if speech is None:
            return
        seconds = self._length(speech)
        if seconds is None:
            group.unmeasured += 1
            return
        group.seconds.add(seconds)
        if example.origin:
            group.synthetic_seconds.add(seconds)

    def _length(self, speech: Speech) -> float | None:
        if speech.duration_seconds is not None:
            return speech.duration_seconds
        if not self._open_recordings:
            return None
        found = self._recording_seconds(speech.path)
        if isinstance(found, str):
            self.unreadable += 1
            if found not in self.unreadable_reasons[:_MAX_UNREADABLE]:
                self.unreadable_reasons = [*self.unreadable_reasons, found][:_MAX_UNREADABLE]
            return None
        return max(0.0, found - speech.start_seconds)

    def _add_characters(self, group: GroupStatistics, example: Example) -> None:
        for text in (example.source_text or "", example.target_text):
            group.characters += len(text)
            if self._known is not None:
                for character in set(text) - self._known:
                    group.outside[character] += text.count(character)


def measure(
    manifests: Mapping[str, Sequence[Path]],
    *,
    vocabulary: Vocabulary | None = None,
    open_recordings: bool = True,
    overlap: OverlapSettings | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Statistics:
    """Read manifests, train last, and count what they hold.

    Args:
        manifests: The manifests of each split.
        vocabulary: Where to look up characters.
        open_recordings: Read the header of a recording where an example has no length.
        overlap: What counts as overlap between train and the others.
        progress: Called with the stage, how many bytes are read, and how many there are.

    Raises:
        ManifestError: A manifest is not one.
    """
    statistics = Statistics(vocabulary=vocabulary, open_recordings=open_recordings, overlap=overlap)
    for split in sorted(manifests, key=lambda name: name == TRAIN):
        _add_split(statistics, split, manifests[split], progress or (lambda *_: None))
    return statistics


def measure_prepared(
    data: PreparedData,
    *,
    vocabulary: Vocabulary | None = None,
    overlap: OverlapSettings | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Statistics:
    """Count what a prepared folder holds: the examples that are used, train last.

    The length of speech is that of its features; no recording is opened.

    Args:
        data: The folder.
        vocabulary: Where to look up characters; ``None``: in the folder's own.
        overlap: What counts as overlap between train and the others.
        progress: Called with the stage, how many examples are read, and how many there are.

    Raises:
        DataError: A shard is missing or damaged.
    """
    statistics = Statistics(vocabulary=vocabulary or data.vocabulary, overlap=overlap)
    tasks, features = {task.name: task for task in data.tasks}, data.feature_settings
    for name in sorted(data.split_names, key=lambda name: name == TRAIN):
        split = data.split(name)
        for row in range(len(split)):
            example = split.example(row)
            if example.speech is not None and example.speech.duration_seconds is None:
                frames = int(split.lengths(np.array([row]))[0][0])
                seconds = (frames * data.hop_ms + features.window_ms - features.hop_ms) / 1000
                speech = replace(example.speech, duration_seconds=seconds)
                example = replace(example, speech=speech)
            statistics.add(name, example, tasks[example.task])
            if progress is not None and (row + 1) % _EXAMPLES_PER_REPORT == 0:
                progress(f"read {name}", row + 1, len(split))
        if progress is not None:
            progress(f"read {name}", len(split), len(split))
    return statistics


def _add_split(
    statistics: Statistics,
    split: str,
    paths: Sequence[Path],
    progress: Callable[[str, int, int], None],
) -> None:
    total = sum(_size(path) for path in paths)
    done = 0

    def show(num_bytes: int) -> None:
        progress(f"read {split}", done + num_bytes, total)

    for path in paths:
        for item in iterate_manifest(path, on_bytes=show):
            if isinstance(item, LineProblem):
                statistics.problems[split] += 1
            else:
                statistics.add(split, item.example, item.task)
        done += _size(path)
        show(0)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0  # a missing one is found when it is read


def known_characters(vocabulary: Vocabulary) -> frozenset[str]:
    """Return the characters that are pieces of their own; others cost up to four byte pieces."""
    pieces = vocabulary.pieces(range(vocabulary.size))
    characters = {piece for piece in pieces if len(piece) == 1 and not vocabulary.has_tag(piece)}
    return frozenset(" " if sign == _SPACE_SIGN else sign for sign in characters)


def _source(example: Example) -> tuple[str, ...]:
    """Return what tells one source from another."""
    if example.speech is not None:
        speech = example.speech
        segment = speech.start_seconds, speech.duration_seconds, speech.channel
        return str(speech.path), *(str(part) for part in segment)
    return (example.source_text if example.source_text is not None else str(example.features_path),)


def _recording_seconds(path: Path) -> float | str:
    """Return the length of a recording, or why it cannot be read."""
    from taskaware.data.sound import audio

    problem = file_problem(path)
    if problem is not None:
        return f"{path}: {problem}"
    try:
        return audio.info(path).duration_seconds
    except AudioError as error:
        return str(error)
