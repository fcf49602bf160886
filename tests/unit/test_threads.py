from __future__ import annotations

import itertools
import threading
import time

import pytest

from taskaware.threads import in_order


def test_results_come_in_the_order_of_the_items_whatever_takes_longest():
    def work(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number * number

    found = list(in_order(work, range(10), num_workers=3))
    assert found == [number * number for number in range(10)]


def test_items_are_read_only_a_few_ahead():
    taken = itertools.count()
    results = in_order(lambda _: None, (next(taken) for _ in itertools.count()), num_workers=2)
    next(results)
    assert next(taken) == 2 * 4 + 1
    results.close()


def test_what_work_raises_is_raised_in_its_turn_and_no_thread_is_left():
    def work(number: int) -> int:
        if number == 2:
            raise ValueError("the third")
        return number

    results = in_order(work, range(100), num_workers=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(results)
    assert not [each for each in threading.enumerate() if each.name.startswith("in-order")]
