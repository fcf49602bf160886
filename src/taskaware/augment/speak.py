"""Synthetic sources: texts spoken by espeak-ng's voices, for recognition and speech translation."""

from __future__ import annotations

import multiprocessing
import os
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from taskaware.augment.blocks import (
    READ,
    WRITTEN,
    Counts,
    Made,
    Written,
    claim_recordings,
    complete_manifest,
    write_in_blocks,
)
from taskaware.augment.inputs import join_origins, lines_of, short_name, survey
from taskaware.data.corpora.rows import ASR, ST, task_name
from taskaware.data.manifest.write import to_line
from taskaware.data.sound.audio import flac
from taskaware.data.sound.synthesis import Synthesiser, Voice, voices
from taskaware.errors import TaskawareError, UserError
from taskaware.files import reporting
from taskaware.settings import typed as settings_file
from taskaware.signals import leave_to_first_process
from taskaware.threads import in_order
from taskaware.types import Speech, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from taskaware.augment.inputs import Survey
    from taskaware.augment.settings import SpeechSettings
    from taskaware.data.manifest.line import ManifestLine
    from taskaware.types import Example, StageProgress

UNSPEAKABLE = "texts with nothing to speak"
TOO_LONG = "recordings that are too long"

_TEXTS_PER_PROCESS = 400
_PROCESSES_PER_BLOCK = 8
_TEXTS_PER_FOLDER = 1000
_ENGLISH = "en"


@dataclass(frozen=True, kw_only=True)
class _Recording:
    """A text to be spoken, and the file to be written."""

    text: str
    voice: Voice
    path: Path


@dataclass(frozen=True, kw_only=True)
class _Job:
    recordings: tuple[_Recording, ...]
    sample_rate_hz: int
    max_seconds: float


def speak(
    manifests: Sequence[Path],
    to: Path,
    settings: SpeechSettings,
    *,
    seed: int,
    num_workers: int | None = None,
    progress: StageProgress | None = None,
) -> Written:
    """Write a manifest of spoken texts, and the recordings, or go on with it.

    The recordings, FLAC of 16 bits, lie in a folder beside the manifest and of its name. The files
    are the same for the same inputs, settings and seed, whatever the number of workers and however
    often the call was stopped.

    Args:
        manifests: Where the text examples are; their sources are spoken.
        to: The manifest to write; its journal is written beside it.
        settings: What is spoken, for which kinds of task.
        seed: With an example's id it decides who speaks.
        num_workers: Processes; ``None``: one a processor.
        progress: Called with the stage, texts done, texts in all.

    Raises:
        UnknownTaskError: The manifests have no task of a name.
        UserError: The tasks do not fit, or ``to`` is made from something else.
        MissingDependencyError: The ``demo`` extra is not installed.
    """
    found = survey(manifests, progress)
    tasks = text_tasks(found, settings)
    made_from = {
        "step": "speak",
        "manifests": found.made_from,
        "tasks": [task.name for task in tasks],
        "settings": settings_file.to_mapping(settings),
        "seed": seed,
        "folder": str(to.with_suffix("").absolute()),
    }
    done = complete_manifest(to, made_from)
    if done is not None:
        return replace(done, num_bad_lines=found.num_bad)
    claim_recordings(to, to.with_suffix(""))
    speakers = voices_of(settings.language)
    total = found.count(tasks)
    workers = num_workers or os.cpu_count() or 1

    def make(lines: Sequence[ManifestLine], first: int) -> Made:
        plan = [
            _recordings(line.example, first + i, to.with_suffix(""), speakers, settings, seed)
            for i, line in enumerate(lines)
        ]
        results: list[str] = []
        for answer in _speak_all(_jobs(plan, settings), workers):
            results += answer
            if progress is not None:
                progress(
                    f"speech for {short_name(to)}", first + len(results) // settings.voices, total
                )
        return _made(lines, plan, results, settings)

    result = write_in_blocks(
        to,
        made_from,
        lines_of(manifests, tasks),
        make,
        block_size=_TEXTS_PER_PROCESS * _PROCESSES_PER_BLOCK,
    )
    return replace(result, num_bad_lines=found.num_bad)


def text_tasks(found: Survey, settings: SpeechSettings) -> list[Task]:
    """Return the tasks whose sources are spoken: those named, or all in the language.

    Raises:
        UnknownTaskError: There is none of a name.
        UserError: One does not fit, or none does.
    """
    named = [found.task(name) for name in settings.of] or list(found.tasks)
    tasks = [
        task
        for task in named
        if task.source_modality == "text" and task.source_language == settings.language
    ]
    if not tasks or (settings.of and len(tasks) < len(named)):
        have = ", ".join(f"{t.name} ({t.source_modality}, {t.source_language})" for t in named)
        raise UserError(
            f"there must be tasks with text in '{settings.language}' to speak, but there are {have}"
        )
    for task in tasks:
        if ST in settings.kinds and not task.target_language:
            raise UserError(
                f"the task '{task.name}' must have a target language to become speech translation, "
                "but has none: add it to the manifest"
            )
    return tasks


