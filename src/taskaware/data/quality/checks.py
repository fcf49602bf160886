"""What a recording and a text must be to be trained on.

Each check returns what is wrong, or ``None``; the caller lists, counts and leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from taskaware.data.sound.audio import END_TOLERANCE_SECONDS, AudioInfo, Sound
from taskaware.errors import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.data.quality.settings import CheckSettings
    from taskaware.types import Speech

_SHOWN = 5  # characters in one message


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is wrong with one example.

    Attributes:
        field: The manifest's field that is wrong.
        reason: What it must be, and what it is.
    """

    field: str
    reason: str


def check_recording(info: AudioInfo, speech: Speech, settings: CheckSettings) -> Finding | None:
    """Check the header of a recording and the segment of it that an example uses."""
    if info.sample_rate_hz < settings.min_sample_rate_hz:
        return Finding(
            field="audio",
            reason=f"the sample rate must be at least {settings.min_sample_rate_hz} Hz, but is "
            f"{info.sample_rate_hz} Hz",
        )
    if speech.channel is not None and speech.channel > info.num_channels:
        return Finding(
            field="channel",
            reason=f"must be from 1 to {info.num_channels}, but is {speech.channel}",
        )
    length, start = info.duration_seconds, speech.start_seconds
    if start >= length:
        return Finding(
            field="start_seconds",
            reason=f"must lie before the end of the recording ({length:.3f} s), "
            f"but is {start:.3f} s",
        )
    duration = length - start if speech.duration_seconds is None else speech.duration_seconds
    if start + duration > length + END_TOLERANCE_SECONDS:
        return Finding(
            field="duration_seconds",
            reason=f"the segment must end before the end of the recording ({length:.3f} s), "
            f"but ends at {start + duration:.3f} s",
        )
    if not settings.min_seconds <= duration <= settings.max_seconds:
        return Finding(
            field="audio" if speech.duration_seconds is None else "duration_seconds",
            reason=f"the speech must last from {settings.min_seconds:g} to "
            f"{settings.max_seconds:g} s, but lasts {duration:.3f} s",
        )
    return None


def check_sound(sound: Sound, settings: CheckSettings) -> Finding | None:
    """Check decoded samples, at least one, for silence and for channels that cancel."""
    if sound.channels_cancel:
        return Finding(
            field="audio",
            reason="the channels must not cancel each other, but little is left of them in their "
            "mean: choose one channel",
        )
    peak = float(np.abs(sound.waveform - sound.waveform.mean()).max())
    if peak < settings.min_peak:
        return Finding(
            field="audio",
            reason=f"the speech must be louder than {settings.min_peak:g} of full scale, "
            f"but is silent (peak {peak:.2g})",
        )
    return None


def check_text_length(num_pieces: int, field: str, settings: CheckSettings) -> Finding | None:
    """Check the length of a source or target text."""
    if num_pieces > settings.max_pieces:
        return Finding(
            field=field,
            reason=f"must have at most {settings.max_pieces} pieces, but has {num_pieces}",
        )
    return None


def check_pieces(lost: Sequence[str], field: str) -> Finding | None:
    """Check that a vocabulary which was cut can still write a text.

    Args:
        lost: The characters of the text that it cannot write any more.
        field: Of the manifest.
    """
    if lost:
        return Finding(
            field=field,
            reason=f"must be text of the vocabulary's pieces, but has {_quoted(lost)}, which it "
            "lost when it was cut: import the model again, with this text in --pieces-of",
        )
    return None


def check_fits_speech(
    num_frames: int, num_target_pieces: int, settings: CheckSettings
) -> Finding | None:
    """Check that a target text is not longer than its speech allows."""
    if num_target_pieces * settings.min_frames_per_piece > num_frames:
        allowed = int(num_frames / settings.min_frames_per_piece)
        return Finding(
            field="target_text",
            reason=f"the text must have at most {allowed} pieces, as the speech has {num_frames} "
            f"frames, but has {num_target_pieces}",
        )
    return None


def check_features(
    features: np.ndarray, num_columns: int | None, column: str = "features"
) -> Finding | None:
    """Check an array that a column of a manifest names; it must be ``[S, num_columns]``."""
    if features.ndim != 2 or features.shape[0] == 0 or features.dtype.kind not in "fiu":
        return Finding(
            field=column,
            reason="must be an array of numbers [frames, columns] with one frame or more, but is "
            f"{features.dtype} {list(features.shape)}",
        )
    if num_columns is not None and features.shape[1] != num_columns:
        return Finding(
            field=column,
            reason=f"must have {counted(num_columns, 'column')}, as all others here, "
            f"but has {features.shape[1]}",
        )
    with np.errstate(over="ignore"):
        halved = features.astype(np.float16)
    if not np.isfinite(halved).all():
        return Finding(
            field=column,
            reason="every number must be finite and at most 65,504 (float16), but some are not",
        )
    return None


def _quoted(characters: Sequence[str]) -> str:
    shown = ", ".join(f"'{character}'" for character in characters[:_SHOWN])
    return shown + (", ..." if len(characters) > _SHOWN else "")
