"""What the service counts, in the form that Prometheus reads."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE

__all__ = ["CONTENT_TYPE", "Metrics"]

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
_OUTPUTS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The counters of one service; each service has its own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "taskaware_requests", "Requests answered", ["route", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "taskaware_request_seconds",
            "From a request's header to the end of its answer",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.outputs = Counter("taskaware_outputs", "Outputs made", ["task"], registry=registry)
        self.audio_seconds = Counter(
            "taskaware_audio_seconds", "Seconds of the recordings heard", registry=registry
        )
        self.waiting = Gauge(
            "taskaware_waiting", "Outputs that wait or are being made", registry=registry
        )
        self.batch_size = Histogram(
            "taskaware_batch_size", "Outputs decoded together", buckets=_OUTPUTS, registry=registry
        )
        self.batch_seconds = Histogram(
            "taskaware_batch_seconds", "Decoding a batch", buckets=_SECONDS, registry=registry
        )

    def text(self) -> bytes:
        """Return all of them as Prometheus reads them."""
        return generate_latest(self._registry)
