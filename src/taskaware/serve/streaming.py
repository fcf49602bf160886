"""A transcript as server-sent events of OpenAI's API: each part of the text as soon as it is known.

https://platform.openai.com/docs/api-reference/audio/transcript-text-delta-event
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from starlette.responses import StreamingResponse

from taskaware.errors import TaskawareError
from taskaware.serve.batcher import NobodyWaitsError
from taskaware.serve.failures import ServiceError, error_content, stopping, told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from taskaware.inference.recordings.transcript import Transcript


def whole_text(text: str, parts: Sequence[str]) -> StreamingResponse:
    """Return the events of a text that is known to its end."""

    async def events() -> AsyncIterator[bytes]:
        for part in parts:
            yield _delta(part)
        yield _done(text)

    return _response(events())


async def text_in_parts(
    make: Callable[[Callable[[str], None]], Coroutine[Any, Any, Transcript]],
) -> StreamingResponse:
    """Return the events of a text while it is made.

    What fails before the first part is raised; what fails later is an event with an error, which
    OpenAI's clients raise.

    Args:
        make: Makes the transcript; it is given what it calls with each part, from any thread.

    Raises:
        TaskawareError, NobodyWaitsError: There is no first part.
    """
    loop = asyncio.get_running_loop()
    parts: asyncio.Queue[str | None] = asyncio.Queue()  # ``None`` ends it

    def put(part: str) -> None:
        loop.call_soon_threadsafe(parts.put_nowait, part)

    work = asyncio.create_task(make(put))
    work.add_done_callback(lambda _: parts.put_nowait(None))
    try:
        first = await parts.get()
    except asyncio.CancelledError:
        work.cancel()
        raise
    if first is None:
        return whole_text((await work).text, ())

    async def events() -> AsyncIterator[bytes]:
        try:
            part: str | None = first
            while part is not None:
                yield _delta(part)
                part = await parts.get()
            yield _done((await work).text)
        except TaskawareError as error:
            yield _failed(told(error))
        except NobodyWaitsError:
            yield _failed(stopping())
        finally:
            work.cancel()  # the client may have gone

    return _response(events())


def _response(events: AsyncIterator[bytes]) -> StreamingResponse:
    # Proxies would keep the parts back until there are many.
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


def _delta(part: str) -> bytes:
    return _event({"type": "transcript.text.delta", "delta": part})


def _done(text: str) -> bytes:
    return _event({"type": "transcript.text.done", "text": text})


def _failed(error: ServiceError) -> bytes:
    return _event({"type": "error", "error": error_content(error)})


def _event(content: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(content)}\n\n".encode()
