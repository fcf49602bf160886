"""Which examples the limits of length leave out, counted."""

from __future__ import annotations

import numpy as np

from taskaware.data.batching_settings import BatchingSettings
from taskaware.data.length_limits import count_left_out, within_limits

SETTINGS = BatchingSettings(max_source=10, max_target=5)
SOURCES, TARGETS = np.array([10, 11, 3, 20]), np.array([5, 1, 6, 9])
POSITIONS = np.arange(4)


def test_an_example_of_just_the_limits_is_trained_on():
    assert within_limits(SOURCES, TARGETS, SETTINGS).tolist() == [True, False, False, False]


def test_what_is_left_out_is_counted_once_and_by_each_reason_over_all_shards():
    parts = [
        (POSITIONS[:1], SOURCES[:1], TARGETS[:1]),
        (POSITIONS[:0], SOURCES[:0], TARGETS[:0]),
        (POSITIONS[1:], SOURCES[1:], TARGETS[1:]),
    ]
    found = count_left_out(parts, SETTINGS)
    assert (found.num_examples, found.num_positions, found.num_left_out) == (4, 44, 3)
    assert found.long_sources == (2, 31)
    assert found.long_targets == (2, 23)
    assert found.longest == (20, 9)
    assert found.shortest == (3, 1)
    assert found.num_left_out_when_changed == 0


def test_what_augmentation_makes_too_long_is_counted_besides():
    parts = [(POSITIONS, SOURCES, np.ones(4, dtype=np.int64))]
    found = count_left_out(parts, SETTINGS, changed_lengths=lambda _i, lengths, _e: 2 * lengths)
    assert (found.num_left_out, found.num_left_out_when_changed) == (2, 1)
