"""What every request passes before anything is done for it: who asks, how much, how fast.

A plain ASGI application around another, so that bodies are counted as they come.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException

from taskaware.serve.failures import (
    ServiceError,
    busy,
    client_gone,
    error_response,
    stopping,
    too_large,
)
from taskaware.serve.settings import is_loopback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from taskaware.serve.metrics import Metrics
    from taskaware.serve.settings import ServeSettings

ASKED_BY = "taskaware.asked_by"  # in a scope: the method, where it is answered as another
_KEEPS = ("/v1/", "/metrics")  # what needs the key, where there is one
_DRAIN_SECONDS = 5.0
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
# The page loads nothing from elsewhere, and neither can what is smuggled into it.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src blob:; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_POLICY_OF_DOCS = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class Refused(HTTPException):
    """A request is refused while its body is read; the framework lets this kind of error pass."""

    def __init__(self, error: ServiceError) -> None:
        super().__init__(error.status, str(error))
        self.error = error


class Guard:
    """Lets requests through that are within the limits.

    Args:
        app: What answers them.
        settings: Limits and times.
        metrics: Where to count.
        api_key: What clients must know; ``None``: nothing.
        hosts: The names under which the service may be asked; empty: any. A page of a stranger can
            reach a service on its reader's machine under a name of its own (DNS rebinding), but not
            under ``localhost``.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: ServeSettings,
        metrics: Metrics,
        api_key: str | None,
        hosts: Sequence[str],
    ) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._key = None if api_key is None else api_key.encode()
        self._hosts = frozenset(name.lower() for name in hosts)
        self._held_bytes = 0
        self._is_stopping = asyncio.Event()

    def refuse_the_rest(self) -> None:
        """Refuse requests whose body has not come by now, as the service is stopping."""
        self._is_stopping.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = _of_origin_form(scope)
        is_head = scope["method"] == "HEAD"
        if is_head:  # answered as GET, without the body (RFC 9110, section 9.3.2)
            scope = {**scope, "method": "GET", ASKED_BY: "HEAD"}
        begun = time.perf_counter()
        status = 499

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                is_docs = scope["path"] in ("/docs", "/redoc")
                headers["Content-Security-Policy"] = _POLICY_OF_DOCS if is_docs else _POLICY
            elif is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            try:
                self._check(scope)
            except ServiceError as error:
                await _drain(receive, self._settings.max_body_bytes)
                await error_response(error)(scope, receive, sending)
                return
            await self._limited(scope, receive, sending)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route=route, status=str(status)).inc()
            self._metrics.request_seconds.labels(route=route).observe(time.perf_counter() - begun)

    def _check(self, scope: Scope) -> None:
        """Raise for a request that is refused by its header."""
        headers = Headers(scope=scope)
        host = _host(headers.get("host", ""))
        if self._hosts and host not in self._hosts:
            raise ServiceError(
                f"the service must be asked as {' or '.join(sorted(self._hosts))}, but was asked "
                f"as '{host[:100]}': name it with --allow-host",
                status=403,
                code="unknown_host",
            )
        origin = headers.get("origin")
        is_change = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if is_change and origin and origin.partition("://")[2] != headers.get("host", ""):
            raise ServiceError(
                "a browser may use the service from its own page alone, but a page of "
                f"{origin[:100]} asked",
                status=403,
                code="other_origin",
            )
        if self._key is not None and scope["path"].startswith(_KEEPS):
            self._check_key(headers.get("authorization", ""))
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise ServiceError("Content-Length must be a number", code="invalid_request")
        if int(length[:20]) > self._settings.max_body_bytes:
            raise self._too_large()

    def _check_key(self, authorization: str) -> None:
        assert self._key is not None
        scheme, _, given = authorization.partition(" ")
        # In a time that does not tell how much of the key is right.
        same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._key)
        if scheme.lower() != "bearer" or not same:
            raise ServiceError(
                "the request must have the service's key (Authorization: Bearer KEY), but has "
                + ("another" if authorization else "none"),
                status=401,
                code="invalid_api_key",
            )

    def _too_large(self) -> ServiceError:
        return too_large(
            f"a request must have at most {self._settings.max_body_bytes:,} bytes, and a recording "
            f"{self._settings.max_upload_bytes:,}"
        )

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose body is counted and timed as it comes."""
        held, is_read = 0, False
        deadline = time.monotonic() + self._settings.receive_seconds

        async def receiving() -> Message:
            nonlocal held, is_read
            if is_read:
                return await receive()
            try:
                async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                    message = await self._next_message(receive)
            except TimeoutError:
                raise Refused(
                    ServiceError(
                        f"a request must arrive within {self._settings.receive_seconds:g} s",
                        status=408,
                        code="too_slow",
                    )
                ) from None
            if message["type"] == "http.disconnect":
                raise Refused(client_gone())  # else the framework says that the body is wrong (400)
            size = len(message.get("body", b""))
            held += size
            self._held_bytes += size
            if held > self._settings.max_body_bytes:
                raise Refused(self._too_large())
            if self._held_bytes > self._settings.max_held_bytes:
                raise Refused(busy("the service holds as many bytes as it can: ask again"))
            is_read = not message.get("more_body", False)
            return message

        try:
            await self._app(scope, receiving, send)
        finally:
            self._held_bytes -= held

    async def _next_message(self, receive: Receive) -> Message:
        """Return the next part of a body.

        Raises:
            Refused: The service stops before it comes.
        """
        coming = asyncio.ensure_future(receive())
        end = asyncio.ensure_future(self._is_stopping.wait())
        try:
            await asyncio.wait({coming, end}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                raise Refused(stopping())
            return coming.result()
        finally:
            coming.cancel()
            end.cancel()


def _of_origin_form(scope: Scope) -> Scope:
    """Return a request whose target is a whole address as one of the path alone.

    As proxies ask, and every server must understand (RFC 9112, section 3.2.2).
    """
    if scope["path"].startswith("/"):
        return scope
    scheme, _, rest = scope["path"].partition("://")
    if scheme.lower() not in ("http", "https"):
        return scope
    path = "/" + rest.partition("/")[2]
    return {**scope, "path": path, "raw_path": quote(path).encode()}


async def _drain(receive: Receive, most: int) -> None:
    """Read and drop a body, so that the client reads the answer before it meets a closed door."""
    count = 0
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while count <= most:
                message = await receive()
                count += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _host(header: str) -> str:
    """Return the name in a ``Host`` header, without the port."""
    header = header.strip().lower()
    if header.startswith("["):
        return header.partition("]")[0].removeprefix("[")
    return header.partition(":")[0]


def allowed_hosts(host: str, named: Sequence[str]) -> tuple[str, ...]:
    """Return the names under which a service may be asked; none: any.

    Args:
        host: What it listens on.
        named: What a user allows beside.
    """
    if not is_loopback(host):
        return tuple(named)
    return ("localhost", "127.0.0.1", "::1", host.strip("[]"), *named)
