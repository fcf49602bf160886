"""Log-Mel features, by Kaldi's definition or Whisper's: the speech that the model reads.

Shape legend: N samples, S frames, W samples in a window, K power spectrum bins, F Mel bins.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from taskaware.data.sound.whisper_features import whisper_log_mel, whisper_num_frames

if TYPE_CHECKING:
    from taskaware.data.sound.settings import FeatureSettings

ENERGY_FLOOR = 1.1920928955078125e-07  # float32 epsilon: Kaldi's floor below the logarithm
VARIANCE_FLOOR = 1e-2  # nats squared; speech has 1 to 20, a constant or silent bin 0
_FRAMES_PER_BLOCK = 512  # what stays in a core's cache, and keeps an hour of audio small in memory


def num_frames(num_samples: int, settings: FeatureSettings) -> int:
    """Return how many whole windows fit (Kaldi's ``snip_edges``): 0 for less than one window.

    Raises:
        AudioError: Whisper's features are wanted of more than `padded_seconds`.
    """
    if settings.kind == "whisper":
        return whisper_num_frames(num_samples, padded_seconds=settings.padded_seconds)
    if num_samples < settings.window_samples:
        return 0
    return 1 + (num_samples - settings.window_samples) // settings.hop_samples


def log_mel(waveform: Tensor, settings: FeatureSettings) -> Tensor:
    """Compute log-Mel features.

    Args:
        waveform: float32 ``[N]`` at ``settings.sample_rate_hz``, full scale at -1 and 1.
        settings: How.

    Returns:
        float32 ``[S, F]`` with ``S = num_frames(N, settings)``, natural logarithms of filter
        energies, normalised where the settings ask for it. No dither: equal input, equal output.

    Raises:
        AudioError: Whisper's features are wanted of more than `padded_seconds`.
    """
    if waveform.ndim != 1:
        raise ValueError(f"`waveform` must have shape [N], but has {list(waveform.shape)} instead")
    if settings.kind == "whisper":
        return whisper_log_mel(
            waveform,
            num_mel_bins=settings.num_mel_bins,
            padded_seconds=settings.padded_seconds,
        )
    if num_frames(len(waveform), settings) == 0:
        return waveform.new_zeros((0, settings.num_mel_bins), dtype=torch.float32)
    frames = waveform.float().unfold(0, settings.window_samples, settings.hop_samples)
    features = torch.cat(
        [_log_energies(block, settings) for block in frames.split(_FRAMES_PER_BLOCK)]
    )
    return normalise(features) if settings.normalisation == "utterance" else features


def normalise(features: Tensor) -> Tensor:
    """Give each bin of ``[S, F]`` mean 0 and variance 1 over time; the variance is floored.

    The floor keeps a bin that does not move (silence, a constant) near 0 and finite.
    """
    centred = features - features.mean(dim=0)
    variance = centred.square().mean(dim=0)
    return centred * variance.clamp_min(VARIANCE_FLOOR).rsqrt()


def _log_energies(frames: Tensor, settings: FeatureSettings) -> Tensor:
    """``[S, W]`` samples to ``[S, F]`` log filter energies."""
    window, mel_matrix = window_and_filters(settings)
    frames = frames - frames.mean(dim=1, keepdim=True)
    previous = torch.cat((frames[:, :1], frames[:, :-1]), dim=1)  # Kaldi repeats the first sample
    frames = torch.sub(frames, previous, alpha=settings.preemphasis).mul_(window)
    spectrum = torch.fft.rfft(frames, n=fft_length(settings))  # complex [S, K]
    power = spectrum.real.square() + spectrum.imag.square()
    return (power @ mel_matrix).clamp_min_(ENERGY_FLOOR).log_()


def fft_length(settings: FeatureSettings) -> int:
    """Return the power of two that a window is filled up to."""
    return 1 << math.ceil(math.log2(settings.window_samples))


@functools.lru_cache(maxsize=8)
def window_and_filters(settings: FeatureSettings) -> tuple[Tensor, Tensor]:
    """Return Povey's window ``[W]`` and the matrix ``[K, F]`` of triangular Mel filters."""
    length = settings.window_samples
    phase = 2 * math.pi * np.arange(length) / (length - 1)
    window = (0.5 - 0.5 * np.cos(phase)) ** 0.85
    size = fft_length(settings)
    bins_mel = _mel(np.arange(size // 2 + 1) * settings.sample_rate_hz / size)
    edges_mel = np.linspace(
        _mel(settings.low_hz), _mel(settings.sample_rate_hz / 2), settings.num_mel_bins + 2
    )
    left, centre, right = edges_mel[:-2], edges_mel[1:-1], edges_mel[2:]
    rising = (bins_mel[:, None] - left) / (centre - left)
    falling = (right - bins_mel[:, None]) / (right - centre)
    mel_matrix = np.maximum(0.0, np.minimum(rising, falling))
    return torch.from_numpy(window).float(), torch.from_numpy(mel_matrix).float()


def _mel(frequency_hz: np.ndarray | float) -> np.ndarray:
    """Kaldi's Mel scale (HTK's)."""
    return 1127.0 * np.log1p(np.asarray(frequency_hz) / 700.0)
