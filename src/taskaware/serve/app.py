"""The application: every route, the page, and how errors are told."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

import taskaware
from taskaware.errors import TaskawareError
from taskaware.serve.audio_routes import audio_routes
from taskaware.serve.batcher import NobodyWaitsError
from taskaware.serve.failures import (
    ServiceError,
    error_response,
    json_response,
    shortened,
    stopping,
    told,
)
from taskaware.serve.guard import ASKED_BY, Guard, Refused
from taskaware.serve.metrics import CONTENT_TYPE
from taskaware.serve.run_routes import run_routes
from taskaware.serve.schemas import ERRORS, Health
from taskaware.serve.service import Service
from taskaware.serve.task_routes import task_routes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_FORMS = ("/v1/audio/", "/v1/log-mel")  # here, bodies are forms
_FORM_TYPES = ("multipart/form-data", "application/x-www-form-urlencoded")
PAGE = Path(__file__).with_name("page")
_DESCRIPTION = """One model, many tasks. The routes below `/v1/audio` are those of OpenAI's API, so
that its clients work unchanged; `/v1/run` runs any task on any source."""


def create_app(service: Service, *, api_key: str | None = None, hosts: Sequence[str] = ()) -> Guard:
    """Return a service as an ASGI application.

    Args:
        service: The model in service; it is started and closed with the application.
        api_key: What clients must send; ``None``: nothing.
        hosts: The names under which it may be asked; empty: any.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        if not await asyncio.to_thread(service.close):
            print("taskaware: not all that was taken could be finished", file=sys.stderr)

    app = FastAPIOffline(
        title="taskaware",
        version=taskaware.__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
    )
    app.include_router(audio_routes(service))
    app.include_router(run_routes(service))
    app.include_router(task_routes(service))
    _add_state(app, service)
    _add_page(app)
    _tell_errors(app)
    return Guard(
        app, settings=service.settings, metrics=service.metrics, api_key=api_key, hosts=hosts
    )


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/health", response_model=Health, responses=ERRORS, tags=["State"])
    async def health() -> Response:
        """Say whether outputs can be made."""
        is_ok = service.batcher.is_working
        state = "ok" if is_ok else "stopping"
        return json_response({"status": state}, status=200 if is_ok else 503)

    @app.get(
        "/metrics",
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **ERRORS},
        response_class=Response,
        tags=["State"],
    )
    async def metrics() -> Response:
        """Show what was counted, for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    app.mount("/page", StaticFiles(directory=PAGE), name="page")


def _wrong_with(field: Mapping[str, Any]) -> str:
    """Return what is wrong with a field of a request, of the framework's description of it."""
    said = shortened(field["msg"])
    match field["type"]:
        case "missing":
            return "must be given, but is not there"
        case "extra_forbidden":
            return "there is no such field: /docs has those that there are"
        case "value_error" if "Expected UploadFile" in said:
            return "must be a file, but is a text (curl sends a file as -F file=@NAME, with the @)"
    return said


def _no_form(request: Request, what: str) -> str:
    """Return what is said of a body that is not the form that it must be."""
    packed = request.headers.get("content-encoding", "")
    if packed and packed.lower() != "identity":
        what = f"but is compressed ({shortened(packed)}), which is not understood here"
    of_openai = "audio" in request.url.path
    more, flags = (" and `model`", " -F model=whisper-1") if of_openai else ("", "")
    return (
        f"the body must be a form, multipart/form-data with `file`{more}, {what}: curl makes one "
        f"with -F file=@NAME{flags}"
    )


def _tell_errors(app: FastAPI) -> None:
    @app.exception_handler(TaskawareError)
    async def foreseen(_: Request, error: Exception) -> Response:
        assert isinstance(error, TaskawareError)
        return error_response(told(error))

    @app.exception_handler(NobodyWaitsError)
    async def unwanted(_: Request, error: Exception) -> Response:
        return error_response(stopping())

    @app.exception_handler(RequestValidationError)
    async def impossible(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        errors = error.errors()
        first = errors[0]
        place = shortened(".".join(str(part) for part in first["loc"] if part != "body"))
        more = f" (and {len(errors) - 1:,} more)" if len(errors) > 1 else ""
        message = f"{place or 'the body'}: {_wrong_with(first)}{more}"
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.url.path.startswith(_FORMS) and kind not in _FORM_TYPES:
            message = _no_form(request, f"but is {shortened(kind) or 'of no type'}")
        return error_response(ServiceError(message, status=422, param=place or None))

    @app.exception_handler(HTTPException)
    async def of_framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if isinstance(error, Refused):
            return error_response(error.error)
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
        message, headers = str(error.detail), dict(error.headers or {})
        place = shortened(request.url.path)
        if error.status_code == 404:
            message = f"there is no page {place}: /docs has those that there are"
        elif error.status_code == 405:  # the framework names those of the first route of the path
            path = getattr(request.scope.get("route"), "path", "")
            methods = request.app.openapi()["paths"].get(path, {})
            allowed = [method.upper() for method in methods] or headers.get("Allow", "").split(", ")
            headers["Allow"] = ", ".join(sorted({*allowed, *["HEAD"] * ("GET" in allowed)}))
            wanted = " or ".join(sorted(filter(None, allowed))) or "another method"
            asked = shortened(request.scope.get(ASKED_BY, request.method))
            message = f"{place} must be asked by {wanted}, but was by {asked}"
        elif error.status_code == 400 and place.startswith(_FORMS):
            message = _no_form(request, f"but cannot be read as one ({message.rstrip('.')})")
        response = error_response(
            ServiceError(message, status=error.status_code, code=code or "invalid_request")
        )
        response.headers.update(headers)
        return response

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> Response:
        traceback.print_exception(error)
        return error_response(
            ServiceError("the service has made a mistake", status=500, code="internal_error")
        )
