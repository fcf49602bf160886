"""Connections: closed where a client is too slow, refused where there are too many."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.server import ServerState

from taskaware.serve.server import _bounded, _ended, _protocol
from tiny_service import ServeSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest
    from starlette.types import ASGIApp

SECONDS = 20  # none of these tests waits so long unless it fails
QUICK = 0.3
HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def _answer(scope, receive, send) -> None:
    """Answer in so many bytes as the path says."""
    body = bytes(int(scope["path"].strip("/") or 2))
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


@asynccontextmanager
async def connecting(answer: ASGIApp = _answer, **limits) -> AsyncIterator:
    """Listen, and yield how to connect and the connections that there are."""
    settings = replace(ServeSettings(), header_seconds=QUICK, receive_seconds=QUICK, **limits)
    state = ServerState()
    app = _ended(answer, state.connections)
    app = _bounded(app, state.connections, settings.max_connections)
    config = uvicorn.Config(
        app, http=_protocol(settings), log_config=None, timeout_keep_alive=SECONDS
    )
    config.load()
    loop = asyncio.get_running_loop()

    def protocol():
        return config.http_protocol_class(config=config, server_state=state, app_state={})

    async with await loop.create_server(protocol, "127.0.0.1", 0) as server:
        address = server.sockets[0].getsockname()

        clients = []

        async def connect():
            clients.append(await asyncio.open_connection(*address))
            return clients[-1]

        yield connect, state.connections
        for _, writer in clients:
            writer.close()
        while state.connections:
            await asyncio.sleep(0.01)


async def ask(reader, writer) -> bytes:
    writer.write(HEAD + b"\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
    return head + await reader.readexactly(length)


async def pieces_until_closed(reader, writer, piece: bytes, times: int) -> int:
    """Send a piece several times, and return how many a connection took until it was closed."""
    for sent in range(1, times + 1):
        writer.write(piece)
        if await _ends(reader, 0.1):
            return sent
    assert await _ends(reader, SECONDS)
    return times


async def _ends(reader, seconds: float) -> bool:
    try:
        await asyncio.wait_for(reader.read(), seconds)
    except TimeoutError:
        return False
    except OSError:  # it was reset
        return True
    return True


def test_every_request_of_a_connection_must_begin_in_time():
    async def check() -> None:
        async with connecting() as (connect, _):
            for num_before in (0, 1, 2):
                silent, dripping = await connect(), await connect()
                for client in num_before * (silent, dripping):
                    assert b"200 OK" in await ask(*client)
                assert await pieces_until_closed(*silent, b"G", 1) == 1
                dripping[1].write(HEAD + b"X: ")
                assert await pieces_until_closed(*dripping, b"x", 100) < 100  # a piece is no excuse

    asyncio.run(check())


def test_a_request_that_follows_one_that_is_answered_is_answered_too():
    async def check() -> None:
        async with connecting() as (connect, _):
            reader, writer = await connect()
            writer.write(2 * (HEAD + b"\r\n") + HEAD)  # the third is half there
            await reader.readexactly(1)
            await asyncio.sleep(QUICK / 3)
            writer.write(b"\r\n")
            await asyncio.sleep(2 * QUICK)  # between requests, uvicorn's own time counts
            assert b"200 OK" in await ask(reader, writer)

    asyncio.run(check())


def test_a_client_that_does_not_read_its_answer_is_left():
    async def check() -> None:
        async with connecting() as (connect, connections):
            _, writer = await connect()
            writer.write(b"GET /30000000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await asyncio.sleep(QUICK / 3)
            assert len(connections) == 1
            end = time.monotonic() + SECONDS
            while connections:
                assert time.monotonic() < end
                await asyncio.sleep(0.01)

    asyncio.run(check())


def test_one_connection_too_many_is_told_so_in_the_form_of_every_error():
    async def check() -> None:
        async with connecting(max_connections=1) as (connect, _):
            first = await connect()
            assert b"200 OK" in await ask(*first)
            head, _, body = (await ask(*await connect())).partition(b"\r\n\r\n")
            assert b" 503 " in head
            assert b"connection: close" in head.lower()
            assert json.loads(body)["error"]["code"] == "too_many_connections"
            assert b"200 OK" in await ask(*first)

    asyncio.run(check())


def test_a_request_that_the_end_of_the_service_overtakes_is_told_so_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
):
    begun = asyncio.Event()

    async def answer(scope, receive, send) -> None:
        if scope["path"] == "/half":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        begun.set()
        await asyncio.sleep(SECONDS)

    async def end_of(path: bytes) -> bytes:
        async with connecting(answer) as (connect, _):
            reader, writer = await connect()
            begun.clear()
            writer.write(b"POST %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
            await begun.wait()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()  # as uvicorn does at the end of its time
            if path != b"/half":
                return await reader.readuntil(b'"}}')
            assert await _ends(reader, SECONDS)
            return b""

    async def check() -> None:
        assert b'"code":"stopping"' in await end_of(b"/whole")
        await end_of(b"/half")

    asyncio.run(check())
    assert not caplog.records
