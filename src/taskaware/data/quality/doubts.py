"""What speaks against the output for a source: there will be one, or there can be none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.data.quality.checks import check_sound
from taskaware.data.quality.settings import CheckSettings

if TYPE_CHECKING:
    from taskaware.data.sound.audio import Sound
    from taskaware.data.sound.settings import FeatureSettings
    from taskaware.types import ModalityFacts

# Much longer is half as long again and 1 s or 10 pieces more: a text of 6 pieces is no doubt after
# training on 3.
_MUCH_LONGER = 1.5
_MUCH_MORE = {"frames": 100, "pieces": 10}
# What `prepare` takes by default: 40 s of speech, 500 pieces.
_LONGEST_UNLESS_KNOWN = {"frames": 4_000, "pieces": 500}


def doubts_about_sound(sound: Sound, feature_settings: FeatureSettings) -> tuple[str, ...]:
    """Return why ``prepare`` would not have trained on a recording."""
    checks = CheckSettings()
    doubts = []
    finding = check_sound(sound, checks)
    if finding is not None:
        doubts.append(finding.reason)
    seconds = len(sound.waveform) / feature_settings.sample_rate_hz
    if seconds < checks.min_seconds:
        doubts.append(
            f"the speech must last at least {checks.min_seconds:g} s, but lasts {seconds:.3f} s"
        )
    if sound.sample_rate_hz < checks.min_sample_rate_hz:
        doubts.append(
            f"the sample rate must be at least {checks.min_sample_rate_hz} Hz, but is "
            f"{sound.sample_rate_hz} Hz"
        )
    return tuple(doubts)


def doubt_about_length(
    length: int, longest: int | None, modality: ModalityFacts, feature_settings: FeatureSettings
) -> str | None:
    """Return a warning where a source is much longer than anything in training.

    Args:
        length: Of the source, in frames or pieces.
        longest: Of the sources in training; ``None``: not known, so what is usual is taken.
        modality: Of the source.
        feature_settings: How long a frame is.
    """
    bound = longest or _LONGEST_UNLESS_KNOWN[modality.unit]
    if length <= max(_MUCH_LONGER * bound, bound + _MUCH_MORE[modality.unit]):
        return None
    is_, most = f"{length:,} {modality.unit}", f"{bound:,} {modality.unit}"
    if modality.is_recording:
        hop_seconds = feature_settings.hop_ms / 1000
        is_, most = f"{length * hop_seconds:,.1f} s", f"{bound * hop_seconds:,.1f} s"
    where = "that the model was trained on" if longest else "that models are usually trained on"
    return (
        f"the source is {is_} long, but the longest {where} is {most}: the output may be wrong or "
        "break off; cut the source into shorter ones"
    )


def too_long_to_hear(
    num_frames: int, longest: int | None, feature_settings: FeatureSettings
) -> str | None:
    """Return why a model cannot hear a recording, where it is longer than its learnt positions.

    Args:
        num_frames: Of the recording.
        longest: Frames that the model's encoder takes; ``None``: any number.
        feature_settings: How long a frame is.
    """
    if longest is None or num_frames <= longest:
        return None
    hop_seconds = feature_settings.hop_ms / 1000
    return (
        f"a recording must last at most {longest * hop_seconds:g} s, as the model hears no more at "
        f"once, but lasts {num_frames * hop_seconds:,.2f} s: cut it into parts"
    )
