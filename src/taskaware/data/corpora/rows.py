"""What a corpus recipe yields, and the manifests that become of it.

A recipe is a file of this folder with one function, ``read(request)``, that walks a corpus as it is
released and yields a ``Row`` for every example and a ``LeftOut`` for everything that is not used.
It reads sequentially and holds no list of examples, so that a corpus may have any size. Recordings
are not opened: ``taskaware prepare`` checks them afterwards, whatever corpus they come from.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from taskaware.data.manifest.write import to_line
from taskaware.errors import CorpusError
from taskaware.line_file import open_lines
from taskaware.output_folder import claimed
from taskaware.types import Example, Speech, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from taskaware.output_folder import OutputFolder

ASR, ST, MT = "asr", "st", "mt"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks of a corpus.

    Attributes:
        folder: The corpus, as it is unpacked.
        languages: The languages wanted, as codes (``"de"``): target languages of a corpus that
            translates, languages of one that does not. Empty: all that the folder has.
        kinds: The kinds of task wanted, of ``"asr"``, ``"st"`` and ``"mt"``. A corpus yields those
            of them that it has.
    """

    folder: Path
    languages: tuple[str, ...] = ()
    kinds: tuple[str, ...] = (ASR, ST, MT)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One example of a corpus: one line of a manifest.

    Attributes:
        split: ``"train"``, ``"dev"``, ``"test"``, or the name of a further set, e.g.
            ``"test-other"``.
        id: Unique in its split, and unlike those of other corpora; the corpus's own where it has
            one that is.
        kind: ``"asr"``, ``"st"`` or ``"mt"``.
        dataset: The corpus, e.g. ``"must_c"``.
        source_language: Code of the language that is spoken or written.
        target_language: Code of the language to write.
        target_text: What the model must write, as the corpus has it.
        source_text: The source of a text task.
        audio: The recording of a speech task.
        start_seconds: Where in the recording the example starts.
        duration_seconds: How long it is; ``None``: to the end of the recording.
        speaker: Who speaks, where the corpus says so.
        utterance: What the rows of one segment of speech, or of one sentence, share.
        origin: Where a synthetic source or target comes from; empty where people made both.
        task: The task's name; empty: made of kind and languages, see ``task_name``.
    """

    split: str
    id: str
    kind: str
    dataset: str
    source_language: str
    target_language: str
    target_text: str
    source_text: str | None = None
    audio: Path | None = None
    start_seconds: float = 0.0
    duration_seconds: float | None = None
    speaker: str = ""
    utterance: str = ""
    origin: str = ""
    task: str = ""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Something of a corpus that is not used.

    Attributes:
        split: Where it would have gone.
        place: File and line, or id.
        reason: Why, in words that are equal for equal reasons, so that they can be counted.
    """

    split: str
    place: str
    reason: str


Found = Row | LeftOut


@dataclass
class CorpusCounts:
    """What became of a corpus.

    Attributes:
        examples: Number of rows, by split and task.
        datasets: Number of rows, by dataset, task and split.
        left_out: Number of things left out, by split and reason.
    """

    examples: Counter[tuple[str, str]] = field(default_factory=Counter)
    datasets: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)


def task_name(kind: str, source_language: str, target_language: str) -> str:
    """Return the name that all corpora give a task, so that they can be trained on together.

    ``asr_en``, ``st_en_de``, ``mt_en_de``.
    """
    if kind == ASR:
        return f"{kind}_{source_language}"
    return f"{kind}_{source_language}_{target_language}"


def write_manifests(
    found: Iterable[Found], folder: Path, progress: Callable[[int], None] | None = None
) -> CorpusCounts:
    """Write ``folder/SPLIT.jsonl`` for every split, and ``folder/left_out.tsv``.

    The manifests name recordings by absolute path. They become visible when all are complete.

    Args:
        found: What a recipe yields.
        folder: Where to write; manifests of an earlier call are replaced, nothing else.
        progress: Called with the number of rows now and then.

    Raises:
        CorpusError: There is no row at all.
        OutputError: The folder holds files that no earlier call wrote, or one that was changed.
    """
    with claimed(folder) as output:
        before = [name for name in output.written if (folder / name).exists()]
        output.require_free(before)  # a manifest that somebody corrected since is theirs
        counts, names = _write(found, output, progress)
        output.remove(name for name in before if name not in names)
        output.forget()
    return counts


def _write(
    found: Iterable[Found], output: OutputFolder, progress: Callable[[int], None] | None
) -> tuple[CorpusCounts, list[str]]:
    """Write the manifests; return the counts and the names."""
    counts = CorpusCounts()
    files: dict[str, TextIO] = {}
    with ExitStack() as stack:

        def opened(name: str) -> TextIO:
            if name not in files:
                path = stack.enter_context(output.writing(name))
                files[name] = stack.enter_context(open_lines(path))
            return files[name]

        left_out = opened("left_out.tsv")
        left_out.write("split\tplace\treason\n")
        for number, item in enumerate(found, start=1):
            if progress is not None and number % 1000 == 0:
                progress(number)
            if isinstance(item, LeftOut):
                counts.left_out[item.split, item.reason] += 1
                cells = (" ".join(str(c).split()) for c in (item.split, item.place, item.reason))
                left_out.write("\t".join(cells) + "\n")
                continue
            task = item.task or task_name(item.kind, item.source_language, item.target_language)
            counts.examples[item.split, task] += 1
            counts.datasets[item.dataset, task, item.split] += 1
            opened(f"{item.split}.jsonl").write(_line(item, task))
        if not counts.examples:
            raise CorpusError(
                "the corpus has no example of the requested languages and kinds of task; left out: "
                f"{dict(counts.left_out) or 'nothing'}"
            )
    return counts, list(files)


def _line(row: Row, name: str) -> str:
    speech = None
    if row.audio is not None:
        speech = Speech(
            path=row.audio,
            start_seconds=row.start_seconds,
            duration_seconds=row.duration_seconds,
        )
    task = Task(
        name=name,
        kind=row.kind,
        source_modality="text" if speech is None else "speech",
        source_language=row.source_language,
        target_language=row.target_language,
    )
    example = Example(
        id=row.id,
        task=name,
        dataset=row.dataset,
        target_text=row.target_text,
        source_text=row.source_text,
        speech=speech,
        speaker=row.speaker,
        utterance=row.utterance,
        origin=row.origin,
    )
    return to_line(example, task)
