"""One split of a prepared folder: its examples checked, its shards written, shard after shard.

A shard that is complete is entered into a journal, so that a preparation that was broken off goes
on after its last complete shard.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskaware.data.manifest.line import LineProblem
from taskaware.data.prepare import extraction
from taskaware.data.prepare.encoding import (
    SourceEncoder,
    chunks_of_recordings,
    encode_recordings,
)
from taskaware.data.prepare.inputs import (
    Inputs,
    line_problem,
    read_kept,
    read_kept_by_recording,
)
from taskaware.data.prepare.results import SplitReport
from taskaware.data.prepared.shards import ShardRecord, ShardWriter
from taskaware.data.quality.checks import (
    Finding,
    check_fits_speech,
    check_pieces,
    check_text_length,
)
from taskaware.files import parse_json
from taskaware.line_file import open_lines
from taskaware.types import MODALITIES, Speech

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from taskaware.data.manifest.line import ManifestLine
    from taskaware.data.prepare.extraction import SourceFile
    from taskaware.data.prepare.problems import ProblemReport
    from taskaware.data.prepare.settings import PrepareSettings
    from taskaware.data.vocabulary.vocabulary import Vocabulary
    from taskaware.output_folder import OutputFolder
    from taskaware.types import Modality, ModalityFacts, StageProgress

_TEXTS_PER_CHUNK = 4096
_SOURCES_PER_CHUNK = 256  # what shares a source shares it within a chunk


class Journal:
    """The shards that are complete, and how far that brings their modality.

    Args:
        path: A file of JSON lines.
        fingerprint: Of what the folder is made from; a journal of another is of no use.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self._path = path
        self.entries: list[dict[str, Any]] = []
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            lines = []
        found: list[Any] = []
        with suppress(ValueError):  # a damaged line, and what comes after it, is written again
            found.extend(map(parse_json, lines[:-1]))  # the last one may be half a line
        first = {"fingerprint": fingerprint, "modalities": list(MODALITIES)}
        if found and found[0] == first:
            self.entries = found[1:]
        path.unlink(missing_ok=True)
        self._append(first, *self.entries)

    def of(self, split: str, modality: Modality) -> list[dict[str, Any]]:
        """Return the entries of one split and modality."""
        return [e for e in self.entries if (e["split"], e["modality"]) == (split, modality)]

    def add(self, entry: dict[str, Any]) -> None:
        """Enter a complete shard."""
        self.entries.append(entry)
        self._append(entry)

    def _append(self, *entries: dict[str, Any]) -> None:
        with open_lines(self._path, "a") as file:
            file.writelines(json.dumps(entry, default=str) + "\n" for entry in entries)


