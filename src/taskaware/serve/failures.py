"""What a client is told when a request fails: a status, a named error, what to do.

The form is that of OpenAI's API, which its clients turn into exceptions::

    {"error": {"message": "...", "type": "invalid_request_error", "param": "task", "code": "..."}}
"""

from __future__ import annotations

import json
import math
import traceback
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from taskaware.errors import (
    AudioError,
    CheckpointError,
    DataError,
    TaskawareError,
    UnknownTaskError,
    UserError,
    WriteError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHOWN_CHARACTERS = 200
_LONGEST_RETRY_SECONDS = 60  # OpenAI's clients wait no longer
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ServiceError(TaskawareError):
    """A request cannot be answered as it is.

    Attributes:
        status: The HTTP status.
        code: A word for programs.
        param: Which part of the request is meant, if one is.
        retry_after_seconds: When to ask again, if that may help.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str = "invalid_request",
        param: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after_seconds = retry_after_seconds


def of_error(error: TaskawareError, *, param: str | None = None) -> ServiceError:
    """Return what a client is told of an error that taskaware foresees."""
    match error:
        case ServiceError():
            return error
        case UnknownTaskError():
            return ServiceError(str(error), status=404, code="unknown_task", param=param)
        case AudioError():
            return ServiceError(str(error), code="invalid_audio", param=param)
        case DataError():
            return ServiceError(str(error), code="invalid_features", param=param)
        case UserError():
            return ServiceError(str(error), param=param)
        case CheckpointError() | WriteError():  # these name files of the server
            return ServiceError(
                "the service failed; what it wrote to its standard error says why",
                status=500,
                code="model_failed",
            )
    return ServiceError(str(error), status=500, code="model_failed")


def told(error: TaskawareError) -> ServiceError:
    """Return the same; whoever runs the service learns more of its failures, on standard error."""
    found = of_error(error)
    if found.status == 500:
        traceback.print_exception(error)
    return found


def stopping() -> ServiceError:
    """Return the refusal of what the service does not finish any more."""
    return ServiceError("the service is stopping", status=503, code="stopping")


def client_gone() -> ServiceError:
    """Return how a request ends whose client has left; nobody is told, and it is counted so."""
    return ServiceError("the client has gone", status=499, code="client_gone")


def shortened(text: str) -> str:
    """Return what a client sent as an answer shows it."""
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def busy(message: str, *, after_seconds: float = 1.0) -> ServiceError:
    """Return the refusal of a request that would be answered at another time."""
    seconds = min(max(math.ceil(after_seconds), 1), _LONGEST_RETRY_SECONDS)
    return ServiceError(message, status=429, code="busy", retry_after_seconds=seconds)


def too_large(message: str, param: str | None = None) -> ServiceError:
    """Return the refusal of a request that is larger than the service takes."""
    return ServiceError(message, status=413, code="too_large", param=param)


def error_content(error: ServiceError) -> dict[str, Any]:
    """Return what a client reads of an error."""
    kind = _TYPES.get(error.status)
    kind = kind or ("invalid_request_error" if error.status < 500 else "server_error")
    return {"message": str(error), "type": kind, "param": error.param, "code": error.code}


def error_response(error: ServiceError) -> Response:
    """Return the answer that tells a client of an error."""
    headers = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    content = {"error": error_content(error)}
    return json_response(content, status=error.status, headers=headers)


def json_response(
    content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an answer in JSON; a half of a surrogate pair, which UTF-8 lacks, as its escape."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(
        text.encode("utf-8", errors="backslashreplace"),
        status_code=status,
        headers=dict(headers or {}),
        media_type="application/json",
    )
