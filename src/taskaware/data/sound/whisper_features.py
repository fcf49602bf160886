"""Log-Mel features as Whisper computes them (Radford et al. 2022, section 2.2).

Shape legend: N samples, S frames, K power spectrum bins, F Mel bins.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from taskaware.errors import AudioError

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES, HOP_SAMPLES = 400, 160  # samples: 25 and 10 ms
_FLOOR = 1e-10
_RANGE = 8.0  # decades below the loudest that are kept
_LINEAR_HZ, _LINEAR_MEL = 1000.0, 15.0  # where Slaney's scale turns from a line to a logarithm
_MELS_PER_NEPER = 27.0 / math.log(6.4)


def whisper_num_frames(num_samples: int, *, padded_seconds: float) -> int:
    """Return how many frames ``whisper_log_mel`` gives.

    Raises:
        AudioError: The waveform is longer than ``padded_seconds``.
    """
    longest = round(padded_seconds * SAMPLE_RATE_HZ)
    if 0 < longest < num_samples:
        raise AudioError(
            f"a recording must last at most {padded_seconds:g} s, as the model hears no more at "
            f"once, but lasts {num_samples / SAMPLE_RATE_HZ:.1f} s: cut it into parts"
        )
    return max(num_samples, longest) // HOP_SAMPLES


def whisper_log_mel(
    waveform: Tensor, *, num_mel_bins: int = 80, padded_seconds: float = 30.0
) -> Tensor:
    """Compute Whisper's features.

    Args:
        waveform: float32 ``[N]`` at 16 kHz, full scale at -1 and 1.
        num_mel_bins: F: 80, or 128 since large-v3.
        padded_seconds: The waveform is filled up with silence to this length, as all that Whisper
            was trained on; 0 leaves it as long as it is.

    Returns:
        float32 ``[S, F]``, a frame every 10 ms: decimal logarithms of filter energies, at most 8
        decades below the loudest of the recording, brought to about -1 to 1.

    Raises:
        AudioError: The waveform is longer than ``padded_seconds``.
    """
    num_frames = whisper_num_frames(len(waveform), padded_seconds=padded_seconds)
    if num_frames == 0:
        return waveform.new_zeros((0, num_mel_bins), dtype=torch.float32)
    # Half a window is mirrored at either end, so that there must be more than that.
    longest = round(padded_seconds * SAMPLE_RATE_HZ)
    missing = max(longest, WINDOW_SAMPLES // 2 + 1) - len(waveform)
    padded = F.pad(waveform.float(), (0, max(missing, 0)))
    window = torch.hann_window(WINDOW_SAMPLES, device=padded.device)
    spectrum = torch.stft(padded, WINDOW_SAMPLES, HOP_SAMPLES, window=window, return_complex=True)
    power = spectrum[:, :num_frames].abs().square()
    energies = slaney_filters(num_mel_bins).to(power.device) @ power
    logarithms = energies.clamp_min(_FLOOR).log10()
    logarithms = logarithms.clamp_min(float(logarithms.max()) - _RANGE)
    return ((logarithms + 4.0) / 4.0).T.contiguous()


@functools.lru_cache(maxsize=4)
def slaney_filters(num_mel_bins: int) -> Tensor:
    """Return triangular filters of equal area on Slaney's Mel scale, 0 to 8 kHz, ``[F, K]``."""
    bins_hz = np.linspace(0.0, SAMPLE_RATE_HZ / 2, WINDOW_SAMPLES // 2 + 1)
    edges_hz = _hz(np.linspace(0.0, _mel(SAMPLE_RATE_HZ / 2), num_mel_bins + 2))
    left, centre, right = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising = (bins_hz - left) / (centre - left)
    falling = (right - bins_hz) / (right - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return torch.from_numpy(triangles * 2.0 / (right - left)).float()


def _mel(frequency_hz: float) -> float:
    """Slaney's scale (Auditory Toolbox, 1998), above where it is linear."""
    return _LINEAR_MEL + _MELS_PER_NEPER * math.log(frequency_hz / _LINEAR_HZ)


def _hz(mel: np.ndarray) -> np.ndarray:
    return np.where(
        mel < _LINEAR_MEL,
        mel * _LINEAR_HZ / _LINEAR_MEL,
        _LINEAR_HZ * np.exp((mel - _LINEAR_MEL) / _MELS_PER_NEPER),
    )
