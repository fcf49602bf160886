"""Synthetic signals: the recordings of examples at other speeds and tempos, with an echo.

Paper, section 6.1.1. ``data/sound/augmented_copies.py`` writes the recordings; this file makes a
manifest of them that a stopped command resumes.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

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
from taskaware.augment.inputs import lines_of, short_name, survey
from taskaware.data.manifest.write import to_line
from taskaware.data.sound.augmented_copies import augment_signals
from taskaware.errors import AudioError, UserError, nearest
from taskaware.settings import typed as settings_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from taskaware.augment.inputs import Survey
    from taskaware.data.manifest.line import ManifestLine
    from taskaware.data.sound.settings import AugmentationSettings
    from taskaware.types import StageProgress, Task

NOT_MADE = "copies that could not be made"

_BLOCK_SIZE = 1024  # examples: what a stop loses at most, though not their finished recordings


def change_signals(
    manifests: Sequence[Path],
    to: Path,
    copies: int | Mapping[str, int],
    settings: AugmentationSettings,
    *,
    seed: int,
    of: Sequence[str] = (),
    kinds: Sequence[str] = (),
    num_workers: int | None = None,
    progress: StageProgress | None = None,
) -> Written:
    """Write a manifest of changed copies of speech examples, and the copies, or go on with it.

    The copies lie in a folder beside the manifest and of its name, a folder for every block of
    examples; ``left_out.tsv`` in each says which could not be made, and why.

    Args:
        manifests: Where the examples are.
        to: The manifest to write; its journal is written beside it.
        copies: Copies of each example: one number, or a number for each dataset.
        settings: From what ranges to draw.
        seed: With dataset, id and number of the copy it decides what is drawn.
        of: Tasks whose examples are copied; empty: all speech tasks.
        kinds: Kinds of these tasks; empty: all.
        num_workers: Threads; ``None``: one a processor.
        progress: Called with the stage, examples done, examples in all.

    Raises:
        UnknownTaskError: The manifests have no task of a name.
        UserError: Tasks or datasets do not fit, or ``to`` is made from something else.
        AudioError: Not one copy could be made.
    """
    found = survey(manifests, progress)
    tasks = speech_tasks(found, of, kinds)
    by_dataset = _copies(found, tasks, copies)
    folder = to.with_suffix("")
    made_from = {
        "step": "signal",
        "manifests": found.made_from,
        "tasks": [task.name for task in tasks],
        "copies": by_dataset,
        "settings": _drawn_from(settings),
        "seed": seed,
        "folder": str(folder.absolute()),
    }
    work = _Work(
        folder=folder,
        tasks={task.name: task for task in tasks},
        copies=by_dataset,
        settings=settings,
        seed=seed,
        num_workers=num_workers or os.cpu_count() or 1,
        stage=f"signals for {short_name(to)}",
        total=found.count(tasks),
        progress=progress,
    )
    result = complete_manifest(to, made_from)
    if result is None:
        claim_recordings(to, folder)
        lines = lines_of(manifests, tasks)
        result = write_in_blocks(to, made_from, lines, work.make, block_size=_BLOCK_SIZE)
    if not result.total(WRITTEN):
        raise AudioError(
            f"at least one recording must be readable, but no copy could be made, of "
            f"{result.total(NOT_MADE)} asked for: see left_out.tsv in the folders of {folder}; "
            f"delete {to} and its journal to try again"
        )
    return replace(result, num_bad_lines=found.num_bad)


@dataclass(frozen=True, kw_only=True)
class _Work:
    folder: Path
    tasks: Mapping[str, Task]
    copies: Mapping[str, int]
    settings: AugmentationSettings
    seed: int
    num_workers: int
    stage: str
    total: int
    progress: StageProgress | None

    def make(self, lines: Sequence[ManifestLine], first: int) -> Made:
        """Change the signals of a block."""
        counts: Counts = Counter()
        for line in lines:
            counts[line.example.dataset, READ] += 1
            counts[line.example.dataset, NOT_MADE] += self.copies.get(line.example.dataset, 0)
        expected = sum(number for (_, what), number in counts.items() if what == NOT_MADE)

        def report(num_made: int) -> None:
            if self.progress is not None:
                done = round(min(1.0, num_made / max(expected, 1)) * len(lines))
                self.progress(self.stage, first + done, self.total)

        written: list[str] = []
        copies = augment_signals(
            (line.example for line in lines),
            self.folder / f"{first // _BLOCK_SIZE:06d}",
            self.copies,
            self.settings,
            self.seed,
            self.num_workers,
            report,
        )
        try:
            for copy in copies:
                written.append(to_line(copy, self.tasks[copy.task]))
                counts[copy.dataset, WRITTEN] += 1
                counts[copy.dataset, NOT_MADE] -= 1
        except AudioError:
            if written:
                raise
            # None of this block; other blocks may have some.
        return Made(lines=written, counts=counts)


def speech_tasks(found: Survey, of: Sequence[str], kinds: Sequence[str]) -> list[Task]:
    """Return the tasks whose signals are changed: those named, or all with speech.

    Raises:
        UnknownTaskError: There is none of a name.
        UserError: One has no speech, or none has.
    """
    named = [found.task(name) for name in of] or list(found.tasks)
    tasks = [
        task
        for task in named
        if task.source_modality == "speech" and (not kinds or task.kind in kinds)
    ]
    if not tasks or (of and len(tasks) < len(named)):
        have = ", ".join(f"{task.name} ({task.kind}, {task.source_modality})" for task in named)
        kind = f" of the kind {' or '.join(kinds)}" if kinds else ""
        raise UserError(f"there must be tasks with speech{kind} to change, but there are {have}")
    return tasks


def _copies(
    found: Survey, tasks: Sequence[Task], copies: int | Mapping[str, int]
) -> dict[str, int]:
    datasets = found.datasets(tasks)
    by_dataset = dict.fromkeys(datasets, copies) if isinstance(copies, int) else dict(copies)
    for name, number in by_dataset.items():
        if name not in datasets:
            raise UserError(
                f"the dataset must be one of {', '.join(datasets)}, but is '{name}'"
                f"{nearest(name, datasets)}"
            )
        if number < 0:
            raise UserError(f"the copies of '{name}' must be 0 or more, but are {number}")
    if not any(by_dataset.values()):
        raise UserError("there must be at least 1 copy of one dataset's examples, but is none")
    return by_dataset


def _drawn_from(settings: AugmentationSettings) -> dict[str, Any]:
    """Return what copies depend on: not the share, as all are changed, and not the masks."""
    names = ("speed", "tempo", "echo")
    mapping = settings_file.to_mapping(settings)
    return {name: value for name, value in mapping.items() if name.startswith(names)}
