"""Work on many things in threads, with the results in the order of the things."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

T = TypeVar("T")
R = TypeVar("R")

_AHEAD_PER_WORKER = 4


def in_order(
    work: Callable[[T], R],
    items: Iterable[T],
    *,
    num_workers: int,
    ahead_per_worker: int = _AHEAD_PER_WORKER,
) -> Generator[R, None, None]:
    """Yield ``work(item)`` of each item, in the order of the items, computed in threads.

    Close the iterator to stop early: what has not begun is dropped. Items are read, and results
    wait in memory, only a few ahead, whatever the number of items.

    Args:
        work: Called in a thread; what it raises is raised here, in its turn.
        items: May be endless.
        num_workers: Threads.
        ahead_per_worker: How many items are under way or done for each thread.
    """
    remaining = iter(items)
    executor = ThreadPoolExecutor(num_workers, thread_name_prefix="in-order")
    waiting: deque[Future[R]] = deque()
    try:
        for item in islice(remaining, num_workers * ahead_per_worker):
            waiting.append(executor.submit(work, item))
        while waiting:
            result = waiting.popleft().result()
            for item in islice(remaining, 1):
                waiting.append(executor.submit(work, item))
            yield result
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
