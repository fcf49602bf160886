"""What the program beside exported models is told of them: tasks, features, search, pieces.

Shape legend: K power spectrum bins, W samples of a window, F Mel bins.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from taskaware.data.sound import features as kaldi
from taskaware.data.sound import whisper_features as whisper
from taskaware.version import __version__

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from taskaware.data.sound.settings import FeatureSettings
    from taskaware.data.vocabulary.vocabulary import Vocabulary
    from taskaware.inference.model import TaskAwareModel
    from taskaware.types import Task

_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")


def describe(model: TaskAwareModel) -> dict[str, Any]:
    """Return the content of ``export.json``."""
    settings, vocabulary = model.settings, model.vocabulary
    is_learnt = settings.target_positions == "learnt"
    is_prepended = settings.conditioning.acts_by == "prepend" and bool(model.task_embeddings)
    return {
        "taskaware": __version__,
        "tasks": [_task(model, task) for task in model.tasks],
        "num_heads": settings.num_heads,
        "head_size": settings.d_model // settings.num_heads,
        "longest_target": settings.num_target_positions if is_learnt else None,
        "vectors_before_target": int(is_prepended),
        "features": _features(model.feature_settings),
        "decoding": {**asdict(model.decoding), "num_best": 1},
        "eos": vocabulary.EOS,
        "adds_space": vocabulary.adds_space,
        # Those trained here are byte-pair pieces, joined in the order of their ids.
        "cuts_texts": not vocabulary.family,
        "pieces": _pieces(vocabulary),
    }


def _task(model: TaskAwareModel, task: Task) -> dict[str, Any]:
    settings, cue = model.settings, model.cue(task)
    longest = None
    if task.source_modality == "speech":
        longest = settings.longest_recording_frames
    elif task.modality.is_text:
        longest = settings.longest_text()
    elif settings.source_positions == "learnt":
        longest = settings.num_source_positions
    embedding = model.task_embeddings.get(task.name)
    return {
        "name": task.name,
        "modality": task.source_modality,
        "source_language": task.source_language,
        "target_language": task.target_language,
        "source_prefix": list(cue.source_prefix),
        "source_suffix": list(cue.source_suffix),
        "prompt": list(cue.prompt),
        "longest_source": longest,
        "task_embedding": None if embedding is None else embedding[0].float().tolist(),
    }


def _features(settings: FeatureSettings) -> dict[str, Any]:
    if settings.kind == "whisper":
        return {
            "kind": "whisper",
            "sample_rate_hz": whisper.SAMPLE_RATE_HZ,
            "window_samples": whisper.WINDOW_SAMPLES,
            "hop_samples": whisper.HOP_SAMPLES,
            "padded_seconds": settings.padded_seconds,
        }
    return {
        "kind": "kaldi",
        "sample_rate_hz": settings.sample_rate_hz,
        "window_samples": settings.window_samples,
        "hop_samples": settings.hop_samples,
        "fft": kaldi.fft_length(settings),
        "preemphasis": settings.preemphasis,
        "normalisation": settings.normalisation,
        "floor": kaldi.ENERGY_FLOOR,
        "variance_floor": kaldi.VARIANCE_FLOOR,
    }


def feature_constants(
    settings: FeatureSettings,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the window ``[W]`` and the filters ``[K, F]`` of the features."""
    if settings.kind == "whisper":
        window = torch.hann_window(whisper.WINDOW_SAMPLES)
        filters = whisper.slaney_filters(settings.num_mel_bins).T.contiguous()
    else:
        window, filters = kaldi.window_and_filters(settings)
    return window.numpy(), filters.numpy()


def _pieces(vocabulary: Vocabulary) -> list[str | list[int] | None]:
    """Return what each piece adds: a text, bytes that are no text alone, or nothing."""
    found: list[str | list[int] | None] = []
    for name, content in zip(
        vocabulary.pieces(range(vocabulary.size)), vocabulary.contents, strict=False
    ):
        try:
            text = content.decode()
        except UnicodeDecodeError:
            text = ""
        is_byte = bool(_BYTE_PIECE.fullmatch(name)) or not text
        found.append(None if not content else list(content) if is_byte else text)
    return found
