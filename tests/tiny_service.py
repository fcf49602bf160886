"""A service of a model of some thousand random weights, told its task by examples.

Its tests skip without the extra ``serve``.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
import torch

from conftest import NUM_BINS, TASKS, tiny_settings
from taskaware.data.sound.settings import FeatureSettings
from taskaware.data.vocabulary import Vocabulary
from taskaware.decoding.settings import DecodingSettings
from taskaware.inference.model import TaskAwareModel
from taskaware.model.create_model import create_model
from tiny_corpus import RATE_HZ, speak

if TYPE_CHECKING:
    from collections.abc import Iterator

for package in ("fastapi", "fastapi_offline", "uvicorn", "python_multipart", "prometheus_client"):
    pytest.importorskip(package, reason="the extra `serve` is not there")

from starlette.testclient import TestClient  # noqa: E402

from taskaware.serve.app import create_app  # noqa: E402
from taskaware.serve.service import Service  # noqa: E402
from taskaware.serve.settings import ServeSettings  # noqa: E402


def random_model(cue: str = "implicit") -> TaskAwareModel:
    """Return a model for recognition, translation of speech and of text, with random weights."""
    torch.manual_seed(0)
    texts = ["one two three four five", "eins zwei drei vier"]
    tags = [f"<task:{task.name}>" for task in TASKS]
    vocabulary = Vocabulary.train(texts, size=300, tags=tags)
    settings = tiny_settings(conditioning={"cue": cue})
    transformer = create_model(settings, vocabulary_size=vocabulary.size, tasks=TASKS).eval()
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    embeddings = {}
    if cue != "none":
        for task in TASKS:
            gamma, beta = torch.randn(2, 1, settings.d_model)
            embeddings[task.name] = torch.cat([1 + gamma, beta], dim=1)
    return TaskAwareModel(
        transformer=transformer,
        settings=settings,
        tasks=TASKS,
        vocabulary=vocabulary,
        feature_settings=FeatureSettings(num_mel_bins=NUM_BINS),
        decoding=DecodingSettings(beam=2, max_pieces=4, examples_per_batch=8, no_repeat=2),
        task_embeddings=embeddings,
    )


def wav(words: str = "one two", **changes: Any) -> bytes:
    """Return a recording as a file."""
    stream = io.BytesIO()
    soundfile.write(stream, speak(words), RATE_HZ, format=changes.pop("format", "WAV"), **changes)
    return stream.getvalue()


@contextmanager
def serving(
    model: TaskAwareModel, *, api_key: str | None = None, hosts: tuple[str, ...] = (), **limits: Any
) -> Iterator[tuple[TestClient, Service]]:
    """Serve a model to a client in this process."""
    service = Service(model, name="tiny", settings=replace(ServeSettings(), **limits))
    app = create_app(service, api_key=api_key, hosts=hosts)
    with TestClient(app, base_url="http://localhost") as client:
        yield client, service


def silence(seconds: float, rate_hz: int = 8_000) -> bytes:
    """Return a FLAC of silence, some bytes a second."""
    stream = io.BytesIO()
    soundfile.write(stream, np.zeros(round(seconds * rate_hz)), rate_hz, format="FLAC")
    return stream.getvalue()
