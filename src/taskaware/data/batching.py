"""From prepared examples to batches of one task: sizes, buckets by length, order, exact resume.

The order is a pure function of (seed, task, epoch), so a position in it is two numbers.

Shape legend: B batch, S source positions, F feature bins, T target positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from taskaware.data.vocabulary import Vocabulary, task_tag
from taskaware.errors import DataError
from taskaware.types import Batch, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from taskaware.data.batching_settings import BatchingSettings
    from taskaware.model.settings import Cue
    from taskaware.types import Example


@dataclass(frozen=True, kw_only=True)
class TextCue:
    """What a task's name puts in: pieces before a text source, the decoder's first piece."""

    source_prefix: tuple[int, ...] = ()
    begin: int = Vocabulary.BOS


def text_cue(vocabulary: Vocabulary, task: Task, cue: Cue) -> TextCue:
    """Return the cue of a task for a model that is cued in this way (nothing for most)."""
    match cue:
        case "text_label" if task.source_modality == "text":
            return TextCue(source_prefix=tuple(vocabulary.encode(task.label)))
        case "target_tag":
            return TextCue(begin=vocabulary.tag_id(task_tag(task.name)))
        case _:
            return TextCue()


def pad_sources(sources: Sequence[NDArray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sources padded with zeros, ``[B, S, F]`` or ``[B, S]``, and lengths int64 ``[B]``."""
    lengths = [len(source) for source in sources]
    shape = (len(sources), max(lengths), *sources[0].shape[1:])
    padded = np.zeros(shape, dtype=np.float32 if sources[0].ndim == 2 else np.int64)
    for row, source in zip(padded, sources, strict=True):
        row[: len(source)] = source
    return torch.from_numpy(padded), torch.tensor(lengths)


def collate(
    task: Task,
    sources: Sequence[NDArray],
    targets: Sequence[NDArray[np.int64]],
    *,
    cue: TextCue,
    example_ids: Sequence[str] = (),
) -> Batch:
    """Return a batch of one task.

    Args:
        task: Of every example.
        sources: float32 ``[S, F]`` or int64 ``[S]`` each.
        targets: int64 pieces each, without begin- and end-of-sequence.
        cue: What the task puts into the text.
        example_ids: Where the rows come from.
    """
    if cue.source_prefix:
        prefix = np.array(cue.source_prefix, dtype=np.int64)
        sources = [np.concatenate([prefix, source]) for source in sources]
    source, source_lengths = pad_sources(sources)
    begin, end = np.array([cue.begin]), np.array([Vocabulary.EOS])
    target_input, target_lengths = pad_sources([np.concatenate([begin, t]) for t in targets])
    target_output, _ = pad_sources([np.concatenate([t, end]) for t in targets])
    return Batch(
        task=task,
        source=source,
        source_lengths=source_lengths,
        target_input=target_input,
        target_output=target_output,
        target_lengths=target_lengths,
        example_ids=tuple(example_ids),
    )


class TaskSource(Protocol):
    """Prepared examples of any number of tasks (``data.prepared.Split``)."""

    @property
    def examples(self) -> Sequence[Example]:
        """Every example, of all tasks."""
        ...

    @property
    def source_lengths(self) -> NDArray[np.int64]:
        """Frames or pieces of each source."""
        ...

    @property
    def target_lengths(self) -> NDArray[np.int64]:
        """Pieces of each target."""
        ...

    def indices(self, task_name: str) -> NDArray[np.int64]:
        """The examples of one task."""
        ...

    def source(self, index: int) -> NDArray:
        """One source, float32 ``[S, F]`` or int64 ``[S]``."""
        ...

    def target(self, index: int) -> NDArray[np.int64]:
        """One target's pieces."""
        ...


def make_batch(split: TaskSource, task: Task, indices: Sequence[int], cue: TextCue) -> Batch:
    """Return the batch of these examples of a split."""
    return collate(
        task,
        [split.source(i) for i in indices],
        [split.target(i) for i in indices],
        cue=cue,
        example_ids=[split.examples[i].id for i in indices],
    )


