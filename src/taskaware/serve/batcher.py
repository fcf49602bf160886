"""The queue in front of the model: outputs of many clients are made together, by one thread.

An output waits until the thread is free. The one that has waited longest is always taken next, and
with it those that are most like it in length, so that little is computed on padding. They may be of
several tasks: only the task embedding and the prompt differ. While the model works, the next batch
gathers, so that a busy service has large batches and an idle one answers at once.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from taskaware.serve.failures import ServiceError, busy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from torch import Tensor

    from taskaware.decoding.settings import DecodingSettings
    from taskaware.inference.model import TaskAwareModel
    from taskaware.serve.metrics import Metrics
    from taskaware.types import Hypothesis, Task


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """One output to be made.

    Attributes:
        task: The task; its name need not be one of the model's where it has an embedding.
        task_embedding: float32 ``[1, O]``, or ``None`` for a model without a task network.
        array: The source as the model reads it, float32 ``[S, F]`` or int64 ``[S]``.
        decoding: How to search.
        future: Gets the hypotheses, best first. A cancelled one is not worked on.
    """

    task: Task
    task_embedding: Tensor | None
    array: np.ndarray
    decoding: DecodingSettings
    future: Future[list[Hypothesis]] = field(default_factory=Future)

    def shares_batch_with(self, other: Job) -> bool:
        """Return whether the two can be decoded together."""
        mine, others = self.task.source_modality, other.task.source_modality
        return mine == others and self.decoding == other.decoding


@dataclass(frozen=True, eq=False)
class _Call:
    """Other work with the model, which is done by itself."""

    function: Callable[[TaskAwareModel], Any]
    future: Future[Any] = field(default_factory=Future)


class Batcher:
    """Makes outputs in a thread of its own, which alone uses the model.

    Args:
        model: The model.
        max_waiting: Outputs that may wait or be in the making.
        batch_size: Outputs decoded together.
        metrics: Where to count.
    """

    def __init__(
        self, model: TaskAwareModel, *, max_waiting: int, batch_size: int, metrics: Metrics
    ) -> None:
        self._model = model
        self._max_waiting = max_waiting
        self._batch_size = batch_size
        self._metrics = metrics
        self._changed = threading.Condition()
        self._waiting: list[Job | _Call] = []
        self._in_hand = 0
        self._is_closing = False
        self._thread = threading.Thread(target=self._work, name="taskaware-model", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def close(self, seconds: float) -> bool:
        """Take nothing more, finish what was taken, and return whether all is finished."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def is_working(self) -> bool:
        """Whether outputs can be made."""
        return self._thread.is_alive() and not self._is_closing

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue all of several outputs, or none.

        Raises:
            ServiceError: The queue is full (429), or the service is stopping (503).
        """
        self._add(list(jobs))

    def call(self, function: Callable[[TaskAwareModel], Any]) -> Future[Any]:
        """Queue other work with the model.

        Raises:
            ServiceError: As ``submit``.
        """
        call = _Call(function)
        self._add([call])
        return call.future

    def _add(self, work: list[Job] | list[_Call]) -> None:
        with self._changed:
            if self._is_closing:
                raise ServiceError("the service is stopping", status=503, code="stopping")
            self._drop_cancelled()
            there = len(self._waiting) + self._in_hand
            if there + len(work) > self._max_waiting:
                raise busy(
                    f"at most {self._max_waiting} outputs may wait, but {there} do and "
                    f"{len(work)} more were asked for: ask again in a moment"
                )
            self._waiting += work
            self._count()
            self._changed.notify()

    def _drop_cancelled(self) -> None:
        self._waiting = [one for one in self._waiting if not one.future.cancelled()]

    def _count(self) -> None:
        self._metrics.waiting.set(len(self._waiting) + self._in_hand)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_closing:
                    self._changed.wait()
                if not self._waiting:
                    return
                chosen = self._choose()
                self._in_hand = len(chosen)
            if chosen:
                self._do(chosen)
            with self._changed:
                self._in_hand = 0
                self._count()

    def _choose(self) -> list[Job] | list[_Call]:
        """Take the work to do next out of the queue; nothing if all was cancelled."""
        self._drop_cancelled()
        if not self._waiting:
            return []
        first = self._waiting[0]
        if isinstance(first, _Call):
            self._waiting.pop(0)
            return [first] if first.future.set_running_or_notify_cancel() else []
        together = [
            one
            for one in self._waiting
            if isinstance(one, Job) and (one is first or one.shares_batch_with(first))
        ]
        # The sort keeps the order of arrival among equals, and the first differs from itself least.
        together.sort(key=lambda job: abs(len(job.array) - len(first.array)))
        chosen = together[: self._batch_size]
        taken = {id(job) for job in chosen}
        self._waiting = [one for one in self._waiting if id(one) not in taken]
        return [job for job in chosen if job.future.set_running_or_notify_cancel()]

    def _do(self, chosen: list[Job] | list[_Call]) -> None:
        first = chosen[0]
        if isinstance(first, _Call):
            _settle(first.future, lambda: first.function(self._model))
            return
        jobs = [one for one in chosen if isinstance(one, Job)]
        begun = time.perf_counter()
        try:
            found = self._decode(jobs)
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
                return
            # One source may be to blame: the others get their outputs.
            for job in jobs:
                _settle(job.future, lambda job=job: self._decode([job])[0])
            return
        self._metrics.batch_size.observe(len(jobs))
        self._metrics.batch_seconds.observe(time.perf_counter() - begun)
        for job, hypotheses in zip(jobs, found, strict=True):
            job.future.set_result(hypotheses)

    def _decode(self, jobs: list[Job]) -> list[list[Hypothesis]]:
        # Stored and mixed tasks have embeddings that the model's folder does not know. No two tasks
        # with different embeddings have one name.
        given = {
            job.task.name: job.task_embedding for job in jobs if job.task_embedding is not None
        }
        view = replace(self._model, task_embeddings={**self._model.task_embeddings, **given})
        together = replace(jobs[0].decoding, examples_per_batch=self._batch_size)
        return view.decode_tasks(
            [job.task for job in jobs], [job.array for job in jobs], decoding=together
        )


def _settle(future: Future[Any], work: Callable[[], Any]) -> None:
    """Give a future what work returns, or raises."""
    try:
        result = work()
    except Exception as error:
        future.set_exception(error)
    else:
        future.set_result(result)
