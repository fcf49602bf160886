"""The queue in front of the model: outputs of many clients are made together, by one thread.

An output waits until the thread is free. The one that has waited longest is always taken next, and
with it those that are most like it in length, so that little is computed on padding. They may be of
several tasks: only the task embedding and the prompt differ. While the model works, the next batch
gathers, so that a busy service has large batches and an idle one answers at once.

Other work with the model, such as a recording with times, takes turns with these batches. What it
has to search for goes through the queue too, so that parts of many recordings share a batch.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from taskaware.serve.failures import busy, stopping
from taskaware.serve.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from torch import Tensor

    from taskaware.decoding.settings import DecodingSettings
    from taskaware.inference.model import TaskAwareModel
    from taskaware.serve.metrics import Metrics
    from taskaware.types import Hypothesis, Task

_LONG_AT_ONCE = 8  # of which each holds a batch of its recording
_LOOK_SECONDS = 0.2  # how often work that waits for its outputs looks whether it is wanted
_NEWEST_WEIGHT = 0.3  # of a batch, in the mean time of an output
_SLOW_SECONDS = 0.5
_PATIENCE = 0.7  # the share of the time for an answer that a queue may be expected to take


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """One output to be made.

    Attributes:
        task: The task; its name need not be one of the model's where it has an embedding.
        task_embedding: float32 ``[1, O]``, or ``None`` for a model without a task network.
        array: The source as the model reads it, float32 ``[S, F]`` or int64 ``[S]``.
        decoding: How to search.
        is_part: Whether it is a part of other work, and ``array`` what the encoder put out for it.
        future: Gets the hypotheses, best first. A cancelled one is not worked on.
    """

    task: Task
    task_embedding: Tensor | None
    array: np.ndarray
    decoding: DecodingSettings
    is_part: bool = False
    future: Future[list[Hypothesis]] = field(default_factory=Future)

    def shares_batch_with(self, other: Job) -> bool:
        """Return whether the two can be decoded together."""
        mine, others = self.task.source_modality, other.task.source_modality
        return (mine, self.decoding, self.is_part) == (others, other.decoding, other.is_part)


class NobodyWaitsError(Exception):
    """Nobody waits any more for what is being made."""


@dataclass(frozen=True, eq=False)
class LongWork:
    """Work with the model that is done by itself, with pauses for others.

    Attributes:
        future: Gets what it returns.
        is_unwanted: Set when nobody waits for it any more.
    """

    future: Future[Any]
    is_unwanted: threading.Event


class Visit:
    """The turn of other work at the model, which it can leave for a while.

    Args:
        batcher: Whose model it is.
        is_unwanted: Set when nobody waits for the work any more.
    """

    def __init__(self, batcher: Batcher, is_unwanted: threading.Event) -> None:
        self._batcher = batcher
        self._is_unwanted = is_unwanted

    def pause(self) -> None:
        """Let others have their turns, between two pieces of the work.

        Raises:
            NobodyWaitsError: Nobody wants it any more.
        """
        self._require_wanted()
        self._batcher.turns.pass_on()

    def outputs(self, jobs: Sequence[Job]) -> list[list[Hypothesis]]:
        """Return what the queue makes of parts of this work, together with those of others.

        Raises:
            NobodyWaitsError: As ``pause``.
            TaskawareError: The model fails.
        """
        futures = [job.future for job in jobs]
        with self._batcher.turns.left():
            self._batcher.submit_parts(jobs)
            try:
                while wait(futures, _LOOK_SECONDS).not_done:
                    self._require_wanted()
            finally:
                for future in futures:
                    future.cancel()
        return [future.result() for future in futures]

    def _require_wanted(self) -> None:
        if self._is_unwanted.is_set():
            raise NobodyWaitsError


class Batcher:
    """Makes outputs in a thread of its own; whoever uses the model does so in turn.

    Args:
        model: The model.
        max_waiting: Outputs that may wait or be in the making.
        batch_size: Outputs decoded together.
        answer_seconds: How long an output may take, the waiting included.
        metrics: Where to count.

    Attributes:
        turns: Whoever uses the model does so in one.
    """

    def __init__(
        self,
        model: TaskAwareModel,
        *,
        max_waiting: int,
        batch_size: int,
        answer_seconds: float,
        metrics: Metrics,
    ) -> None:
        self._model = model
        self._max_waiting = max_waiting
        self._batch_size = batch_size
        self._patience_seconds = _PATIENCE * answer_seconds
        self._seconds_an_output = 0.0  # as the last batches took
        self._metrics = metrics
        self.turns = Turns()
        self._changed = threading.Condition()
        self._waiting: list[Job] = []
        self._in_hand = 0
        self._is_closing = False
        self._long: set[LongWork] = set()
        self._long_threads = ThreadPoolExecutor(_LONG_AT_ONCE, thread_name_prefix="taskaware-long")
        self._thread = threading.Thread(target=self._work, name="taskaware-model", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def warm_up(self, first: Job) -> None:
        """Make an output before any client asks: it says how long one takes.

        What is slow once is done then, so that a fast one is made twice.
        """
        for _ in range(2):
            begun = time.perf_counter()
            self._decode([first])
            self._seconds_an_output = time.perf_counter() - begun
            if self._seconds_an_output > _SLOW_SECONDS:
                return

    def close(self, seconds: float) -> bool:
        """Take nothing more, finish what was taken, and return whether all is finished."""
        end = time.monotonic() + seconds
        with self._changed:
            self._is_closing = True
            self._changed.notify()
            long = list(self._long)
        if self._thread.is_alive():
            self._thread.join(seconds)
        unfinished = wait([one.future for one in long], max(end - time.monotonic(), 0)).not_done
        for one in long:
            one.is_unwanted.set()
        self._long_threads.shutdown(wait=False, cancel_futures=True)
        return not (self._thread.is_alive() or unfinished)

    @property
    def is_working(self) -> bool:
        """Whether outputs can be made."""
        return self._thread.is_alive() and not self._is_closing

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue all of several outputs, or none.

        Raises:
            ServiceError: The queue is full (429), or the service is stopping (503).
        """
        with self._changed:
            self._waiting = [job for job in self._waiting if not job.future.cancelled()]
            self._require_room(len(jobs))
            self._waiting += jobs
            self._count()
            self._changed.notify()

    def submit_parts(self, jobs: Sequence[Job]) -> None:
        """Queue parts of work that was taken already; see ``Visit.outputs``."""
        with self._changed:
            self._waiting += jobs
            self._changed.notify()

    def call(self, function: Callable[[TaskAwareModel, Visit], Any]) -> LongWork:
        """Queue other work with the model; what it returns comes in ``future``.

        Args:
            function: Gets the model, and how to leave it to others between two pieces of the work.

        Raises:
            ServiceError: As ``submit``.
        """
        is_unwanted = threading.Event()

        def work() -> Any:
            if is_unwanted.is_set():
                raise NobodyWaitsError
            with self.turns.turn():
                return function(self._model, Visit(self, is_unwanted))

        with self._changed:
            self._require_room(1)
            made = LongWork(self._long_threads.submit(work), is_unwanted)
            self._long.add(made)
            self._count()
        made.future.add_done_callback(lambda _: self._forget(made))
        return made

    def _forget(self, long: LongWork) -> None:
        with self._changed:
            self._long.discard(long)
            self._count()
            self._changed.notify()

    def _require_room(self, number: int) -> None:
        if self._is_closing:
            raise stopping()
        if self._num_there + number > self._max_waiting:
            raise busy(
                f"at most {self._max_waiting} outputs may wait, but {self._num_there} do and "
                f"{number} more were asked for: ask again in a moment",
                after_seconds=self._num_there * self._seconds_an_output / 2,
            )
        expected = self._num_there * self._seconds_an_output
        if expected > self._patience_seconds:
            raise busy(
                f"{'1 output waits' if self._num_there == 1 else f'{self._num_there} outputs wait'}"
                f", which will take about {expected:.0f} s: ask again later",
                after_seconds=expected - self._patience_seconds,
            )

    @property
    def _num_there(self) -> int:
        waiting = sum(not job.is_part for job in self._waiting)  # parts count with their whole
        return waiting + self._in_hand + len(self._long)

    def _count(self) -> None:
        self._metrics.waiting.set(self._num_there)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_done:
                    self._changed.wait()
                if not self._waiting:
                    return
            # Chosen once the model is free, so that those that came meanwhile are in the batch.
            with self.turns.turn():
                with self._changed:
                    chosen = self._choose()
                    self._in_hand = sum(not job.is_part for job in chosen)
                if chosen:
                    self._make(chosen)
            with self._changed:
                self._in_hand = 0
                self._count()

    @property
    def _is_done(self) -> bool:
        """Whether nothing more can come: what was taken may still have parts to be made."""
        return self._is_closing and not self._long

    def _choose(self) -> list[Job]:
        """Take what to make next out of the queue; nothing if all was cancelled."""
        waiting = [job for job in self._waiting if not job.future.cancelled()]
        if not waiting:
            self._waiting = []
            return []
        first = waiting[0]
        together = [job for job in waiting if job.shares_batch_with(first)]
        # The sort keeps the order of arrival among equals, and the first differs from itself least.
        together.sort(key=lambda job: abs(len(job.array) - len(first.array)))
        chosen = together[: self._batch_size]
        taken = {id(job) for job in chosen}
        self._waiting = [job for job in waiting if id(job) not in taken]
        return [job for job in chosen if job.future.set_running_or_notify_cancel()]

    def _make(self, jobs: list[Job]) -> None:
        begun = time.perf_counter()
        try:
            found = self._decode(jobs)
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
                return
            # One source may be to blame: the others get their outputs.
            for job in jobs:
                self._make([job])
            return
        seconds = time.perf_counter() - begun
        self._metrics.batch_size.observe(len(jobs))
        self._metrics.batch_seconds.observe(seconds)
        if not jobs[0].is_part:  # the encoder's work is not in a part's time
            self._note_time(len(jobs), seconds)
        for job, hypotheses in zip(jobs, found, strict=True):
            job.future.set_result(hypotheses)

    def _note_time(self, number: int, seconds: float) -> None:
        before = self._seconds_an_output or seconds / number
        self._seconds_an_output = before + _NEWEST_WEIGHT * (seconds / number - before)

    def _decode(self, jobs: list[Job]) -> list[list[Hypothesis]]:
        # Stored and mixed tasks have embeddings that the model's folder does not know. No two tasks
        # with different embeddings have one name.
        given = {
            job.task.name: job.task_embedding for job in jobs if job.task_embedding is not None
        }
        view = replace(self._model, task_embeddings={**self._model.task_embeddings, **given})
        together = replace(jobs[0].decoding, examples_per_batch=self._batch_size)
        return view.decode_tasks(
            [job.task for job in jobs],
            [job.array for job in jobs],
            decoding=together,
            is_encoded=jobs[0].is_part,
        )
