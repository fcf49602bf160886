"""The JSON of a request: bounded before it is parsed and before it is compared with a schema.

A body may be large, as recordings come in base64. But a body of that size full of brackets would
become gigabytes of Python's objects, and its errors more, while no other client is answered.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from taskaware.files import parse_json
from taskaware.serve.failures import ServiceError, shortened, too_large
from taskaware.serve.guard import Refused

if TYPE_CHECKING:
    from taskaware.serve.settings import ServeSettings

_MARKS = b",:[]{}"  # base64 has none of them
_SMALL_BYTES = 1 << 16  # parsed sooner than another thread begins
_MUST = "the body must be JSON in UTF-8"


def json_route(settings: ServeSettings) -> type[APIRoute]:
    """Return the class of the routes that take JSON within a service's limits."""

    class JsonRequest(Request):
        async def body(self) -> bytes:
            content = await super().body()
            try:
                _require_type(self, content)
            except ServiceError as error:
                raise Refused(error) from error
            return content

        async def json(self) -> Any:
            content = await self.body()
            try:
                if len(content) <= _SMALL_BYTES:
                    return parse(content, settings)
                return await asyncio.to_thread(parse, content, settings)
            except ServiceError as error:
                raise Refused(error) from error

    class JsonRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            answer = super().get_route_handler()

            async def handler(request: Request) -> Response:
                return await answer(JsonRequest(request.scope, request.receive))

            return handler

    return JsonRoute


def parse(content: bytes, settings: ServeSettings) -> Any:
    """Return the value of a body.

    Raises:
        ServiceError: It is no JSON (422), no text or no number that can be read (400), or has more
            values than a request may have (413).
    """
    num_marks = len(content) - len(content.translate(None, _MARKS))
    if num_marks > settings.max_json_marks:
        raise too_large(
            f"the JSON of a request must have at most {settings.max_json_marks:,} commas, colons, "
            f"brackets and braces, but has {num_marks:,}: send several requests"
        )
    try:
        value = parse_json(content)
    except UnicodeDecodeError as error:
        wrong = content[error.start : error.start + 1].hex()
        raise ServiceError(
            f"{_MUST}, but byte {error.start:,} is 0x{wrong}, which is not"
        ) from error
    except json.JSONDecodeError as error:
        raise ServiceError(
            f"{_MUST}, but in line {error.lineno:,}, column {error.colno:,}: {error.msg}",
            status=422,
        ) from error
    except ValueError as error:  # too deep, or a number of too many digits
        reason = shortened(str(error).partition(";")[0])
        raise ServiceError(f"{_MUST} that can be read, but: {reason}") from error
    if _has_more_values(value, settings.max_json_values):
        raise too_large(
            f"the JSON of a request must have at most {settings.max_json_values:,} values, but has "
            "more: send several requests"
        )
    return value


def _require_type(request: Request, content: bytes) -> None:
    """Check what the header says of a body.

    Raises:
        ServiceError: It is compressed, or of another type.
    """
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise ServiceError(f"{_MUST}, and not compressed, but is '{shortened(coding)}'")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )
    if content and not is_json:
        raise ServiceError(
            f"{_MUST} (Content-Type: application/json), but its type is "
            f"'{shortened(kind) or 'not given'}'"
        )


def _has_more_values(value: Any, most: int) -> bool:
    """Return whether a value of JSON holds more values than ``most``, itself counted."""
    waiting, count = [value], 1
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            parts = one.values()
        elif isinstance(one, list):
            parts = one
        else:
            continue
        count += len(parts)
        if count > most:
            return True
        waiting.extend(parts)
    return False
