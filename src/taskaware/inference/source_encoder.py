"""The encoder of a model by itself: what it puts out for recordings, and what tells two apart.

Shape legend: S feature frames, R positions of the encoder, F feature bins, D d_model.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

import torch

from taskaware.data.batches.batching import pad_sources
from taskaware.data.prepare.encoding import SourceEncoder
from taskaware.data.prepared.encoder import EncoderRecord
from taskaware.errors import CheckpointError
from taskaware.model.parameters import speech_encoder_tensors

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from taskaware.data.sound.settings import FeatureSettings
    from taskaware.inference.model_folder import ModelParts
    from taskaware.model.settings import ModelSettings
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import EncoderPrecision

# What an encoder puts out depends on these and on its weights, whose shapes say the rest.
_DECISIVE = frozenset(
    (
        *("num_heads", "norm", "layer_norm_eps", "activation", "source_positions"),
        *("first_position", "encoder_block", "frontend", "num_cnn_layers", "cnn_strides"),
        *("cnn_activation",),
    )
)


def source_encoder(
    model: ModelParts, *, name: str, precision: EncoderPrecision = "float32"
) -> SourceEncoder:
    """Return a model's encoder of recordings.

    Args:
        model: Where it is; it stays on its device.
        name: What to call the model in messages.
        precision: What it computes in.

    Raises:
        CheckpointError: The model hears no recordings, or what its encoder puts out depends on the
            task.
    """
    if not any(task.modality.is_recording for task in model.tasks):
        tasks = ", ".join(task.name for task in model.tasks)
        raise CheckpointError(
            f"{name} must have a task for speech, so that its encoder hears recordings, but has "
            f"{tasks}"
        )
    if model.settings.modulates_encoder:
        raise CheckpointError(
            f"the encoder of {name} must put out the same for all tasks, but its task network "
            f"modulates it (the cue '{model.settings.conditioning.cue}'): its outputs cannot be "
            "computed before the task is known"
        )
    settings = model.settings
    record = EncoderRecord(
        sha256=encoder_digest(model.transformer, settings, model.feature_settings),
        width=settings.of_encoder.d_model,
        frames_per_position=math.prod(settings.time_strides),
        model=name,
        precision=precision,
    )
    transformer = model.transformer

    @torch.inference_mode()
    def encode(sources: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        device = transformer.token_embedding.weight.device
        source, lengths = pad_sources(sources)
        is_narrow = precision == "bfloat16"
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_narrow):
            sequence, lengths = transformer.preprocess_source(
                source.to(device), lengths.to(device), "speech"
            )
            memory_BRD, lengths = transformer.run_encoder(sequence, lengths)
        return [
            memory_RD[:length].numpy()
            for memory_RD, length in zip(memory_BRD.float().cpu(), lengths.tolist(), strict=True)
        ]

    return SourceEncoder(
        record=record,
        features=model.feature_settings,
        encode=encode,
        longest_frames=settings.longest_recording_frames,
    )


def encoder_digest(
    transformer: TaskAwareTransformer, settings: ModelSettings, features: FeatureSettings
) -> str:
    """Return a SHA-256 that is equal where two encoders put out the same for a recording.

    Fields that have their defaults do not count, so that a new option changes no digest.
    """
    digest = hashlib.sha256()
    said = {"model": _changed(settings.of_encoder, _DECISIVE), "features": _changed(features)}
    digest.update(json.dumps(said, sort_keys=True).encode())
    for name, value in sorted(speech_encoder_tensors(transformer).items()):
        digest.update(f"{name} {list(value.shape)}\n".encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _changed(settings: Any, names: frozenset[str] | None = None) -> dict[str, Any]:
    """Return the fields of a dataclass that do not have their default."""
    return {
        each.name: getattr(settings, each.name)
        for each in fields(settings)
        if (names is None or each.name in names)
        and (each.default is MISSING or getattr(settings, each.name) != each.default)
    }
