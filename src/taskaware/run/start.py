"""What a run starts from: a trained model, or a checkpoint, to fine-tune or to add tasks to."""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING

import torch

from taskaware.data.batches.batching import text_cue
from taskaware.data.manifest.tasks import require_good_names, require_same_tasks
from taskaware.errors import (
    CheckpointError,
    DamagedCheckpointError,
    DataError,
    ExperimentError,
    TaskawareError,
)
from taskaware.inference.data_fit import other_features
from taskaware.inference.model import load
from taskaware.model.adapters import tasks_with_sets
from taskaware.model.task_network import EXPLICIT_ROWS, TASK_NETWORK, without_vectors
from taskaware.model.text_encoder import entrance_for
from taskaware.run.data import features_digest
from taskaware.run.idle_settings import Remark
from taskaware.run.settings import settings_of_the_start
from taskaware.settings import typed as settings_file
from taskaware.training.checkpoint import read_content
from taskaware.training.tensors import check_file, load_tensors, weights
from taskaware.training.trainable import BOTTLENECK, TEXT_ENCODER
from taskaware.types import Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from taskaware.data.batches.batching import TextCue
    from taskaware.data.prepared.folder import PreparedData
    from taskaware.data.sound.settings import FeatureSettings
    from taskaware.data.vocabulary.vocabulary import Vocabulary
    from taskaware.model.adapter_settings import AdapterSettings
    from taskaware.model.conditioning_settings import Cue
    from taskaware.model.settings import ModelSettings
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.run.experiment import Experiment

_FRONTENDS = "frontends."
_ENTRANCE = TEXT_ENCODER + "entrance."


@dataclass(frozen=True, kw_only=True)
class Start:
    """A trained model to start from.

    Attributes:
        tasks: Its tasks.
        tensors: Its weights.
        vocabulary_sha256: Of its vocabulary.
        features: What stands for how it hears a recording (``run.data.features_digest``).
        task_embeddings: The mean t_e of its tasks, float32 ``[1, O]``; empty where it has none.
        longest_sources: The longest source that each of its tasks was trained on.
        feature_settings: How it hears a recording; ``None``: a checkpoint, which does not say.
        settings: Its sizes and choices; ``None``: a checkpoint, which does not say.
        vocabulary: Its vocabulary, where it has one with it.
        digest: What stands for its weights, tasks and task embeddings, wherever it lies.
    """

    tasks: tuple[Task, ...]
    tensors: Mapping[str, Tensor]
    vocabulary_sha256: str
    features: str
    task_embeddings: Mapping[str, Tensor] = field(default_factory=dict)
    longest_sources: Mapping[str, int] = field(default_factory=dict)
    feature_settings: FeatureSettings | None = None
    settings: ModelSettings | None = None
    vocabulary: Vocabulary | None = None
    digest: str = ""

    @property
    def adapter_tasks(self) -> tuple[str, ...]:
        """The names of the tasks that have a set of adapter weights."""
        return tasks_with_sets(self.tensors, self.tasks)

    @property
    def has_task_network(self) -> bool:
        """Whether it has weights that compute a t_e."""
        return any(name.startswith(TASK_NETWORK) for name in self.tensors)


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
            f"{path} must have finite weights to start from, but does not; start from an older "
            "checkpoint or another model"
        )
    return replace(start, digest=_digest(start))


