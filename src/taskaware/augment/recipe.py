"""A recipe of ``taskaware augment``: synthetic examples for a training set, joined with its own.

::

    TO/DATASET/texts.jsonl           synthetic targets for the dataset's recordings
    TO/DATASET/text_signals.jsonl    the same with synthetic signals, and text_signals/: those
    TO/DATASET/signals.jsonl         synthetic signals with true targets, and signals/: those
    TO/DATASET/speech.jsonl          texts spoken by espeak-ng, and speech/: the recordings
    TO/train.jsonl                   all that is trained on
    TO/counts.tsv, counts.json       how many examples of which dataset, task and kind it holds

Every step resumes where it was stopped; one that is complete is not done again.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from taskaware.augment.blocks import READ, WRITTEN
from taskaware.augment.inputs import survey
from taskaware.augment.signals import change_signals, speech_tasks
from taskaware.augment.speak import speak, text_tasks, voices_of
from taskaware.augment.translate import translate
from taskaware.data.manifest.line import LineProblem
from taskaware.data.manifest.read import TaskTable, iterate_manifest
from taskaware.data.manifest.write import to_line
from taskaware.errors import UserError, require_packages
from taskaware.line_file import open_lines
from taskaware.output_folder import claimed, require_usable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from taskaware.augment.blocks import Written
    from taskaware.augment.settings import DatasetSettings, RecipeSettings
    from taskaware.output_folder import OutputFolder
    from taskaware.types import StageProgress

Origin = Literal[
    "original",
    "synthetic text",
    "synthetic signal",
    "synthetic text and signal",
    "synthetic speech",
]
ORIGINS: tuple[Origin, ...] = get_args(Origin)

_STEPS: Mapping[str, tuple[str, Origin]] = {
    "texts": ("texts.jsonl", "synthetic text"),
    "text_signals": ("text_signals.jsonl", "synthetic text and signal"),
    "signals": ("signals.jsonl", "synthetic signal"),
    "speech": ("speech.jsonl", "synthetic speech"),
}
_JOINED = ("train.jsonl", "train.jsonl.unfinished", "counts.tsv", "counts.json")
_ST = "st"
_JOIN, _BAD_LINE = "join", "lines that cannot be read"
_LINES_BETWEEN_REPORTS = 10_000


@dataclass(frozen=True, kw_only=True)
class Part:
    """Manifests of one dataset and one origin.

    Attributes:
        dataset: The dataset's name in the recipe.
        origin: What is synthetic about the examples.
        paths: Where they are.
    """

    dataset: str
    origin: Origin
    paths: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class RecipeCounts:
    """What the training set holds.

    Attributes:
        examples: Numbers by dataset, task and origin.
        left_out: Numbers by dataset, step and reason.
    """

    examples: Counter[tuple[str, str, Origin]]
    left_out: Counter[tuple[str, str, str]]

    def rows(self) -> Iterator[tuple[str, str, tuple[int, ...], str]]:
        """Yield dataset, task, numbers in the order of ``ORIGINS``, and the multiple as text.

        The multiple is the sum over the number of originals, ``""`` where there are none.
        """
        pairs = dict.fromkeys((dataset, task) for dataset, task, _ in self.examples)
        for dataset, task in pairs:
            numbers = tuple(self.examples[dataset, task, origin] for origin in ORIGINS)
            multiple = f"{sum(numbers) / numbers[0]:.4g}" if numbers[0] else ""
            yield dataset, task, numbers, multiple


@dataclass(frozen=True, kw_only=True)
class RecipeResult:
    """A recipe that is done.

    Attributes:
        train: The joint manifest.
        counts: What it holds.
        steps: What each step wrote, by dataset and step.
    """

    train: Path
    counts: RecipeCounts
    steps: dict[tuple[str, str], Written]


def run_recipe(
    recipe: RecipeSettings,
    *,
    device: str = "auto",
    num_workers: int | None = None,
    progress: StageProgress | None = None,
) -> RecipeResult:
    """Do what a recipe says, or resume it: translate, change signals, speak, join.

    Args:
        recipe: What to do, and where.
        device: Where the models compute.
        num_workers: Threads and processes; ``None``: one a processor.
        progress: Called with the stage, how much of it is done, and how much there is.

    Raises:
        UserError: A manifest, a model, or what was written before does not fit.
        OutputError: ``recipe.to`` holds files of these names that no recipe wrote.
        MissingDependencyError: Speech is to be made and the extra ``demo`` is not installed.
        TaskawareError: See the steps.
    """
    require_usable(recipe.to, names=_JOINED, whole=False)  # before hours of work
    if any(dataset.voices for dataset in recipe.datasets.values()):
        require_packages("synthetic speech", "demo", "espeakng_loader")  # not after translating
    _require_possible(recipe, progress)
    steps: dict[tuple[str, str], Written] = {}
    for name, dataset in recipe.datasets.items():
        if dataset.top and recipe.translation is not None:
            steps[name, "texts"] = translate(
                dataset.manifests,
                _path(recipe, name, "texts"),
                recipe.models,
                replace(recipe.translation, top=dataset.top),
                device=device,
                progress=progress,
            )
    for name, dataset in recipe.datasets.items():
        for step, sources, copies in _signal_steps(recipe, name, dataset, steps):
            steps[name, step] = change_signals(
                sources,
                _path(recipe, name, step),
                copies,
                recipe.signal,
                seed=recipe.seed,
                kinds=(_ST,),
                num_workers=num_workers,
                progress=progress,
            )
    for name, dataset in recipe.datasets.items():
        if dataset.voices:
            steps[name, "speech"] = speak(
                dataset.manifests,
                _path(recipe, name, "speech"),
                replace(recipe.speech, voices=dataset.voices),
                seed=recipe.seed,
                num_workers=num_workers,
                progress=progress,
            )
    train = recipe.to / "train.jsonl"
    with claimed(recipe.to, names=_JOINED, whole=False) as output:
        with output.writing(train.name) as unfinished:
            counts = join(_parts(recipe, steps), unfinished, progress)
        counts.left_out.update(_left_out(steps))
        write_counts(counts, output)
    return RecipeResult(train=train, counts=counts, steps=steps)


def join(parts: Iterable[Part], to: Path, progress: StageProgress | None = None) -> RecipeCounts:
    """Write one manifest of all parts, in order, and count its examples.

    Raises:
        ManifestError: A manifest is not one, or two lines disagree about a task.
    """
    counts, tasks, number = RecipeCounts(examples=Counter(), left_out=Counter()), TaskTable(), 0
    with open_lines(to) as file:
        for part in parts:
            for item in (item for path in part.paths for item in iterate_manifest(path)):
                if isinstance(item, LineProblem):
                    counts.left_out[part.dataset, _JOIN, _BAD_LINE] += 1
                    continue
                tasks.add(item)
                file.write(to_line(item.example, item.task))
                counts.examples[part.dataset, item.task.name, part.origin] += 1
                number += 1
                if progress is not None and number % _LINES_BETWEEN_REPORTS == 0:
                    progress("join manifests", number, 0)
    return counts


def write_counts(counts: RecipeCounts, output: OutputFolder) -> None:
    """Write ``counts.tsv``, the shape of the paper's tables 5 and 7, and ``counts.json``."""
    header = ("dataset", "task", *ORIGINS, "total", "multiple")
    rows = [
        (dataset, task, *map(str, numbers), str(sum(numbers)), multiple)
        for dataset, task, numbers, multiple in counts.rows()
    ]
    text = "".join("\t".join(row) + "\n" for row in (header, *rows))
    content = {
        "examples": [
            {"dataset": dataset, "task": task, **dict(zip(ORIGINS, numbers, strict=True))}
            for dataset, task, numbers, _ in counts.rows()
        ],
        "left_out": [
            {"dataset": dataset, "step": step, "reason": reason, "number": number}
            for (dataset, step, reason), number in counts.left_out.items()
        ],
    }
    output.write("counts.tsv", text.encode())
    output.write("counts.json", (json.dumps(content, indent=1) + "\n").encode())


