"""A text as events, part by part."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from taskaware.errors import UserError
from taskaware.inference.recordings.transcript import Segment, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable

streaming = pytest.importorskip(
    "taskaware.serve.streaming", reason="the extra `serve` is not there"
)
SECONDS = 20


def transcript(text: str) -> Transcript:
    segment = Segment(text=text, start_seconds=0.0, end_seconds=1.0, confidence=1.0)
    return Transcript(task="asr_en", segments=(segment,), duration_seconds=1.0)


async def following(events: Any) -> dict[str, Any]:
    event = await asyncio.wait_for(anext(events), SECONDS)
    return json.loads(event.removeprefix(b"data: "))


def test_a_part_is_sent_while_the_next_is_still_made():
    async def check() -> None:
        is_read = asyncio.Event()

        async def make(put: Callable[[str], None]) -> Transcript:
            put("one")
            await is_read.wait()
            put(" two")
            return transcript("one two")

        answer = await asyncio.wait_for(streaming.text_in_parts(make), SECONDS)
        events = aiter(answer.body_iterator)
        assert await following(events) == {"type": "transcript.text.delta", "delta": "one"}
        is_read.set()
        assert (await following(events))["delta"] == " two"
        assert await following(events) == {"type": "transcript.text.done", "text": "one two"}

    asyncio.run(check())


def test_what_fails_before_the_first_part_is_raised_and_later_it_is_an_event():
    async def check() -> None:
        async def make(put: Callable[[str], None], part: str) -> Transcript:
            if part:
                put(part)
            raise UserError("the recording must be whole")

        with pytest.raises(UserError, match="whole"):
            await streaming.text_in_parts(lambda put: make(put, ""))
        events = aiter((await streaming.text_in_parts(lambda put: make(put, "one"))).body_iterator)
        assert (await following(events))["delta"] == "one"
        told = await following(events)
        assert told["type"] == "error"
        assert told["error"]["message"] == "the recording must be whole"

    asyncio.run(check())


def test_the_work_ends_where_the_client_leaves():
    async def check() -> None:
        ended = asyncio.Event()

        async def make(put: Callable[[str], None]) -> Transcript:
            put("one")
            try:
                await asyncio.sleep(SECONDS)
            finally:
                ended.set()
            return transcript("one")

        events: Any = (await streaming.text_in_parts(make)).body_iterator
        await following(events)
        await events.aclose()
        await asyncio.wait_for(ended.wait(), SECONDS)

    asyncio.run(check())
