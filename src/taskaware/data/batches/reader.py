"""Reads the examples of training batches, changed in every epoch where augmentation says so.

The same in every process, and again when a run is resumed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from taskaware.data.sound import augmentation
from taskaware.data.sound.features import log_mel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from taskaware.data.batches.order import PlannedBatch
    from taskaware.data.prepared.split import Split
    from taskaware.data.sound.augmentation import Draws
    from taskaware.data.sound.settings import AugmentationSettings
    from taskaware.types import Task

_MAX_CACHED_DRAWS = 64  # shards; a window is read piece by piece


class TrainingReader:
    """Reads the examples of a split for training: speech is augmented as the settings say.

    Texts, and everything where the settings change nothing, are read as they are.

    Args:
        split: The examples; their recordings must be kept where the signal is changed.
        settings: What is changed.
        seed: Decides how.
    """

    def __init__(self, split: Split, settings: AugmentationSettings, *, seed: int) -> None:
        self._split = split
        self._settings = settings
        self._seed = seed
        self._draws = lru_cache(_MAX_CACHED_DRAWS)(self._draw)

    def changed_lengths(
        self, indices: NDArray[np.int64], lengths: NDArray[np.int64], epoch: int
    ) -> NDArray[np.int64]:
        """Return the lengths that examples have in an epoch, in frames, to within two or so."""
        if not self._settings.changes_signal:
            return lengths
        changed = lengths.astype(np.float64)
        frames_per_second = 1000 / self._split.contents.features.hop_ms
        shards, rows = self._split.places(indices)
        for shard in np.unique(shards):
            chosen = shards == shard
            draws, of_shard = self._draws(int(shard), epoch), rows[chosen]
            changed[chosen] *= draws.length_factors[of_shard]
            changed[chosen] += draws.echo_delay_seconds[of_shard] * frames_per_second
        return np.ceil(changed).astype(np.int64)

    def read(
        self, planned: PlannedBatch
    ) -> tuple[list[NDArray[Any]], list[NDArray[Any]], list[str]]:
        """Return sources, the pieces of the targets, and ids."""
        indices = [int(i) for i in planned.indices]
        examples = [self._split.example(i) for i in indices]
        texts = [example.source_text for example in examples]
        vocabulary = self._split.contents.vocabulary
        pieces: list[list[int]] | None = None
        if all(text is not None for text in texts):
            pieces = vocabulary.encode_sources([text or "" for text in texts])
        targets = vocabulary.encode_many([example.target_text for example in examples])
        self._split.require_lengths(indices, sources=pieces, targets=targets)
        if pieces is None:
            sources = [self._source(i, planned.epoch) for i in indices]
        else:
            sources = [np.array(row, dtype=np.int64) for row in pieces]
        ids = [example.id for example in examples]
        return sources, [np.array(row, dtype=np.int64) for row in targets], ids

    def is_encoded(self, task: Task) -> bool:
        """Return whether a task's sources are what an encoder put out."""
        return self._split.is_encoded(task)

    def begin_worker(self) -> None:
        """The process that plans has checked the shards."""
        self._split.checks_shards = False

    def _source(self, index: int, epoch: int) -> NDArray[Any]:
        waveform = self._split.waveform(index) if self._settings.changes_signal else None
        if waveform is None:
            source = self._split.source(index)
        else:
            shards, rows = self._split.places(np.array([index]))
            draw = self._draws(int(shards[0]), epoch)[int(rows[0])]
            features = self._split.contents.features
            waveform = augmentation.augment(waveform, draw, features.sample_rate_hz)
            source = log_mel(torch.from_numpy(waveform), features).numpy()
        if self._settings.masks_features and source.ndim == 2:
            random = np.random.default_rng([self._seed, epoch, index, 4])
            source = augmentation.spec_augment(source, self._settings, random)
        return source

    def _draw(self, shard: int, epoch: int) -> Draws:
        return augmentation.draws(
            self._settings,
            seed=self._seed,
            epoch=epoch,
            key=(self._split.name, shard),
            num=self._split.records[shard].num_examples,
        )

    def __getstate__(self) -> dict[str, object]:
        """Leave out the cache, which belongs to a process."""
        return {name: value for name, value in self.__dict__.items() if name != "_draws"}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Begin with an empty cache."""
        self.__dict__.update(state)
        self._draws = lru_cache(_MAX_CACHED_DRAWS)(self._draw)
