"""Any task on any source: ``POST /v1/run``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from taskaware.errors import UserError
from taskaware.inference.recordings.formats import format_transcript, segment_fields
from taskaware.serve import intake
from taskaware.serve.embeddings import embedding_of_examples
from taskaware.serve.failures import ServiceError, json_response, too_large
from taskaware.serve.json_body import json_route
from taskaware.serve.schemas import ERRORS, RunAnswer, RunRequest
from taskaware.serve.service import Service
from taskaware.serve.sources import MODALITY_OF, kind_of, read_source
from taskaware.serve.task_routes import places_of

if TYPE_CHECKING:
    from torch import Tensor

    from taskaware.decoding.settings import DecodingSettings
    from taskaware.inference.model import TaskAwareModel
    from taskaware.inference.recordings.transcript import Transcript
    from taskaware.serve.batcher import Visit
    from taskaware.serve.intake import Heard
    from taskaware.serve.task_book import KnownTask
    from taskaware.types import Hypothesis, Modality


def run_routes(service: Service) -> APIRouter:
    """Return the routes of our own conventions."""
    router = APIRouter(prefix="/v1", tags=["Tasks"], route_class=json_route(service.settings))

    @router.post("/run", response_model=RunAnswer, responses=ERRORS)
    async def run(request: Request, body: RunRequest) -> Response:
        """Run any task, or several, on texts, recordings or features."""
        begun = time.perf_counter()
        outputs, places = await _run(service, request, body)
        answer = {"outputs": outputs, "seconds": round(time.perf_counter() - begun, 4)}
        return json_response(answer | ({"map": places} if body.map else {}))

    return router


async def _run(
    service: Service, request: Request, body: RunRequest
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the outputs, and where the task embeddings are."""
    decoding = service.decoding(body.beam, body.num_best)
    kinds = [kind_of(source, f"sources[{i}]") for i, source in enumerate(body.sources)]
    wanted = [_tasks(service, body, MODALITY_OF[kind], i) for i, kind in enumerate(kinds)]
    number, most = sum(map(len, wanted)), service.settings.max_outputs_a_request
    if number > most:
        raise too_large(
            f"a request must ask for at most {most} outputs (sources times tasks), but asks for "
            f"{number}",
            "sources",
        )
    heard = []
    for i, (source, tasks) in enumerate(zip(body.sources, wanted, strict=True)):
        place = f"sources[{i}]"
        heard.append(await read_source(service, request, source, tasks, place, times=body.times))
    pairs = [(i, known, heard[i]) for i, tasks in enumerate(wanted) for known in tasks]
    num_pieces = sum(one.num_pieces for _, _, one in pairs)
    intake.require_few_together(num_pieces, service.settings, "sources")
    short = [(known, one) for _, known, one in pairs if not one.in_parts]
    found = iter(await service.outputs(request, short, decoding))
    outputs = []
    for i, known, one in pairs:
        facts = {"source": i, "task": known.task.name}
        if one.read is not None and not one.in_parts:
            doubts = service.model.doubts(one.read, known.task)
            outputs.append(facts | _output(next(found), one, doubts))
        else:
            outputs.append(facts | await _timed(service, request, known, one, decoding, body))
    places = []
    if body.map:
        shown = [(known, "mix") for known in wanted[0] if body.mix]
        points = [
            (known.task.name, kind, known.embedding)
            for known, kind in shown
            if known.embedding is not None
        ]
        points += await _own_embeddings(service, request, pairs, outputs)
        places = places_of(service, points)
    return outputs, places


def _tasks(service: Service, body: RunRequest, modality: Modality, number: int) -> list[KnownTask]:
    if body.mix and body.tasks:
        raise ServiceError("tasks and mix cannot both be given", param="mix")
    if body.mix:
        wanted = [service.book.mixed(body.mix)]
    elif body.tasks:
        wanted = [service.book.get(name) for name in dict.fromkeys(body.tasks)]
    else:  # not those of other clients, which may be many and take long
        wanted = service.book.own()
    fitting = [known for known in wanted if known.task.source_modality == modality]
    if not fitting:
        names = ", ".join(f"{one.task.name} ({one.task.source_modality})" for one in wanted)
        raise ServiceError(
            f"a task must take {modality}, but there is none that does: {names}",
            param=f"sources[{number}]",
        )
    return fitting


def _output(hypotheses: list[Hypothesis], heard: Heard, doubts: tuple[str, ...]) -> dict[str, Any]:
    alternatives = [
        {
            "text": one.text,
            "confidence": round(one.confidence, 4),
            "score": round(one.score, 6),
            "log_prob": round(one.log_prob, 6),
            "finished": one.finished,
        }
        for one in hypotheses
    ]
    return {
        "text": hypotheses[0].text,
        "confidence": alternatives[0]["confidence"],
        "warnings": list(doubts),
        "duration_seconds": heard.duration_seconds,
        "alternatives": alternatives,
        "segments": None,
        "subtitles": None,
    }


async def _timed(
    service: Service,
    request: Request,
    known: KnownTask,
    heard: Heard,
    decoding: DecodingSettings,
    body: RunRequest,
) -> dict[str, Any]:
    if body.num_best > 1:
        raise UserError(
            f"num_best must be 1 for a recording that is decoded in parts, but is {body.num_best}"
        )
    transcript = await service.transcript(request, known, heard, decoding, words=body.times)
    return _of_transcript(transcript, times=body.times)


def _of_transcript(transcript: Transcript, *, times: bool) -> dict[str, Any]:
    subtitles = {form: format_transcript(transcript, form) for form in ("srt", "vtt")}
    return {
        "text": transcript.text,
        "confidence": round(transcript.confidence, 4),
        "warnings": list(transcript.warnings),
        "duration_seconds": round(transcript.duration_seconds, 3),
        "alternatives": [],
        "segments": [segment_fields(one) for one in transcript.segments],
        "subtitles": subtitles if times else None,
    }


async def _own_embeddings(
    service: Service,
    request: Request,
    pairs: list[tuple[int, KnownTask, Heard]],
    outputs: list[dict[str, Any]],
) -> list[tuple[str, str, Tensor]]:
    """Return t_e of each source with its output, as an implicit task network sees them."""
    if service.model.settings.conditioning.cue != "implicit":
        return []
    chosen = [
        (known, one.read.array, output["text"])
        for (_, known, one), output in zip(pairs, outputs, strict=True)
        if one.read is not None and not one.read.is_blank and output["text"]
    ]
    if not chosen:
        return []

    def work(model: TaskAwareModel, visit: Visit) -> list[tuple[str, str, Tensor]]:
        found = []
        for known, array, text in chosen:
            found.append(
                (
                    known.task.name,
                    "example",
                    embedding_of_examples(model, known.task, [array], [text]),
                )
            )
            visit.pause()
        return found

    return await service.work(request, work)
