"""A trained model in use: load a folder, then recognise, translate, or run any task of its.

::

    model/
        model.safetensors             the weights
        model.json                    settings, tasks, features: all that builds the model again
        vocabulary.model              the word pieces (sentencepiece)
        task_embeddings.safetensors   the mean t_e of each task, from training examples
        provenance.json               which run, data and update it came from

Shape legend: O size of a task embedding, N samples, S source positions, F feature bins.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from taskaware import settings as settings_file
from taskaware.data.batching import TextCue, collate, pad_sources, text_cue
from taskaware.data.features import FeatureSettings
from taskaware.data.vocabulary import Vocabulary
from taskaware.decoding.beam_search import beam_search
from taskaware.decoding.scoring import DecodingSettings
from taskaware.errors import CheckpointError, UnknownTaskError, UserError, nearest
from taskaware.files import atomic_folder, link_or_copy
from taskaware.model.settings import ModelSettings
from taskaware.model.support import mean_task_embedding
from taskaware.model.transformer import TaskAwareTransformer, create_model
from taskaware.sources import Source, encode_source, looks_like_text
from taskaware.training.checkpoint import (
    file_sha256,
    fill_weights,
    load_tensors,
    read_metadata,
    weights,
    write_tensors,
)
from taskaware.training.memory import bound_caches
from taskaware.types import Hypothesis, Modality, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMAT_VERSION = 1
MODEL_FILES = (
    *("model.safetensors", "task_embeddings.safetensors", "vocabulary.model"),
    *("provenance.json", "model.json"),
)
_MADE_WITH = "weights_sha256"  # in the metadata of the task embeddings
_DESCRIBED = ("model", "features", "decoding", "tasks", "vocabulary_sha256")


@dataclass
class TaskAwareModel:
    """One model for all its tasks.

    Attributes:
        transformer: The network, in evaluation mode.
        settings: Its sizes and choices.
        tasks: What it was trained on, in the order of the explicit network's one-hot positions.
        vocabulary: Its word pieces.
        feature_settings: How it hears a recording.
        decoding: How it searches unless told otherwise.
        task_embeddings: Mean t_e of training examples by task, float32 ``[1, O]``; empty without a
            task network.
        provenance: Where it came from.
    """

    transformer: TaskAwareTransformer
    settings: ModelSettings
    tasks: tuple[Task, ...]
    vocabulary: Vocabulary
    feature_settings: FeatureSettings
    decoding: DecodingSettings
    task_embeddings: Mapping[str, Tensor] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    # --- use ---

    def transcribe(self, source: Source, *, language: str | None = None) -> str:
        """Return what is said in a recording, with the model's speech recognition task.

        Args:
            source: The path of a recording, or a waveform.
            language: The language spoken, where the model knows several.
        """
        found = [
            task
            for task in self.tasks
            if task.kind == "asr" and language in (None, task.source_language)
        ]
        return self.run(self._only(found, "speech recognition", language, "language"), source)

    def translate(self, source: Source, *, to: str, source_language: str | None = None) -> str:
        """Return the translation of a recording or a text.

        Args:
            source: The path of a recording, a waveform, or text.
            to: The language wanted, e.g. ``"de"``.
            source_language: The language of the source, where the model knows several.
        """
        modality = "text" if looks_like_text(source) else "speech"
        found = [
            task
            for task in self.tasks
            if task.source_modality == modality
            and task.target_language == to
            and task.source_language != to
            and source_language in (None, task.source_language)
        ]
        return self.run(self._only(found, f"translation of {modality}", to, "to"), source)

    def run(
        self,
        task: str,
        source: Source,
        *,
        task_embedding: Tensor | None = None,
        decoding: DecodingSettings | None = None,
    ) -> str:
        """Return the best output of one task for one source (see ``run_many``)."""
        return self.run_many(task, [source], task_embedding=task_embedding, decoding=decoding)[0][
            0
        ].text

    def run_many(
        self,
        task: str,
        sources: Sequence[Source],
        *,
        task_embedding: Tensor | None = None,
        decoding: DecodingSettings | None = None,
    ) -> list[list[Hypothesis]]:
        """Return the best hypotheses for each source, best first.

        Args:
            task: The task's name.
            sources: Any number; sources of similar length are decoded together.
            task_embedding: ``[1, O]`` from ``embed_task``, in place of the stored one.
            decoding: How to search, in place of the model's own settings.

        Raises:
            UnknownTaskError: The model has no such task.
            AudioError: A recording cannot be used.
        """
        found = self.task(task)
        arrays = [self.encode_source(source, found.source_modality) for source in sources]
        return self.decode(found, arrays, task_embedding=task_embedding, decoding=decoding)

    def embed_task(
        self, examples: Sequence[tuple[Source, str]], *, task: str | None = None
    ) -> Tensor:
        """Return the task embedding that examples of a task give, float32 ``[1, O]``.

        Args:
            examples: Pairs of a source and its target text, a few or many.
            task: The task that they belong to, where the kind of source leaves a doubt; an explicit
                network looks at this name alone.

        Raises:
            UserError: The model has no task network, or there is no example.
        """
        if not self.settings.conditioning.has_task_network:
            raise UserError(
                "the model must have a task network to embed a task, but its conditioning is "
                f"'{self.settings.conditioning.cue}'"
            )
        if not examples:
            raise UserError("at least one example must be given, but there is none")
        if task is None:
            is_text = looks_like_text(examples[0][0])
            wanted: Modality = "text" if is_text else "speech"
            found = next((t for t in self.tasks if t.source_modality == wanted), None)
            if found is None:
                raise UnknownTaskError(f"the model must have a task for {wanted}, but has none")
        else:
            found = self.task(task)
        batch = collate(
            found,
            [self.encode_source(source, found.source_modality) for source, _ in examples],
            [np.array(self.vocabulary.encode(text), dtype=np.int64) for _, text in examples],
            cue=self.cue(found),
        )
        index = self.tasks.index(found)
        embedding = mean_task_embedding(self.transformer, [batch], task_index=index)
        assert embedding is not None
        return embedding

    # --- parts that evaluation uses too ---

    def task(self, name: str) -> Task:
        """Return a task by its name.

        Raises:
            UnknownTaskError: There is none of this name.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        names = [task.name for task in self.tasks]
        raise UnknownTaskError(
            f"the task must be one of {', '.join(names)}, but is '{name}'{nearest(name, names)}"
        )

    def cue(self, task: Task) -> TextCue:
        """Return what the task's name puts into the text."""
        return text_cue(self.vocabulary, task, self.settings.conditioning.cue)

    def encode_source(self, source: Source, modality: Modality) -> np.ndarray:
        """Return a source as the model reads it (see ``sources.encode_source``)."""
        return encode_source(
            source,
            modality,
            vocabulary=self.vocabulary,
            feature_settings=self.feature_settings,
        )

    def decode(
        self,
        task: Task,
        sources: Sequence[np.ndarray],
        *,
        task_embedding: Tensor | None = None,
        decoding: DecodingSettings | None = None,
    ) -> list[list[Hypothesis]]:
        """Return the best hypotheses for sources that ``encode_source`` (or ``prepare``) made."""
        decoding = decoding or self.decoding
        cue = self.cue(task)
        prefix = np.array(cue.source_prefix, dtype=np.int64)
        if len(prefix):
            sources = [np.concatenate([prefix, source]) for source in sources]
        device = self.transformer.token_embedding.weight.device
        if task_embedding is None:
            task_embedding = self.task_embeddings.get(task.name)
        if task_embedding is not None:
            task_embedding = task_embedding.to(device)
        order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
        answers: list[list[Hypothesis]] = [[] for _ in sources]
        for start in range(0, len(order), decoding.examples_per_batch):
            chosen = order[start : start + decoding.examples_per_batch]
            source, lengths = pad_sources([sources[i] for i in chosen])
            found = beam_search(
                self.transformer,
                source.to(device),
                lengths.to(device),
                modality=task.source_modality,
                task_embedding=task_embedding,
                begin=cue.begin,
                vocabulary=self.vocabulary,
                settings=decoding,
            )
            for i, hypotheses in zip(chosen, found, strict=True):
                answers[i] = hypotheses
        return answers

    # --- on disk ---

    def save(self, folder: Path, *, weights_file: Path | None = None) -> None:
        """Write the model's folder; a folder that is there is replaced only once all is written.

        Args:
            folder: Where.
            weights_file: A file that holds these weights already, and need not be written twice.

        Raises:
            WriteError: The disk is full, for example.
        """
        with atomic_folder(folder) as partial:
            weights_path = partial / "model.safetensors"
            if weights_file is None:
                write_tensors(weights_path, weights(self.transformer))
            else:
                link_or_copy(weights_file, weights_path)
            embeddings = {
                name: value.cpu().contiguous() for name, value in self.task_embeddings.items()
            }
            made_with = {_MADE_WITH: file_sha256(weights_path)}
            write_tensors(partial / "task_embeddings.safetensors", embeddings, made_with)
            self.vocabulary.save(partial / "vocabulary.model")
            description = {
                "format_version": FORMAT_VERSION,
                "model": settings_file.to_mapping(self.settings),
                "features": settings_file.to_mapping(self.feature_settings),
                "decoding": settings_file.to_mapping(self.decoding),
                "tasks": [settings_file.to_mapping(task) for task in self.tasks],
                "vocabulary_sha256": self.vocabulary.sha256,
            }
            for name, content in (
                ("provenance.json", dict(self.provenance)),
                ("model.json", description),
            ):
                (partial / name).write_text(json.dumps(content, indent=1), encoding="utf-8")

    # --- inside ---

    def _only(self, found: Sequence[Task], what: str, language: str | None, option: str) -> str:
        names = ", ".join(task.name for task in self.tasks)
        if not found:
            wanted = f" for '{language}'" if language else ""
            raise UnknownTaskError(
                f"the model must have a task for {what}{wanted}, but its tasks are {names}"
            )
        if len(found) > 1:
            raise UnknownTaskError(
                f"`{option}` must single out one task for {what}, but "
                f"{', '.join(task.name for task in found)} fit; use model.run(task, source)"
            )
        return found[0].name


