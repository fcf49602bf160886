"""How a model is served: limits, times, who may ask. Imports nothing heavy."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Limits and times of a service.

    Attributes:
        max_upload_bytes: The largest recording. 25 MiB is what OpenAI's API takes.
        max_seconds: The longest recording, by its header, which is looked at before any of it is
            decoded; a model may hear less.
        max_characters: The longest text as a source or a target.
        max_pieces: The same in pieces of the model's vocabulary, which say how long it is decoded:
            4,000 characters of English have about as many, but one Chinese character may be three.
        max_pieces_a_request: Pieces of all texts that a request has decoded or learnt from, a text
            that goes to several tasks counted for each.
        max_json_values: Numbers, texts, lists and objects in the JSON of a request.
        max_outputs_a_request: Sources times tasks of one request, or examples of a task.
        max_waiting: Outputs that wait for the model or are being made; more are answered by 429.
        max_held_bytes: Bytes of all requests that are held at once; more are answered by 429.
        max_connections: Connections at once; more are answered by 503.
        batch_size: Outputs that are decoded together; `none`: as the model's `examples_per_batch`.
        reading_threads: Recordings that are decoded at once, beside the model.
        header_seconds: How long a new connection may take until its first request has begun, and
            the first byte of a later request until its header is there.
        receive_seconds: How long a request may take to arrive, and a client to read the next part
            of an answer.
        answer_seconds: How long a request may wait for its answer after it has arrived; one whose
            recording is decoded in parts, longer by the recording's length. What would probably
            wait longer is answered by 429 at once.
        shutdown_seconds: How long a stopping service works on what it has taken.
        max_stored_tasks: Tasks made from examples that are kept.
    """

    max_upload_bytes: int = 25 * 1024 * 1024
    max_seconds: float = 600.0
    max_characters: int = 4_000
    max_pieces: int = 1_024
    max_pieces_a_request: int = 16_384
    max_json_values: int = 10_000
    max_outputs_a_request: int = 64
    max_waiting: int = 256
    max_held_bytes: int = 512 * 1024 * 1024
    max_connections: int = 512
    batch_size: int | None = None
    reading_threads: int = 2
    header_seconds: float = 10.0
    receive_seconds: float = 120.0
    answer_seconds: float = 300.0
    shutdown_seconds: float = 60.0
    max_stored_tasks: int = 1_000

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if not math.isfinite(value) or value <= 0:
                yield field.name, f"must be a number above 0, but is {value}"
        if self.max_outputs_a_request > self.max_waiting:
            yield (
                "max_outputs_a_request",
                f"must be at most `max_waiting` ({self.max_waiting}), but is "
                f"{self.max_outputs_a_request}",
            )

    @property
    def max_body_bytes(self) -> int:
        """The largest body of a request: a recording in base64, and what stands around it."""
        return self.max_upload_bytes * 4 // 3 + 1024 * 1024

    @property
    def max_json_marks(self) -> int:
        """Commas, colons, brackets and braces of a request: of its values, and within its texts."""
        in_texts = 2 * self.max_outputs_a_request * self.max_characters  # sources and targets
        return 4 * self.max_json_values + in_texts


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address is this machine for itself alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
