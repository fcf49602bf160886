"""A trained model in use: load a folder, then recognise, translate, or run any task of its.

``model_folder`` says what the folder holds, ``sources`` what a source may be.

Shape legend: O size of a task embedding, S source positions, F feature bins.
"""

from __future__ import annotations

import inspect
import json
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

import numpy as np
import torch
from torch import Tensor

from taskaware.data.batches.batching import TextCue, collate, pad_sources, text_cue
from taskaware.data.quality.doubts import doubt_about_length
from taskaware.decoding.batches import batches, memory_named
from taskaware.decoding.beam_search import beam_search
from taskaware.errors import (
    CheckpointError,
    SourceWarning,
    TaskawareError,
    UnknownTaskError,
    UserError,
    nearest,
)
from taskaware.files import atomic_folder, link_or_copy
from taskaware.inference.model_folder import (
    DESCRIPTION,
    FORMAT_VERSION,
    MADE_WITH,
    find_model,
    read_folder,
)
from taskaware.inference.sources import Hearing, HearingOptions, as_list, modality_of, read_source
from taskaware.model.task_embedding import mean_task_embedding
from taskaware.settings import typed as settings_file
from taskaware.training.checkpoint import file_sha256, weights, write_tensors
from taskaware.training.devices import device_named
from taskaware.training.memory import bound_caches
from taskaware.types import Hypothesis, Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from taskaware.data.sound.settings import FeatureSettings
    from taskaware.data.vocabulary.vocabulary import Vocabulary
    from taskaware.decoding.settings import DecodingSettings
    from taskaware.inference.sources import ReadSource, Source
    from taskaware.model.settings import ModelSettings
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Modality, Task


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
        longest_sources: By task, the longest source that it was trained on, in frames or pieces;
            empty where it is not known.
    """

    transformer: TaskAwareTransformer
    settings: ModelSettings
    tasks: tuple[Task, ...]
    vocabulary: Vocabulary
    feature_settings: FeatureSettings
    decoding: DecodingSettings
    task_embeddings: Mapping[str, Tensor] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    longest_sources: Mapping[str, int] = field(default_factory=dict)

    # --- use ---

    @overload
    def transcribe(
        self,
        source: Source,
        *,
        language: str | None = None,
        **hearing: Unpack[HearingOptions],
    ) -> str: ...
    @overload
    def transcribe(
        self,
        source: list[Any] | tuple[Any, ...],
        *,
        language: str | None = None,
        **hearing: Unpack[HearingOptions],
    ) -> list[str]: ...
    def transcribe(
        self,
        source: Source | list[Any] | tuple[Any, ...],
        *,
        language: str | None = None,
        **hearing: Unpack[HearingOptions],
    ) -> str | list[str]:
        """Return what is said in a recording, with the model's speech recognition task.

        Args:
            source: A recording or a waveform (see ``sources``), or a list of them.
            language: The language spoken, where the model knows several.
            **hearing: ``sample_rate_hz`` of waveforms (default: the model's own), ``channel`` of
                recordings, from 1 (default: their ``"mean"``).

        Returns:
            The text; for a list, a list of texts.
        """
        found = [
            task
            for task in self.tasks
            if task.kind == "asr" and language in (None, task.source_language)
        ]
        name = self._only(found, "speech recognition", language, "language")
        return self.run(name, source, **hearing)

    @overload
    def translate(
        self,
        source: Source,
        *,
        to: str,
        source_language: str | None = None,
        **hearing: Unpack[HearingOptions],
    ) -> str: ...
    @overload
    def translate(
        self,
        source: list[Any] | tuple[Any, ...],
        *,
        to: str,
        source_language: str | None = None,
        **hearing: Unpack[HearingOptions],
    ) -> list[str]: ...
    def translate(
        self,
        source: Source | list[Any] | tuple[Any, ...],
        *,
        to: str,
        source_language: str | None = None,
        **hearing: Unpack[HearingOptions],
    ) -> str | list[str]:
        """Return the translation of a recording or a text.

        Where the model translates both speech and text into the language, a string is a path if it
        names a file (``sources.names_a_file``), else a text.

        Args:
            source: A recording, a waveform or a text (see ``sources``), or a list of them.
            to: The language wanted, e.g. ``"de"``.
            source_language: The language of the source, where the model knows several.
            **hearing: ``sample_rate_hz`` of waveforms (default: the model's own), ``channel`` of
                recordings, from 1 (default: their ``"mean"``).

        Returns:
            The translation; for a list, a list of translations in its order.
        """
        sources = list(source) if isinstance(source, list | tuple) else [source]
        tasks = [self._translation(one, to, source_language) for one in sources]
        texts = [""] * len(sources)
        for name in dict.fromkeys(tasks):
            chosen = [i for i, task in enumerate(tasks) if task == name]
            found = self.run_many(
                name,
                [sources[i] for i in chosen],
                **hearing,
            )
            for i, hypotheses in zip(chosen, found, strict=True):
                texts[i] = hypotheses[0].text
        return texts if isinstance(source, list | tuple) else texts[0]

    @overload
    def run(
        self,
        task: str,
        source: Source,
        *,
        task_embedding: Tensor | None = None,
        decoding: DecodingSettings | None = None,
        **hearing: Unpack[HearingOptions],
    ) -> str: ...
    @overload
    def run(
        self,
        task: str,
        source: list[Any] | tuple[Any, ...],
        *,
        task_embedding: Tensor | None = None,
        decoding: DecodingSettings | None = None,
        **hearing: Unpack[HearingOptions],
    ) -> list[str]: ...
    def run(
        self,
        task: str,
        source: Source | list[Any] | tuple[Any, ...],
        *,
        task_embedding: Tensor | None = None,
        decoding: DecodingSettings | None = None,
        **hearing: Unpack[HearingOptions],
    ) -> str | list[str]:
        """Return the best output of one task for a source, or for each of a list of sources.

        See ``run_many``, which gives scores and several outputs.
        """
        sources = list(source) if isinstance(source, list | tuple) else [source]
        found = self.run_many(
            task,
            sources,
            task_embedding=task_embedding,
            decoding=decoding,
            **hearing,
        )
        texts = [hypotheses[0].text for hypotheses in found]
        return texts if isinstance(source, list | tuple) else texts[0]

    def run_many(
        self,
        task: str,
        sources: Iterable[Source],
        *,
        task_embedding: Tensor | None = None,
        decoding: DecodingSettings | None = None,
        **hearing: Unpack[HearingOptions],
    ) -> list[list[Hypothesis]]:
        """Return the best hypotheses for each source, best first, in the order of the sources.

        A source that the model is unlikely to do well on, such as silence or one much longer than
        anything in training, gives a ``SourceWarning``. A text without a word gives an empty one.

        Args:
            task: The task's name.
            sources: Any number (see ``sources``); those of similar length are decoded together.
            task_embedding: ``[1, O]`` from ``embed_task``, in place of the stored one.
            decoding: How to search, in place of the model's own settings.
            **hearing: ``sample_rate_hz`` of waveforms (default: the model's own), ``channel`` of
                recordings, from 1 (default: their ``"mean"``).

        Raises:
            UnknownTaskError: The model has no such task.
            AudioError: A recording cannot be used.
            DataError: Features cannot be used.
            UserError: A source is of another modality, or a setting is impossible.
        """
        found = self.task(task)
        read = self._read_all(as_list(sources), found, Hearing.of(**hearing))
        for one in read:
            for doubt in self.doubts(one, found):
                _warn(f"{one.name}: {doubt}")
        return self.decode_read(found, read, task_embedding=task_embedding, decoding=decoding)

    def embed_task(
        self,
        examples: Iterable[tuple[Source, str]],
        *,
        task: str | None = None,
        **hearing: Unpack[HearingOptions],
    ) -> Tensor:
        """Return the task embedding that examples of a task give, float32 ``[1, O]``.

        Args:
            examples: Pairs of a source and its target text, a few or many.
            task: The task that they belong to, where the kind of source leaves a doubt; an explicit
                network looks at this name alone.
            **hearing: ``sample_rate_hz`` of waveforms (default: the model's own), ``channel`` of
                recordings, from 1 (default: their ``"mean"``).

        Raises:
            UserError: The model has no task network, or there is no example.
        """
        if not self.settings.conditioning.has_task_network:
            raise UserError(
                "the model must have a task network to embed a task, but its conditioning is "
                f"'{self.settings.conditioning.cue}'"
            )
        pairs = _pairs(examples)
        if task is None:
            wanted = modality_of(pairs[0][0])
            found = next((t for t in self.tasks if t.source_modality == wanted), None)
            if found is None:
                raise UnknownTaskError(f"the model must have a task for {wanted}, but has none")
        else:
            found = self.task(task)
        read = self._read_all([source for source, _ in pairs], found, Hearing.of(**hearing))
        batch = collate(
            found,
            [one.array for one in read],
            [np.array(self.vocabulary.encode(text), dtype=np.int64) for _, text in pairs],
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
        """Return a source as the model reads it, float32 ``[S, F]`` or int64 ``[S]``.

        A string for a text task is a text, whatever it looks like: this is for sources of a data
        set. ``read_source`` is for what a user gives.
        """
        if isinstance(source, str) and modality == "text":
            source = Text(source)
        return self.read_source(source, modality).array

    def read_source(
        self, source: Source, modality: Modality, *, hearing: Hearing | None = None
    ) -> ReadSource:
        """Return a user's source as the model reads it.

        Raises:
            AudioError, DataError, UserError: See ``sources.read_source``.
        """
        return read_source(
            source,
            modality,
            vocabulary=self.vocabulary,
            feature_settings=self.feature_settings,
            num_columns=self.settings.num_features,
            hearing=hearing,
        )

    def doubts(self, read: ReadSource, task: Task) -> tuple[str, ...]:
        """Return why a task's output for a source may be worth nothing."""
        known = self.longest_sources.get(task.name)
        doubt = doubt_about_length(len(read.array), known, task.modality, self.feature_settings)
        return read.doubts if doubt is None else (*read.doubts, doubt)

    def decode_read(
        self,
        task: Task,
        sources: Sequence[ReadSource],
        *,
        task_embedding: Tensor | None = None,
        decoding: DecodingSettings | None = None,
    ) -> list[list[Hypothesis]]:
        """Return the best hypotheses for what ``read_source`` gave; an empty text for a blank one.

        Raises:
            UserError: A setting or the task embedding is impossible.
        """
        asked = [i for i, one in enumerate(sources) if not one.is_blank]
        arrays = [sources[i].array for i in asked]
        found = self.decode(task, arrays, task_embedding=task_embedding, decoding=decoding)
        answers = [[Hypothesis(token_ids=(), text="", log_prob=0.0, score=0.0)] for _ in sources]
        for i, hypotheses in zip(asked, found, strict=True):
            answers[i] = hypotheses
        return answers

    def decode(
        self,
        task: Task,
        sources: Sequence[np.ndarray],
        *,
        task_embedding: Tensor | None = None,
        decoding: DecodingSettings | None = None,
    ) -> list[list[Hypothesis]]:
        """Return the best hypotheses for sources that ``encode_source`` (or ``prepare``) made.

        Raises:
            UserError: A setting or the task embedding is impossible.
            CheckpointError: The model's probabilities are not finite.
            TaskawareError: A source is too long for the memory.
        """
        decoding = decoding or self.decoding
        settings_file.require_valid(decoding, where="decoding")
        cue = self.cue(task)
        sources = cue.around(sources)
        device = self.transformer.token_embedding.weight.device
        embedding = self._task_embedding(task, task_embedding)
        answers: list[list[Hypothesis]] = [[] for _ in sources]
        for chosen in batches([len(source) for source in sources], decoding.examples_per_batch):
            source, lengths = pad_sources([sources[i] for i in chosen])
            with memory_named(int(lengths.max())):
                found = beam_search(
                    self.transformer,
                    source.to(device),
                    lengths.to(device),
                    modality=task.source_modality,
                    task_embedding=None if embedding is None else embedding.to(device),
                    begin=cue.prompt,
                    vocabulary=self.vocabulary,
                    settings=decoding,
                )
            for i, hypotheses in zip(chosen, found, strict=True):
                answers[i] = hypotheses
        if not all(answers):
            raise CheckpointError(
                "the model must give finite probabilities, but gives none: its weights are "
                "damaged, or its training went wrong"
            )
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
            made_with = {MADE_WITH: file_sha256(weights_path)}
            write_tensors(partial / "task_embeddings.safetensors", embeddings, made_with)
            self.vocabulary.save(partial / "vocabulary.model")
            description = {
                "format_version": FORMAT_VERSION,
                "model": settings_file.to_mapping(self.settings),
                "features": settings_file.to_mapping(self.feature_settings),
                "decoding": settings_file.to_mapping(self.decoding),
                "tasks": [settings_file.to_mapping(task) for task in self.tasks],
                "vocabulary_sha256": self.vocabulary.sha256,
                "longest_sources": dict(self.longest_sources),
            }
            for name, content in (
                ("provenance.json", dict(self.provenance)),
                (DESCRIPTION, description),
            ):
                (partial / name).write_text(json.dumps(content, indent=1), encoding="utf-8")

    # --- inside ---

    def _read_all(
        self, sources: Sequence[Source], task: Task, hearing: Hearing
    ) -> list[ReadSource]:
        read = []
        for number, source in enumerate(sources):
            try:
                read.append(self.read_source(source, task.source_modality, hearing=hearing))
            except TaskawareError as error:
                if len(sources) == 1:
                    raise
                raise type(error)(f"sources[{number}]: {error}") from error
        return read

    def _task_embedding(self, task: Task, given: Tensor | None) -> Tensor | None:
        """Return the task embedding to use, which must fit the model."""
        stored = self.task_embeddings.get(task.name)
        if not self.settings.conditioning.has_task_network:
            return given
        if given is not None and not isinstance(given, Tensor):
            raise UserError(
                f"`task_embedding` must be a torch tensor, but is of type {type(given).__name__}"
            )
        embedding = stored if given is None else given
        if embedding is None:
            raise CheckpointError(
                f"the model must have an embedding of task '{task.name}', but has none: make one "
                "with `embed_task` and give it as `task_embedding`"
            )
        shapes = {tuple(value.shape) for value in self.task_embeddings.values()}
        if given is not None and shapes and tuple(given.shape) not in shapes:
            raise UserError(
                f"`task_embedding` must be {list(min(shapes))}, but is {list(given.shape)}"
            )
        if given is not None and not bool(torch.isfinite(given).all()):
            raise UserError("`task_embedding` must be finite, but is not")
        return embedding

    def _translation(self, source: Source, to: str, source_language: str | None) -> str:
        """Return the name of the one task that translates a source."""
        found = [
            task
            for task in self.tasks
            if task.target_language == to
            and task.source_language != to
            and source_language in (None, task.source_language)
        ]
        modalities = {task.source_modality for task in found}
        # A string is what the tasks take, where they all take the same.
        is_clear = isinstance(source, str) and len(modalities) == 1
        modality = modalities.pop() if is_clear else modality_of(source)
        fitting = [task for task in found if task.source_modality == modality]
        return self._only(fitting, f"translation of {modality}", to, "to")

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


def load(
    folder: Path | str, *, which: str = "model", device: str | torch.device = "auto"
) -> TaskAwareModel:
    """Load a model. Nothing in its folder is executed.

    Args:
        folder: The model's folder, or the folder of a run that has finished.
        which: Which of a run's models: ``"model"``, ``"best"``, ``"average"``, ``"taskwise/TASK"``.
        device: ``"cpu"``, ``"cuda"``, a ``torch.device``, or ``"auto"``: a CUDA device where there
            is one.

    Raises:
        CheckpointError: It is missing, incomplete, damaged, or of another version.
        UserError: There is no such device.
    """
    bound_caches()
    on = device_named(device)
    files = read_folder(find_model(Path(folder), which))
    return TaskAwareModel(
        transformer=files.transformer.to(on).eval(),
        settings=files.settings,
        tasks=files.tasks,
        vocabulary=files.vocabulary,
        feature_settings=files.feature_settings,
        decoding=files.decoding,
        task_embeddings=files.task_embeddings,
        provenance=files.provenance,
        longest_sources=files.longest_sources,
    )


def with_beam(
    decoding: DecodingSettings, beam: int | None = None, num_best: int = 1
) -> DecodingSettings:
    """Return the settings with another beam.

    Args:
        decoding: The settings.
        beam: The beam; ``None``: as it is, or as wide as the number of hypotheses needs.
        num_best: Hypotheses wanted for each source.

    Raises:
        UserError: A number is impossible, or the beam is narrower than ``num_best``.
    """
    if beam is None:
        is_wider = isinstance(num_best, int) and num_best > decoding.beam
        beam = num_best if is_wider else decoding.beam
    changed = replace(decoding, beam=beam, num_best=num_best)
    settings_file.require_valid(changed, where="decoding")
    return changed


def _warn(message: str) -> None:
    """Issue a warning that names the line outside of this file that led to it."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_code.co_filename == __file__:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, SourceWarning, stacklevel=level)


def _pairs(examples: Iterable[tuple[Source, str]]) -> list[tuple[Source, str]]:
    """Return examples as pairs of a source and its target text."""
    pairs = as_list(examples)  # type: ignore[arg-type]
    if not pairs:
        raise UserError("at least one example must be given, but there is none")
    for number, pair in enumerate(pairs):
        is_pair = isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[1], str)
        if not is_pair:
            raise UserError(f"examples[{number}] must be a pair of a source and its target text")
    return pairs  # type: ignore[return-value]
