"""What a service does with a request once it is read: the model's outputs, in turn with others'."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from taskaware.decoding.settings import with_beam
from taskaware.errors import nearest
from taskaware.inference.recordings.settings import LongRecordingSettings
from taskaware.inference.recordings.transcribing import transcribe
from taskaware.serve.batcher import Batcher, Job, Visit
from taskaware.serve.failures import ServiceError, client_gone
from taskaware.serve.metrics import Metrics
from taskaware.serve.task_book import TaskBook
from taskaware.types import Hypothesis, Text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from starlette.requests import Request

    from taskaware.decoding.settings import DecodingSettings
    from taskaware.inference.model import TaskAwareModel
    from taskaware.inference.recordings.transcript import Transcript
    from taskaware.serve.intake import Heard
    from taskaware.serve.settings import ServeSettings
    from taskaware.serve.task_book import KnownTask

R = TypeVar("R")

WIDEST_BEAM = 16
OPENAI_MODELS = frozenset(
    ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-transcribe-diarize")
)
"""Names that unchanged programs send: they stand for the model that is served."""
_SHOWN_CHARACTERS = 100
_BLANK = Hypothesis(token_ids=(), text="", log_prob=0.0, score=0.0)


class Service:
    """A model in service.

    Args:
        model: The model.
        name: What clients may call it.
        settings: Limits and times.
        tasks_folder: Where tasks from examples are kept; ``None``: in memory.
        model_sha256: Of the model's weights; needed with a folder.

    Attributes:
        model: The model; ``batcher`` alone decodes with it.
        name: What clients may call it.
        settings: Limits and times.
        metrics: What is counted.
        book: The tasks.
        batcher: The queue.
        started_at: Seconds since 1970.
    """

    def __init__(
        self,
        model: TaskAwareModel,
        *,
        name: str,
        settings: ServeSettings,
        tasks_folder: Path | None = None,
        model_sha256: str = "",
    ) -> None:
        self.model = model
        self.name = name
        self.settings = settings
        self.metrics = Metrics()
        self.book = TaskBook(
            model,
            most=settings.max_stored_tasks,
            folder=tasks_folder,
            model_sha256=model_sha256,
            reserved=(name, *OPENAI_MODELS),
        )
        self.batcher = Batcher(
            model,
            max_waiting=settings.max_waiting,
            batch_size=settings.batch_size or model.decoding.examples_per_batch,
            answer_seconds=settings.answer_seconds,
            metrics=self.metrics,
        )
        self.started_at = int(time.time())
        self._readers = ThreadPoolExecutor(
            settings.reading_threads, thread_name_prefix="taskaware-reading"
        )

    def start(self) -> None:
        """Begin to work."""
        self.batcher.start()

    def warm_up(self) -> None:
        """Make a first output, which says how long one takes.

        Raises:
            TaskawareError: The model cannot.
        """
        first = self._first_job()
        if first is not None:
            self.batcher.warm_up(first)

    def _first_job(self) -> Job | None:
        for known in self.book.all():
            if known.embedding is None and self.model.settings.conditioning.has_task_network:
                continue
            modality = known.task.modality
            if modality.is_text:
                array = self.model.read_source(Text("."), "text").array
            elif modality.is_recording:
                rate = self.model.feature_settings.sample_rate_hz
                noise = 0.01 * np.random.default_rng(0).standard_normal(2 * rate)
                array = self.model.read_source(noise.astype(np.float32), "speech").array
            else:
                continue
            return Job(
                task=known.task,
                task_embedding=known.embedding,
                array=array,
                decoding=self.decoding(None, 1),
            )
        return None

    def close(self) -> bool:
        """Finish what was taken, and return whether all is finished."""
        finished = self.batcher.close(self.settings.shutdown_seconds)
        self._readers.shutdown(wait=False, cancel_futures=True)
        return finished

    def named(self, name: str) -> KnownTask | None:
        """Return the task that a client calls a model; ``None``: it means the model as a whole.

        Raises:
            ServiceError: It is the name of neither.
        """
        found = self.book.find(name)
        if found is not None and not found.is_stored:
            return found
        if name == self.name or name in OPENAI_MODELS:
            return None
        if found is not None:
            return found
        names = [known.task.name for known in self.book.all()]
        shown = name[:_SHOWN_CHARACTERS]
        raise ServiceError(
            f"the model must be '{self.name}', whisper-1, or a task ({', '.join(names)}), but is "
            f"'{shown}'{nearest(shown, names)}",
            status=404,
            code="model_not_found",
            param="model",
        )

    def decoding(self, beam: int | None, num_best: int) -> DecodingSettings:
        """Return how to search for a request.

        Raises:
            UserError: A number is impossible.
        """
        return with_beam(self.model.decoding, beam, num_best)

    async def reading(self, request: Request, read: Callable[[], R]) -> R:
        """Run what decodes a client's file, in a thread."""
        return (await self._result(request, [self._readers.submit(read)]))[0]

    async def outputs(
        self,
        request: Request,
        wanted: Sequence[tuple[KnownTask, Heard]],
        decoding: DecodingSettings,
    ) -> list[list[Hypothesis]]:
        """Return the best hypotheses of each task for its source.

        Raises:
            ServiceError: The queue is full, the time is over, or the client has gone.
            TaskawareError: The model fails.
        """
        jobs: dict[int, Job] = {}
        for place, (known, heard) in enumerate(wanted):
            assert heard.read is not None
            if not heard.read.is_blank:
                jobs[place] = Job(
                    task=known.task,
                    task_embedding=known.embedding,
                    array=heard.read.array,
                    decoding=decoding,
                )
        self.batcher.submit(list(jobs.values()))
        found = await self._result(request, [job.future for job in jobs.values()])
        answers = [[_BLANK]] * len(wanted)
        for place, hypotheses in zip(jobs, found, strict=True):
            answers[place] = hypotheses
        for known, _ in wanted:
            self.count(known)
        return answers

    async def transcript(
        self,
        request: Request,
        known: KnownTask,
        heard: Heard,
        decoding: DecodingSettings,
        *,
        words: bool = True,
        on_text: Callable[[str], None] | None = None,
    ) -> Transcript:
        """Return the output for a recording of any length, with times.

        ``on_text`` is called with each part of the text as it comes, in another thread.

        Raises:
            ServiceError: The queue is full, the time is over, or the client has gone.
            TaskawareError: The model fails, or the recording cannot be used.
        """
        assert heard.sound is not None
        sound = heard.sound

        def work(model: TaskAwareModel, visit: Visit) -> Transcript:
            tasks = tuple(task for task in model.tasks if task.name != known.task.name)
            view = replace(model, tasks=(*tasks, known.task))
            return transcribe(
                view,
                sound,
                known.task.name,
                LongRecordingSettings(words=words),
                task_embedding=known.embedding,
                decoding=decoding,
                progress=lambda stage, done, total: visit.pause(),
                search=partial(_with_others, visit, known),
                on_text=on_text,
            )

        found = await self.work(request, work, more_seconds=sound.duration_seconds)
        self.count(known)
        return found

    async def work(
        self,
        request: Request,
        function: Callable[[TaskAwareModel, Visit], R],
        *,
        more_seconds: float = 0.0,
    ) -> R:
        """Run other work with the model, in turn; see ``Batcher.call``."""
        long = self.batcher.call(function)
        try:
            return (await self._result(request, [long.future], more_seconds))[0]
        finally:
            long.is_unwanted.set()

    def count(self, known: KnownTask) -> None:
        """Count an output; those of the tasks of clients under one name, as these have no end."""
        is_own = any(known.task.name == task.name for task in self.model.tasks)
        self.metrics.outputs.labels(task=known.task.name if is_own else "of_clients").inc()

    async def _result(
        self, request: Request, futures: Sequence[Future[Any]], more_seconds: float = 0.0
    ) -> list[Any]:
        """Return what futures hold, unless the client leaves before or the time is over.

        Raises:
            ServiceError: It was so.
        """
        seconds = self.settings.answer_seconds + more_seconds
        waiting = [asyncio.wrap_future(future) for future in futures]
        together = asyncio.gather(*waiting)
        leaving = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait(
                {together, leaving}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if together.done():
                return together.result()
            if leaving.done():
                raise client_gone()
            raise ServiceError(
                f"the answer must be there within {seconds:g} s, but is not: the service is busy, "
                "or the source is long; ask again later, or cut it into parts",
                status=504,
                code="timeout",
            )
        finally:
            leaving.cancel()
            together.cancel()  # and with it what nobody has begun to make
            await asyncio.gather(together, leaving, return_exceptions=True)


def _with_others(
    visit: Visit, known: KnownTask, memories: Sequence[np.ndarray], decoding: DecodingSettings
) -> list[list[Hypothesis]]:
    """Search for the outputs of parts of a recording, beside the outputs of other clients."""
    jobs = [
        Job(
            task=known.task,
            task_embedding=known.embedding,
            array=memory,
            decoding=decoding,
            is_part=True,
        )
        for memory in memories
    ]
    return visit.outputs(jobs)


async def _left(request: Request) -> None:
    """Return when the client of a request, which was read to its end, closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
