"""How speech is changed for training. Imports no torch, so that the command line starts fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings:
    """How speech is changed for training; by default it is not.

    The signal is changed by speed, tempo and echo, drawn uniformly from the ranges of the paper
    (section 6.1.1) anew for every example and epoch. Its features are masked by SpecAugment
    (Park et al. 2019, https://arxiv.org/abs/1904.08779).

    Attributes:
        share: Share of the examples whose signal is changed, from 0 (none) to 1 (all).
        speed: Whether a changed signal plays faster or slower, with its pitch.
        speed_range: Lowest and highest speed; above 1 is faster and shorter.
        tempo: Whether a changed signal is spoken faster or slower at its own pitch.
        tempo_range: Lowest and highest tempo; above 1 is faster and shorter.
        echo: Whether a changed signal gets one echo.
        echo_delay_range_ms: Lowest and highest time until the echo, in milliseconds.
        echo_decay_range: Lowest and highest height of the echo, as a share of the signal's.
        num_time_masks: Spans of frames that are masked in every example; 0: none.
        max_time_mask_frames: Longest such span (Park's T).
        max_time_mask_share: Longest such span as a share of the example's frames (Park's p).
        num_frequency_masks: Spans of neighbouring bins that are masked in every example; 0:
            none.
        max_frequency_mask_bins: Widest such span (Park's F).
    """

    share: float = 0.0
    speed: bool = True
    speed_range: tuple[float, float] = (0.95, 1.05)
    tempo: bool = True
    tempo_range: tuple[float, float] = (0.85, 1.3)
    echo: bool = True
    echo_delay_range_ms: tuple[float, float] = (20.0, 200.0)
    echo_decay_range: tuple[float, float] = (0.05, 0.2)
    num_time_masks: int = 0
    max_time_mask_frames: int = 0
    max_time_mask_share: float = 1.0
    num_frequency_masks: int = 0
    max_frequency_mask_bins: int = 0

    @property
    def changes_signal(self) -> bool:
        """Whether the signal of any example is changed."""
        return self.share > 0 and (self.speed or self.tempo or self.echo)

    @property
    def masks_features(self) -> bool:
        """Whether SpecAugment masks anything."""
        return self.num_time_masks > 0 or self.num_frequency_masks > 0

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for name in ("share", "max_time_mask_share"):
            if not 0 <= getattr(self, name) <= 1:
                yield name, "must be from 0 to 1"
        if self.share > 0 and not self.changes_signal:
            yield "share", "must be 0 where speed, tempo and echo are all false: nothing changes"
        # Wider ranges than speech survives are a slip, such as percent for a factor.
        limits = {
            "speed_range": (0.25, 4.0),
            "tempo_range": (0.25, 4.0),
            "echo_delay_range_ms": (0.0, 5000.0),
            "echo_decay_range": (0.0, 1.0),
        }
        for name, (least, greatest) in limits.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= greatest:
                yield (
                    name,
                    f"must be two numbers from {least:g} to {greatest:g}, the smaller one first",
                )
        for number, size in (
            ("num_time_masks", "max_time_mask_frames"),
            ("num_frequency_masks", "max_frequency_mask_bins"),
        ):
            for name in (number, size):
                if getattr(self, name) < 0:
                    yield name, "must not be negative"
            if getattr(self, number) > 0 and getattr(self, size) == 0:
                yield size, f"must be at least 1 where {number} is above 0"


@dataclass(frozen=True, kw_only=True)
class FeatureSettings:
    """How a waveform becomes log-Mel features.

    Attributes:
        sample_rate_hz: Rate of the waveform; every recording is resampled to it.
        num_mel_bins: Number of Mel filters, F (80: the paper, appendix A).
        window_ms: Length of one analysis window, in milliseconds.
        hop_ms: Time from one window to the next, in milliseconds.
        low_hz: Lower edge of the first filter (20: Kaldi). The upper edge of the last one is half
            of the sample rate.
        preemphasis: Share of the previous sample that is subtracted from each sample (0.97: Kaldi).
        normalisation: ``"utterance"`` gives each bin mean 0 and variance 1 over the utterance;
            ``"none"`` leaves the logarithms as they are.
        kind: ``"kaldi"``, or ``"whisper"``: as Whisper computes them, for its weights alone; of the
            other fields only the number of bins and `padded_seconds` count then.
        padded_seconds: What a recording is filled up to with silence (30 s in Whisper's training,
            which has not heard anything shorter); 0: nothing. Whisper's kind alone.
    """

    sample_rate_hz: int = 16_000
    num_mel_bins: int = 80
    window_ms: float = 25.0
    hop_ms: float = 10.0
    low_hz: float = 20.0
    preemphasis: float = 0.97
    normalisation: Literal["utterance", "none"] = "utterance"
    kind: Literal["kaldi", "whisper"] = "kaldi"
    padded_seconds: float = 0.0

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if not 1000 <= self.sample_rate_hz <= 384_000:
            yield "sample_rate_hz", f"must be from 1,000 to 384,000, but is {self.sample_rate_hz}"
            return
        if not 1 <= self.num_mel_bins <= 1000:
            yield "num_mel_bins", f"must be from 1 to 1,000, but is {self.num_mel_bins}"
        for name in ("window_ms", "hop_ms"):
            value = getattr(self, name)
            if not 1000 <= self.sample_rate_hz * value <= 1_000_000 * self.sample_rate_hz:
                yield name, f"must be from one sample to 1,000,000 ms, but is {value}"
        if not 0 <= self.low_hz < self.sample_rate_hz / 2:
            yield "low_hz", f"must be from 0 to below half the sample rate, but is {self.low_hz}"
        if not 0 <= self.preemphasis <= 1:
            yield "preemphasis", f"must be from 0 to 1, but is {self.preemphasis}"
        if self.padded_seconds != 0 and not 0.1 <= self.padded_seconds <= 86_400:
            yield (
                "padded_seconds",
                f"must be 0, or from 0.1 to 86,400, but is {self.padded_seconds}",
            )

    @property
    def window_samples(self) -> int:
        """W."""
        return int(self.sample_rate_hz * self.window_ms / 1000)

    @property
    def hop_samples(self) -> int:
        """Samples from one window to the next."""
        return int(self.sample_rate_hz * self.hop_ms / 1000)