@dataclass(frozen=True, kw_only=True)
class SplitWriter:
    """Checks what was stored for a split and writes its shards; one serves every split.

    Attributes:
        output: The prepared folder, claimed.
        kept_folder: Where the examples are stored for now.
        inputs: What is stored there.
        vocabulary: Tells how long the texts are.
        settings: What is kept of speech, how features are made, when an example is left out.
        num_columns: F of all features, from speech and from NumPy files.
        journal: The shards that are complete.
        report: Collects what is left out.
        progress: Called as the work advances.
        encoder: Whose outputs are stored in place of the features of recordings, if any.
    """

    output: OutputFolder
    kept_folder: Path
    inputs: Inputs
    vocabulary: Vocabulary
    settings: PrepareSettings
    num_columns: int
    journal: Journal
    report: ProblemReport
    progress: StageProgress
    encoder: SourceEncoder | None = None

    def write(self, split: str) -> SplitReport:
        """Check and write; what was written before is kept."""
        records: list[ShardRecord] = []
        for modality in MODALITIES.values():
            records += self._write_modality(split, modality)
        examples: Counter[str] = Counter()
        for record in records:
            examples.update(record.examples)
        num_speech_frames = sum(record.num_speech_frames for record in records)
        if self.encoder is not None:
            num_speech_frames *= self.encoder.record.frames_per_position
        order = [task.name for task in self.inputs.tasks if task.name in examples]
        return SplitReport(
            examples={name: examples[name] for name in order},
            num_left_out=self.inputs.num_lines[split] - sum(examples.values()),
            num_frames=sum(record.num_frames for record in records),
            hours=num_speech_frames * self.settings.features.hop_ms / 3_600_000,
            removed=self.report.num_removed(split),
            shards=tuple(records),
        )

    def _write_modality(self, split: str, modality: ModalityFacts) -> list[ShardRecord]:
        name = modality.name
        entries = self.journal.of(split, name)
        records = [ShardRecord(**entry["shard"]) for entry in entries if entry["shard"]]
        for entry in entries:
            for problem in entry["problems"]:
                problem["file"] = Path(problem["file"])
                self.report.add(split, LineProblem(**problem))
        done = entries[-1]["lines"] if entries else 0
        total = self.inputs.num_kept.get((split, name), 0)
        numbers = {task.name: number for number, task in enumerate(self.inputs.tasks)}
        writer = ShardWriter(
            self.output.path / split,
            name,
            numbers,
            self.settings.shards,
            first=len(records),
            writing=lambda name: self.output.writing(f"{split}/{name}", noted=False),
        )
        is_encoded = self.encoder is not None and modality.is_recording
        kind = "texts" if modality.is_text else "encoder outputs" if is_encoded else "features"
        what = f"{kind} of {split}"
        problems: list[LineProblem] = []
        try:
            for chunk in self._chunks(split, modality, skip=done):
                if modality.is_text:
                    found = list(self._write_texts(writer, chunk, modality))
                else:
                    show = partial(self._show_more, what, done, total)
                    found = list(self._write_sources(writer, chunk, modality, show))
                for problem in found:
                    self.report.add(split, problem)
                problems += found
                done += len(chunk)
                self.progress(what, done, total)
                if writer.is_full or done == total:
                    record = writer.close()
                    shard = None if record is None else asdict(record)
                    found_here = [asdict(problem) for problem in problems]
                    self.journal.add(
                        {
                            **{"split": split, "modality": name, "lines": done},
                            **{"shard": shard, "problems": found_here},
                        }
                    )
                    records += [] if record is None else [record]
                    problems = []
        finally:
            writer.abandon()
        return records

    def _show_more(self, what: str, done: int, total: int, more: int) -> None:
        self.progress(what, done + more, total)

    def _chunks(
        self, split: str, modality: ModalityFacts, *, skip: int
    ) -> Iterator[list[ManifestLine]]:
        """Yield the lines that are written together, from a line on."""
        place = (self.kept_folder, split, modality.name, self.inputs.tasks)
        if self.encoder is not None and modality.is_recording:
            yield from chunks_of_recordings(read_kept_by_recording(*place, skip=skip))
            return
        size = _TEXTS_PER_CHUNK if modality.is_text else _SOURCES_PER_CHUNK
        lines = read_kept(*place, skip=skip)
        while chunk := list(islice(lines, min(size, self.settings.shards.examples))):
            yield chunk

    def _checked(
        self, chunk: list[ManifestLine], modality: ModalityFacts
    ) -> Iterator[tuple[ManifestLine, int, int] | LineProblem]:
        """Yield lines with the number of pieces of source and target, or what is wrong with one."""
        examples = [line.example for line in chunk]
        targets = self.vocabulary.encode_many([e.target_text for e in examples])
        sources = self.vocabulary.encode_sources([e.source_text or "" for e in examples])
        for line, target, source in zip(chunk, targets, sources, strict=True):
            finding = self._check_text(line.example.target_text, len(target), "target_text")
            finding = finding or self._check_text(
                line.example.source_text or "", len(source), modality.column, is_source=True
            )
            if finding is None:
                yield line, len(source), len(target)
            else:
                yield line_problem(line, finding)

    def _check_text(
        self, text: str, num_pieces: int, field: str, *, is_source: bool = False
    ) -> Finding | None:
        return check_text_length(num_pieces, field, self.settings.checks) or check_pieces(
            self.vocabulary.lost_in(text, is_source=is_source), field
        )

    def _write_texts(
        self, writer: ShardWriter, chunk: list[ManifestLine], modality: ModalityFacts
    ) -> Iterator[LineProblem]:
        for item in self._checked(chunk, modality):
            if isinstance(item, LineProblem):
                yield item
                continue
            line, source_length, target_length = item
            writer.add_text(line.example, source_length=source_length, target_length=target_length)

    def _write_sources(
        self,
        writer: ShardWriter,
        chunk: list[ManifestLine],
        modality: ModalityFacts,
        show: Callable[[int], None],
    ) -> Iterator[LineProblem]:
        """Write sources; ``show`` is told how many lines of the chunk are done so far."""
        users: dict[SourceFile, list[tuple[ManifestLine, int]]] = {}
        for item in self._checked(chunk, modality):
            if isinstance(item, LineProblem):
                yield item
                continue
            line, _, target_length = item
            source = line.example.speech or line.example.features_path
            if source is not None:
                users.setdefault(source, []).append((line, target_length))
        encoder = self.encoder if modality.is_recording else None
        if encoder is None:
            found = self._extract(list(users), modality)
        else:
            done = [0]

            def on_encoded(sources: Sequence[Speech]) -> None:
                done[0] += sum(len(users[source]) for source in sources)
                show(done[0])

            speech = [source for source in users if isinstance(source, Speech)]
            found = self._encode(encoder, speech, modality, on_encoded)
        for source, extracted in found:
            good = []
            for line, target_length in users[source]:
                finding = None
                if isinstance(extracted, Finding):
                    finding = extracted
                elif modality.is_recording:
                    finding = check_fits_speech(
                        extracted.num_frames, target_length, self.settings.checks
                    )
                if finding is None:
                    good.append((line.example, target_length))
                else:
                    yield line_problem(line, finding)
            if good and not isinstance(extracted, Finding):
                writer.add_source(
                    good,
                    extracted.data,
                    extracted.suffix,
                    num_frames=extracted.length,
                )

    def _encode(
        self,
        encoder: SourceEncoder,
        sources: list[Speech],
        modality: ModalityFacts,
        on_encoded: Callable[[Sequence[Speech]], None],
    ) -> Iterable[tuple[SourceFile, extraction.Extracted | Finding]]:
        one = partial(
            extraction.speech_features,
            column=modality.column,
            features=self.settings.features,
            checks=self.settings.checks,
        )
        with closing(extraction.extract(sources, one, num_workers=self._num_workers)) as results:
            found = list(results)  # torch has all its threads again for the encoder
        encoded = encode_recordings(
            found,
            encoder,
            column=modality.column,
            on_encoded=lambda places: on_encoded([sources[i] for i in places]),
        )
        return zip(sources, encoded, strict=True)

    @property
    def _num_workers(self) -> int:
        return self.settings.num_workers or extraction.num_available_cores()

    def _extract(
        self, sources: list[SourceFile], modality: ModalityFacts
    ) -> Iterable[tuple[SourceFile, extraction.Extracted | Finding]]:
        extract_one = partial(
            extraction.extract_source,
            column=modality.column,
            features=self.settings.features,
            checks=self.settings.checks,
            num_columns=self.num_columns,
            keep_audio=self.settings.store == "audio",
        )
        results = extraction.extract(sources, extract_one, num_workers=self._num_workers)
        with closing(results):
            yield from zip(sources, results, strict=True)