def _path(recipe: RecipeSettings, dataset: str, step: str) -> Path:
    return recipe.to / dataset / _STEPS[step][0]


def _require_possible(recipe: RecipeSettings, progress: StageProgress | None) -> None:
    """Find a manifest that is missing or disagrees, or a step without a task, before long work."""
    paths = [path for each in recipe.datasets.values() for path in each.manifests]
    written = {(recipe.to / name).resolve() for name in _JOINED}
    for path in paths:
        if path.resolve() in written:
            raise UserError(
                f"{path} must not be both read and written: it is what this recipe writes; name "
                "another folder (`to`), or the manifests that it was made from"
            )
    survey(paths, progress)
    for dataset in recipe.datasets.values():
        if not (dataset.signals_of_originals or dataset.voices):
            continue
        found = survey(dataset.manifests, progress)
        if dataset.signals_of_originals:
            speech_tasks(found, (), (_ST,))
        if dataset.voices:
            text_tasks(found, recipe.speech)
            voices_of(recipe.speech.language)


def _signal_steps(
    recipe: RecipeSettings,
    name: str,
    dataset: DatasetSettings,
    steps: Mapping[tuple[str, str], Written],
) -> Iterator[tuple[str, Sequence[Path], int]]:
    """Yield the steps that change signals: name, manifests, copies."""
    if dataset.signals_of_texts and steps[name, "texts"].total(WRITTEN):
        yield "text_signals", [_path(recipe, name, "texts")], dataset.signals_of_texts
    if dataset.signals_of_originals:
        yield "signals", dataset.manifests, dataset.signals_of_originals


def _parts(recipe: RecipeSettings, steps: Mapping[tuple[str, str], Written]) -> Iterator[Part]:
    """Yield all that is trained on: texts that got signals of their own count with those alone."""
    for name, dataset in recipe.datasets.items():
        yield Part(dataset=name, origin="original", paths=dataset.manifests)
        for step, (_, origin) in _STEPS.items():
            is_replaced = step == "texts" and dataset.signals_of_texts > 0
            written = steps.get((name, step))
            if written is not None and written.total(WRITTEN) and not is_replaced:
                yield Part(dataset=name, origin=origin, paths=(written.path,))


def _left_out(steps: Mapping[tuple[str, str], Written]) -> Counter[tuple[str, str, str]]:
    found: Counter[tuple[str, str, str]] = Counter()
    for (name, step), written in steps.items():
        for (_, what), number in written.counts.items():
            if what not in (READ, WRITTEN):
                found[name, step, what] += number
    return found