def load(folder: Path | str, *, device: str = "auto") -> TaskAwareModel:
    """Load a model folder. Nothing in it is executed.

    Args:
        folder: The folder.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: a CUDA device where there is one.

    Raises:
        CheckpointError: It is missing, incomplete, damaged, or of another version.
    """
    bound_caches()
    folder = Path(folder)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    path = folder / "model.json"
    try:
        description = json.loads(path.read_text())
        provenance = json.loads((folder / "provenance.json").read_text())
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder} must be a model folder, but {Path(error.filename).name} is missing; a run's "
            "models are in its folders `model`, `best`, `average` and `taskwise/TASK`"
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} must be readable JSON, but: {error}") from error
    required = {"format_version", *_DESCRIBED}
    if not isinstance(description, dict) or not required <= set(description):
        raise CheckpointError(f"{path} must have {', '.join(sorted(required))}, but has not")
    if description["format_version"] != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} must have format version {FORMAT_VERSION}, but has "
            f"{description['format_version']!r}: another version of taskaware wrote it"
        )
    vocabulary = Vocabulary.load(folder / "vocabulary.model")
    if vocabulary.sha256 != description["vocabulary_sha256"]:
        raise CheckpointError(
            f"{folder / 'vocabulary.model'} must be the one that the model was trained with, but "
            "is another; copy the whole folder again"
        )
    where = str(path)
    tasks = tuple(
        settings_file.from_mapping(Task, task, where=where) for task in description["tasks"]
    )
    model_settings = settings_file.from_mapping(ModelSettings, description["model"], where=where)
    transformer = create_model(model_settings, vocabulary_size=vocabulary.size, tasks=tasks)
    weights_path = folder / "model.safetensors"
    fill_weights(transformer, load_tensors(weights_path), where=str(weights_path))
    return TaskAwareModel(
        transformer=transformer.to(device).eval(),
        settings=model_settings,
        tasks=tasks,
        vocabulary=vocabulary,
        feature_settings=settings_file.from_mapping(
            FeatureSettings, description["features"], where=where
        ),
        decoding=settings_file.from_mapping(DecodingSettings, description["decoding"], where=where),
        task_embeddings=_task_embeddings(folder),
        provenance=provenance,
    )


def _task_embeddings(folder: Path) -> dict[str, Tensor]:
    """Read the task embeddings, which must have been computed with the folder's weights."""
    path, weights_path = folder / "task_embeddings.safetensors", folder / "model.safetensors"
    tensors = load_tensors(path)
    made_with = read_metadata(path).get(_MADE_WITH)
    if made_with is not None and made_with != file_sha256(weights_path):
        raise CheckpointError(
            f"{path} must have been computed with {weights_path}, but was with other weights; copy "
            "the whole folder again"
        )
    return tensors


def with_beam(decoding: DecodingSettings, beam: int | None, num_best: int = 1) -> DecodingSettings:
    """Return the settings with another beam, wide enough for the hypotheses wanted."""
    return replace(decoding, beam=max(beam or decoding.beam, num_best), num_best=num_best)
