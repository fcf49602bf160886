"""Synthetic English speech by many voices, through the espeak-ng library of the ``demo`` extra."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from taskaware import errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Constants of espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_PARAMETER_RATE = 1
_PARAMETER_VOLUME = 2
_PARAMETER_PITCH = 3
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)

# Accent by variant (timbre). Left out: variants that whisper, croak, echo strongly, clip or joke,
# and those whose long-term spectrum is nearly another's.
_ACCENTS = ("en-us", "en", "en-gb-x-rp", "en-gb-scotland")
_VARIANTS = (
    *("m1", "f1", "m3", "f3", "m4", "f2", "m7", "f5", "Mario", "linda", "rob", "m2"),
    *("max", "f4", "m6", "belinda", "m5", "Annie"),
)
_SLOWEST_RATE_WORDS_PER_MINUTE = 190
_PITCHES = (42, 50, 58)
# At espeak-ng's own 100 the loudest variants clip.
_VOLUME = 70
_NOISE_SEED = 1

_MARGIN_SECONDS = 0.05
_SILENCE_AMPLITUDE = 0.004


@dataclass(frozen=True, kw_only=True)
class Voice:
    """One of espeak-ng's voices.

    Attributes:
        name: Accent and variant, e.g. ``"en-us+m3"``.
        rate_words_per_minute: How fast it speaks, as espeak-ng counts (80 to 450).
        pitch: How high it speaks, relative to the variant's own pitch (0 to 99, 50 is its own).
    """

    name: str
    rate_words_per_minute: int
    pitch: int


def voices() -> tuple[Voice, ...]:
    """All voices: 18 timbres in 4 accents each. The accents of a timbre are neighbours.

    Cut at a multiple of four, they split by timbre: a held-out voice is a timbre never heard.
    """
    return tuple(
        Voice(
            name=f"{accent}+{variant}",
            rate_words_per_minute=_SLOWEST_RATE_WORDS_PER_MINUTE + 10 * ((row + column) % 4),
            pitch=_PITCHES[(row + 2 * column) % len(_PITCHES)],
        )
        for row, variant in enumerate(_VARIANTS)
        for column, accent in enumerate(_ACCENTS)
    )


class Synthesiser:
    """Speaks text. espeak-ng is a C library with one state per process, so use one thread.

    All synthesisers of a process share that state, and its noise and pitch flutter run on from call
    to call: the same calls from the start of a process give the same samples, but two recordings of
    one sentence by one voice are equal to the ear only. Give parallel work a process each.

    Attributes:
        sample_rate_hz: Of what ``synthesise`` returns.

    Raises:
        MissingDependencyError: The ``demo`` extra is not installed, or espeak-ng does not start.
    """

    def __init__(self) -> None:
        self._library, self._variants_folder, self.sample_rate_hz = _espeak()
        self._chunks: list[bytes] = []
        # Kept: ctypes does not hold on to what C calls back.
        self._callback = _CALLBACK(self._receive)

    def synthesise(self, text: str, voice: Voice) -> NDArray[np.float32]:
        """Speak ``text``.

        Returns:
            float32 ``[num_samples]`` mono in [-1, 1] at ``sample_rate_hz``, with at most 50 ms of
            silence at either end.

        Raises:
            ValueError: There is no such voice, or the text has nothing to speak.
        """
        self._select(voice)
        self._chunks.clear()
        encoded = text.encode()
        self._library.espeak_SetSynthCallback(self._callback)
        status = self._library.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded) + 1), 0, 0, 0, _CHARS_UTF8, None, None
        )
        samples = np.frombuffer(b"".join(self._chunks), dtype=np.int16)
        if status != 0 or not samples.any():
            raise ValueError(f"`text` must have something to speak, but is {text!r} instead.")
        return _trimmed(samples.astype(np.float32) / np.float32(32768), self.sample_rate_hz)

    def _select(self, voice: Voice) -> None:
        # espeak-ng takes an unknown variant for none at all, so its file is looked for.
        _, _, variant = voice.name.partition("+")
        known = not variant or (self._variants_folder / variant).is_file()
        if not known or self._library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise ValueError(
                f"`voice.name` must be a voice of espeak-ng (for example 'en-us+m3'), "
                f"but is {voice.name!r} instead."
            )
        self._library.espeak_SetParameter(_PARAMETER_RATE, voice.rate_words_per_minute, 0)
        self._library.espeak_SetParameter(_PARAMETER_PITCH, voice.pitch, 0)
        self._library.espeak_SetParameter(_PARAMETER_VOLUME, _VOLUME, 0)

    def _receive(self, samples, num_samples: int, events) -> int:
        """espeak-ng hands over what it has spoken; 0 asks for more."""
        if samples and num_samples > 0:
            self._chunks.append(ctypes.string_at(samples, num_samples * 2))
        return 0


@functools.cache
def _espeak() -> tuple[ctypes.CDLL, Path, int]:
    """The library, its folder of variants, and its sample rate. Started once per process."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise errors.MissingDependencyError(
            "Speech synthesis needs the package espeakng-loader, which is not installed. "
            "Install it with: pip install 'taskaware[demo]'"
        ) from error
    data_path = espeakng_loader.get_data_path()
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    sample_rate_hz = library.espeak_Initialize(
        _AUDIO_OUTPUT_SYNCHRONOUS, 0, str(data_path).encode(), _INITIALIZE_DONT_EXIT
    )
    if sample_rate_hz <= 0:
        raise errors.MissingDependencyError(
            f"espeak-ng must start with its data in {data_path} (a path of at most 150 bytes), but "
            f"reports error {sample_rate_hz}. Reinstall it with: pip install --force-reinstall "
            "espeakng-loader"
        )
    # It has taken the time of day as the seed of its noise.
    library.espeak_ng_SetRandSeed(ctypes.c_long(_NOISE_SEED))
    return library, Path(data_path) / "voices" / "!v", sample_rate_hz


def _trimmed(samples: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
    """The samples with at most ``_MARGIN_SECONDS`` of silence before and after."""
    loud = np.flatnonzero(np.abs(samples) > _SILENCE_AMPLITUDE)
    if loud.size == 0:
        return samples
    margin = round(_MARGIN_SECONDS * sample_rate_hz)
    return samples[max(0, loud[0] - margin) : loud[-1] + 1 + margin]
