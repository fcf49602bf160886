"""From examples to batches of one task: what a batch holds, sizes, buckets by length.

Shape legend: B batch, S source positions, F feature bins, T target positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from taskaware.data.prepared.length_limits import within_limits
from taskaware.data.vocabulary.prompts import own_pieces
from taskaware.data.vocabulary.vocabulary import Vocabulary, task_tag
from taskaware.errors import UserError
from taskaware.types import Batch, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from taskaware.data.batches.settings import BatchingSettings
    from taskaware.model.conditioning_settings import Cue
    from taskaware.types import Example


@dataclass(frozen=True, kw_only=True)
class TextCue:
    """What a task's name puts in: pieces before a text source, the decoder's first pieces.

    Attributes:
        source_prefix: Before a text source.
        source_suffix: Behind it.
        begin: The piece after which the decoder writes.
        before: What stands before that in the prompt of a pretrained model.
        end: The end-of-sequence piece.
    """

    source_prefix: tuple[int, ...] = ()
    source_suffix: tuple[int, ...] = ()
    begin: int = Vocabulary.BOS
    before: tuple[int, ...] = ()
    end: int = Vocabulary.EOS

    def around(self, sources: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Return the sources with what the task puts before and behind them."""
        if not self.source_prefix and not self.source_suffix:
            return sources
        before = np.array(self.source_prefix, dtype=np.int64)
        behind = np.array(self.source_suffix, dtype=np.int64)
        return [np.concatenate([before, source, behind]) for source in sources]

    @property
    def prompt(self) -> tuple[int, ...]:
        """All pieces that the decoder is given."""
        return (*self.before, self.begin)


def text_cue(vocabulary: Vocabulary, task: Task, cue: Cue) -> TextCue:
    """Return the cue of a task for a model that is cued in this way (nothing for most).

    Raises:
        UnknownTaskError: A pretrained model does not know the task's language.
    """
    if vocabulary.family:
        own = own_pieces(vocabulary, task, names_task=cue == "target_tag")
        is_text = task.modality.is_text
        label = vocabulary.encode_source(task.label) if cue == "text_label" and is_text else ()
        return TextCue(
            source_prefix=(*own.source_prefix, *label) if is_text else (),
            source_suffix=own.source_suffix if is_text else (),
            begin=own.prompt[-1],
            before=own.prompt[:-1],
            end=vocabulary.EOS,
        )
    match cue:
        case "text_label" if task.modality.is_text:
            return TextCue(source_prefix=tuple(vocabulary.encode(task.label)))
        case "target_tag":
            return TextCue(begin=vocabulary.tag_id(task_tag(task.name)))
        case _:
            return TextCue()


