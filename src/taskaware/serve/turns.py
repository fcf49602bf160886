"""Turns at the model: who has waited longest is next."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Turns:
    """A lock that is given in the order in which it is asked for, and can be passed on and back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[threading.Event] = deque()
        self._is_taken = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and end it at the end."""
        self._take()
        try:
            yield
        finally:
            self._end()

    @contextmanager
    def left(self) -> Iterator[None]:
        """In a turn: be without it for a while, then wait for another."""
        self._end()
        try:
            yield
        finally:
            self._take()

    def pass_on(self) -> None:
        """In a turn: let those who wait have theirs first."""
        if self._queue:
            self._end()
            self._take()

    def _take(self) -> None:
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return
            mine = threading.Event()
            self._queue.append(mine)
        mine.wait()

    def _end(self) -> None:
        with self._lock:
            if self._queue:
                self._queue.popleft().set()
            else:
                self._is_taken = False
