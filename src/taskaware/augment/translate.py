"""Synthetic targets and sources: what trained translation models make of the texts of examples.

For each example a text in the models' source language is translated, and the best outputs of each
model become examples of their own:

* the transcript of a recording: a new target for the same recording (speech translation);
* the source of a text pair: a new target for the same source (forward translation);
* the target of a text pair: a new source for the same target (back-translation).

Paper, section 6.1.1: the two best outputs of two models. Texts go to the models as they are.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from taskaware.augment.blocks import (
    READ,
    WRITTEN,
    Counts,
    Made,
    Written,
    complete_manifest,
    write_in_blocks,
)
from taskaware.augment.inputs import join_origins, lines_of, short_name, survey
from taskaware.data.corpora.rows import ASR, MT, ST, task_name
from taskaware.data.manifest.tasks import describe
from taskaware.data.manifest.write import to_line
from taskaware.errors import CheckpointError, UserError
from taskaware.files import file_sha256
from taskaware.inference.model import TaskAwareModel, load
from taskaware.inference.model_folder import find_model
from taskaware.settings import typed as settings_file
from taskaware.types import Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from taskaware.augment.inputs import Survey
    from taskaware.augment.settings import TranslationModelSettings, TranslationSettings
    from taskaware.data.manifest.line import ManifestLine
    from taskaware.types import Example, Hypothesis, StageProgress

EMPTY = "empty outputs"
DUPLICATE = "outputs that are there already"
UNFINISHED = "outputs without an end"
TOO_LONG = "texts too long to translate"

_BLOCK_SIZE = 4096  # examples: sorted by length together, and what a stop loses at most
_BATCHES_PER_CALL = 8
_MODEL_FILES = (
    "model.safetensors",
    "model.json",
    "vocabulary.model",
    "task_embeddings.safetensors",
)


@dataclass(frozen=True, kw_only=True)
class _NamedModel:
    name: str
    model: TaskAwareModel
    task: Task


def translate(
    manifests: Sequence[Path],
    to: Path,
    models: Sequence[TranslationModelSettings],
    settings: TranslationSettings,
    *,
    device: str = "auto",
    progress: StageProgress | None = None,
) -> Written:
    """Write a manifest of the synthetic examples, or go on with it.

    For each example, in order: the outputs of the first model, best first, then those of the next.
    The file is the same for the same inputs, models and settings on one machine, however often the
    call was stopped; another device may round otherwise.

    Args:
        manifests: Where the examples are.
        to: The manifest to write; its journal is written beside it.
        models: At least one, with different names.
        settings: What to translate, and how.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: a CUDA device where there is one.
        progress: Called with the stage, examples done, examples in all.

    Raises:
        UnknownTaskError: A model or the manifests have no task of a name.
        UserError: The tasks do not fit, or ``to`` is made from something else.
        CheckpointError: A model's folder is not one.
    """
    if not models:
        raise UserError("at least one model must be given, but there is none")
    names = [model.display_name for model in models]
    if len(set(names)) < len(names):
        raise UserError(
            f"the models must have different names, but are called {', '.join(names)}: name them"
        )
    found = survey(manifests, progress)
    made_from = _made_from(found, models, settings)
    done = complete_manifest(to, made_from)
    if done is not None:
        return replace(done, num_bad_lines=found.num_bad)
    loaded = [_load(model, settings, device) for model in models]
    _require_same_languages(loaded)
    tasks = _input_tasks(found, loaded[0].task, settings)
    _require_one_meaning(found, tasks, loaded[0].task, settings)
    total = found.count(tasks)
    work = _Work(
        models=loaded, settings=settings, stage=f"translate for {short_name(to)}", total=total
    )
    result = write_in_blocks(
        to,
        made_from,
        lines_of(manifests, tasks),
        lambda lines, first: work.make(lines, first, progress),
        block_size=_BLOCK_SIZE,
    )
    return replace(result, num_bad_lines=found.num_bad)


def _made_from(
    found: Survey, models: Sequence[TranslationModelSettings], settings: TranslationSettings
) -> dict[str, Any]:
    return {
        "step": "translate",
        "manifests": found.made_from,
        "models": [
            {"name": m.display_name, "sha256": _model_hash(find_model(m.folder, m.which))}
            for m in models
        ],
        "settings": settings_file.to_mapping(settings),
    }


def _model_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in _MODEL_FILES:
        try:
            digest.update(bytes.fromhex(file_sha256(folder / name)))
        except OSError as error:
            raise CheckpointError(
                f"{folder} must be a model folder, but {name} cannot be read ({error.strerror}); a "
                "run's models are in its folders `model`, `best`, `average` and `taskwise/TASK`"
            ) from error
    return digest.hexdigest()


def _load(
    chosen: TranslationModelSettings, settings: TranslationSettings, device: str
) -> _NamedModel:
    model = load(chosen.folder, which=chosen.which, device=device)
    task = model.task(settings.task)
    if task.source_modality != "text" or not (task.source_language and task.target_language):
        raise UserError(
            f"the task must translate text from one language to another, but '{task.name}' of "
            f"{chosen.folder} has a {task.source_modality} source and the languages "
            f"'{task.source_language}' and '{task.target_language}'"
        )
    return _NamedModel(name=chosen.display_name, model=model, task=task)


def _require_same_languages(models: Sequence[_NamedModel]) -> None:
    first = models[0]
    for other in models[1:]:
        for language in ("source_language", "target_language"):
            here, there = getattr(first.task, language), getattr(other.task, language)
            if here != there:
                raise UserError(
                    f"the task '{first.task.name}' must mean the same to all models, but its "
                    f"{language.replace('_', ' ')} is '{here}' in {first.name} and '{there}' in "
                    f"{other.name}"
                )


def _input_tasks(found: Survey, model_task: Task, settings: TranslationSettings) -> list[Task]:
    """Return the tasks whose examples are translated: those named, or those that fit."""
    language = model_task.source_language
    if settings.of:
        tasks = [found.task(name) for name in settings.of]
        for task in tasks:
            if _language_of_text(task, settings) != language:
                raise UserError(
                    f"the task '{task.name}' must have a text in '{language}', which '"
                    f"{model_task.name}' translates from, to replace its {settings.replace}, but "
                    f"has the languages '{task.source_language}' and '{task.target_language}'"
                )
        return tasks
    fitting = [task for task in found.tasks if _language_of_text(task, settings) == language]
    spoken = [task for task in fitting if task.kind == ASR]
    written = [task for task in fitting if task.source_modality == "text"]
    if spoken or written:
        return spoken or written
    have = ", ".join(
        f"{t.name} ({t.kind}, {t.source_language} to {t.target_language})" for t in found.tasks
    )
    what = (
        f"transcripts or source texts in '{language}'"
        if settings.replace == "target"
        else f"text tasks with targets in '{language}'"
    )
    raise UserError(f"the manifests must have {what}, but have {have}")


def _new_task(old: Task, made: str, settings: TranslationSettings) -> Task:
    """Return the task of the examples that are made of those of another."""
    is_target = settings.replace == "target"
    source, target = (old.source_language, made) if is_target else (made, old.target_language)
    kind = MT if old.source_modality == "text" else ST
    return Task(
        name=settings.as_task or task_name(kind, source, target),
        kind=kind,
        source_modality=old.source_modality,
        source_language=source,
        target_language=target,
    )


def _require_one_meaning(
    found: Survey, tasks: Sequence[Task], model_task: Task, settings: TranslationSettings
) -> None:
    """Require that the new tasks are what manifests, or each other, have under their names."""
    known = {task.name: task for task in found.tasks}
    for old in tasks:
        new = _new_task(old, model_task.target_language, settings)
        if (other := known.setdefault(new.name, new)) != new:
            raise UserError(
                f"the new examples of the task '{old.name}' are of the task '{new.name}' "
                f"({describe(new)}), which must be the same everywhere, but is also "
                f"{describe(other)}: give them another name (`as_task`)"
            )


def _language_of_text(task: Task, settings: TranslationSettings) -> str:
    """Return the language of the text that would be translated; empty where there is none."""
    if task.source_modality == "text":
        is_forward = settings.replace == "target"
        return task.source_language if is_forward else task.target_language
    is_transcript = task.source_modality == "speech" and settings.replace == "target"
    return task.target_language if is_transcript and task.source_language else ""


@dataclass(frozen=True, kw_only=True)
class _Work:
    models: Sequence[_NamedModel]
    settings: TranslationSettings
    stage: str
    total: int

    def make(
        self, lines: Sequence[ManifestLine], first: int, progress: StageProgress | None
    ) -> Made:
        """Translate a block and write its examples in the order of its lines."""
        texts = [self._text(line) for line in lines]
        by_model = [
            self._decode(number, texts, first, progress) for number in range(len(self.models))
        ]
        counts: Counts = Counter()
        written: list[str] = []
        for i, line in enumerate(lines):
            counts[line.example.dataset, READ] += 1
            for example, task in self._examples(line, [of[i] for of in by_model], counts):
                written.append(to_line(example, task))
                counts[line.example.dataset, WRITTEN] += 1
        return Made(lines=written, counts=counts)

    def _text(self, line: ManifestLine) -> str:
        if line.example.source_text is not None and self.settings.replace == "target":
            return line.example.source_text
        return line.example.target_text

    def _decode(
        self, number: int, texts: Sequence[str], first: int, progress: StageProgress | None
    ) -> list[Sequence[Hypothesis] | None]:
        """Return one model's hypotheses for each text; ``None`` where it is too long for it."""
        chosen, settings = self.models[number], self.settings
        decoding = replace(
            chosen.model.decoding,
            beam=settings.beams,
            num_best=settings.top,
            examples_per_batch=settings.examples_per_batch,
        )
        sources = [chosen.model.encode_source(text, "text") for text in texts]
        found: list[Sequence[Hypothesis] | None] = [None] * len(texts)
        short = [i for i in range(len(texts)) if len(sources[i]) <= settings.max_pieces]
        short.sort(key=lambda i: len(sources[i]))
        size = settings.examples_per_batch * _BATCHES_PER_CALL
        for start in range(0, len(short), size):
            together = short[start : start + size]
            answers = chosen.model.decode(
                chosen.task, [sources[i] for i in together], decoding=decoding
            )
            for i, answer in zip(together, answers, strict=True):
                found[i] = answer
            if progress is not None:
                share = (number + (start + len(together)) / len(short)) / len(self.models)
                progress(self.stage, first + int(share * len(texts)), self.total)
        return found

    def _examples(
        self,
        line: ManifestLine,
        by_model: Sequence[Sequence[Hypothesis] | None],
        counts: Counts,
    ) -> Iterator[tuple[Example, Task]]:
        """Yield the new examples of a line; count what is not used."""
        dataset = line.example.dataset
        known = {self._known_text(line)}
        for number, (chosen, hypotheses) in enumerate(
            zip(self.models, by_model, strict=True), start=1
        ):
            counts[dataset, TOO_LONG] += hypotheses is None
            for rank, hypothesis in enumerate(hypotheses or (), start=1):
                if not hypothesis.text.strip():
                    counts[dataset, EMPTY] += 1
                elif not (hypothesis.finished or self.settings.keep_unfinished):
                    counts[dataset, UNFINISHED] += 1
                elif hypothesis.text in known:
                    counts[dataset, DUPLICATE] += 1
                else:
                    known.add(hypothesis.text)
                    yield self._example(line, chosen, number, rank, hypothesis.text)

    def _known_text(self, line: ManifestLine) -> str | None:
        """Return the true text that an output must differ from, where it is of its language."""
        example, made = line.example, self.models[0].task.target_language
        if line.task.source_modality != "text":
            return None
        if self.settings.replace == "target":
            return example.target_text if line.task.target_language == made else None
        return example.source_text if line.task.source_language == made else None

    def _example(
        self, line: ManifestLine, chosen: _NamedModel, number: int, rank: int, text: str
    ) -> tuple[Example, Task]:
        example, made = line.example, chosen.task.target_language
        is_target = self.settings.replace == "target"
        task = _new_task(line.task, made, self.settings)
        new = replace(
            example,
            id=f"{example.id}-{made}-t{number}b{rank}",
            task=task.name,
            origin=join_origins(example.origin, f"translation by {chosen.name}, beam {rank}"),
        )
        changed = replace(new, target_text=text) if is_target else replace(new, source_text=text)
        return changed, task
