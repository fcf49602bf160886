"""What bounds a request as it comes: its time, its bytes, the bytes of all."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from taskaware.serve.guard import Guard, Refused, allowed_hosts
from taskaware.serve.metrics import Metrics
from taskaware.serve.settings import is_loopback
from taskaware.settings import typed
from tiny_service import ServeSettings, random_model, serving


async def _read_all(scope, receive, send) -> None:
    while (await receive()).get("more_body"):
        pass


def ask(receive, **limits) -> None:
    """Send a request whose body comes from ``receive``."""
    settings = replace(ServeSettings(), **limits)
    guard = Guard(_read_all, settings=settings, metrics=Metrics(), api_key=None, hosts=())
    scope = {"type": "http", "method": "POST", "path": "/v1/run", "headers": []}

    async def send(message) -> None:
        raise AssertionError("nothing is sent here")

    async def both() -> None:
        try:
            await guard(scope, receive, send)
        finally:
            assert guard._held_bytes == 0

    asyncio.run(both())


def test_a_body_that_does_not_come_in_time_is_refused():
    async def receive():
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    with pytest.raises(Refused) as caught:
        ask(receive, receive_seconds=0.1)
    assert caught.value.status_code == 408


def test_a_client_that_leaves_before_all_is_sent_is_counted_as_gone_and_not_as_wrong():
    model = random_model()
    head = [(b"content-type", b"multipart/form-data; boundary=x"), (b"content-length", b"1000")]
    messages = [
        {"type": "http.request", "body": b"--x\r\n", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive():
        return messages.pop(0)

    async def send(message) -> None:
        pass

    with serving(model) as (client, service):
        path = "/v1/audio/transcriptions"
        scope = {"type": "http", "method": "POST", "path": path, "headers": head}
        scope |= {"query_string": b"", "http_version": "1.1"}
        asyncio.run(client.app(scope, receive, send))
        counted = service.metrics.text().decode()
    assert f'requests_total{{route="{path}",status="499"}} 1.0' in counted
    assert 'status="400"' not in counted


def test_a_body_without_end_is_refused_at_the_limit():
    count = 0

    async def receive():
        nonlocal count
        count += 1
        return {"type": "http.request", "body": bytes(100_000), "more_body": True}

    with pytest.raises(Refused) as caught:
        ask(receive, max_upload_bytes=300_000)
    assert caught.value.status_code == 413
    assert count < 20


def test_what_all_requests_hold_is_bounded():
    async def receive():
        return {"type": "http.request", "body": bytes(1_000), "more_body": True}

    with pytest.raises(Refused) as caught:
        ask(receive, max_held_bytes=5_000)
    assert caught.value.status_code == 429


def test_a_service_of_this_machine_has_the_names_of_this_machine():
    assert "localhost" in allowed_hosts("127.0.0.1", ())
    assert "name.example" in allowed_hosts("localhost", ("name.example",))
    assert allowed_hosts("0.0.0.0", ()) == ()
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "x")] == [
        *(True, True, True, False, False)
    ]


def test_impossible_settings_are_named():
    wrong = ServeSettings(max_seconds=0, max_outputs_a_request=300)
    assert {field for field, _ in wrong.validate()} == {"max_seconds", "max_outputs_a_request"}
    typed.require_valid(ServeSettings(), where="serve")
