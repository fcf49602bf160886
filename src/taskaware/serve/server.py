"""The server: uvicorn, limits for slow and many clients, an end that finishes what was taken."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from taskaware.errors import UserError
from taskaware.serve.failures import ServiceError, error_response, stopping
from taskaware.signals import leave_closed_terminal, terminations

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from taskaware.serve.settings import ServeSettings

_KEEP_ALIVE_SECONDS = 20
_LOG_OF_FORMS = "python_multipart"  # one line for every client that sends none


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        UserError: The address is taken, or is none of this machine.
    """
    is_six = ":" in host
    listening = socket.socket(socket.AF_INET6 if is_six else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host.strip("[]"), port))
        listening.listen(1024)
    except (OSError, OverflowError) as error:
        listening.close()
        raise UserError(
            f"{host}:{port} must be a free address of this machine, but: "
            f"{getattr(error, 'strerror', None) or error}; name another with --host and --port"
        ) from error
    return listening


def serve(
    app: ASGIApp,
    listening: socket.socket,
    settings: ServeSettings,
    *,
    when_ready: Callable[[], None] = lambda: None,
    when_stopping: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; then finish what was taken, and return.

    Args:
        app: What answers.
        listening: See ``listen``.
        settings: Times and limits.
        when_ready: Called once clients can connect.
        when_stopping: Called once no more can.
    """
    logging.getLogger(_LOG_OF_FORMS).setLevel(logging.ERROR)
    config = uvicorn.Config(
        app,
        http=_protocol(settings),
        ws="none",
        loop="asyncio",
        log_config=None,
        log_level="error",  # not of every client that speaks another language
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(int(settings.shutdown_seconds), 1),
        h11_max_incomplete_event_size=64 * 1024,
    )
    server = _Server(config, when_ready, when_stopping)
    connections = server.server_state.connections
    config.app = _bounded(_ended(app, connections), connections, settings.max_connections)
    # uvicorn ends well, and then sends itself the signal again, to end as others would.
    earlier = {number: signal.getsignal(number) for number in terminations()}

    def hang_up(*_: object) -> None:
        leave_closed_terminal()
        signal.raise_signal(signal.SIGTERM)

    for number in earlier:
        signal.signal(number, (lambda *_: None) if number == signal.SIGTERM else hang_up)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        when_ready: Callable[[], None],
        when_stopping: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._when_ready = when_ready
        self._when_stopping = when_stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._when_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._when_stopping()
        await super().shutdown(sockets)


def _bounded(app: ASGIApp, connections: Collection[Any], most: int) -> ASGIApp:
    """Return an application that refuses requests while there are too many connections.

    uvicorn's own limit answers with a plain text.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or len(connections) <= most:
            await app(scope, receive, send)
            return
        error = ServiceError(
            f"the service has {most} connections, and takes no more: ask again in a moment",
            status=503,
            code="too_many_connections",
            retry_after_seconds=1,
        )
        response = error_response(error)
        response.headers["Connection"] = "close"
        await response(scope, receive, send)

    return answer


def _ended(app: ASGIApp, connections: Collection[Any]) -> ASGIApp:
    """Return an application that says so where the service ends before a request is answered.

    uvicorn then cancels what is left, and would print a traceback of each.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def sending(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await app(scope, receive, sending)
        except asyncio.CancelledError:
            if scope["type"] != "http":
                raise
            if not has_begun:
                await error_response(stopping())(scope, receive, send)
                return
            for connection in connections:  # half an answer must not look like a whole one
                if connection.scope is scope:
                    connection.transport.abort()
            while (await receive())["type"] != "http.disconnect":
                pass

    return answer


def _protocol(settings: ServeSettings) -> type[H11Protocol]:
    """Return the protocol of connections that are closed where a client is too slow.

    A request must begin in time, the first of a connection as any later one; and an answer must be
    read in time. The guard bounds how long a body may take.
    """

    class Impatient(H11Protocol):
        _beginning: asyncio.TimerHandle | None = None
        _writing: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._expect_request()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget_request()
            self._forget_writing()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            # uvicorn's timer for kept-alive connections ends with the first byte.
            if self._is_between_requests:
                self._expect_request()
            else:
                self._forget_request()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if not self._is_between_requests:  # the next had come already
                self._forget_request()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self.loop.call_later(settings.header_seconds, self.transport.abort)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._forget_writing()
            seconds = settings.receive_seconds
            self._writing = self.loop.call_later(seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._forget_writing()

        @property
        def _is_between_requests(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _expect_request(self) -> None:
            if self._beginning is None:
                seconds = settings.header_seconds
                self._beginning = self.loop.call_later(seconds, self._end_unless_begun)

        def _forget_request(self) -> None:
            if self._beginning is not None:
                self._beginning.cancel()
                self._beginning = None

        def _forget_writing(self) -> None:
            if self._writing is not None:
                self._writing.cancel()
                self._writing = None

        def _end_unless_begun(self) -> None:
            self._beginning = None
            if self._is_between_requests:
                # Closing would wait until the client has read what it was sent.
                self.transport.abort()

    return Impatient
