"""One run: from an experiment to a folder with models, log and checkpoints.

::

    runs/NAME/
        experiment.toml   every field, as the run used it
        log.jsonl         one line each time losses are logged or a validation is done
        checkpoints/      to go on from
        model/            the model to use (see inference.py for what a model folder holds)
        best/ average/    the best on the dev split over all tasks; the mean of the last checkpoints
        taskwise/TASK/    the best on the dev split for one task
        tensorboard/      the log for TensorBoard, where it is installed
"""

from __future__ import annotations

import platform
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from taskaware import __version__
from taskaware.data.batches.batching import batches_of, groups_of
from taskaware.data.batches.stream import killed_workers_named
from taskaware.data.prepared.folder import PreparedData
from taskaware.errors import ExperimentError, UnknownTaskError, nearest
from taskaware.inference.model import TaskAwareModel
from taskaware.model.task_embedding import mean_task_embedding
from taskaware.model.transformer import TaskAwareTransformer, create_model
from taskaware.run.checks import check_run
from taskaware.run.finish import write_models
from taskaware.run.folder import claim, write_experiment
from taskaware.run.lock import lock
from taskaware.run.log import RunLog, read_log
from taskaware.run.resume import resume
from taskaware.run.start import create_retention, open_start, require_vocabulary, training_batches
from taskaware.run.validation import validate
from taskaware.settings import typed as settings_file
from taskaware.training.best import BestWeights
from taskaware.training.checkpoint import fill_weights
from taskaware.training.loop import Validation, Watchers, stop_signals, train
from taskaware.training.memory import bound_caches
from taskaware.training.processes import Processes, Seat, join
from taskaware.training.step import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

    from taskaware.run.experiment import Experiment
    from taskaware.run.idle_settings import Remark
    from taskaware.run.start import Start
    from taskaware.training.progress import Progress
    from taskaware.types import Batch, Task

__all__ = [
    "Display",
    "Run",
    "read_log",
    "set_up",
    "train_experiment",
    "validate",
]


class Display(Protocol):
    """What shows a run to the person who waits for it."""

    def start(self, run: Run, *, first_update: int) -> None:
        """The run is set up and goes on from this update."""
        ...

    def note(self, text: str) -> None:
        """Something that the person should know."""
        ...

    def on_update(self, update: int) -> None:
        """Another update is done."""
        ...

    def on_progress(self, progress: Progress) -> None:
        """Another line of the log."""
        ...

    def on_validation(self, update: int, validation: Validation) -> None:
        """Another validation."""
        ...


