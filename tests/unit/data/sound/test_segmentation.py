"""Where long recordings are cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taskaware.data.sound.segmentation import CutSettings, Stretch, cut
from taskaware.data.sound.speech_detection import FRAME_SECONDS


def probabilities(*runs: tuple[float, float]) -> np.ndarray:
    """Return the frames of runs of (seconds, probability)."""
    parts = [np.full(round(seconds / FRAME_SECONDS), p) for seconds, p in runs]
    return np.concatenate(parts).astype(np.float32)


def stretches(p: np.ndarray, **changes) -> list[Stretch]:
    return cut(p, len(p) * FRAME_SECONDS, CutSettings(**changes))


def test_speech_is_cut_in_its_longest_pause():
    p = probabilities((6, 1), (0.4, 0.1), (3, 1), (1.0, 0.1), (6, 1))
    first, second = stretches(p, way="divide", greatest_seconds=12, overlap_seconds=0)
    assert (first.start_seconds, second.end_seconds) == (0, pytest.approx(16.4, abs=0.05))
    # Of the pause from 9.4 to 10.4 s, 0.2 s stay on either side.
    assert first.end_seconds == pytest.approx(9.6, abs=0.05)
    assert second.start_seconds == pytest.approx(10.2, abs=0.05)


def test_divide_and_conquer_goes_on_until_no_part_is_too_long():
    p = probabilities(*[(2, 1), (0.5, 0)] * 40)
    found = stretches(p, way="divide", greatest_seconds=18, overlap_seconds=0)
    assert max(one.end_seconds - one.start_seconds for one in found) <= 18.5
    assert all(one.cut_before is None for one in found)
    assert sum(one.end_seconds - one.start_seconds for one in found) > 80


def test_neighbours_are_joined_up_to_the_greatest_length_but_not_over_a_long_pause():
    p = probabilities((4, 1), (0.5, 0), (4, 1), (0.5, 0), (4, 1), (6, 0), (4, 1))
    found = stretches(p, way="pauses", greatest_seconds=12, overlap_seconds=0)
    assert [round(one.end_seconds - one.start_seconds) for one in found] == [9, 4, 4]


@pytest.mark.parametrize("way", ["pauses", "divide", "windows"])
def test_nothing_is_decoded_where_nobody_speaks(way):
    assert stretches(probabilities((60, 0.1)), way=way) == []
    assert cut(np.zeros(0, np.float32), 0.0, CutSettings(way=way)) == []


@pytest.mark.parametrize("way", ["pauses", "divide", "windows"])
def test_speech_without_a_pause_is_cut_all_the_same_and_overlaps(way):
    p = probabilities((100, 0.9))
    found = stretches(p, way=way, greatest_seconds=20, overlap_seconds=2)
    assert max(one.end_seconds - one.start_seconds for one in found) <= 20.05
    assert (found[0].start_seconds, found[0].cut_before) == (0, None)
    assert found[-1].end_seconds == pytest.approx(100, abs=0.1)
    for before, after in itertools.pairwise(found):
        assert after.cut_before is not None
        assert before.end_seconds == pytest.approx(after.cut_before + 1, abs=0.01)
        assert after.start_seconds == pytest.approx(after.cut_before - 1, abs=0.01)


@pytest.mark.parametrize("way", ["pauses", "divide"])
@pytest.mark.parametrize("likely", [0.6, 1.0])
def test_where_somebody_begins_to_speak_is_no_place_for_a_cut(way: str, likely: float):
    found = stretches(
        probabilities((1, 0), (0.3, likely), (60, 1), (1, 0)), way=way, greatest_seconds=20
    )
    assert found[0].start_seconds == pytest.approx(0.8, abs=0.05)
    # What is decoded is longer than the second that the next stretch repeats of it.
    assert all(one.end_seconds - one.start_seconds > 2 for one in found)
    for before, after in itertools.pairwise(found):
        assert before.start_seconds < after.start_seconds


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.03, 30), st.floats(0, 1)), min_size=1, max_size=12),
    st.sampled_from(["pauses", "divide", "windows"]),
    st.floats(1, 30),
)
@example([(1.0, 0.0), (8.5, 1.0)], "pauses", 5.0)
def test_every_way_keeps_order_and_the_greatest_length_and_covers_long_speech(runs, way, greatest):
    p = probabilities(*runs)
    found = stretches(p, way=way, greatest_seconds=greatest, overlap_seconds=greatest / 8)
    for one in found:
        assert 0 <= one.start_seconds < one.end_seconds <= len(p) * FRAME_SECONDS + 1e-6
        # Around what is spoken, 0.2 s on either side are kept.
        assert one.end_seconds - one.start_seconds <= greatest + 0.5
    for before, after in itertools.pairwise(found):
        assert before.start_seconds < after.start_seconds
        assert after.cut_before is not None or before.end_seconds <= after.start_seconds + 1e-6
    covered = np.zeros(len(p), dtype=bool)
    for one in found:
        first, end = (round(s / FRAME_SECONDS) for s in (one.start_seconds, one.end_seconds))
        covered[first:end] = True
    lost = ~covered & (p >= 0.5)
    # Only short bits of speech may be left out.
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lost.astype(int), [0]]))).reshape(-1, 2)
    assert all((end - first) * FRAME_SECONDS < 0.3 for first, end in edges)
