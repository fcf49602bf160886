"""A model's parts at the work of decoding: sources that are read already become hypotheses.

What the public ``TaskAwareModel`` and evaluation are built on.

Shape legend: O size of a task embedding, S source positions, F feature bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from taskaware.data.batches.batching import TextCue, pad_sources, text_cue
from taskaware.data.quality.doubts import doubt_about_length
from taskaware.decoding.batches import batches, reporting_short_memory
from taskaware.decoding.beam_search import beam_search
from taskaware.decoding.settings import DecodingSettings
from taskaware.errors import CheckpointError, UserError, unknown_task
from taskaware.inference.parts import ModelParts
from taskaware.inference.sources import read_source
from taskaware.inference.task_embeddings import as_task_embedding, stored_name
from taskaware.settings import typed as settings_file
from taskaware.types import Hypothesis, Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from taskaware.inference.sources import Hearing, ReadSource, Source
    from taskaware.types import Modality, Task


@dataclass(frozen=True, eq=False)
class _Request:
    """What is asked of a source: a task, what tells it, and its t_e ``[1, O]``."""

    task: Task
    cue: TextCue
    task_embedding: Tensor | None


def _groups(requests: Sequence[_Request], *, apart: bool) -> list[list[int]]:
    """Return the positions of what can be decoded together: one kind of source, equal prompts.

    Args:
        requests: What is asked of each source.
        apart: Whether every task is decoded by itself.
    """
    groups: dict[tuple[str, int], list[int]] = {}
    for i, request in enumerate(requests):
        task = request.task
        key = (task.name if apart else task.source_modality, len(request.cue.prompt))
        groups.setdefault(key, []).append(i)
    return list(groups.values())


@dataclass(kw_only=True)
class Decoder(ModelParts):
    """The parts of a model, and decoding with them."""

    def task(self, name: str) -> Task:
        """Return a task by its name.

        Raises:
            UnknownTaskError: There is none of this name.
        """
        known = {task.name: task for task in self.tasks}
        if not isinstance(name, str) or name not in known:  # sources and tasks are easily swapped
            raise unknown_task(name, known)
        return known[name]

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
            longest_frames=self.settings.longest_recording_frames,
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
        is_encoded: bool = False,
    ) -> list[list[Hypothesis]]:
        """Return the best hypotheses for sources that ``encode_source`` (or ``prepare``) made.

        Args:
            task: The task.
            sources: float32 ``[S, F]`` or int64 ``[S]`` each.
            task_embedding: ``[1, O]``, instead of the stored one.
            decoding: How to search, instead of the model's own settings.
            is_encoded: Whether the sources are what the model's encoder put out, ``[S, D]``.

        Raises:
            UserError: A setting or the task embedding is impossible.
            CheckpointError: The model's probabilities are not finite.
            TaskawareError: A source is too long for the memory.
        """
        request = _Request(task, self.cue(task), self.embedding_of(task, task_embedding))
        return self._decode([request] * len(sources), sources, decoding, is_encoded=is_encoded)

    def decode_tasks(
        self,
        tasks: Sequence[Task],
        sources: Sequence[np.ndarray],
        *,
        decoding: DecodingSettings | None = None,
        is_encoded: bool = False,
    ) -> list[list[Hypothesis]]:
        """Return the best hypotheses for sources of several tasks, which are decoded together.

        Tasks with the same kind of source share batches: only t_e and the prompt differ from row to
        row. Each output is what ``decode`` gives, but for rounding.

        Args:
            tasks: The task of each source.
            sources: As in ``decode``.
            decoding: How to search, instead of the model's own settings.
            is_encoded: As in ``decode``.

        Raises:
            UserError, CheckpointError, TaskawareError: See ``decode``.
        """
        requests = {
            task.name: _Request(task, self.cue(task), self.embedding_of(task, None))
            for task in tasks
        }
        rows = [requests[task.name] for task in tasks]
        return self._decode(rows, sources, decoding, is_encoded=is_encoded)

    def _decode(
        self,
        requests: Sequence[_Request],
        sources: Sequence[np.ndarray],
        decoding: DecodingSettings | None,
        *,
        is_encoded: bool = False,
    ) -> list[list[Hypothesis]]:
        decoding = self.decoding if decoding is None else decoding
        settings_file.require_valid(decoding, where="decoding", kind=DecodingSettings)
        decoding.require_known_pieces(self.vocabulary.size)
        pairs = list(zip(requests, sources, strict=True))
        sources = [request.cue.around([source])[0] for request, source in pairs]
        answers: list[list[Hypothesis]] = [[] for _ in sources]
        frames = math.prod(self.settings.time_strides) if is_encoded else 1  # of one position
        for together in _groups(requests, apart=bool(self.transformer.adapters.tasks)):
            lengths = [len(sources[i]) * frames for i in together]
            for places in batches(lengths, decoding.examples_per_batch):
                chosen = [together[place] for place in places]
                rows = [requests[i] for i in chosen]
                found = self._search(
                    rows, [sources[i] for i in chosen], decoding, is_encoded=is_encoded
                )
                for i, hypotheses in zip(chosen, found, strict=True):
                    answers[i] = hypotheses
        if not all(answers):
            raise CheckpointError(
                "the model must give finite probabilities, but gives none: its weights are "
                "damaged, or its training went wrong"
            )
        return answers

    def _search(
        self,
        requests: Sequence[_Request],
        sources: Sequence[np.ndarray],
        decoding: DecodingSettings,
        *,
        is_encoded: bool,
    ) -> list[list[Hypothesis]]:
        """Search for the outputs of sources that are decoded together."""
        first = requests[0]
        device = self.transformer.token_embedding.weight.device
        source, lengths = pad_sources(sources)
        embedding = first.task_embedding
        if embedding is not None and any(request is not first for request in requests):
            rows = [request.task_embedding for request in requests]
            embedding = torch.cat([row for row in rows if row is not None])
        adapters = self.transformer.adapters
        with reporting_short_memory(int(lengths.max())), adapters.use(first.task.name):
            return beam_search(
                self.transformer,
                source.to(device),
                lengths.to(device),
                modality=first.task.source_modality,
                task_embedding=None if embedding is None else embedding.to(device),
                begin=[request.cue.prompt for request in requests],
                vocabulary=self.vocabulary,
                settings=decoding,
                is_encoded=is_encoded,
                recognised=[request.task.kind == "asr" for request in requests],
            )

    def embedding_of(self, task: Task, given: Tensor | None = None) -> Tensor | None:
        """Return the task embedding to use, given or stored, which must fit the model.

        Raises:
            UserError: It does not, or the model takes none.
            CheckpointError: There is none.
        """
        if not self.settings.conditioning.has_task_network:
            if given is not None:
                raise UserError(
                    "`task_embedding` must be left out for a model without a task network, whose "
                    f"conditioning is '{self.settings.conditioning.cue}'"
                )
            return None
        if given is not None:
            return as_task_embedding(given, self.settings, "`task_embedding`")
        stored = self.task_embeddings.get(task.name)
        if stored is None:
            raise CheckpointError(
                f"the model must have an embedding of task '{task.name}', but has none: make one "
                "with `embed_task` and give it as `task_embedding`"
            )
        return as_task_embedding(stored, self.settings, stored_name(task.name))
