"""The server: uvicorn, a limit on the time for headers, and an end that finishes what was taken."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from taskaware.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from taskaware.serve.settings import ServeSettings

_KEEP_ALIVE_SECONDS = 20


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
) -> None:
    """Serve until SIGINT or SIGTERM; then finish what was taken, and return.

    Args:
        app: What answers.
        listening: See ``listen``.
        settings: Times and limits.
        when_ready: Called once clients can connect.
    """
    config = uvicorn.Config(
        app,
        http=_protocol(settings.header_seconds),
        ws="none",
        loop="asyncio",
        log_config=None,
        log_level="error",  # not of every client that speaks another language
        access_log=False,
        server_header=False,
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(int(settings.shutdown_seconds), 1),
        h11_max_incomplete_event_size=64 * 1024,
    )
    server = _Server(config, when_ready)
    # uvicorn ends well, and then sends itself the signal again, to end as others would.
    earlier = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, earlier)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, when_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._when_ready = when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._when_ready()


def _protocol(seconds: float) -> type[H11Protocol]:
    """Return the protocol of connections that are closed where no request begins in time."""

    class Impatient(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._timer = self.loop.call_later(seconds, self._close_if_silent)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._timer is not None:
                self._timer.cancel()
            super().connection_lost(exc)

        def _close_if_silent(self) -> None:
            if self.cycle is None and not self.transport.is_closing():
                self.transport.close()

    return Impatient