def _digest(start: Start) -> str:
    of_tasks = json.dumps([asdict(task) for task in start.tasks], sort_keys=True)
    digest = hashlib.sha256(f"{start.vocabulary_sha256} {start.features} {of_tasks}".encode())
    for tensors in (start.tensors, start.task_embeddings):
        for name, value in sorted(tensors.items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def require_prepared_for(start: Start, path: Path, data: PreparedData) -> None:
    """Check that the data's pieces and features are those that the start was trained with.

    Raises:
        DataError: They are not; the message says how data with its vocabulary is prepared.
    """
    hears = any(task.modality.is_recording for task in start.tasks)
    if hears and start.features != features_digest(data.feature_settings):
        raise DataError(
            f"{data.folder} must have the features that {path} was trained with, but has others"
            f"{_other_features(start, data)}"
        )
    if start.vocabulary_sha256 == data.vocabulary.sha256:
        return
    run = path.parent.parent if _is_checkpoint(path) else path
    found = [p for p in (run / "model", run) if (p / "vocabulary.model").is_file()]
    how = f"; prepare it with `taskaware prepare {_option(found[0], data)}`" if found else ""
    raise DataError(f"{data.folder} must have the vocabulary of {path}, but has another{how}")


def _option(model: Path, data: PreparedData) -> str:
    """Return what gives data a model's vocabulary: where its encoder is named, that does so too."""
    if data.encoder is not None:
        return f"--encoder {shlex.quote(str(model))}"
    return f"--vocabulary {shlex.quote(str(model / 'vocabulary.model'))}"


def _other_features(start: Start, data: PreparedData) -> str:
    """Return which settings of the features differ, and how the data get the start's."""
    if start.feature_settings is None:  # a checkpoint knows them by their digest
        return f" ({data.feature_settings}); prepare it with the settings of that run's data"
    return other_features(start.feature_settings, data)


def weights_for(start: Start, model: TaskAwareTransformer) -> dict[str, Tensor]:
    """Return the start's weights as those of a model of the same sizes with more tasks.

    A new row of an explicit network is the mean of the start's, a t_e that its blocks know. Where
    the start has no task network, the model's own modulates nothing; front ends, bottlenecks and
    an encoder of texts that the start has not stay as they are, but for what enters that encoder.
    """
    own = model.state_dict()
    tensors = dict(start.tensors)
    if not start.has_task_network:
        tensors |= {name: v for name, v in own.items() if name.startswith(TASK_NETWORK)}
        if EXPLICIT_ROWS in tensors:
            tensors[EXPLICIT_ROWS] = torch.zeros_like(tensors[EXPLICIT_ROWS])
    for part in new_parts(start):
        tensors |= {name: v for name, v in own.items() if part in name}
    if _ENTRANCE + "gamma" in own and TEXT_ENCODER in new_parts(start):
        found = entrance_for(start.tensors["token_embedding.weight"])
        tensors |= {_ENTRANCE + name: value for name, value in found.items()}
    for name, value in own.items():
        if name.startswith(_FRONTENDS) and not _has_frontend(start, name.split(".")[1]):
            tensors[name] = value
    rows, wanted = tensors.get(EXPLICIT_ROWS), own.get(EXPLICIT_ROWS)
    if rows is not None and wanted is not None and len(rows) == len(start.tasks) < len(wanted):
        mean = rows.mean(dim=0, keepdim=True)
        tensors[EXPLICIT_ROWS] = torch.cat([rows, mean.expand(len(wanted) - len(rows), -1)])
    return tensors


def require_same_model(settings: ModelSettings, start: Start, path: Path) -> None:
    """Check that an experiment's model is the start's, but for what may change while training.

    Raises:
        ExperimentError: A field is another; all are named.
    """
    if start.settings is None:  # a checkpoint: names and shapes of its weights are compared
        if start.adapter_tasks:
            _require_same_adapters(settings.adapters, start, path)
        return
    before, now = _described(start.settings, start), _described(settings, start)
    others = [name for name in before if before[name] != now.get(name)]
    if others:
        lines = [f"`{n}` must be {before[n]!r}, but is {now.get(n)!r}" for n in others]
        raise ExperimentError(
            f"the model must be that of {path}, which the run starts from: {'; '.join(lines)}. A "
            "field that the experiment does not give is the start's"
        )


def _require_same_adapters(adapters: AdapterSettings, start: Start, path: Path) -> None:
    """Check adapters against those of a checkpoint, as far as the run that it is of says them."""
    of_run = settings_of_the_start({"start": {"model": str(path)}}).get("model", {})
    before = of_run.get("adapters", {})
    names = [name for name in adapters.used if name != "dropout"] or ["method"]
    for name in names:
        now = getattr(adapters, name)
        if adapters.method == "none" or before.get(name, now) != now:
            raise ExperimentError(
                f"`model.adapters.{name}` must be that of {path}, which the run starts from and "
                f"which has adapters of {', '.join(start.adapter_tasks)} "
                f"({before.get(name, 'its run is not beside it')!r}), but is {now!r}"
            )


def _described(settings: ModelSettings, start: Start) -> dict[str, object]:
    """Return the fields that a start decides, by their dotted names."""
    free = {"preset", "conditioning", "adapters", "dropout", "attention_dropout", "relu_dropout"}
    if not _has_frontend(start, "speech"):
        free |= {"frontend", "num_cnn_layers"}
        free |= {each.name for each in fields(settings) if each.name.startswith("cnn_")}
    if not any(task.source_modality != "text" for task in start.tasks):
        free.add("num_features")
    if TEXT_ENCODER in new_parts(start):
        free.add("num_text_encoder_layers")
    if settings.encoder_block != "conformer":
        free.add("conformer_kernel")
    own = [each.name for each in fields(settings) if each.name not in free]
    found: dict[str, object] = {f"model.{name}": getattr(settings, name) for name in own}
    if start.adapter_tasks:
        adapters = settings.adapters
        names = [name for name in adapters.used if name != "dropout"] or ["method"]
        found |= {f"model.adapters.{name}": getattr(adapters, name) for name in names}
    if start.has_task_network:
        conditioning = settings.conditioning
        names = ["cue", "acts_by", "film_scope", "film_on", "film_places", "bottleneck"]
        if conditioning.cue == "implicit":
            names += ["d_task", "d_task_ff", "num_task_heads", "implicit_reads"]
        found |= {f"model.conditioning.{name}": getattr(conditioning, name) for name in names}
    return found


def require_frontends(start: Start, tasks: Sequence[Task], path: Path, *, trains: str) -> None:
    """Check that a front end that the start does not have is trained.

    Raises:
        ExperimentError: It is frozen.
    """
    for task in tasks:
        modality = task.source_modality
        if trains != "everything" and modality != "text" and not _has_frontend(start, modality):
            raise ExperimentError(
                f"`start.trains` must be 'everything' where a new task has a kind of source that "
                f"{path} has no task of ('{task.name}': {modality}), but is '{trains}'"
            )


def start_remarks(
    start: Start, tasks: Sequence[Task], model: TaskAwareTransformer, experiment: Experiment
) -> tuple[Remark, ...]:
    """Return what is added to the start, a remark for each new task, and how much is trained."""
    settings = experiment.start
    known = [task.name for task in start.tasks]
    found = [
        Remark(
            about="start.model",
            task=task.name,
            text=f"task {task.name}: new, added to "
            f"{'the task' if len(known) == 1 else f'the {len(known):,} tasks'} of {settings.model}",
        )
        for task in tasks
        if task.name not in known
    ]
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    total, trained = sum(n for n, _ in sizes), sum(n for n, is_trained in sizes if is_trained)
    if trained < total:
        text = f"`start.trains` is '{settings.trains}': {trained:,} of {total:,} parameters"
        text += f" are trained{_without_bottlenecks(experiment)}"
        figures = {"trained": float(trained), "parameters": float(total)}
        found.append(Remark(about="start.trains", figures=figures, text=text))
    return (*found, *_other_prompts(start, experiment))


def _without_bottlenecks(experiment: Experiment) -> str:
    """Return that what is named is not all there, where it is not."""
    is_named = experiment.start.trains == "task_network_and_bottlenecks"
    if not is_named or experiment.model.conditioning.bottleneck:
        return ""
    return "; the model has no bottlenecks (`model.conditioning.bottleneck` is 0)"


def _other_prompts(start: Start, experiment: Experiment) -> Iterator[Remark]:
    """Yield the tasks of the start whose own pieces another cue takes from them."""
    now = experiment.model.conditioning.cue
    before = now if start.settings is None else start.settings.conditioning.cue
    if start.vocabulary is None or before == now:
        return
    for task in start.tasks:
        if _pieces(start.vocabulary, task, before) != _pieces(start.vocabulary, task, now):
            yield Remark(
                about="model.conditioning.cue",
                task=task.name,
                text=f"task {task.name}: told by its own pieces in {experiment.start.model}, which "
                f"the cue '{now}' does not use; its outputs change unless it is trained",
            )


def _pieces(vocabulary: Vocabulary, task: Task, cue: Cue) -> TextCue | None:
    try:
        return text_cue(vocabulary, task, cue)
    except TaskawareError:  # a task that its vocabulary cannot tell in this way
        return None


def new_parts(start: Start) -> tuple[str, ...]:
    """Return what the names of parts contain that a model may have and its start has not."""
    parts = (BOTTLENECK, TEXT_ENCODER)
    return tuple(part for part in parts if not any(part in name for name in start.tensors))


def _has_frontend(start: Start, modality: str) -> bool:
    return any(task.source_modality == modality for task in start.tasks)


def _open_model(path: Path) -> Start:
    model = load(path, device="cpu")
    return Start(
        tasks=model.tasks,
        tensors=weights(model.transformer),
        vocabulary_sha256=model.vocabulary.sha256,
        features=features_digest(model.feature_settings),
        task_embeddings=model.task_embeddings,
        longest_sources=model.longest_sources,
        feature_settings=model.feature_settings,
        settings=model.settings,
        vocabulary=model.vocabulary,
    )


def _is_checkpoint(path: Path) -> bool:
    is_named = path.parent.name == "checkpoints" and path.name.startswith("update-")
    return is_named or (path / "state.json").is_file()


def _open_checkpoint(path: Path) -> Start:
    """A checkpoint holds weights, and says of what tasks and vocabulary they are."""
    content = read_content(path)
    data = content.get("data", {})
    if not data:
        raise CheckpointError(
            f"{path} must say of which tasks and vocabulary its weights are, but does not: an "
            "earlier version of taskaware wrote it; name its run, or one of its models, instead"
        )
    weights_path = path / "model.safetensors"
    check_file(weights_path, content["sha256"])
    try:
        tasks = tuple(settings_file.from_mapping(Task, task) for task in data["tasks"])
        tensors, vectors = without_vectors(load_tensors(weights_path))
        names = dict(enumerate(task.name for task in tasks))
        return Start(
            tasks=tasks,
            tensors=tensors,
            task_embeddings={names[index]: value for index, value in vectors.items()},
            vocabulary_sha256=data["vocabulary"],
            features=data["features"],
        )
    # Of vectors that do not fit, torch says so by the last two.
    except (KeyError, TypeError, ValueError, ExperimentError, IndexError, RuntimeError) as error:
        raise DamagedCheckpointError(
            f"{path} must say of which tasks and vocabulary its weights are, but what it says "
            f"cannot be ({type(error).__name__}: {error}): name another checkpoint, its run, or "
            "one of its models"
        ) from error
