"""The hash table agrees with a dictionary, and its hashes never change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskaware.data.hashes import FirstSeen, hash_texts


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1) | st.integers(0, 40), st.integers(0, 99))))
def test_the_table_remembers_what_a_dictionary_does(pairs: list[tuple[int, int]]):
    table, known = FirstSeen(), {}
    for key, place in pairs:
        assert table.get(key) == known.get(key)
        assert (key in table) == (key in known)
        assert table.put(key, place) == known.get(key)
        known.setdefault(key, place)
        assert len(table) == len(known)


def test_the_table_grows_past_its_first_size():
    table = FirstSeen()
    keys = [hash_texts(str(number)) for number in range(5000)]
    assert all(table.put(key, place) is None for place, key in enumerate(keys))
    assert [table.get(key) for key in keys] == list(range(5000))


def test_hashes_are_the_same_for_ever_and_tell_parts_apart():
    assert hash_texts("a", "b") == 5666916665733659087
    assert hash_texts("ab") != hash_texts("a", "b") != hash_texts("", "ab")
