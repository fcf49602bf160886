"""What a user may give a model as a source, and how it becomes what the model reads.

Shape legend: N samples, S source positions, F feature bins.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from taskaware.data import audio
from taskaware.data.features import FeatureSettings, log_mel
from taskaware.errors import AudioError, DataError, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskaware.data.vocabulary import Vocabulary
    from taskaware.types import Modality

AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".sph", ".aif", ".aiff", ".au"}
)

Source = str | Path | np.ndarray
"""Text; the path of a recording or of a ``.npy`` file of features; a waveform float ``[N]`` at the
model's sample rate; or features float ``[S, F]``."""

_EXPECTED: Mapping[Modality, str] = {
    "text": "a string",
    "speech": "the path of a recording or a waveform of one dimension",
    "features": "the path of a .npy file or an array of two dimensions",
}


def looks_like_text(source: Source) -> bool:
    """Return whether a source is text rather than the name of a recording, or numbers."""
    return isinstance(source, str) and Path(source).suffix.lower() not in AUDIO_SUFFIXES


def encode_source(
    source: Source,
    modality: Modality,
    *,
    vocabulary: Vocabulary,
    feature_settings: FeatureSettings,
) -> np.ndarray:
    """Return a source as a model reads it: float32 ``[S, F]`` or int64 ``[S]``.

    Raises:
        AudioError: A recording cannot be read or has no whole frame.
        DataError: A file of features cannot be read.
        UserError: The source is of another modality.
    """
    match modality, source:
        case "text", str():
            return np.array(vocabulary.encode(source), dtype=np.int64)
        case "speech", np.ndarray() if source.ndim == 1:
            return _hear(source, "the waveform", feature_settings)
        case "speech", str() | Path():
            waveform = audio.read(source, sample_rate_hz=feature_settings.sample_rate_hz)
            return _hear(waveform, str(source), feature_settings)
        case "features", np.ndarray() if source.ndim == 2:
            return source.astype(np.float32)
        case "features", str() | Path():
            try:
                return np.load(source, allow_pickle=False).astype(np.float32)
            except (OSError, ValueError, EOFError) as error:
                raise DataError(f"{source} must be a NumPy file, but: {error}") from error
    raise UserError(
        f"the source of a {modality} task must be {_EXPECTED[modality]}, but is "
        f"{type(source).__name__}"
    )


def _hear(waveform: np.ndarray, name: str, feature_settings: FeatureSettings) -> np.ndarray:
    frames = log_mel(torch.from_numpy(waveform), feature_settings).numpy()
    if not len(frames):
        raise AudioError(
            f"{name}: must last at least {feature_settings.window_ms:g} ms, but has "
            f"{len(waveform)} samples"
        )
    return frames
