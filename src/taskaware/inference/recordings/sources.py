"""A user's source as a recording that is read by blocks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import torch

from taskaware.data.sound.sound_blocks import long_sound, long_waveform
from taskaware.inference.source_arrays import as_waveform
from taskaware.inference.source_texts import as_path
from taskaware.inference.sources import as_stream, of_another_modality, require_parts, source_name
from taskaware.types import Speech, Text

if TYPE_CHECKING:
    from taskaware.data.sound.settings import FeatureSettings
    from taskaware.data.sound.sound_blocks import LongSound
    from taskaware.inference.sources import Hearing, Source


def open_recording(source: Source, features: FeatureSettings, hearing: Hearing) -> LongSound:
    """Return a recording, of which the header alone is read here.

    Args:
        source: See ``sources``; a string is a path.
        features: The rate of a waveform that is given as numbers, unless ``hearing`` says another.
        hearing: The rate of waveforms, the channel of recordings.

    Raises:
        AudioError: It cannot be used.
        UserError: It is no recording.
    """
    require_parts(source)
    match source:
        case Speech():
            return long_sound(
                source.path,
                start_seconds=source.start_seconds,
                duration_seconds=source.duration_seconds,
                channel=hearing.channel if source.channel is None else source.channel,
            )
        case str() | os.PathLike():
            return long_sound(as_path(source), channel=hearing.channel)
        case np.ndarray() | torch.Tensor():
            rate = hearing.sample_rate_hz or features.sample_rate_hz
            name = source_name(source)
            return long_waveform(as_waveform(source, name), rate, name=name)
        case Text():
            raise of_another_modality("speech", source)
    return long_sound(as_stream(source, "speech"), channel=hearing.channel)
