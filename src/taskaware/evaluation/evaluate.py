"""Decode a split with a model and score it, task by task."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from taskaware.errors import UserError
from taskaware.evaluation.confusion import confusion_rate, references_of_other_tasks
from taskaware.evaluation.metrics import Score, score_task, target_language
from taskaware.files import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from taskaware.data.batches.batching import TaskSource
    from taskaware.decoding.settings import DecodingSettings
    from taskaware.inference.model import TaskAwareModel
    from taskaware.types import Example, Task

_EXAMPLES_PER_CALL = 256


@dataclass(frozen=True, kw_only=True)
class ScoredOutput:
    """One output beside its reference.

    Attributes:
        id: The example's id.
        reference: What the model should have written.
        text: What it wrote.
        score: Its length-normalised log-probability (nats).
        confused: Whether it belongs to another task.
        finished: Whether it ended before the length limit.
    """

    id: str
    reference: str
    text: str
    score: float
    confused: bool
    finished: bool


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """What a model reaches on one task.

    Attributes:
        task: The task's name.
        scores: The main metric first.
        confusion_rate: Share of outputs that belong to another task; ``None`` where no other task
            of another language shares the inputs.
        num_examples: Examples decoded.
        seconds: Time that decoding took.
        outputs: Every output.
        by_dataset: The scores on each corpus, where the task's examples come from several.
        language: The code of the language of the references.
    """

    task: str
    scores: tuple[Score, ...]
    confusion_rate: float | None
    num_examples: int
    seconds: float
    outputs: tuple[ScoredOutput, ...]
    by_dataset: dict[str, tuple[Score, ...]] = field(default_factory=dict)
    language: str = ""

    def summary(self) -> dict[str, Any]:
        """Return the result without its outputs, as JSON."""
        main = self.scores[0]
        return {
            "task": self.task,
            "language": self.language,
            "metric": main.metric,
            "score": main.value,
            "confusion_rate": self.confusion_rate,
            "examples": self.num_examples,
            "seconds": round(self.seconds, 3),
            "scores": [asdict(score) for score in self.scores],
            "by_dataset": {
                name: [asdict(score) for score in scores]
                for name, scores in self.by_dataset.items()
            },
        }


def evaluate(
    model: TaskAwareModel,
    split: TaskSource,
    tasks: Sequence[Task],
    *,
    decoding: DecodingSettings | None = None,
    limit: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[TaskResult]:
    """Return what the model reaches on each task.

    Args:
        model: The model.
        split: The examples.
        tasks: Tasks to decode; a task without examples in the split is left out.
        decoding: How to search, instead of the model's own settings.
        limit: Examples of each task, spread evenly over the split; ``None``: all.
        progress: Called with task, examples done, examples in all.

    Raises:
        UserError: The limit is below 1.
    """
    if limit is not None and limit < 1:
        raise UserError(f"the limit must be 1 example or more, but is {limit}")
    results = []
    for task in tasks:
        indices = spread(split.indices(task.name), limit)
        if len(indices):
            results.append(_evaluate_task(model, split, task, indices, decoding, progress))
    return results


def spread(indices: np.ndarray, limit: int | None) -> np.ndarray:
    """Return at most ``limit`` indices, evenly spread, so that every corpus has its share."""
    if limit is None or len(indices) <= limit:
        return indices
    return indices[np.linspace(0, len(indices) - 1, limit).round().astype(np.int64)]


def save_outputs(results: Sequence[TaskResult], path: Path) -> None:
    """Write every output as one line of JSON, in order; nobody sees half a file."""
    write_text(path, outputs_text(results))


def outputs_text(results: Sequence[TaskResult]) -> str:
    """Return every output as one line of JSON, in order."""
    lines = [{"task": of.task, **asdict(output)} for of in results for output in of.outputs]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _evaluate_task(
    model: TaskAwareModel,
    split: TaskSource,
    task: Task,
    indices: np.ndarray,
    decoding: DecodingSettings | None,
    progress: Callable[[str, int, int], None] | None,
) -> TaskResult:
    began = time.perf_counter()
    examples: list[Example] = [split.examples[i] for i in indices]
    by_length = np.argsort([split.source_lengths[i] for i in indices], kind="stable")
    hypotheses: list[Any] = [None] * len(indices)
    for start in range(0, len(indices), _EXAMPLES_PER_CALL):
        chosen = by_length[start : start + _EXAMPLES_PER_CALL]
        sources = [_source(model, split, int(indices[position])) for position in chosen]
        for position, found in zip(
            chosen,
            model.decode(task, sources, decoding=decoding, is_encoded=split.is_encoded(task)),
            strict=True,
        ):
            hypotheses[position] = found[0]
        if progress is not None:
            progress(task.name, min(start + _EXAMPLES_PER_CALL, len(indices)), len(indices))
    seconds = time.perf_counter() - began
    texts = [hypothesis.text for hypothesis in hypotheses]
    references = [example.target_text for example in examples]
    others = references_of_other_tasks(examples, model.tasks, pool=_known(split, model))
    confusion = confusion_rate(texts, references, others)
    language = target_language(task, references)
    return TaskResult(
        by_dataset=_by_dataset(task, examples, texts, language),
        language=language,
        task=task.name,
        scores=tuple(score_task(task, texts, references, language)),
        confusion_rate=confusion.rate,
        num_examples=len(indices),
        seconds=seconds,
        outputs=tuple(
            ScoredOutput(
                id=example.id,
                reference=example.target_text,
                text=hypothesis.text,
                score=hypothesis.score,
                confused=confused,
                finished=hypothesis.finished,
            )
            for example, hypothesis, confused in zip(
                examples, hypotheses, confusion.confused, strict=True
            )
        ),
    )


def _by_dataset(
    task: Task, examples: Sequence[Example], texts: Sequence[str], language: str
) -> dict[str, tuple[Score, ...]]:
    """Return the scores on each corpus, nothing where there is only one."""
    names = dict.fromkeys(example.dataset for example in examples)
    if len(names) < 2:
        return {}
    scores = {}
    for name in names:
        chosen = [i for i, example in enumerate(examples) if example.dataset == name]
        references = [examples[i].target_text for i in chosen]
        outputs = [texts[i] for i in chosen]
        scores[name] = tuple(score_task(task, outputs, references, language))
    return scores


def _source(model: TaskAwareModel, split: TaskSource, index: int) -> np.ndarray:
    """Return a source as the model reads it; its vocabulary may not be the one of the data."""
    text = split.examples[index].source_text
    return split.source(index) if text is None else model.encode_source(text, "text")


def _known(split: TaskSource, model: TaskAwareModel) -> list[Example]:
    """Return the split's examples of the model's own tasks: it can be confused by no others."""
    names = {task.name for task in model.tasks}
    return [example for example in split.examples if example.task in names]