def cut_batches(
    indices: NDArray[np.int64],
    source_lengths: NDArray[np.int64],
    target_lengths: NDArray[np.int64],
    *,
    is_text: bool,
    settings: BatchingSettings,
) -> list[NDArray[np.int64]]:
    """Cut a sequence of examples into batches, in order, each as large as the settings allow."""
    if settings.strategy == "static":
        size = settings.examples_per_batch
        return [indices[start : start + size] for start in range(0, len(indices), size)]
    batches: list[NDArray[np.int64]] = []
    start, longest_source, longest_target = 0, 0, 0
    for end, index in enumerate(indices):
        longest_source = max(longest_source, int(source_lengths[index]))
        longest_target = max(longest_target, int(target_lengths[index]) + 1)
        longest_text = max(longest_source, longest_target) if is_text else longest_target
        size = end - start + 1
        too_many = size * longest_text > settings.max_tokens
        too_many |= not is_text and size * longest_source > settings.max_frames
        if too_many and size > 1:
            batches.append(indices[start:end])
            start = end
            longest_source = int(source_lengths[index])
            longest_target = int(target_lengths[index]) + 1
    batches.append(indices[start:])
    return batches


def plan_epoch(
    split: TaskSource, task: Task, *, settings: BatchingSettings, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Return the batches of one epoch of one task, as indices into the split.

    Shuffled; sorted by length within windows of ``bucket_batches``; cut; the batches shuffled. A
    pure function of its arguments.
    """
    indices = split.indices(task.name)
    sources, targets = split.source_lengths, split.target_lengths
    fits = (sources[indices] <= settings.max_source) & (targets[indices] <= settings.max_target)
    indices = indices[fits]
    if not len(indices):
        raise DataError(
            f"task '{task.name}' must have training examples of at most {settings.max_source} "
            f"source and {settings.max_target} target positions, but has none; check "
            "`batching.max_source` and `batching.max_target`, or prepare data for the task"
        )
    # The digits of a name make a stable number; hash() differs from process to process.
    name_key = int.from_bytes(task.name.encode(), "big") % 2**61
    random = np.random.default_rng([seed, epoch, name_key])
    indices = random.permutation(indices)
    window = _window_size(split, indices, task, settings)
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(indices), window):
        part = indices[start : start + window]
        part = part[np.lexsort((targets[part], sources[part]))]
        batches += cut_batches(
            part, sources, targets, is_text=task.source_modality == "text", settings=settings
        )
    if settings.short_first and epoch == 0:
        return sorted(batches, key=lambda batch: float(sources[batch].mean()))
    return [batches[i] for i in random.permutation(len(batches))]


def _window_size(
    split: TaskSource, indices: NDArray[np.int64], task: Task, settings: BatchingSettings
) -> int:
    if settings.strategy == "static":
        return settings.examples_per_batch * settings.bucket_batches
    mean_target = float(split.target_lengths[indices].mean()) + 1
    mean_source = float(split.source_lengths[indices].mean())
    if task.source_modality == "text":
        per_batch = settings.max_tokens / max(mean_source, mean_target)
    else:
        per_batch = min(settings.max_frames / mean_source, settings.max_tokens / mean_target)
    return max(1, math.ceil(per_batch)) * settings.bucket_batches


class TrainingBatches:
    """An endless stream of updates; each is a list of batches of one task each.

    Args:
        split: The training examples.
        tasks: The tasks to train on.
        settings: Sizes, mixing, order.
        cues: What each task puts into the text, by task name.
        seed: Decides the order.
        rank: Which of ``num_ranks`` processes this is; each sees its own batches.
        num_ranks: Processes that train together.
        batches_per_task: Batches of each task in an update, one after the other.
    """

    def __init__(
        self,
        split: TaskSource,
        tasks: Sequence[Task],
        settings: BatchingSettings,
        *,
        cues: Mapping[str, TextCue],
        seed: int,
        batches_per_task: int = 1,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        self._split = split
        self._tasks = tuple(tasks)
        self._settings = settings
        self._cues = cues
        self._seed = seed
        self._batches_per_task = batches_per_task
        self._rank = rank
        self._num_ranks = num_ranks
        self._updates = 0
        self._positions = {task.name: [0, 0] for task in tasks}  # epoch, batch within it
        self._plans: dict[str, tuple[int, list[NDArray[np.int64]]]] = {}
        self._probabilities = self._task_probabilities()

    def __iter__(self) -> Iterator[list[Batch]]:
        return self

    def __next__(self) -> list[Batch]:
        """Return the batches of the next update."""
        if self._settings.mix == "every_task":
            chosen = self._tasks
        else:
            random = np.random.default_rng([self._seed, self._updates, 1])
            chosen = [self._tasks[random.choice(len(self._tasks), p=self._probabilities)]]
        self._updates += 1
        return [self._next_batch(task) for task in chosen for _ in range(self._batches_per_task)]

    def state_dict(self) -> dict[str, object]:
        """Return where the stream stands, as JSON."""
        positions = {name: list(position) for name, position in self._positions.items()}
        return {"updates": self._updates, "positions": positions}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from where another stream of the same split, settings and seed stood."""
        positions = state["positions"]
        if not isinstance(positions, dict) or set(positions) != set(self._positions):
            raise DataError(
                f"the stream must go on with the tasks {sorted(self._positions)}, but the saved "
                f"one had {sorted(positions) if isinstance(positions, dict) else positions!r}"
            )
        self._updates = int(state["updates"])  # type: ignore[call-overload]
        self._positions = {name: list(position) for name, position in positions.items()}

    def epochs(self) -> dict[str, float]:
        """Return how often each task's examples were seen (see ``epoch``)."""
        return {task.name: self.epoch(task.name) for task in self._tasks}

    def epoch(self, task_name: str) -> float:
        """Return how often the task's examples were seen, with the current epoch's fraction."""
        epoch, position = self._positions[task_name]
        if not position:
            return float(epoch)
        task = next(task for task in self._tasks if task.name == task_name)
        return epoch + position / len(self._plan(task, epoch))

    def _next_batch(self, task: Task) -> Batch:
        epoch, position = self._positions[task.name]
        plan = self._plan(task, epoch)
        if position >= len(plan):
            epoch, position = epoch + 1, 0
            plan = self._plan(task, epoch)
        self._positions[task.name] = [epoch, position + 1]
        indices = [int(i) for i in plan[position]]
        return make_batch(self._split, task, indices, self._cues[task.name])

    def _plan(self, task: Task, epoch: int) -> list[NDArray[np.int64]]:
        """Return this rank's batches; every rank gets as many, so that none waits for another."""
        cached = self._plans.get(task.name)
        if cached is None or cached[0] != epoch:
            batches = plan_epoch(
                self._split, task, settings=self._settings, seed=self._seed, epoch=epoch
            )
            while len(batches) < self._num_ranks:
                batches = batches + batches
            even = len(batches) - len(batches) % self._num_ranks
            cached = epoch, batches[self._rank : even : self._num_ranks]
            self._plans[task.name] = cached
        return cached[1]

    def _task_probabilities(self) -> NDArray[np.float64]:
        weights = self._settings.task_weights
        unknown = set(weights) - {task.name for task in self._tasks}
        if unknown:
            raise DataError(
                f"`batching.task_weights` must name tasks of the data "
                f"({', '.join(task.name for task in self._tasks)}), but names "
                f"{', '.join(sorted(unknown))}"
            )
        if weights:
            raw = np.array([weights.get(task.name, 0.0) for task in self._tasks])
        else:
            counts = np.array([len(self._split.indices(task.name)) for task in self._tasks])
            raw = counts ** (1.0 / self._settings.temperature)
        if raw.sum() <= 0:
            raise DataError("`batching.task_weights` must have a weight above 0, but has none")
        return raw / raw.sum()
