"""A model's folder: found, read, written; what it holds, and what is wrong with a damaged one.

::

    model/
        model.safetensors             the weights
        model.json                    settings, tasks, features: all that builds the model again
        vocabulary.model              the word pieces (sentencepiece)
        task_embeddings.safetensors   the mean t_e of each task, from training examples
        provenance.json               which run, data and update it came from
        README.md                     the card: what it is, for people and for model hubs
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from taskaware.data.manifest.tasks import names_problem
from taskaware.data.sound.settings import FeatureSettings
from taskaware.data.vocabulary.vocabulary import Vocabulary
from taskaware.decoding.settings import DecodingSettings
from taskaware.errors import (
    CheckpointError,
    DataError,
    MissingDependencyError,
    UserError,
    WriteError,
    counted,
)
from taskaware.files import link_or_copy, read_json_object, require_name
from taskaware.folder_exchange import atomic_folder
from taskaware.inference.model_card import CARD_NAME, may_write_card, model_card, shareable
from taskaware.inference.parts import ModelParts
from taskaware.model.adapters import tasks_with_sets
from taskaware.model.allocation import at_most
from taskaware.model.create_model import create_model
from taskaware.model.parts import neutral_task_embedding
from taskaware.model.settings import ModelSettings
from taskaware.model.undrawn import undrawn
from taskaware.settings import typed as settings_file
from taskaware.training.checkpoint import checkpoints
from taskaware.training.tensors import (
    file_sha256,
    fill_weights,
    load_tensors,
    read_metadata,
    weights,
    write_tensors,
)
from taskaware.types import Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMAT_VERSION = 1
DESCRIPTION = "model.json"
MODEL_FILES = (
    *("model.safetensors", "task_embeddings.safetensors", "vocabulary.model"),
    *("provenance.json", DESCRIPTION),
)
_MADE_WITH = "weights_sha256"  # in the metadata of the task embeddings: whose they are
_RUN_FILE = "experiment.toml"
_DESCRIBED = ("model", "features", "decoding", "tasks", "vocabulary_sha256")
# To make a model, some of its numbers are written twice, and a few besides.
_DRAFTS, _FEW = 3, 1 << 20
_SHOWN_PLACES = 4
# What else has files of the same names, by a file that a model's folder has not.
_OTHERS = {
    "prepared.json": "prepared data: give a run that was trained on it",
    "export.json": "an export for other programs (docs/export.md): give the model that it is of",
    "config.json": "a model in another layout, such as Hugging Face's: import it (`taskaware "
    "import FOLDER --to NEW`), and give NEW",
}
_COPY_AGAIN = "copy the whole folder again"


def find_model(folder: Path, which: str = "model") -> Path:
    """Return the folder of one of a run's models, or a model's folder itself.

    Args:
        folder: A run's folder, a model's, or the place of one of a run's models (``RUN/best``).
        which: Which of a run's models; ``"model"`` for a model's folder.

    Raises:
        CheckpointError: There is none; the message says what there is.
    """
    which = str(which)
    found = folder / which
    require_name(found)
    if ".." in Path(which).parts or Path(which).is_absolute():
        raise CheckpointError(f"`which` must be one of the models of {folder}, but is '{which}'")
    if (found / DESCRIPTION).is_file():
        return found
    if folder.is_file():
        in_it = f": give its folder, {folder.parent}" if folder.name in MODEL_FILES else ""
        raise CheckpointError(f"{folder} must be a model folder or a run's, but is a file{in_it}")
    if which == "model" and (folder / DESCRIPTION).is_file():
        return folder
    if (folder / _RUN_FILE).is_file():
        return _of_a_run(folder, which)
    for run in (folder.parent, folder.parent.parent):
        if which == "model" and (run / _RUN_FILE).is_file() and run != folder:
            return find_model(run, str(folder.relative_to(run)))
    if not folder.exists():
        raise CheckpointError(f"{folder} must be a model folder or a run's, but does not exist")
    place = found if which != "model" else folder
    for name, what in _OTHERS.items():
        if (place / name).is_file():
            raise CheckpointError(f"{place} must be a model folder or a run's, but is {what}")
    if not any((place / name).exists() for name in MODEL_FILES):
        raise CheckpointError(
            f"{place} must be a model folder or a run's, but has neither {DESCRIPTION} nor "
            f"{_RUN_FILE}{_inside(place)}"
        )
    return place  # what is missing there is told by who reads it


def _inside(folder: Path) -> str:
    """Return what to give where models or runs are in a folder, as in that of a demo."""
    try:
        found = [
            str(place)
            for place in sorted(folder.iterdir())
            if (place / DESCRIPTION).is_file() or (place / _RUN_FILE).is_file()
        ]
    except OSError:  # it is a file, or may not be read
        return ""
    more = ", ..." if len(found) > _SHOWN_PLACES else ""
    return f": give one that is in it, {', '.join(found[:_SHOWN_PLACES])}{more}" if found else ""


def _of_a_run(run: Path, which: str) -> Path:
    there = _models(run)
    if not there:
        newest = max(checkpoints(run / "checkpoints"), default=None)
        how_far = f"; its newest checkpoint is {newest.name}" if newest else ""
        raise CheckpointError(
            f"{run} must be a finished run, but has no model yet{how_far}. Wait for its training, "
            "or resume it with the same command"
        )
    raise CheckpointError(
        f"{run} must have a model '{which}', but has {', '.join(there)}"
        + ("; `training.average_last` makes it" if which == "average" else "")
        + ("; a run without dev examples has no best" if which == "best" else "")
    )


def _models(run: Path) -> list[str]:
    places = [run / name for name in ("model", "best", "average")]
    places += sorted((run / "taskwise").glob("*"))
    return [str(p.relative_to(run)) for p in places if (p / DESCRIPTION).is_file()]


def read_folder(folder: Path) -> ModelParts:
    """Read a model's folder, every file of it, on the CPU. Nothing in it is executed.

    Raises:
        CheckpointError: It is incomplete, damaged, or of another version.
    """
    try:
        return _read_folder(folder)
    except DataError as error:
        raise CheckpointError(f"{error}; {_COPY_AGAIN}") from error
    except OSError as error:
        raise CheckpointError(f"{folder} must be a readable model folder, but: {error}") from error


def _read_folder(folder: Path) -> ModelParts:
    path = folder / DESCRIPTION
    description = _read_json(path)
    provenance = _read_json(folder / "provenance.json")
    _check_version(description, path)
    vocabulary = Vocabulary.load(folder / "vocabulary.model")
    if vocabulary.sha256 != description["vocabulary_sha256"]:
        raise CheckpointError(
            f"{folder / 'vocabulary.model'} must be the one that the model was trained with, but "
            f"is another; {_COPY_AGAIN}"
        )
    where = str(path)
    weights_path = folder / "model.safetensors"
    tensors = load_tensors(weights_path)
    try:
        tasks = tuple(
            settings_file.from_mapping(Task, task, where=where) for task in description["tasks"]
        )
        # Files are named after tasks: a stranger's name must lead to none that is elsewhere.
        if problem := names_problem(task.name for task in tasks):
            raise ValueError(problem)
        model = settings_file.from_mapping(ModelSettings, description["model"], where=where)
        features = settings_file.from_mapping(FeatureSettings, description["features"], where=where)
        decoding = settings_file.from_mapping(
            DecodingSettings, description["decoding"], where=where
        )
        longest = {str(k): int(v) for k, v in description.get("longest_sources", {}).items()}
        _require_few_layers(model, tensors)

        num_values = sum(tensor.numel() for tensor in tensors.values())
        with at_most(_DRAFTS * num_values + _FEW), undrawn():
            transformer = create_model(
                model,
                vocabulary_size=vocabulary.size,
                tasks=tasks,
                adapter_tasks=tasks_with_sets(tensors, tasks),
            )
        _require_fitting(tasks, model, features, decoding, longest, vocabulary.size)
    except MissingDependencyError:
        raise
    # A size that no number of bytes can hold is a RuntimeError of torch's.
    except (UserError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as err:
        raise CheckpointError(f"{path} must describe a model, but: {err}") from err
    fill_weights(transformer, tensors, where=str(weights_path))
    _check_finite(transformer.state_dict(), weights_path)
    return ModelParts(
        transformer=transformer,
        settings=model,
        tasks=tasks,
        vocabulary=vocabulary,
        feature_settings=features,
        decoding=decoding,
        task_embeddings=_task_embeddings(folder, tasks, model),
        provenance=provenance,
        longest_sources=longest,
    )


def _require_few_layers(settings: ModelSettings, tensors: Mapping[str, Tensor]) -> None:
    """Require that every layer can have a tensor: a million take long to make, even without one.

    Raises:
        ValueError: There are more layers than tensors.
    """
    num_layers = settings.num_encoder_layers + settings.num_decoder_layers
    num_layers += settings.num_cnn_layers + settings.bridge.num_layers
    num_layers += settings.num_text_encoder_layers
    if num_layers > len(tensors):
        raise ValueError(
            f"it has {counted(num_layers, 'layer')}, and its weights are {len(tensors):,}"
        )


def _require_fitting(
    tasks: Sequence[Task],
    model: ModelSettings,
    features: FeatureSettings,
    decoding: DecodingSettings,
    longest_sources: Mapping[str, int],
    num_pieces: int,
) -> None:
    """Require of settings that fit each for itself that they fit together.

    Raises:
        ValueError, UserError: They do not.
    """
    hears = any(task.source_modality == "speech" for task in tasks)
    if hears and features.num_mel_bins != model.num_features:
        raise ValueError(
            f"features.num_mel_bins ({features.num_mel_bins}) must be model.num_features "
            f"({model.num_features})"
        )
    decoding.require_known_pieces(num_pieces)
    for name, length in longest_sources.items():
        if length < 1:
            raise ValueError(f"longest_sources must be at least 1, but that of {name} is {length}")


def write_folder(parts: ModelParts, folder: Path, *, weights_file: Path | None = None) -> None:
    """Write a model's folder; a folder that is there is replaced only once all is written.

    Files in it that are not of a model stay, and so does a card that somebody changed.

    Args:
        parts: The model.
        folder: Where.
        weights_file: A file that holds these weights already, and need not be written twice.

    Raises:
        UserError: A task has a name that none may have.
        WriteError: The disk is full, for example; or the folder is no model's and holds files or
            folders of a model's names, which are somebody's.
    """
    if problem := names_problem(task.name for task in parts.tasks):
        raise UserError(f"a model that is saved must be one that can be loaded, but {problem}")
    _require_replaceable(folder)
    with atomic_folder(folder) as partial:
        weights_path = partial / "model.safetensors"
        if weights_file is None:
            write_tensors(weights_path, weights(parts.transformer))
        else:
            link_or_copy(weights_file, weights_path)
        embeddings = {
            name: value.cpu().contiguous() for name, value in parts.task_embeddings.items()
        }
        made_with = {_MADE_WITH: file_sha256(weights_path)}
        write_tensors(partial / "task_embeddings.safetensors", embeddings, made_with)
        parts.vocabulary.save(partial / "vocabulary.model")
        description = {
            "format_version": FORMAT_VERSION,
            "model": settings_file.to_mapping(parts.settings),
            "features": settings_file.to_mapping(parts.feature_settings),
            "decoding": settings_file.to_mapping(parts.decoding),
            "tasks": [settings_file.to_mapping(task) for task in parts.tasks],
            "vocabulary_sha256": parts.vocabulary.sha256,
            "longest_sources": dict(parts.longest_sources),
        }
        for name, content in (
            ("provenance.json", shareable(parts.provenance)),
            (DESCRIPTION, description),
        ):
            (partial / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
        if may_write_card(folder):
            (partial / CARD_NAME).write_text(model_card(parts), encoding="utf-8")


def _require_replaceable(folder: Path) -> None:
    there = [folder / name for name in MODEL_FILES if os.path.lexists(folder / name)]
    if not there:
        return
    try:
        is_model = "format_version" in read_json_object(folder / DESCRIPTION)
    except (OSError, ValueError):
        is_model = False
    foreign = [path for path in there if not is_model or path.is_dir()]
    if foreign:
        raise WriteError(
            f"{foreign[0]} must be a model's file to be replaced, but is not: give another folder, "
            "or move what is there; nothing was changed"
        )


def _check_version(description: Mapping[str, Any], path: Path) -> None:
    required = {"format_version", *_DESCRIBED}
    if not required <= set(description):
        raise CheckpointError(f"{path} must have {', '.join(sorted(required))}, but does not")
    version = description["format_version"]
    if type(version) is not int or version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} must have format version {FORMAT_VERSION}, but has {repr(version)[:40]}: "
            "another version of taskaware wrote it"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path.parent} must be a complete model folder, but {path.name} is missing; "
            f"{_COPY_AGAIN}"
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} must be readable JSON, but: {error}") from error


def _task_embeddings(
    folder: Path, tasks: tuple[Task, ...], settings: ModelSettings
) -> dict[str, Tensor]:
    path = folder / "task_embeddings.safetensors"
    embeddings = load_tensors(path)
    weights_path = folder / "model.safetensors"
    made_with = read_metadata(path).get(_MADE_WITH)
    if made_with is not None and made_with != file_sha256(weights_path):
        raise CheckpointError(
            f"{path} must have been computed with {weights_path}, but was with other weights; "
            f"{_COPY_AGAIN}"
        )
    names = [task.name for task in tasks]
    size = len(neutral_task_embedding(settings)) if embeddings else 0
    for name, value in embeddings.items():
        if name not in names or value.shape != (1, size) or value.dtype != torch.float32:
            kind = str(value.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"{path} must have a float32 vector [1, {size}] for tasks of the model "
                f"({', '.join(names)}), but has '{name}', {kind} {list(value.shape)}; {_COPY_AGAIN}"
            )
    _check_finite(embeddings, path)
    return embeddings


def _check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    for name, value in tensors.items():
        if not value.is_floating_point() or bool(value.sum().isfinite()):
            continue  # one number that is not finite makes the sum so too, which is soon found
        if not bool(value.isfinite().all()):
            raise CheckpointError(f"{path} must have finite numbers, but {name} has others")
