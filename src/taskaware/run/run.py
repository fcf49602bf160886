"""One run, set up: its experiment, folder, data, tasks and network.

::

    runs/NAME/
        experiment.toml   every field, as the run used it
        log.jsonl         one line each time losses are logged or a validation is done
        checkpoints/      to resume from
        model/            the model to use (inference/model_folder.py says what it holds)
        best/ average/    the best on the dev split over all tasks; the mean of the last checkpoints
        taskwise/TASK/    the best on the dev split for one task
        tensorboard/      the log for TensorBoard, where it is installed
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from taskaware.data.prepared.folder import PreparedData
from taskaware.errors import ExperimentError, UnknownTaskError, nearest
from taskaware.inference.model import TaskAwareModel
from taskaware.inference.task_embeddings import support_task_embeddings
from taskaware.model.transformer import TaskAwareTransformer, create_model
from taskaware.run.start import open_start, require_prepared_for
from taskaware.training.tensors import fill_weights
from taskaware.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from taskaware.run.experiment import Experiment
    from taskaware.run.idle_settings import Remark
    from taskaware.run.start import Start
    from taskaware.training.processes import Processes
    from taskaware.types import Task


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
        remarks: What its user should know before it is trained (``run.checks``).
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

        A task of the start that the data has no examples of keeps the embedding that it had there.
        """
        return support_task_embeddings(
            model,
            self.tasks,
            self.data.split(self.experiment.data.train_split),
            cue=self.experiment.model.conditioning.cue,
            num_examples=self.experiment.training.support_examples,
            seed=self.experiment.training.seed,
            earlier=self.start.task_embeddings if self.start is not None else {},
        )


def set_up(experiment: Experiment, folder: Path, processes: Processes) -> Run:
    """Open the data and build the model, the same in every process."""
    data = PreparedData.open(experiment.data.folder)
    tasks, trained_tasks, start = _tasks(experiment, data)
    width = data.num_feature_columns
    takes_features = any(not task.modality.is_text for task in tasks)
    if takes_features and width != experiment.model.num_features:
        raise ExperimentError(
            f"`model.num_features` must be {width}, the width of the features in {data.folder}, "
            f"but is {experiment.model.num_features}"
        )
    speech = [task.name for task in tasks if not task.modality.is_text]
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
        # Before the vocabulary: data prepared again for a task that cannot be added helps nobody.
        asked = "`data.tasks`" if experiment.data.tasks else f"the tasks of {data.folder}"
        raise UnknownTaskError(
            f"{asked} must be tasks of {path} ({', '.join(known)}), but '{unknown[0]}' is not"
            f"{nearest(unknown[0], known)}. Fine-tuning can train tasks that a model has; it "
            "cannot add one. Name tasks of the model in `data.tasks`, or train a new model on data "
            "of all the tasks, the old and the new, without `start.model`"
        )
    require_prepared_for(start, path, data)
    return start.tasks, tuple(known[name] for name in names), start
