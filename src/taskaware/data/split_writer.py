"""One split of a prepared folder: its lines checked, its features and examples written."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from taskaware.data import extraction, prepared
from taskaware.data.checks import CheckSettings, Finding, check_fits_speech, check_text_length
from taskaware.data.extraction import FeatureArrayWriter, Source
from taskaware.data.inputs import Progress, SplitInput, line_problem
from taskaware.types import Example, Speech

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from taskaware.data.features import FeatureSettings
    from taskaware.data.manifest import LineProblem, ManifestLine
    from taskaware.data.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """What became of one split.

    Attributes:
        examples: Number of examples that are used, by task.
        num_left_out: Number of lines that are not used.
        num_frames: Feature frames in the split's array; what several examples share counts once.
        hours: The same as hours of speech; 0 for features that the manifest brings.
    """

    examples: dict[str, int]
    num_left_out: int
    num_frames: int
    hours: float

    @property
    def num_lines(self) -> int:
        """Number of lines in the manifests, good and bad."""
        return sum(self.examples.values()) + self.num_left_out


@dataclass(frozen=True, kw_only=True)
class SplitResult:
    """A split whose files are written.

    Attributes:
        examples: The examples that are used, in the order of the manifests.
        problems: One problem for each line that is left out, in that order.
        report: The same in numbers.
    """

    examples: list[Example]
    problems: tuple[LineProblem, ...]
    report: SplitReport


@dataclass(frozen=True, kw_only=True)
class SplitWriter:
    """Checks the lines of a split and writes its two files; one serves every split.

    Attributes:
        folder: Where to write.
        vocabulary: Tells how long the texts are.
        features: How a waveform becomes features.
        checks: When an example is left out.
        num_columns: F of all features, from speech and from NumPy files.
        num_workers: Threads that compute features.
        progress: Called as the work goes on.
    """

    folder: Path
    vocabulary: Vocabulary
    features: FeatureSettings
    checks: CheckSettings
    num_columns: int
    num_workers: int
    progress: Progress

    def write(self, name: str, split: SplitInput) -> SplitResult:
        """Check, extract and write; the result also says what was left out."""
        lines, target_lengths, problems = self._check_texts(split.lines)
        problems += split.problems
        users: dict[Source, list[int]] = {}  # a stretch of speech may serve several tasks
        for i, line in enumerate(lines):
            source = line.example.speech or line.example.features_path
            if source is not None:
                users.setdefault(source, []).append(i)
        examples = {
            i: line.example for i, line in enumerate(lines) if line.example.source_text is not None
        }
        num_speech_frames = 0
        with FeatureArrayWriter(prepared.features_path(self.folder, name)) as array:
            for source, features in self._extract(name, list(users)):
                good: list[int] = []
                for i in users[source]:
                    finding = self._finding(source, features, target_lengths[i])
                    if finding is None:
                        good.append(i)
                    else:
                        problems.append(line_problem(lines[i], finding))
                if good and isinstance(features, np.ndarray):
                    rows = array.append(features)
                    examples |= {i: replace(lines[i].example, feature_rows=rows) for i in good}
                    num_speech_frames += rows.num_rows if isinstance(source, Speech) else 0
        kept = [example for _, example in sorted(examples.items())]
        with prepared.examples_path(self.folder, name).open("w", encoding="utf-8") as file:
            file.writelines(prepared.example_to_json(example) + "\n" for example in kept)
        problems.sort(key=lambda problem: (str(problem.file), problem.line))
        report = SplitReport(
            examples=dict(Counter(example.task for example in kept)),
            num_left_out=len(problems),
            num_frames=array.num_rows,
            hours=num_speech_frames * self.features.hop_ms / 3_600_000,
        )
        return SplitResult(examples=kept, problems=tuple(problems), report=report)

    def _check_texts(
        self, lines: Sequence[ManifestLine]
    ) -> tuple[list[ManifestLine], list[int], list[LineProblem]]:
        """Return the lines whose texts are short enough, their target lengths, and the others."""
        targets = self.vocabulary.encode_many([line.example.target_text for line in lines])
        sources = self.vocabulary.encode_many([line.example.source_text or "" for line in lines])
        good: list[ManifestLine] = []
        lengths: list[int] = []
        problems: list[LineProblem] = []
        checks = self.checks
        for line, target, source in zip(lines, targets, sources, strict=True):
            finding = check_text_length(len(target), "target_text", checks)
            finding = finding or check_text_length(len(source), "source_text", checks)
            if finding is None:
                good.append(line)
                lengths.append(len(target))
            else:
                problems.append(line_problem(line, finding))
        return good, lengths, problems

    def _extract(
        self, name: str, sources: Sequence[Source]
    ) -> Iterator[tuple[Source, np.ndarray | Finding]]:
        extract_one = partial(
            extraction.extract_source,
            features=self.features,
            checks=self.checks,
            num_columns=self.num_columns,
        )
        results = extraction.extract(sources, extract_one, num_workers=self.num_workers)
        with closing(results):
            for done, (source, result) in enumerate(zip(sources, results, strict=True), start=1):
                yield source, result
                self.progress(f"features of {name}", done, len(sources))

    def _finding(
        self, source: Source, features: np.ndarray | Finding, num_target_pieces: int
    ) -> Finding | None:
        if isinstance(features, Finding):
            return features
        if isinstance(source, Speech):
            return check_fits_speech(len(features), num_target_pieces, self.checks)
        return None
