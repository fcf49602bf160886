"""How batches are made. Imports no torch, so that the command line starts fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from taskaware.settings.typed import MOST_WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class BatchingSettings:
    """How examples become batches and batches become updates.

    Attributes:
        strategy: `static`: `examples_per_batch` of them (Table 8, multi modality). `dynamic`: as
            many as fit `max_tokens` and `max_frames` (Table 8, single modality).
        examples_per_batch: Examples of one task in a static batch.
        max_tokens: Limit of a dynamic batch in pieces: examples times the longest source or target
            text.
        max_frames: Limit of a dynamic batch in frames: examples times the longest source.
        mix: `every_task`: an update sees a batch of every task. `sampled`: a batch of one task,
            drawn by weight. `within_batches`: a batch holds examples of all tasks that have the
            same kind of source, as many of each as the data have; an update sees a batch of every
            kind of source. Each row is modulated by the t_e of its own task. With many tasks that
            makes smaller updates, and each of them reads the weights once.
        temperature: For `sampled` without weights: a task is drawn in proportion to its number of
            examples to the power 1/temperature (1: proportional; large: uniform).
        task_weights: For `sampled`: task name to weight; tasks not named are not drawn.
        bucket_batches: Batches whose examples are sorted together by length before they are divided
            into batches: more means less padding and less randomness.
        window_shards: Shards of a task that are shuffled together, where it has more: more shuffle
            better, fewer need less memory. Data of fewer shards is shuffled as a whole.
        num_workers: Processes that read batches ahead of training, for each process that trains; 0:
            the training process reads them itself. The batches are the same for any number.
        prefetch: Updates that each of them reads ahead.
        cue_examples: For an implicit cue: how many examples of another batch of the same task the
            task network reads in training; 0: the batch itself (the paper). The examples of a batch
            have about the same length, so t_e of the batch itself tells that length, which the mean
            t_e used at inference does not: 0.1 nats more dev loss on captions, and rising
            (docs/log.md). Where the task network learns at the whole of a high learning rate
            (`optimiser.implicit_rate` 1), 0 is safer: two or all tasks ended with the same t_e in 1
            of 18 runs, with 8 in 6 (docs/results/cue_examples.md); a validation says so.
        max_source: Longer sources (frames or pieces) are left out of training.
        max_target: Longer targets (pieces) are left out of training.
        short_first: Whether the batches of the first epoch come in order of length (SortaGrad,
            Amodei et al. 2016, section 3.2): helps attention to find its alignment.
    """

    strategy: Literal["static", "dynamic"] = "static"
    examples_per_batch: int = 16
    max_tokens: int = 2048
    max_frames: int = 24_000
    mix: Literal["every_task", "sampled", "within_batches"] = "every_task"
    temperature: float = 1.0
    task_weights: dict[str, float] = field(default_factory=dict)
    bucket_batches: int = 200
    window_shards: int = 8
    num_workers: int = 0
    prefetch: int = 4
    cue_examples: int = 8
    max_source: int = 3000
    max_target: int = 256
    short_first: bool = False

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for name in ("examples_per_batch", "max_tokens", "max_frames", "bucket_batches"):
            if getattr(self, name) < 1:
                yield name, "must be at least 1"
        for name in ("max_source", "max_target", "window_shards", "prefetch"):
            if getattr(self, name) < 1:
                yield name, "must be at least 1"
        for name in ("num_workers", "cue_examples"):
            if getattr(self, name) < 0:
                yield name, "must be at least 0"
        if self.num_workers > MOST_WORKERS:
            yield "num_workers", f"must be at most {MOST_WORKERS}"
        if self.temperature <= 0:
            yield "temperature", "must be above 0"
        if any(weight < 0 for weight in self.task_weights.values()):
            yield "task_weights", "must not be negative"