def voices_of(language: str) -> tuple[Voice, ...]:
    """Return the voices of a language: accents and timbres of English, timbres of others.

    Raises:
        UserError: espeak-ng does not speak it.
        MissingDependencyError: There is no espeak-ng.
    """
    english = voices()
    synthesiser = Synthesiser()  # fails here rather than in every process
    if language == _ENGLISH:
        return english
    timbres = {voice.name.partition("+")[2]: voice for voice in english}
    found = tuple(replace(voice, name=f"{language}+{timbre}") for timbre, voice in timbres.items())
    try:
        synthesiser.synthesise("a", found[0])
    except ValueError as error:
        raise UserError(
            f"the language must be one that espeak-ng speaks, but is '{language}'"
        ) from error
    return found


def _recordings(
    example: Example,
    number: int,
    folder: Path,
    speakers: Sequence[Voice],
    settings: SpeechSettings,
    seed: int,
) -> list[_Recording]:
    """Return what is to be spoken for one example, by voices drawn for it."""
    drawn = random.Random(f"{seed} {example.dataset} {example.id}")
    place = folder / f"{number // _TEXTS_PER_FOLDER:06d}"
    return [
        _Recording(
            text=example.source_text or "",
            voice=voice,
            path=place / f"{number:09d}-v{i}.flac",
        )
        for i, voice in enumerate(drawn.sample(speakers, settings.voices), start=1)
    ]


def _jobs(plan: Sequence[Sequence[_Recording]], settings: SpeechSettings) -> Iterator[_Job]:
    for start in range(0, len(plan), _TEXTS_PER_PROCESS):
        chosen = plan[start : start + _TEXTS_PER_PROCESS]
        yield _Job(
            recordings=tuple(recording for recordings in chosen for recording in recordings),
            sample_rate_hz=settings.sample_rate_hz,
            max_seconds=settings.max_seconds,
        )


def _made(
    lines: Sequence[ManifestLine],
    plan: Sequence[Sequence[_Recording]],
    results: Sequence[str],
    settings: SpeechSettings,
) -> Made:
    counts: Counts = Counter()
    written: list[str] = []
    result = iter(results)
    for line, recordings in zip(lines, plan, strict=True):
        dataset = line.example.dataset
        counts[dataset, READ] += 1
        for number, recording in enumerate(recordings, start=1):
            problem = next(result)
            if problem:
                counts[dataset, problem] += 1
                continue
            for kind in settings.kinds:
                written.append(_line(line, kind, recording, number))
                counts[dataset, WRITTEN] += 1
    return Made(lines=written, counts=counts)


def _line(line: ManifestLine, kind: str, recording: _Recording, number: int) -> str:
    example, source = line.example, line.task.source_language
    target = source if kind == ASR else line.task.target_language
    task = Task(
        name=task_name(kind, source, target),
        kind=kind,
        source_modality="speech",
        source_language=source,
        target_language=target,
    )
    name = recording.voice.name
    spoken = replace(
        example,
        id=f"{example.id}-{kind}-v{number}",
        task=task.name,
        target_text=recording.text if kind == ASR else example.target_text,
        source_text=None,
        speech=Speech(path=recording.path),
        speaker=name,
        origin=join_origins(example.origin, f"speech by espeak-ng, voice {name}"),
    )
    return to_line(spoken, task)


def _speak_all(jobs: Iterable[_Job], num_workers: int) -> Iterator[list[str]]:
    """Do the jobs, several at a time, and yield their results in order.

    Raises:
        TaskawareError: A process ended without a result.
    """
    try:
        with closing(in_order(_speak_in_a_process, jobs, num_workers=num_workers)) as results:
            yield from results
    except BrokenProcessPool as error:
        raise TaskawareError(
            "a process of speech synthesis died (killed, out of memory?): the same command resumes "
            "from the last block"
        ) from error


def _speak_in_a_process(job: _Job) -> list[str]:
    """Do a job in a fresh process: espeak-ng's noise runs on from text to text.

    So recordings depend neither on the number of workers nor on where a stopped command resumed.
    An executor, as it notices when its process is killed; spawned, as threads must not be forked.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=leave_to_first_process) as executor:
        return executor.submit(_speak_job, job).result()


def _speak_job(job: _Job) -> list[str]:
    """Write the recordings; return for each why it is not there, or an empty text."""
    synthesiser = Synthesiser()
    return [_write(recording, synthesiser, job) for recording in job.recordings]


def _write(recording: _Recording, synthesiser: Synthesiser, job: _Job) -> str:
    import soxr

    try:
        spoken = synthesiser.synthesise(recording.text, recording.voice)
    except ValueError:
        return UNSPEAKABLE
    if len(spoken) > job.max_seconds * synthesiser.sample_rate_hz:
        return TOO_LONG
    rate = job.sample_rate_hz
    samples = soxr.resample(spoken, synthesiser.sample_rate_hz, rate).clip(-1, 1)
    with reporting(recording.path):
        recording.path.parent.mkdir(parents=True, exist_ok=True)
        recording.path.write_bytes(flac(samples, rate))
    return ""
