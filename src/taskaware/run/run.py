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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from taskaware.data.prepared.folder import PreparedData
from taskaware.data.vocabulary.vocabulary import task_tag
from taskaware.errors import ExperimentError, UnknownTaskError, nearest
from taskaware.inference.model import TaskAwareModel
from taskaware.inference.task_embeddings import support_task_embeddings
from taskaware.model.create_model import create_model
from taskaware.model.parts import initial_task_embedding, neutral_task_embedding
from taskaware.model.task_network import ExplicitTaskNetwork, TaskVectors, without_vectors
from taskaware.model.undrawn import undrawn
from taskaware.run.cached_encoder import require_frozen_encoder, require_own_encoder
from taskaware.run.start import (
    new_parts,
    open_start,
    require_frontends,
    require_prepared_for,
    require_same_model,
    weights_for,
)
from taskaware.training.tensors import fill_weights
from taskaware.training.trainable import freeze_all_but
from taskaware.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.run.experiment import Experiment
    from taskaware.run.idle_settings import Remark
    from taskaware.run.start import Start
    from taskaware.training.processes import Processes
    from taskaware.training.shards import Shards
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
        model: The network, whole. Where it is split, that which the first process validates and
            saves.
        processes: Which of the processes that train together this is.
        start: What it starts from, where that is not new weights.
        remarks: What its user should know before it is trained (``run.checks``).
        shards: What splits the weights that are trained over the processes, if anything.
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
    shards: Shards | None = None

    def split(self) -> None:
        """Split the model over the processes, where the experiment says so and there are several.

        Every process must call it, before anything refers to the model's parameters.

        Raises:
            LostProcessError: The connection between the processes is lost.
        """
        if self.experiment.training.sharded and self.processes.num_ranks > 1:
            from taskaware.training.shards import Shards  # takes a second; few runs need it

            self.shards = Shards(self.model, self.processes)
            self.model = self.shards.whole

    def finished_model(self, tensors: Mapping[str, Tensor], *, update: int) -> TaskAwareModel:
        """Return the model with these weights and the task embeddings that they give."""
        settings = self.experiment.model
        with undrawn():
            transformer = create_model(
                settings,
                vocabulary_size=self.data.vocabulary.size,
                tasks=self.tasks,
                adapter_tasks=self.model.adapters.tasks,
            )
        plain, vectors = without_vectors(tensors)
        transformer.load_state_dict(plain)
        transformer.to(self.processes.device).eval()
        return TaskAwareModel(
            transformer=transformer,
            settings=settings,
            tasks=self.tasks,
            vocabulary=self.data.vocabulary,
            feature_settings=self.data.feature_settings,
            decoding=self.experiment.decoding,
            task_embeddings=self.task_embeddings(transformer, vectors=vectors),
            longest_sources=self.longest_sources(),
            provenance={
                "experiment": self.experiment.name,
                "run": str(self.folder),
                "update": update,
                "seed": self.experiment.training.seed,
                "start": str(self.experiment.start.model or ""),
                "start_digest": "" if self.start is None else self.start.digest,
                "trains": self.experiment.start.trains,
                "start_share": self.experiment.start.share,
                "ctc_weight": self.experiment.objective.ctc_weight,
                "data": str(self.data.folder),
                "data_fingerprint": self.data.fingerprint,
                "taskaware": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        )

    def longest_sources(self) -> dict[str, int]:
        """Return the longest source that each task is trained on, in frames or pieces.

        For a task that is not trained, that is what its start says.
        """
        split = self.data.split(self.experiment.data.train_split)
        limit = self.experiment.batching.max_source
        found = {t.name: split.longest_source(t.name, at_most=limit) for t in self.tasks}
        for task in self.tasks:
            if split.is_encoded(task) and self.data.encoder is not None:
                found[task.name] *= self.data.encoder.frames_per_position
        before = {} if self.start is None else dict(self.start.longest_sources)
        for task in self.trained_tasks:
            before.pop(task.name, None)
        return {name: length for name, length in (found | before).items() if length}

    def task_embeddings(
        self, model: TaskAwareTransformer, *, vectors: Mapping[int, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Return the mean t_e of random training examples for each task, ``[1, O]`` each.

        What is trained as a vector is that vector. A task of the start keeps the embedding that it
        had there where the data has no examples of it, and where the base is frozen.

        Args:
            model: The network.
            vectors: By the task's index, where they are not in the model.
        """
        if vectors is None and model.task_vectors is not None:
            _, vectors = without_vectors(model.state_dict())
        earlier = {} if self.start is None else self.start.task_embeddings
        fixed = {task.name: earlier[task.name] for task in self.tasks if self._is_kept(task)}
        fixed |= {self.tasks[index].name: vector for index, vector in (vectors or {}).items()}
        return support_task_embeddings(
            model,
            self.tasks,
            self.data.split(self.experiment.data.train_split),
            cue=self.experiment.model.conditioning.cue,
            num_examples=self.experiment.training.support_examples,
            seed=self.experiment.training.seed,
            earlier=earlier,
            fixed=fixed,
        )

    def _is_kept(self, task: Task) -> bool:
        """Return whether the start has a t_e of a task that this run does not change."""
        is_kept = self.experiment.start.keeps_task_embeddings and task not in self.trained_tasks
        return is_kept and self.start is not None and task.name in self.start.task_embeddings


def set_up(experiment: Experiment, folder: Path, processes: Processes) -> Run:
    """Open the data and build the model, the same in every process."""
    data = PreparedData.open(experiment.data.folder)
    require_frozen_encoder(experiment, data)
    tasks, trained_tasks, start = _tasks(experiment, data)
    width = data.num_feature_columns
    takes_features = any(not task.modality.is_text for task in tasks)
    # Data of texts alone has no features; a start that hears can be given a new task of them.
    if takes_features and width and width != experiment.model.num_features:
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
    model = create_model(
        experiment.model,
        vocabulary_size=data.vocabulary.size,
        tasks=tasks,
        adapter_tasks=() if start is None else start.adapter_tasks,
    )
    if start is not None:
        fill_weights(model, weights_for(start, model), where=str(experiment.start.model))
        require_own_encoder(experiment, data, model)
        _add_adapters(model, experiment, tasks, trained_tasks)
    model.to(processes.device)
    run = Run(
        experiment=experiment,
        folder=folder,
        data=data,
        tasks=tasks,
        trained_tasks=trained_tasks,
        model=model,
        processes=processes,
        start=start,
    )
    if start is not None:
        run.start = replace(start, task_embeddings=_embeddings_of_the_start(run, start))
        if experiment.start.trains == "task_embedding":
            model.task_vectors = _first_vectors(run, run.start).to(processes.device)
        freeze_all_but(
            model,
            experiment.start.trains,
            task_indices=[tasks.index(task) for task in trained_tasks],
            new_parts=new_parts(start),
        )
        model.train()
    torch.manual_seed(seed + 1000 * (processes.rank + 1))  # dropout differs between processes
    return run


def _add_adapters(
    model: TaskAwareTransformer,
    experiment: Experiment,
    tasks: Sequence[Task],
    trained_tasks: Sequence[Task],
) -> None:
    """Give the tasks to train the sets of adapter weights that they have not, where they need one.

    After the base has its weights, because tuned norms begin as copies of them.
    """
    if experiment.start.trains != "adapters":
        return
    for index, task in enumerate(tasks):
        if task in trained_tasks and task.name not in model.adapters.tasks:
            model.adapters.add(model, experiment.model.adapters, task.name, task_index=index)


def _embeddings_of_the_start(run: Run, start: Start) -> dict[str, Tensor]:
    """Return the t_e of the start's tasks, with those that the start itself does not keep.

    Where it has no task network, they modulate nothing. Of a checkpoint they are computed where
    they are kept as they are.
    """
    settings = run.experiment.model
    if not settings.conditioning.has_task_network:
        return dict(start.task_embeddings)
    found: dict[str, Tensor] = {}
    if not start.has_task_network:
        found = {task.name: neutral_task_embedding(settings)[None] for task in start.tasks}
    elif run.experiment.start.keeps_task_embeddings and not start.task_embeddings:
        found = _computed(run)
    return found | dict(start.task_embeddings)


def _computed(run: Run) -> dict[str, Tensor]:
    """Return the t_e that the model as it is computes for its tasks, where it can."""
    network = run.model.task_network
    if isinstance(network, ExplicitTaskNetwork):
        indices = torch.arange(len(run.tasks), device=network.rows.device)
        rows = network(indices).detach()
        return {task.name: row[None] for task, row in zip(run.tasks, rows, strict=True)}
    run.model.eval()
    # Copies, because what is made in inference mode cannot take part in training.
    return {name: value.clone() for name, value in run.task_embeddings(run.model).items()}


def _first_vectors(run: Run, start: Start) -> TaskVectors:
    """Return the vectors of the tasks to train: the start's, or what its task network computes."""
    computed: Mapping[str, Tensor] = {}
    if any(task.name not in start.task_embeddings for task in run.trained_tasks):
        computed = _computed(run)
    neutral = initial_task_embedding(run.experiment.model)[None]
    vectors: dict[int, Tensor] = {}
    for index, task in enumerate(run.tasks):
        if task in run.trained_tasks:
            value = start.task_embeddings.get(task.name, computed.get(task.name, neutral))
            # The same in all processes, to the last bit.
            vectors[index] = run.processes.broadcast(value.to(run.processes.device, copy=True))
    return TaskVectors(vectors)


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
    added = {task.name: task for task in data.tasks if task.name not in known}
    unknown = [name for name in names if name not in known and name not in added]
    if unknown:
        raise UnknownTaskError(
            f"`data.tasks` must be tasks of {path} ({', '.join(known)}), or new ones of "
            f"{data.folder} ({', '.join(added) or 'which has none'}), but '{unknown[0]}' is "
            f"neither{nearest(unknown[0], [*known, *added])}"
        )
    require_prepared_for(start, path, data)
    new = [added[name] for name in names if name in added]
    require_same_model(experiment.model, start, path)
    _require_tags(experiment, data, new, path)
    require_frontends(start, new, path, trains=experiment.start.trains)
    tasks = (*start.tasks, *new)
    by_name = {task.name: task for task in tasks}
    return tasks, tuple(by_name[name] for name in names), start


def _require_tags(
    experiment: Experiment, data: PreparedData, new: Sequence[Task], path: Path
) -> None:
    """Check that a new task can be told by a piece, where tasks are told so.

    Raises:
        UnknownTaskError: The vocabulary, which is the start's, has none for it.
    """
    if experiment.model.conditioning.cue != "target_tag" or data.vocabulary.family:
        return
    missing = [task.name for task in new if not data.vocabulary.has_tag(task_tag(task.name))]
    if missing:
        raise UnknownTaskError(
            f"a task that is added to {path} must have a piece of its vocabulary where "
            f"`model.conditioning.cue` is 'target_tag', but '{missing[0]}' has none: pieces cannot "
            "be added to a trained model. A model with the cue 'explicit' or 'implicit' takes new "
            "tasks"
        )