def pad_sources(sources: Sequence[NDArray[Any]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sources padded with zeros, ``[B, S, F]`` or ``[B, S]``, and lengths int64 ``[B]``."""
    lengths = [len(source) for source in sources]
    shape = (len(sources), max(lengths), *sources[0].shape[1:])
    padded = np.zeros(shape, dtype=np.float32 if sources[0].ndim == 2 else np.int64)
    for row, source in zip(padded, sources, strict=True):
        row[: len(source)] = source
    return torch.from_numpy(padded), torch.tensor(lengths)


def collate(
    task: Task,
    sources: Sequence[NDArray[Any]],
    targets: Sequence[NDArray[np.int64]],
    *,
    cue: TextCue,
    example_ids: Sequence[str] = (),
    is_encoded: bool = False,
) -> Batch:
    """Return a batch of one task.

    Args:
        task: Of every example.
        sources: float32 ``[S, F]`` or int64 ``[S]`` each.
        targets: int64 pieces each, without begin- and end-of-sequence.
        cue: What the task puts into the text.
        example_ids: Where the rows come from.
        is_encoded: Whether the sources are what the model's encoder put out.
    """
    batch = collate_tasks(
        [task] * len(sources), sources, targets, cues={task.name: cue}, example_ids=example_ids
    )
    return replace(batch, row_tasks=(), is_encoded=is_encoded)


def collate_tasks(
    row_tasks: Sequence[Task],
    sources: Sequence[NDArray[Any]],
    targets: Sequence[NDArray[np.int64]],
    *,
    cues: Mapping[str, TextCue],
    example_ids: Sequence[str] = (),
) -> Batch:
    """Return a batch of several tasks that have the same kind of source.

    Args:
        row_tasks: Of each example; those of a task stand one after the other.
        sources: float32 ``[S, F]`` or int64 ``[S]`` each.
        targets: int64 pieces each, without begin- and end-of-sequence.
        cues: What each task puts into the text, by its name; all prompts are of one length.
        example_ids: Where the rows come from.

    Raises:
        UserError: The prompts are of several lengths.
    """
    around, inputs, outputs = [], [], []
    for task, source, target in zip(row_tasks, sources, targets, strict=True):
        cue = cues[task.name]
        around += cue.around([source])
        inputs.append(np.concatenate([cue.prompt, target]).astype(np.int64))
        outputs.append(np.concatenate([cue.prompt[1:], target, [cue.end]]).astype(np.int64))
    source, source_lengths = pad_sources(around)
    target_input, target_lengths = pad_sources(inputs)
    target_output, _ = pad_sources(outputs)
    return Batch(
        task=row_tasks[0],
        source=source,
        source_lengths=source_lengths,
        target_input=target_input,
        target_output=target_output,
        target_lengths=target_lengths,
        example_ids=tuple(example_ids),
        num_prompt_pieces=_prompt_length(row_tasks, cues),
        row_tasks=tuple(row_tasks),
    )


def _prompt_length(row_tasks: Sequence[Task], cues: Mapping[str, TextCue]) -> int:
    lengths = {task.name: len(cues[task.name].prompt) for task in row_tasks}
    if len(set(lengths.values())) > 1:
        raise UserError(
            "the tasks of a batch must have prompts of one length, but have "
            f"{', '.join(f'{name}: {length}' for name, length in lengths.items())}; set "
            "`batching.mix` to 'every_task'"
        )
    return next(iter(lengths.values()))


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

    def source(self, index: int) -> NDArray[Any]:
        """One source, float32 ``[S, F]`` or int64 ``[S]``."""
        ...

    def target(self, index: int) -> NDArray[np.int64]:
        """One target's pieces."""
        ...

    def is_encoded(self, task: Task) -> bool:
        """Whether a task's sources are what an encoder put out."""
        ...


def batches_of(
    split: TaskSource,
    task: Task,
    groups: Iterable[Sequence[int] | NDArray[np.int64]],
    *,
    vocabulary: Vocabulary,
    cue: Cue,
) -> Iterator[Batch]:
    """Yield the examples of each group as a batch, with what the cue puts into the text.

    Everything that reads a split outside of training (``data.stream``) goes through here.

    Args:
        split: Where the examples are.
        task: Of all of them.
        groups: Positions in the split; each group becomes one batch. An empty one gives none.
        vocabulary: Of the model.
        cue: How the model is told its task.
    """
    text = text_cue(vocabulary, task, cue)
    for group in groups:
        indices = [int(index) for index in group]
        if indices:
            yield collate(
                task,
                [split.source(i) for i in indices],
                [split.target(i) for i in indices],
                cue=text,
                example_ids=[split.examples[i].id for i in indices],
                is_encoded=split.is_encoded(task),
            )


def groups_of(indices: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Divide positions into groups of a size, in order; the last may be smaller."""
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def cut_batches(
    indices: NDArray[np.int64],
    source_lengths: NDArray[np.int64],
    target_lengths: NDArray[np.int64],
    *,
    is_text: bool,
    settings: BatchingSettings,
) -> list[NDArray[np.int64]]:
    """Divide a sequence of examples into batches, in order, each as large as the settings allow."""
    if settings.strategy == "static":
        return groups_of(indices, settings.examples_per_batch)
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


def plan(
    indices: NDArray[np.int64],
    lengths: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    is_text: bool,
    settings: BatchingSettings,
    random: np.random.Generator,
    in_order_of_length: bool = False,
) -> list[NDArray[np.int64]]:
    """Divide examples of one task into batches of examples of about the same length.

    Shuffled; sorted by length within windows of ``bucket_batches``; cut; the batches shuffled. A
    pure function of its arguments and the state of ``random``. Examples that are longer than the
    settings allow are left out.

    Args:
        indices: The examples.
        lengths: Their source and target lengths.
        is_text: Whether the sources are texts.
        settings: Sizes and order.
        random: Decides the order.
        in_order_of_length: Whether the batches come in order of length instead of a random one.
    """
    sources, targets = lengths
    fits = within_limits(sources, targets, settings)
    indices, sources, targets = indices[fits], sources[fits], targets[fits]
    if not len(indices):
        return []
    order = random.permutation(len(indices))
    window = _window_size(sources, targets, is_text, settings)
    dynamic = settings.strategy == "dynamic"
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), window):
        part = order[start : start + window]
        part = part[_by_length(sources[part], targets[part], is_text and dynamic)]
        batches += cut_batches(part, sources, targets, is_text=is_text, settings=settings)
    if in_order_of_length:
        batches.sort(key=lambda batch: float(sources[batch].mean()))
    else:
        batches = [batches[i] for i in random.permutation(len(batches))]
    return [indices[batch] for batch in batches]


def choose_cues(
    batches: Sequence[NDArray[np.int64]], num_examples: int, random: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Choose for each batch some examples of another one, for the task network to look at.

    Of one other batch, so that they are of about one length and little of them is padding; of a
    batch in proportion to its size, so that long and short examples are chosen alike. Where there
    is a single batch they are its own.

    Args:
        batches: The examples of every batch.
        num_examples: How many to choose; a smaller batch gives all it has.
        random: Decides which.
    """
    ends = np.cumsum([len(batch) for batch in batches])
    chosen: list[NDArray[np.int64]] = []
    for number, batch in enumerate(batches):
        # A place among all examples but the batch's own.
        others = int(ends[-1]) - len(batch)
        if others:
            place = int(random.integers(others))
            place += len(batch) if place >= ends[number] - len(batch) else 0
            batch = batches[int(np.searchsorted(ends, place, side="right"))]
        chosen.append(random.choice(batch, size=min(num_examples, len(batch)), replace=False))
    return chosen


def _by_length(
    sources: NDArray[np.int64], targets: NDArray[np.int64], both_count: bool
) -> NDArray[np.intp]:
    """Return the order of examples in which neighbours are of about the same length.

    Where source and target count alike, as in a limit of tokens, the longer of the two decides;
    among equals the difference goes up and down by turns, so that it makes no jump. On captions
    that halves the padding of an order by source and then target (benchmarks/padding.py).
    """
    if not both_count:
        return np.lexsort((targets, sources))
    longer, difference = np.maximum(sources, targets), sources - targets
    return np.lexsort((np.where(longer % 2, difference, -difference), longer))


def _window_size(
    sources: NDArray[np.int64],
    targets: NDArray[np.int64],
    is_text: bool,
    settings: BatchingSettings,
) -> int:
    if settings.strategy == "static":
        return settings.examples_per_batch * settings.bucket_batches
    mean_target = float(targets.mean()) + 1
    mean_source = float(sources.mean())
    if is_text:
        per_batch = settings.max_tokens / max(mean_source, mean_target)
    else:
        per_batch = min(settings.max_frames / mean_source, settings.max_tokens / mean_target)
    return max(1, math.ceil(per_batch)) * settings.bucket_batches
