"""A trained model in use: load a folder, then recognise, translate, or run any task of its.

``model_folder`` says what the folder holds, ``sources`` what a source may be.

Shape legend: O size of a task embedding, S source positions, F feature bins.
"""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

import numpy as np

from taskaware.data.batches.batching import collate
from taskaware.data.sound.piped import read_stream
from taskaware.errors import SourceWarning, TaskawareError, UnknownTaskError, UserError
from taskaware.files import require_name
from taskaware.inference.decoder import Decoder
from taskaware.inference.model_folder import find_model, read_folder, write_folder
from taskaware.inference.recordings.transcribing import is_stream, transcribe, transcribe_long
from taskaware.inference.sources import Hearing, HearingOptions, as_list, modality_of, source_name
from taskaware.inference.task_choice import known_language, only_task, translation_task
from taskaware.inference.task_embeddings import as_examples, as_task_embedding, stored_name
from taskaware.model.reduced import Weights, is_reduced, prepare_weights
from taskaware.model.task_embedding import mean_task_embedding
from taskaware.settings.typed import require_valid
from taskaware.training.devices import device_named
from taskaware.training.kernels import suit_changing_shapes

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    import torch
    from torch import Tensor

    from taskaware.decoding.settings import DecodingSettings
    from taskaware.inference.recordings.settings import LongRecordingSettings
    from taskaware.inference.recordings.transcript import Transcript
    from taskaware.inference.sources import ReadSource, Source
    from taskaware.types import Hypothesis, Task


@dataclass(kw_only=True)
class TaskAwareModel(Decoder):
    """One model for all its tasks; ``parts.ModelParts`` says what it consists of."""

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
        own = [task for task in self.tasks if task.kind == "asr"]
        if language is not None:
            spoken = (task.source_language for task in own)
            language = known_language(language, spoken, drops_region=True)
        found = [task for task in own if language in (None, task.source_language)]
        name = only_task(self.tasks, found, "speech recognition", language, "language")
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
        tasks = [translation_task(self.tasks, one, to, source_language) for one in sources]
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

        A recording that is too long for the model is cut at pauses, decoded in parts and put
        together into one hypothesis (``transcript`` tells its times).

        A source that the model is unlikely to do well on, such as silence or one much longer than
        anything in training, gives a ``SourceWarning``. A text without a word gives an empty one.

        Args:
            task: The task's name.
            sources: Any number (see ``sources``); those of similar length are decoded together.
            task_embedding: ``[1, O]`` from ``embed_task``, instead of the stored one.
            decoding: How to search, instead of the model's own settings.
            **hearing: ``sample_rate_hz`` of waveforms (default: the model's own), ``channel`` of
                recordings, from 1 (default: their ``"mean"``).

        Raises:
            UnknownTaskError: The model has no such task.
            AudioError: A recording cannot be used.
            DataError: Features cannot be used.
            UserError: A source is of another modality, or a setting is impossible.
        """
        found, heard = self.task(task), Hearing.of(**hearing)
        given = [
            read_stream(one, source_name(one)) if is_stream(one) else one
            for one in as_list(sources)
        ]
        long = transcribe_long(
            self, found, given, heard, task_embedding=task_embedding, decoding=decoding
        )
        read = self._read_all(given, found, heard, without=long)
        for name, doubts in (
            *((one.name, self.doubts(one, found)) for one in read),
            *((source_name(given[i]), one.warnings) for i, one in long.items()),
        ):
            for doubt in doubts:
                _warn(f"{name}: {doubt}")
        decoded = iter(
            self.decode_read(found, read, task_embedding=task_embedding, decoding=decoding)
        )
        return [
            [long[i].as_hypothesis()] if i in long else next(decoded) for i in range(len(given))
        ]

    def transcript(
        self,
        source: Source,
        task: str,
        *,
        settings: LongRecordingSettings | None = None,
        **hearing: Unpack[HearingOptions],
    ) -> Transcript:
        """Return the output of a task for a recording of any length, with times and confidence.

        See ``long_recordings.transcribe``; what is heard of the recording is as in ``run_many``.
        """
        return transcribe(self, source, task, settings, hearing=Hearing.of(**hearing))

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
        pairs = as_examples(examples)
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

    def save(self, folder: Path | str, *, weights_file: Path | None = None) -> None:
        """Write the model's folder; a folder that is there is replaced only once all is written.

        Args:
            folder: Where.
            weights_file: A file that holds these weights already, and need not be written twice.

        Raises:
            WriteError: The disk is full, for example.
            UserError: It was loaded with reduced weights, or has a task embedding that is none.
            ExperimentError: It has settings that no model can have, so that it could not be loaded.
        """
        folder = _folder(folder)
        require_valid(self.settings, where="model")
        if is_reduced(self.transformer):
            raise UserError(
                "a model that is saved must have its own weights, but has reduced ones: load it "
                "with `weights='float32'`"
            )
        for name, embedding in self.task_embeddings.items():
            self.task(name)
            as_task_embedding(embedding, self.settings, stored_name(name))
        write_folder(self, folder, weights_file=weights_file)

    def _read_all(
        self,
        sources: Sequence[Source],
        task: Task,
        hearing: Hearing,
        *,
        without: Container[int] = (),
    ) -> list[ReadSource]:
        read = []
        for number, source in enumerate(sources):
            if number in without:
                continue
            try:
                read.append(self.read_source(source, task.source_modality, hearing=hearing))
            except TaskawareError as error:
                if len(sources) == 1:
                    raise
                raise type(error)(f"sources[{number}]: {error}") from error
        return read


def load(
    folder: Path | str,
    *,
    which: str = "model",
    device: str | torch.device = "auto",
    weights: Weights = "float32",
) -> TaskAwareModel:
    """Load a model. Nothing in its folder is executed.

    In the whole process, cuDNN's attention is off from then on (``suit_changing_shapes``).

    Args:
        folder: The model's folder, or the folder of a run that has finished.
        which: Which of a run's models: ``"model"``, ``"best"``, ``"average"``, ``"taskwise/TASK"``.
        device: ``"cpu"``, ``"cuda"``, a ``torch.device``, or ``"auto"``: a CUDA device where there
            is one.
        weights: ``"bfloat16"`` or ``"int8"``: what products are computed with, faster than
            ``"float32"`` and nearly as exact. Such a model cannot be saved.

    Raises:
        CheckpointError: It is missing, incomplete, damaged, or of another version.
        UserError: There is no such device, or the weights cannot be reduced.
    """
    suit_changing_shapes()
    on = device_named(device)
    parts = read_folder(find_model(_folder(folder), which))
    parts.transformer.to(on).eval()
    prepare_weights(parts.transformer, weights)
    return TaskAwareModel(**vars(parts))


def _folder(given: Path | str) -> Path:
    if not isinstance(given, str | Path):
        raise UserError(f"a folder must be a path, but is of type {type(given).__name__}")
    require_name(Path(given))
    try:
        str(given).encode()
    except UnicodeEncodeError as error:  # safetensors opens no such file
        raise UserError(
            f"a model's folder must have a name in UTF-8, but {str(given)!a} is not: rename it"
        ) from error
    return Path(given)


def _warn(message: str) -> None:
    """Issue a warning that names the line outside of this file that led to it."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_code.co_filename == __file__:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, SourceWarning, stacklevel=level)
