"""The texts for a vocabulary: distinct, at most so many, the same whatever their order."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from taskaware.data.prepare.text_sample import TextSample


def sample(texts: list[str], limit: int) -> list[str]:
    kept = TextSample(limit)
    for text in texts:
        kept.add(text)
    return kept.texts()


@given(st.lists(st.text(max_size=3)), st.integers(1, 8), st.randoms())
def test_the_sample_depends_on_the_set_of_texts_alone(texts, limit, shuffler):
    first = sample(texts, limit)
    assert len(first) == min(limit, len(set(texts) - {""}))
    assert first == sorted(first)
    assert set(first) <= set(texts) - {""}
    again = texts + texts
    shuffler.shuffle(again)
    assert sample(again, limit) == first


def test_few_texts_are_all_kept_and_many_are_drawn_evenly():
    texts = [str(number) for number in range(20_000)]
    assert sample(texts, 20_000) == sorted(texts)
    random.Random(0).shuffle(texts)
    drawn = [int(text) for text in sample(texts, 2000)]
    assert abs(sum(drawn) / len(drawn) - 10_000) < 500
