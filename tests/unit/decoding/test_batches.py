"""Which sources are decoded together: each once, of similar length, and not too much at a time."""

from __future__ import annotations

import pytest
import torch

from taskaware.decoding.batches import batches, reporting_short_memory
from taskaware.errors import TaskawareError


def test_every_source_is_in_one_batch_and_the_shortest_come_first():
    lengths = [5, 1, 9, 1, 7, 3, 2]
    found = list(batches(lengths, 3))
    assert [len(batch) for batch in found] == [3, 3, 1]
    order = [i for batch in found for i in batch]
    assert sorted(order) == list(range(7))
    assert [lengths[i] for i in order] == sorted(lengths)
    assert list(batches([], 3)) == []


def test_long_sources_are_decoded_with_few_others_or_alone():
    assert [len(b) for b in batches([4_000] * 40, 32)] == [32, 8]
    assert [len(b) for b in batches([40_000] * 7, 32)] == [3, 3, 1]
    assert list(batches([10, 360_000, 20], 32)) == [[0, 2], [1]]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes"),
    ],
)
def test_where_the_memory_does_not_suffice_the_length_is_named(error: Exception):
    with (
        pytest.raises(TaskawareError, match="360,000 frames or pieces"),
        reporting_short_memory(360_000),
    ):
        raise error


def test_another_error_is_left_as_it_is():
    with pytest.raises(RuntimeError, match="a mistake of ours"), reporting_short_memory(1):
        raise RuntimeError("a mistake of ours")
