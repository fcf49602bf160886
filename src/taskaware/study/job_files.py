"""What a finished job left, read again and checked: its cost, its scores, its outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from taskaware.errors import DataError, ExperimentError
from taskaware.evaluation.metrics import Score
from taskaware.files import parse_json, read_json_object, read_regular
from taskaware.settings import typed as settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import NoReturn

    from taskaware.study.plan import Job

_COUNT = "must be at least 0"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a training took.

    Attributes:
        updates: Updates done.
        seconds: Of training.
        peak_memory_mib: The largest of all the processes that did it (MiB).
        device: On what.
    """

    updates: int
    seconds: float
    peak_memory_mib: float
    device: str = ""

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for name in ("updates", "seconds", "peak_memory_mib"):
            if getattr(self, name) < 0:
                yield name, _COUNT


@dataclass(frozen=True, kw_only=True)
class TaskScores:
    """What a model reaches on a task.

    Attributes:
        task: Its name.
        scores: The main one first.
        by_dataset: The same by corpus, where there are several.
        confusion_rate: From 0 to 1; ``None`` where no other task shares the inputs.
        seconds: Of decoding; ``None`` in a file that does not say.
    """

    task: str
    scores: tuple[Score, ...]
    by_dataset: dict[str, tuple[Score, ...]]
    confusion_rate: float | None
    seconds: float | None = None

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if not self.scores or not all(self.by_dataset.values()):
            yield "scores", "must be one or more"
        if not 0.0 <= (self.confusion_rate or 0.0) <= 1.0:
            yield "confusion_rate", "must be from 0 to 1"
        if (self.seconds or 0.0) < 0:
            yield "seconds", _COUNT

    @property
    def main(self) -> Score:
        """The score that tables show."""
        return self.scores[0]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What one variant of a job reaches.

    Attributes:
        results: By task.
        parameters: Of the model, by part.
        silhouette: How well its task embeddings stand apart; ``None`` where there are none.
        parameters_of_one_task: Those that one task has alone; ``None`` in a file that does not say.
        num_bytes: Of the folders of its models; ``None`` in a file that does not say.
    """

    results: tuple[TaskScores, ...]
    parameters: dict[str, int]
    silhouette: float | None
    parameters_of_one_task: int | None = None
    num_bytes: int | None = None

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for name in ("parameters_of_one_task", "num_bytes"):
            if (getattr(self, name) or 0) < 0:
                yield name, _COUNT

    @property
    def by_task(self) -> dict[str, TaskScores]:
        """The results by the names of their tasks."""
        return {result.task: result for result in self.results}


def read_cost(folder: Path) -> Cost:
    """Return what a job's training took.

    Raises:
        DataError: The file is damaged.
    """
    path = folder / "cost.json"
    try:
        return settings.from_mapping(Cost, _known(Cost, read_json_object(path)), where="in it")
    except (OSError, ValueError, ExperimentError) as error:
        _refuse(path, error, delete=path)


def read_scores(job: Job, variant: str) -> Scores:
    """Return what a variant of a job reaches.

    Raises:
        DataError: The file is damaged.
    """
    path = job.result_path(variant)
    try:
        content = read_json_object(path)
        found = content.get("results")
        results = [_known(TaskScores, each) for each in found] if isinstance(found, list) else found
        content = {**_known(Scores, content), "results": results}
        read = settings.from_mapping(Scores, content, where="in it")
        return replace(read, results=tuple(_of_today(result) for result in read.results))
    except (OSError, ValueError, ExperimentError) as error:
        _refuse(path, error, delete=path)


def read_outputs(job: Job, variant: str, scores: Scores) -> dict[str, dict[str, tuple[str, str]]]:
    """Return task -> example id -> reference and output, of a variant of a job.

    Raises:
        DataError: The file is damaged, or does not have the outputs that were scored.
    """
    path = job.outputs_path(variant)
    found: dict[str, dict[str, tuple[str, str]]] = {}
    numbers: dict[str, int] = {}
    try:
        lines = read_regular(path).decode().removesuffix("\n").split("\n")
        for number, line in enumerate(lines if lines != [""] else [], start=1):
            output = parse_json(line)
            parts = [output.get(name) for name in ("task", "id", "reference", "text")]
            if not all(isinstance(part, str) for part in parts):
                raise ValueError(f"line {number} lacks task, id, reference or text")
            task, identity, reference, text = parts
            found.setdefault(task, {})[identity] = reference, text
            numbers[task] = numbers.get(task, 0) + 1
        wanted = {result.task: result.main.num_examples for result in scores.results}
        if numbers != wanted:
            raise ValueError(f"the scores are of {wanted} outputs, and it has {numbers}")
    except (OSError, ValueError, AttributeError) as error:
        _refuse(path, error, delete=job.result_path(variant))
    return found


def _of_today(result: TaskScores) -> TaskScores:
    """Return scores in today's units, whatever version wrote them."""

    def converted(scores: tuple[Score, ...]) -> tuple[Score, ...]:
        return tuple(Score.from_mapping(asdict(score)) for score in scores)

    by_dataset = {name: converted(scores) for name, scores in result.by_dataset.items()}
    return replace(result, scores=converted(result.scores), by_dataset=by_dataset)


def _known(cls: type, fields: Any) -> Any:
    """Return what a class has of the fields of a file, which may have more."""
    if not isinstance(fields, Mapping):
        return fields
    return {each.name: fields[each.name] for each in dataclasses.fields(cls) if each.name in fields}


def _refuse(path: Path, error: Exception, *, delete: Path) -> NoReturn:
    reason = str(getattr(error, "strerror", None) or error).replace("\n", "; ")
    raise DataError(
        f"{path} must be as the study wrote it, but is not ({reason}): delete {delete}, and the "
        "same command makes it again"
    ) from error
