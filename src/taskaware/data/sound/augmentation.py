"""Changes of one recording: speed, tempo and echo of its signal, masks in its features.

What the paper does with SoX (section 6.1.1), without SoX: ``speed``, ``tempo`` and ``echo`` give
what its effects of those names give, and are tested against it. What happens to an example is a
pure function of (seed, epoch, key), so that a resumed run changes it as the first one would have,
and its new length is known before its recording is opened.

Shape legend: N samples, S frames, F feature bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from taskaware.data.hashes import hash_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.data.sound.settings import AugmentationSettings

# SoX's defaults for tempo, sox(1).
_SEGMENT_SECONDS = 0.082
_SEARCH_SECONDS = 0.01468
_OVERLAP_SECONDS = 0.012

_DRAWN_PER_EXAMPLE = 5  # whether, speed, tempo, delay, decay: the same whatever is switched on


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What happens to one signal, in this order: speed, tempo, echo.

    Attributes:
        speed: Playing speed; above 1 is faster, shorter and higher.
        tempo: Tempo at the same pitch; above 1 is faster and shorter.
        echo_delay_seconds: Time until the echo.
        echo_decay: Height of the echo, as a share of the signal's; 0: no echo.
    """

    speed: float = 1.0
    tempo: float = 1.0
    echo_delay_seconds: float = 0.0
    echo_decay: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What happens to several signals: an array ``[num]`` for each field of ``Draw``."""

    speed: np.ndarray
    tempo: np.ndarray
    echo_delay_seconds: np.ndarray
    echo_decay: np.ndarray

    def __len__(self) -> int:
        return len(self.speed)

    def __getitem__(self, index: int) -> Draw:
        return Draw(
            speed=float(self.speed[index]),
            tempo=float(self.tempo[index]),
            echo_delay_seconds=float(self.echo_delay_seconds[index]),
            echo_decay=float(self.echo_decay[index]),
        )

    @property
    def length_factors(self) -> np.ndarray:
        """New length / old length of each, ``[num]``, without the echo, which adds its delay."""
        return 1 / (self.speed * self.tempo)


IDENTITY = Draw()
"""Nothing happens."""


def draws(
    settings: AugmentationSettings, *, seed: int, epoch: int, key: Sequence[int | str], num: int
) -> Draws:
    """Draw what happens to the ``num`` signals of a group.

    Args:
        settings: From what ranges.
        seed: The run's.
        epoch: Each epoch draws again.
        key: Names the group, for example a data set and a shard.
        num: How many; the first ones do not depend on it.

    Returns:
        A pure function of the arguments, equal on every machine.
    """
    name = hash_texts("augmentation", str(seed), str(epoch), *map(str, key))
    random = np.random.Generator(np.random.PCG64(name))
    return _from_uniform(settings, random.random((num, _DRAWN_PER_EXAMPLE)))


def _from_uniform(settings: AugmentationSettings, uniform: np.ndarray) -> Draws:
    """``[num, 5]`` numbers from 0 to 1 to draws."""
    changed = uniform[:, 0] < settings.share

    def between(column: int, limits: tuple[float, float], used: bool, otherwise: float):
        low, high = limits
        drawn = low + (high - low) * uniform[:, column]
        return np.where(changed & used, drawn, otherwise)

    echo = settings.echo
    return Draws(
        speed=between(1, settings.speed_range, settings.speed, 1.0),
        tempo=between(2, settings.tempo_range, settings.tempo, 1.0),
        echo_delay_seconds=between(3, settings.echo_delay_range_ms, echo, 0.0) / 1000,
        echo_decay=between(4, settings.echo_decay_range, echo, 0.0),
    )


def augment(waveform: np.ndarray, draw: Draw, sample_rate_hz: int) -> np.ndarray:
    """Change a signal as drawn.

    Args:
        waveform: float32 ``[N]``.
        draw: What to do.
        sample_rate_hz: Of the waveform and of the result.

    Returns:
        float32 ``[N']``; where nothing is drawn, the waveform itself. An echo may carry it past -1
        and 1: it is not clipped.
    """
    waveform = speed(waveform, draw.speed, sample_rate_hz)
    waveform = tempo(waveform, draw.tempo, sample_rate_hz)
    return echo(waveform, draw.echo_delay_seconds, draw.echo_decay, sample_rate_hz)


def speed(waveform: np.ndarray, factor: float, sample_rate_hz: int) -> np.ndarray:
    """Play a signal ``factor`` times as fast, which moves its pitch by the same factor.

    Args:
        waveform: float32 ``[N]``.
        factor: Above 1 is faster.
        sample_rate_hz: Of the waveform and of the result.

    Returns:
        float32 ``[N / factor]``, rounded.
    """
    _require_signal(waveform, factor)
    if factor == 1.0 or len(waveform) == 0:
        return waveform
    import soxr

    return soxr.resample(waveform, sample_rate_hz * factor, float(sample_rate_hz), quality="HQ")


def tempo(waveform: np.ndarray, factor: float, sample_rate_hz: int) -> np.ndarray:
    """Make a signal ``factor`` times as fast and keep its pitch.

    WSOLA (Verhelst and Roelands, 1993, https://doi.org/10.1109/ICASSP.1993.319366) with SoX's
    lengths: the result is put together from segments of the signal, each taken from where, near its
    due place, it resembles best what followed the segment before.

    Args:
        waveform: float32 ``[N]``.
        factor: Above 1 is faster.
        sample_rate_hz: Of the waveform.

    Returns:
        float32 ``[N / factor]``, rounded.
    """
    _require_signal(waveform, factor)
    if factor == 1.0 or len(waveform) == 0:
        return waveform
    num_out = _divided(len(waveform), factor)
    search = max(1, round(_SEARCH_SECONDS * sample_rate_hz))
    overlap = max(8, 8 * round(_OVERLAP_SECONDS * sample_rate_hz / 8))  # SoX's are multiples of 8
    hop = round(_SEGMENT_SECONDS * sample_rate_hz) - overlap
    num_segments = -(-num_out // hop)
    due = np.floor(np.arange(num_segments) * (hop * factor) + 0.5).astype(np.int64)
    # Silence around the signal, so that every segment may be looked for on both sides.
    padded = np.zeros(
        max(search // 2 + len(waveform), int(due[-1]) + search + 2 * hop + overlap), np.float32
    )
    padded[search // 2 : search // 2 + len(waveform)] = waveform
    starts = _segment_starts(padded, due, search=search, overlap=overlap, hop=hop)
    segments = np.lib.stride_tricks.sliding_window_view(padded, hop)[starts]  # a copy
    followed = np.lib.stride_tricks.sliding_window_view(padded, overlap)[starts[:-1] + hop]
    fade_in = np.arange(overlap, dtype=np.float32) / overlap
    segments[1:, :overlap] = followed + fade_in * (segments[1:, :overlap] - followed)
    return segments.reshape(-1)[:num_out]


def _segment_starts(
    padded: np.ndarray, due: np.ndarray, *, search: int, overlap: int, hop: int
) -> np.ndarray:
    """Return where in ``padded`` each segment starts: at ``due`` plus 0 to ``search - 1`` samples.

    Best is the least squared difference over ``overlap`` samples; the energy of what is searched
    for is the same for all candidates and left out.
    """
    sums = np.concatenate(([0.0], np.cumsum(np.square(padded, dtype=np.float64))))
    energies = sums[overlap:] - sums[:-overlap]
    starts = np.empty_like(due)
    starts[0] = search // 2
    for i in range(1, len(due)):
        first, follows = due[i], starts[i - 1] + hop
        products = np.correlate(
            padded[first : first + search + overlap - 1], padded[follows : follows + overlap]
        )
        starts[i] = first + np.argmin(energies[first : first + search] - 2 * products)
    return starts


def echo(
    waveform: np.ndarray, delay_seconds: float, decay: float, sample_rate_hz: int
) -> np.ndarray:
    """Add one echo: SoX's ``echo 1 1 DELAY DECAY``, with both of its gains, in and out, at 1.

    Args:
        waveform: float32 ``[N]``.
        delay_seconds: Time until the echo; whole samples, rounded down as SoX does.
        decay: Height of the echo; 0: no echo, and no change of length.
        sample_rate_hz: Of the waveform.

    Returns:
        float32 ``[N + delay]``: the echo is heard out. Not clipped.
    """
    _require_signal(waveform, 1.0)
    delay = _delay_samples(Draw(echo_delay_seconds=delay_seconds, echo_decay=decay), sample_rate_hz)
    if decay == 0 or len(waveform) == 0:
        return waveform
    result = np.zeros(len(waveform) + delay, np.float32)
    result[: len(waveform)] = waveform
    result[delay:] += np.float32(decay) * waveform
    return result


def spec_augment(
    features: np.ndarray, settings: AugmentationSettings, random: np.random.Generator
) -> np.ndarray:
    """Mask spans of frames and of bins (Park et al. 2019, section 2, without time warping).

    Args:
        features: Floats ``[S, F]``.
        settings: How many masks and how large; each length is uniform from 0 to the largest.
        random: Advanced by the same amount whatever S and F are.

    Returns:
        An array ``[S, F]`` of the same type. Masked values are their bin's mean over time, which is
        0 for features normalised by utterance. Where there is nothing to mask, ``features``.
    """
    if features.ndim != 2:
        raise ValueError(f"`features` must have shape [S, F], but has {list(features.shape)}")
    uniform = random.random((settings.num_time_masks + settings.num_frequency_masks, 2))
    if not len(uniform) or not len(features):
        return features
    num_frames, num_bins = features.shape
    longest = min(settings.max_time_mask_frames, int(settings.max_time_mask_share * num_frames))
    widest = min(settings.max_frequency_mask_bins, num_bins)
    masked = np.zeros(features.shape, bool)
    for length, start in uniform[: settings.num_time_masks]:
        masked[_span(length, start, longest, num_frames)] = True
    for length, start in uniform[settings.num_time_masks :]:
        masked[:, _span(length, start, widest, num_bins)] = True
    means = features.mean(axis=0, dtype=np.float32).astype(features.dtype)
    return np.where(masked, means, features)


def _span(length: float, start: float, longest: int, size: int) -> slice:
    """Numbers from 0 to 1 to a span of 0 to ``longest`` of ``size`` places."""
    num = int(length * (longest + 1))
    first = int(start * (size - num + 1))
    return slice(first, first + num)


def _require_signal(waveform: np.ndarray, factor: float) -> None:
    if waveform.ndim != 1:
        raise ValueError(f"`waveform` must have shape [N], but has {list(waveform.shape)} instead")
    if not factor > 0:
        raise ValueError(f"`factor` must be above 0, but is {factor} instead")


def _divided(num_samples: int, factor: float) -> int:
    """Return the length after a change of speed or tempo; no signal vanishes."""
    if factor == 1.0 or num_samples == 0:
        return num_samples
    return max(1, int(num_samples / factor + 0.5))


def _delay_samples(draw: Draw, sample_rate_hz: int) -> int:
    if draw.echo_decay == 0:
        return 0
    # A delay of whole samples may come as a hair less than that: 1.001 s at 16,000 Hz.
    return int(draw.echo_delay_seconds * sample_rate_hz + 1e-6)
