"""A source within a request's JSON: which kind it is, and what the model reads of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from taskaware.serve import intake
from taskaware.serve.failures import ServiceError

if TYPE_CHECKING:
    from starlette.requests import Request

    from taskaware.serve.intake import Heard
    from taskaware.serve.schemas import Source
    from taskaware.serve.service import Service
    from taskaware.serve.task_book import KnownTask
    from taskaware.types import Modality

MODALITY_OF: Mapping[str, Modality] = {
    "text": "text",
    "audio": "speech",
    "features": "features",
}
"""By the field of a source, what a task must take."""


def kind_of(source: Source, param: str) -> str:
    """Return which field of a source is given.

    Raises:
        ServiceError: None is, or several are.
    """
    given = [name for name in MODALITY_OF if getattr(source, name) is not None]
    if len(given) != 1:
        raise ServiceError(
            "a source must have one of text, audio and features, but has "
            f"{' and '.join(given) or 'none'}",
            param=param,
        )
    return given[0]


async def read_source(
    service: Service,
    request: Request,
    source: Source,
    tasks: list[KnownTask],
    param: str,
    *,
    times: bool = False,
) -> Heard:
    """Return a source of a request as it goes to the model.

    Raises:
        ServiceError: It cannot be used.
    """
    model, settings = service.model, service.settings
    if source.text is not None:
        # Beside the event loop, as many long texts take long to be cut into pieces; but not behind
        # the recordings that are decoded.
        return await asyncio.to_thread(intake.read_text, model, source.text, settings)

    def read() -> Heard:
        content = intake.from_base64(source.audio or source.features or "", settings, param)
        if source.audio is None:
            return intake.read_features(model, content, settings)
        own = [known.task for known in tasks]
        return intake.read_recording(model, content, own, settings, param=param, in_parts=times)

    heard = await service.reading(request, read)
    service.metrics.audio_seconds.inc(heard.duration_seconds or 0)
    return heard