@dataclass
class Run:
    """A run that is set up.

    Attributes:
        experiment: What it was asked to be.
        folder: Where it writes.
        data: What it trains on.
        tasks: The tasks of its model.
        trained_tasks: Those that it trains; all, unless it starts from a model of more tasks.
        model: The network.
        processes: Which of the processes that train together this is.
        start: What it starts from, where that is not new weights.
        remarks: What its user should know before it is trained (``run_checks``).
    """

    experiment: Experiment
    folder: Path
    data: PreparedData
    tasks: tuple[Task, ...]
    trained_tasks: tuple[Task, ...]
    model: TaskAwareTransformer
    processes: Processes
    start: Start | None = None
    remarks: tuple[Remark, ...] = ()

    def finished_model(self, tensors: Mapping[str, Tensor], *, update: int) -> TaskAwareModel:
        """Return the model with these weights and the task embeddings that they give."""
        settings = self.experiment.model
        transformer = create_model(
            settings, vocabulary_size=self.data.vocabulary.size, tasks=self.tasks
        )
        transformer.load_state_dict(dict(tensors))
        transformer.to(self.processes.device).eval()
        return TaskAwareModel(
            transformer=transformer,
            settings=settings,
            tasks=self.tasks,
            vocabulary=self.data.vocabulary,
            feature_settings=self.data.feature_settings,
            decoding=self.experiment.decoding,
            task_embeddings=self.task_embeddings(transformer),
            longest_sources=self.longest_sources(),
            provenance={
                "experiment": self.experiment.name,
                "run": str(self.folder),
                "update": update,
                "seed": self.experiment.training.seed,
                "start": str(self.experiment.start.model or ""),
                "data": str(self.data.folder),
                "data_fingerprint": self.data.fingerprint,
                "taskaware": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        )

    def longest_sources(self) -> dict[str, int]:
        """Return the longest source that each task is trained on, in frames or pieces."""
        split = self.data.split(self.experiment.data.train_split)
        limit = self.experiment.batching.max_source
        found = {t.name: split.longest_source(t.name, at_most=limit) for t in self.tasks}
        return {name: length for name, length in found.items() if length}

    def task_embeddings(self, model: TaskAwareTransformer) -> dict[str, Tensor]:
        """Return the mean t_e of random training examples for each task, ``[1, O]`` each.

        The examples depend on seed and task alone, so that all validations see the same. A task of
        the start that the data has no examples of keeps the embedding that it had there.
        """
        embeddings: dict[str, Tensor] = {}
        split = self.data.split(self.experiment.data.train_split)
        for index, task in enumerate(self.tasks):
            if self.start is not None and not split.num_examples(task.name):
                if task.name in self.start.task_embeddings:
                    embeddings[task.name] = self.start.task_embeddings[task.name]
                continue
            embedding = mean_task_embedding(model, self._support(task), task_index=index)
            if embedding is not None:
                embeddings[task.name] = embedding
        return embeddings

    def _support(self, task: Task) -> Iterator[Batch]:
        split = self.data.split(self.experiment.data.train_split)
        random = np.random.default_rng([self.experiment.training.seed, 2])
        chosen = split.sample(task.name, self.experiment.training.support_examples, random)
        return batches_of(
            split,
            task,
            groups_of(chosen, 16),
            vocabulary=self.data.vocabulary,
            cue=self.experiment.model.conditioning.cue,
        )


def train_experiment(
    experiment: Experiment,
    folder: Path,
    *,
    display: Display,
    restart: bool = False,
    seat: Seat | None = None,
) -> bool:
    """Train an experiment, or go on with it, in this process or as one of several.

    The processes meet and part here; ``train_with`` is for those that have met already.

    Args:
        experiment: What to train.
        folder: Where to write; what is there of the same experiment is gone on with.
        display: Shows the run.
        restart: Whether to delete what is there and start over.
        seat: Which of several processes this is; by default what ``torchrun`` says, or the
            only one.

    Returns:
        Whether it is finished.

    Raises:
        ExperimentError: A setting is impossible, the folder holds another experiment, or the data
            does not fit this one.
        DataError: The data is missing, incomplete, or not what the run began with.
        RunInUseError: Another command trains in the folder.
        NotFiniteError: A loss, a gradient, a weight or a moment is not finite.
        WriteError: The disk is full, for example; the checkpoints before are as they were.
    """
    settings_file.require_valid(experiment, where=experiment.name)
    with join(experiment.training.device, seat or Seat.from_environment()) as processes:
        return train_with(processes, experiment, folder, display=display, restart=restart)


def train_with(
    processes: Processes,
    experiment: Experiment,
    folder: Path,
    *,
    display: Display,
    restart: bool = False,
    is_known: bool = False,
) -> bool:
    """Train an experiment, or go on with it, in processes that have joined; see there.

    Args:
        processes: Which of them this is.
        experiment: What to train.
        folder: Where to write; what is there of the same experiment is gone on with.
        display: Shows the run.
        restart: Whether to delete what is there and start over.
        is_known: Whether the caller holds the folder's lock and knows that the folder holds this
            experiment, if any: paths may then be written in another way than before.
    """
    bound_caches()
    if experiment.training.num_threads:
        torch.set_num_threads(experiment.training.num_threads)
    with ExitStack() as stack:
        # First, so that a folder is not claimed for data that is not there.
        run = set_up(experiment, folder, processes)
        batches = training_batches(run)
        stack.callback(batches.close)
        run.remarks = check_run(experiment, run.data, trained=run.trained_tasks, tasks=run.tasks)
        changes: dict[str, float] = {}
        with processes.together():
            if processes.is_first:
                if not is_known:
                    stack.enter_context(lock(folder))
                changes = claim(folder, experiment, restart=restart, is_known=is_known)
        retention = create_retention(run)
        best_weights = BestWeights(folder / "best_weights")
        note = display.note if processes.is_first else _say_nothing
        state = resume(run, batches, retention, best_weights, note)
        with processes.together():
            if processes.is_first:
                write_experiment(folder, experiment)
            log = RunLog(folder, first_update=state.update, on=processes.is_first)
            stack.enter_context(log)
        for remark in run.remarks:
            log.write_remark({"kind": "remark", "update": state.update, **asdict(remark)})
        if processes.is_first:
            _log_changes(changes, state.update, log, note)
            display.start(run, first_update=state.update)
        with killed_workers_named():
            finished = train(
                state,
                run.model,
                batches,
                tasks=run.tasks,
                recipe=_recipe(experiment),
                retention=retention,
                processes=processes,
                checkpoint_folder=folder / "checkpoints",
                best_weights=best_weights,
                watchers=_watchers(run, display, log),
                frames_per_second=1000 / run.data.feature_settings.hop_ms,
            )
        with processes.together():
            if finished and processes.is_first:
                with stop_signals():  # a moment: better finished than broken off
                    write_models(run, state, best_weights)
    return finished


def _say_nothing(_text: str) -> None:
    pass


def _log_changes(
    changes: Mapping[str, float], update: int, log: RunLog, note: Callable[[str], None]
) -> None:
    """Write down from where on a run has another learning rate, for example."""
    if changes:
        log.write({"kind": "change", "update": update, "optimiser": dict(changes)})
        words = ", ".join(f"optimiser.{name} = {value}" for name, value in changes.items())
        note(f"from update {update:,} on: {words} (noted in log.jsonl)")


def _recipe(experiment: Experiment) -> Recipe:
    return Recipe(
        training=experiment.training,
        optimiser=experiment.optimiser,
        objective=experiment.objective,
        learning=experiment.learning,
        conditioning=experiment.model.conditioning,
    )


def set_up(experiment: Experiment, folder: Path, processes: Processes) -> Run:
    """Open the data and build the model, the same in every process."""
    data = PreparedData.open(experiment.data.folder)
    tasks, trained_tasks, start = _tasks(experiment, data)
    width = data.num_feature_columns
    takes_features = any(task.source_modality != "text" for task in tasks)
    if takes_features and width != experiment.model.num_features:
        raise ExperimentError(
            f"`model.num_features` must be {width}, the width of the features in {data.folder}, "
            f"but is {experiment.model.num_features}"
        )
    speech = [task.name for task in tasks if task.source_modality != "text"]
    if experiment.model.conditioning.cue == "text_label" and len(speech) == len(tasks):
        raise ExperimentError(
            "`model.conditioning.cue` must not be 'text_label' where no task has a text source: a "
            "label cannot be put before speech"
        )
    seed = experiment.training.seed
    torch.manual_seed(seed)
    model = create_model(experiment.model, vocabulary_size=data.vocabulary.size, tasks=tasks)
    if start is not None:
        fill_weights(model, start.tensors, where=str(experiment.start.model))
    model.to(processes.device)
    torch.manual_seed(seed + 1000 * (processes.rank + 1))  # dropout differs between processes
    return Run(
        experiment=experiment,
        folder=folder,
        data=data,
        tasks=tasks,
        trained_tasks=trained_tasks,
        model=model,
        processes=processes,
        start=start,
    )


def _tasks(
    experiment: Experiment, data: PreparedData
) -> tuple[tuple[Task, ...], tuple[Task, ...], Start | None]:
    """Return the tasks of the model, those to train, and what the run starts from."""
    names = experiment.data.tasks or tuple(task.name for task in data.tasks)
    if experiment.start.model is None:
        tasks = tuple(data.task(name) for name in names)
        return tasks, tasks, None
    path = experiment.start.model
    start = open_start(path, data)
    known = {task.name: task for task in start.tasks}
    unknown = [name for name in names if name not in known]
    if unknown:
        # Before the vocabulary: data prepared anew for a task that cannot be added helps nobody.
        asked = "`data.tasks`" if experiment.data.tasks else f"the tasks of {data.folder}"
        raise UnknownTaskError(
            f"{asked} must be tasks of {path} ({', '.join(known)}), but '{unknown[0]}' is not"
            f"{nearest(unknown[0], known)}. Fine-tuning can train tasks that a model has; it "
            "cannot add one. Name tasks of the model in `data.tasks`, or train a new model on data "
            "of all the tasks, the old and the new, without `start.model`"
        )
    require_vocabulary(start, path, data)
    return start.tasks, tuple(known[name] for name in names), start


def _watchers(run: Run, display: Display, log: RunLog) -> Watchers:
    def on_progress(progress: Progress) -> None:
        log.write({"kind": "progress", **asdict(progress)})
        display.on_progress(progress)

    def on_validation(update: int, validation: Validation) -> None:
        log.write({"kind": "validation", "update": update, **asdict(validation)})
        display.on_validation(update, validation)

    return Watchers(
        on_update=display.on_update,
        on_progress=on_progress,
        validate=lambda: validate(run),
        on_validation=on_validation,
    )
