"""What a run starts from and learns from: a model to fine-tune, its batches, what is retained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from taskaware.data.batches.batching import batches_of, groups_of, text_cue
from taskaware.data.batches.order import OneShard
from taskaware.data.batches.reader import AugmentedReader
from taskaware.data.batches.stream import PlainReader, TrainingBatches
from taskaware.data.manifest.tasks import require_good_names, require_same_tasks
from taskaware.errors import CheckpointError, DataError, ExperimentError, UserError
from taskaware.inference.model import load
from taskaware.inference.model_folder import find_model
from taskaware.training.checkpoint import load_tensors, read_content, weights
from taskaware.training.retention.distillation import Distillation
from taskaware.training.retention.ewc import ElasticWeights, fisher_information
from taskaware.training.retention.replay import Replay
from taskaware.types import Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from taskaware.data.batches.batching import TaskSource, TextCue
    from taskaware.data.batches.settings import BatchingSettings
    from taskaware.data.prepared.folder import PreparedData
    from taskaware.run.run import Run
    from taskaware.training.retention.interface import Retention
    from taskaware.types import Batch, Example


@dataclass(frozen=True, kw_only=True)
class Start:
    """A trained model to go on from.

    Attributes:
        tasks: Its tasks.
        tensors: Its weights.
        vocabulary_sha256: Of its vocabulary.
        task_embeddings: The mean t_e of its tasks, float32 ``[1, O]``; empty where it has none.
    """

    tasks: tuple[Task, ...]
    tensors: Mapping[str, Tensor]
    vocabulary_sha256: str
    task_embeddings: Mapping[str, Tensor] = field(default_factory=dict)


def open_start(path: Path, data: PreparedData) -> Start:
    """Read what a run starts from: a run, one of its models, or one of its checkpoints.

    Raises:
        CheckpointError: There is no such thing there.
        UserError: A task of the data has its name and is another.
    """
    start = _open_checkpoint(path) if _is_checkpoint(path) else _open_model(path)
    require_good_names((task.name for task in start.tasks), path)
    require_same_tasks(start.tasks, data.tasks, where=path, others_where=data.folder)
    if not all(bool(value.isfinite().all()) for value in start.tensors.values()):
        raise CheckpointError(
            f"{path} must have finite weights to start from, but has not; start from an older "
            "checkpoint or another model"
        )
    return start


def require_vocabulary(start: Start, path: Path, data: PreparedData) -> None:
    """Check that the data's pieces are the start's.

    Raises:
        DataError: They are not; the message says how data with them is prepared.
    """
    if start.vocabulary_sha256 in ("", data.vocabulary.sha256):
        return
    run = path.parent.parent if _is_checkpoint(path) else path
    found = [p for p in (run / "model", run) if (p / "vocabulary.model").is_file()]
    how = (
        f"; prepare it with `taskaware prepare --vocabulary {found[0] / 'vocabulary.model'}`"
        if found
        else ""
    )
    raise DataError(f"{data.folder} must have the vocabulary of {path}, but has another{how}")


def _open_model(path: Path) -> Start:
    model = load(find_model(path), device="cpu")
    return Start(
        tasks=model.tasks,
        tensors=weights(model.transformer),
        vocabulary_sha256=model.vocabulary.sha256,
        task_embeddings=model.task_embeddings,
    )


def _is_checkpoint(path: Path) -> bool:
    return path.parent.name == "checkpoints" and path.name.startswith("update-")


def _open_checkpoint(path: Path) -> Start:
    """A checkpoint holds weights, and says of what tasks and vocabulary they are."""
    data = read_content(path).get("data", {})
    if not data:
        raise CheckpointError(
            f"{path} must say of which tasks and vocabulary its weights are, but does not: an "
            "earlier version of taskaware wrote it; name its run, or one of its models, instead"
        )
    tasks = tuple(Task(**task) for task in data["tasks"])
    return Start(
        tasks=tasks,
        tensors=load_tensors(path / "model.safetensors"),
        vocabulary_sha256=data["vocabulary"],
    )


def training_batches(run: Run) -> TrainingBatches:
    """Return the endless updates of a run.

    Raises:
        ExperimentError: Signals are to be changed, but the data has features alone.
    """
    experiment = run.experiment
    split = run.data.split(experiment.data.train_split)
    takes_speech = any(task.source_modality == "speech" for task in run.trained_tasks)
    if experiment.augmentation.changes_signal and takes_speech and not run.data.stores_audio:
        raise ExperimentError(
            "`augmentation.share` must be 0 where the data keeps features alone, but is "
            f"{experiment.augmentation.share}; prepare {run.data.folder} with `--store audio`"
        )
    reader = AugmentedReader(split, experiment.augmentation, seed=experiment.training.seed)
    return TrainingBatches(
        split,
        reader,
        run.trained_tasks,
        _batching(run),
        cues=_cues(run, run.trained_tasks),
        seed=experiment.training.seed,
        rank=run.processes.rank,
        num_ranks=run.processes.num_ranks,
        batches_per_task=experiment.learning.batches_per_task,
        changed_lengths=reader.changed_lengths if experiment.augmentation.changes_signal else None,
    )


def create_retention(run: Run) -> Retention | None:
    """Return what keeps the start's other tasks, ``None`` where nothing does.

    Raises:
        UserError: There is no other task to keep.
        DataError: The data has no examples of a task that must be remembered.
    """
    settings = run.experiment.start.retention
    if settings.method == "none" or run.start is None:
        return None
    trained = {task.name for task in run.trained_tasks}
    old_tasks = [task for task in run.tasks if task.name not in trained]
    if not old_tasks:
        raise UserError(
            f"`data.tasks` must leave out tasks of {run.experiment.start.model} where "
            f"`start.retention.method` is '{settings.method}', but names all: there is none to keep"
        )
    match settings.method:
        case "replay":
            return Replay(
                run.model,
                run.tasks,
                _memory_stream(run, old_tasks),
                weight=settings.weight,
                objective=run.experiment.objective,
                conditioning=run.experiment.model.conditioning,
            )
        case "distillation":
            return Distillation(
                run.model,
                old_tasks,
                task_embeddings=_embeddings_of_the_start(run, old_tasks),
                cues=_cues(run, run.tasks),
                weight=settings.weight,
                temperature=settings.temperature,
            )
        case "ewc":
            importance = fisher_information(run.model, _single_examples(run, old_tasks))
            return ElasticWeights(run.model, importance, weight=settings.weight)


def _embeddings_of_the_start(run: Run, tasks: Sequence[Task]) -> dict[str, Tensor]:
    """Return the mean t_e that tasks had at the start; none where it has no task network.

    Raises:
        DataError: A checkpoint, which keeps none, and no examples to compute them from.
    """
    if not run.experiment.model.conditioning.has_task_network or run.start is None:
        return {}
    found = dict(run.start.task_embeddings)
    if not found:
        run.model.eval()
        # A copy, because what is made in inference mode cannot take part in training.
        found = {name: value.clone() for name, value in run.task_embeddings(run.model).items()}
        run.model.train()
    missing = [task.name for task in tasks if task.name not in found]
    if missing:
        raise DataError(
            f"{run.experiment.start.model} must have the embedding of task '{missing[0]}', which "
            "is to be kept, or the data examples of it, but neither is there; start from the run's "
            "`model` in place of a checkpoint"
        )
    return {task.name: found[task.name].to(run.processes.device) for task in tasks}


class _Memory:
    """A few examples of some tasks of a split, as another split."""

    def __init__(self, split: TaskSource, indices: Mapping[str, NDArray[np.int64]]) -> None:
        self._split = split
        self._indices = indices

    @property
    def examples(self) -> Sequence[Example]:
        return self._split.examples

    @property
    def source_lengths(self) -> NDArray[np.int64]:
        return self._split.source_lengths

    @property
    def target_lengths(self) -> NDArray[np.int64]:
        return self._split.target_lengths

    def indices(self, task_name: str) -> NDArray[np.int64]:
        return self._indices[task_name]

    def source(self, index: int) -> NDArray:
        return self._split.source(index)

    def target(self, index: int) -> NDArray[np.int64]:
        return self._split.target(index)


def _memory(run: Run, tasks: Sequence[Task]) -> _Memory:
    """Draw the examples to remember, the same in every process and after every stop."""
    split = run.data.split(run.experiment.data.train_split)
    number = run.experiment.start.retention.memory_examples
    chosen: dict[str, NDArray[np.int64]] = {}
    for task in tasks:
        if not split.num_examples(task.name):
            raise DataError(
                f"{run.data.folder} must have training examples of task '{task.name}', which is "
                'to be kept, but has none; `start.retention.method = "distillation"` needs none'
            )
        random = np.random.default_rng([run.experiment.training.seed, 3])
        limits = run.experiment.batching
        chosen[task.name] = np.sort(split.sample(task.name, number, random, limits=limits))
    return _Memory(split, chosen)


def _single_examples(run: Run, tasks: Sequence[Task]) -> Iterator[tuple[Batch, int]]:
    """Yield every remembered example as a batch of its own, with its task's index."""
    memory = _memory(run, tasks)
    for index, task in enumerate(run.tasks):
        if task not in tasks:
            continue
        batches = batches_of(
            memory,
            task,
            groups_of(memory.indices(task.name), 1),
            vocabulary=run.data.vocabulary,
            cue=run.experiment.model.conditioning.cue,
        )
        for batch in batches:
            yield batch.to(run.processes.device), index


def _memory_stream(run: Run, tasks: Sequence[Task]) -> TrainingBatches:
    """Return endless batches of the remembered examples, of one task at a time."""
    memory = _memory(run, tasks)
    batching = replace(
        _batching(run), mix="sampled", task_weights={}, temperature=1.0, num_workers=0
    )
    return TrainingBatches(
        OneShard(memory),
        PlainReader(memory),
        tasks,
        batching,
        cues=_cues(run, tasks),
        seed=run.experiment.training.seed,
        rank=run.processes.rank,
        num_ranks=run.processes.num_ranks,
    )


def _batching(run: Run) -> BatchingSettings:
    """Return how to make batches, without examples that no task network looks at."""
    if run.experiment.model.conditioning.looks_at_cue_examples:
        return run.experiment.batching
    return replace(run.experiment.batching, cue_examples=0)


def _cues(run: Run, tasks: Sequence[Task]) -> dict[str, TextCue]:
    cue = run.experiment.model.conditioning.cue
    return {task.name: text_cue(run.data.vocabulary, task, cue) for task in tasks}
