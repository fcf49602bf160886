"""Which examples the limits of length leave out, counted."""

from __future__ import annotations

import numpy as np

from taskaware.data.batches.settings import BatchingSettings
from taskaware.data.prepared.length_limits import TaskLengths, count_left_out, within_limits

SETTINGS = BatchingSettings(max_source=10, max_target=5)
SOURCES, TARGETS = np.array([10, 11, 3, 20]), np.array([5, 1, 6, 9])
POSITIONS = np.arange(4)


def test_an_example_of_just_the_limits_is_trained_on():
    assert within_limits(SOURCES, TARGETS, SETTINGS).tolist() == [True, False, False, False]


def part(task: str = "a", *, chosen: slice = slice(None), **changes) -> TaskLengths:
    lengths = {"positions": POSITIONS, "sources": SOURCES, "targets": TARGETS} | changes
    return TaskLengths(task=task, **{name: value[chosen] for name, value in lengths.items()})


def test_what_is_left_out_is_counted_once_and_by_each_reason_over_all_shards():
    parts = [part(chosen=slice(0, 1)), part(chosen=slice(0, 0)), part(chosen=slice(1, 4))]
    found = count_left_out(parts, SETTINGS)["a"]
    assert (found.num_examples, found.num_positions, found.num_left_out) == (4, 44, 3)
    assert found.long_sources == (2, 31)
    assert found.long_targets == (2, 23)
    assert found.longest == (20, 9)
    assert found.shortest == (3, 1)
    assert found.num_left_out_when_changed == 0


def test_tasks_are_counted_apart():
    found = count_left_out([part("a"), part("b", chosen=slice(0, 1)), part("a")], SETTINGS)
    assert (found["a"].num_left_out, found["b"].num_left_out) == (6, 0)
    assert found.keys() == {"a", "b"}


def test_what_augmentation_makes_too_long_is_counted_besides():
    short = np.ones(4, dtype=np.int64)
    parts = [part("speech", targets=short), part("text", targets=short)]

    def doubled(_positions, lengths, _epoch):
        return 2 * lengths

    found = count_left_out(parts, SETTINGS, changed_lengths={"speech": doubled})
    assert (found["speech"].num_left_out, found["speech"].num_left_out_when_changed) == (2, 1)
    assert (found["text"].num_left_out, found["text"].num_left_out_when_changed) == (2, 0)
