"""The tasks: listed, made from examples, seen in a plane; and the sound that a model hears."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from fastapi import APIRouter, File, Request, Response, UploadFile

from taskaware.data.sound.features import log_mel
from taskaware.serve import intake
from taskaware.serve.embeddings import TaskMap, embedding_of_examples
from taskaware.serve.failures import ServiceError, json_response, too_large
from taskaware.serve.json_body import json_route
from taskaware.serve.schemas import (
    ERRORS,
    LogMel,
    ModelEntry,
    ModelList,
    NewTask,
    TaskEmbeddings,
)
from taskaware.serve.service import Service
from taskaware.serve.sources import MODALITY_OF, kind_of, read_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.serve.task_book import KnownTask
    from taskaware.types import Modality

_MOST_FRAMES_SHOWN = 3_000
_TASK_FACTS = ("kind", "source_modality", "source_language", "target_language")


def task_routes(service: Service) -> APIRouter:
    """Return the routes of tasks."""
    router = APIRouter(prefix="/v1", tags=["Tasks"], route_class=json_route(service.settings))

    @router.get("/models", response_model=ModelList, responses=ERRORS)
    async def models() -> Response:
        """List the tasks, each as a model."""
        entries = [model_entry(service, known) for known in service.book.all()]
        return json_response({"object": "list", "data": entries})

    @router.get("/models/{model}", response_model=ModelEntry, responses=ERRORS)
    async def one_model(model: str) -> Response:
        """Show a task, or the model by a name that stands for it: whatever `model` may be."""
        known = service.named(model)
        return json_response(
            whole_model_entry(service, model) if known is None else model_entry(service, known)
        )

    @router.get("/task-embeddings", response_model=TaskEmbeddings, responses=ERRORS)
    async def task_embeddings() -> Response:
        """Show where the task embeddings lie, in two dimensions."""
        can = service.model.settings.conditioning.cue == "implicit"
        return json_response({"data": places_of(service), "can_be_made": can})

    @router.post(
        "/task-embeddings",
        response_model=ModelEntry,
        responses=ERRORS,
        status_code=201,
    )
    async def make_task(request: Request, body: NewTask) -> Response:
        """Make a task from examples of it; it can then be used by its name."""
        known = await _make_task(service, request, body)
        return json_response(model_entry(service, known), status=201)

    @router.post("/log-mel", response_model=LogMel, responses=ERRORS)
    async def show_log_mel(request: Request, file: Annotated[UploadFile, File()]) -> Response:
        """Show what the model hears of a recording."""
        content = await file.read()
        return json_response(await service.reading(request, lambda: _log_mel(service, content)))

    return router


def model_entry(service: Service, known: KnownTask) -> dict[str, Any]:
    """Return a task as an entry of the list of models."""
    facts = {field: getattr(known.task, field) for field in _TASK_FACTS}
    states = {"is_stored": known.is_stored, "has_embedding": known.embedding is not None}
    return {"id": known.task.name, **_common_facts(service), **facts, **states}


def whole_model_entry(service: Service, name: str) -> dict[str, Any]:
    """Return the model as an entry under a name that stands for it; it is of no one task."""
    facts = dict.fromkeys(_TASK_FACTS)
    states = {"is_stored": False, "has_embedding": False}
    return {"id": name, **_common_facts(service), **facts, **states}


def _common_facts(service: Service) -> dict[str, Any]:
    return {"object": "model", "created": service.started_at, "owned_by": service.name}


def places_of(
    service: Service, more: Sequence[tuple[str, str, torch.Tensor]] = ()
) -> list[dict[str, Any]]:
    """Return where the task embeddings lie; nothing for a model without a task network.

    Args:
        service: The service.
        more: Further embeddings to be shown: name, kind, ``[1, O]``; none that is not finite.
    """
    points = [
        (known.task.name, "stored" if known.is_stored else "task", known.embedding)
        for known in service.book.all()
        if known.embedding is not None
    ]
    if not points:
        return []
    # The model's own tasks alone make the plane, so that nothing moves when tasks are added.
    plane = TaskMap(np.stack([value.numpy()[0] for _, kind, value in points if kind == "task"]))
    points += [one for one in more if bool(torch.isfinite(one[2]).all())]
    places = plane.places(np.stack([value.numpy()[0] for _, _, value in points]))
    return [
        {"name": name, "kind": kind, "x": round(float(x), 5), "y": round(float(y), 5)}
        for (name, kind, _), (x, y) in zip(points, places, strict=True)
    ]


async def _make_task(service: Service, request: Request, body: NewTask) -> KnownTask:
    """Keep the task that examples show."""
    if service.model.settings.conditioning.cue != "implicit":
        raise ServiceError(
            "the model must have an implicit task network to learn a task from examples, but its "
            f"cue is '{service.model.settings.conditioning.cue}'",
            code="no_task_network",
        )
    await asyncio.to_thread(service.book.require_free, body.name)
    most = service.settings.max_outputs_a_request
    if len(body.examples) > most:
        raise too_large(
            f"there must be at most {most} examples, but there are {len(body.examples)}", "examples"
        )
    kinds = {kind_of(one.source, f"examples[{i}]") for i, one in enumerate(body.examples)}
    if len(kinds) > 1:
        raise ServiceError("all examples must be of one kind of source", param="examples")
    modality = MODALITY_OF[kinds.pop()]
    like = _like(service, body, modality)
    arrays, targets, num_pieces = [], [], 0
    for i, one in enumerate(body.examples):
        param = f"examples[{i}]"
        num_pieces += await asyncio.to_thread(
            intake.pieces_of_target, service.model, one.target, service.settings, param
        )
        heard = await read_source(service, request, one.source, [like], param)
        if heard.read is None or heard.read.is_blank or not one.target.strip():
            raise ServiceError(
                "an example must have a source and a target with words, and a recording must be "
                "short enough to be heard at once",
                param=param,
            )
        num_pieces += heard.num_pieces
        arrays.append(heard.read.array)
        targets.append(one.target)
    intake.require_few_together(num_pieces, service.settings, "examples")
    embedding = await service.work(
        request, lambda model, _: embedding_of_examples(model, like.task, arrays, targets)
    )
    task = like.task
    changes = {
        field: value
        for field in ("source_language", "target_language")
        if (value := getattr(body, field)) is not None
    }
    if changes:
        task = replace(task, **changes)
    return await asyncio.to_thread(service.book.add, body.name, task, embedding)


def _like(service: Service, body: NewTask, modality: Modality) -> KnownTask:
    if body.like is not None:
        found = service.book.get(body.like)
        if found.task.source_modality != modality:
            raise ServiceError(
                f"`like` must take {modality}, but '{body.like}' takes "
                f"{found.task.source_modality}",
                param="like",
            )
        return found
    for known in service.book.all():
        if known.task.source_modality == modality:
            return known
    raise ServiceError(f"the model must have a task for {modality}, but has none", param="examples")


def _log_mel(service: Service, content: bytes) -> dict[str, Any]:
    """Return the picture of a recording: its frames, fewer of them where it is long."""
    model = service.model
    sound = intake.opened(model, content, service.settings, param="file")
    # What is there: without the silence that a model adds, each band as loud as it is.
    settings = replace(model.feature_settings, padded_seconds=0.0, normalisation="none")
    rate = settings.sample_rate_hz
    with intake.telling("file"):
        waveform = torch.from_numpy(np.concatenate(list(sound.blocks(rate))))
        frames = log_mel(waveform, settings).numpy()
    hop_seconds = settings.hop_ms / 1000
    if not len(frames):
        raise ServiceError("the recording is shorter than a frame", param="file")
    step = -(-len(frames) // _MOST_FRAMES_SHOWN)
    frames = frames[::step]
    lowest, highest = np.percentile(frames, [1, 99.8])
    scaled = (frames - lowest) / max(highest - lowest, 1e-6)
    values = (255 * scaled.clip(0, 1)).astype(np.uint8)
    return {
        "num_frames": len(values),
        "num_bins": values.shape[1],
        "seconds_a_frame": hop_seconds * step,
        "duration_seconds": round(sound.duration_seconds, 3),
        "values": base64.b64encode(values.tobytes()).decode(),
    }
