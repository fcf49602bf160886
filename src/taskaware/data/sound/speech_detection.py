"""Where somebody speaks in a recording: a probability for each frame of 32 ms, read by blocks.

The detector is Silero's (https://github.com/snakers4/silero-vad), whose package brings its network;
that is run by onnxruntime. Without them the level of the sound decides: it tells pauses from speech
in a quiet room, and no more.

Shape legend: N samples of a block, F frames, C samples of the frame before that the network sees.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from taskaware.errors import MissingDependencyError, require_packages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from taskaware.data.sound.sound_blocks import LongSound

Detector = Literal["auto", "silero", "level"]

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 512
FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE_HZ
SPEECH = 0.5  # from this probability on a frame is speech: Silero's own threshold

_CONTEXT_SAMPLES = 64
_FRAMES_PER_CALL = 512
_NETWORK = Path("data/silero_vad_16k_sequence.onnx")
_LOWEST_DB = -100.0
_SILENT_DB = -66.0  # a peak of 0.0005, below which `prepare` calls a recording silent
_LEAST_CONTRAST_DB = 9.0
_GREATEST_CONTRAST_DB = 40.0
_FEW_FRAMES = 10  # a third of a second: a word, and no click


@dataclass(frozen=True, kw_only=True)
class Detected:
    """What was found in a recording.

    Attributes:
        probabilities: Of speech, float32 ``[F]``.
        levels_db: Root mean square of each frame, in decibels below full scale, float32 ``[F]``.
        peak: The largest sample, whatever its sign.
        detector: Who found it: ``"silero"`` or ``"level"``.
    """

    probabilities: np.ndarray
    levels_db: np.ndarray
    peak: float
    detector: str

    def is_speech(self, start_seconds: float, end_seconds: float) -> np.ndarray:
        """Return bool for each frame of a stretch, True where somebody speaks."""
        return self.probabilities[frames_between(start_seconds, end_seconds)] >= SPEECH


def frames_between(start_seconds: float, end_seconds: float) -> slice:
    """Return the frames of a stretch, one at least."""
    first = max(int(start_seconds / FRAME_SECONDS + 0.5), 0)
    return slice(first, max(int(end_seconds / FRAME_SECONDS + 0.5), first + 1))


def detect_speech(
    sound: LongSound,
    detector: Detector = "auto",
    *,
    progress: Callable[[float], None] | None = None,
) -> Detected:
    """Return where somebody speaks.

    Args:
        sound: The recording; it is read once, by blocks.
        detector: ``"silero"``, ``"level"``, or ``"auto"``: Silero's where it is installed.
        progress: Called with the seconds that are read.

    Raises:
        MissingDependencyError: Silero's is asked for and not installed.
        AudioError: The recording is damaged.
    """
    network = None if detector == "level" else _network_file(needed=detector == "silero")
    silero = None if network is None else _Silero(network)
    levels: list[np.ndarray] = []
    found: list[np.ndarray] = []
    peak = seconds = 0.0
    for frames in _frames(sound.blocks(SAMPLE_RATE_HZ)):
        peak = max(peak, float(np.abs(frames - frames.mean()).max()))
        levels.append(_levels_db(frames))
        if silero is not None:
            found.append(silero.probabilities(frames))
        seconds += len(frames) * FRAME_SECONDS
        if progress is not None:
            progress(min(seconds, sound.duration_seconds))
    levels_db = np.concatenate(levels) if levels else np.zeros(0, dtype=np.float32)
    return Detected(
        probabilities=np.concatenate(found) if found else speech_by_level(levels_db),
        levels_db=levels_db,
        peak=peak,
        detector="level" if silero is None else "silero",
    )


def speech_by_level(levels_db: np.ndarray) -> np.ndarray:
    """Return how likely each frame is speech by its level alone, float32 ``[F]``.

    A frame is as likely speech as not where it is a third of the way up from the level of the
    quietest tenth of the recording to that of the loudest twentieth. Where these differ by less
    than 9 dB, no pause is to be heard, and all is speech; where the loudest is below -66 dB, none.
    But where the loudest third of a second is 18 dB above the rest, it is that which is the
    loudest: hours may hold a few words.
    """
    if not len(levels_db):
        return levels_db
    low, high = np.quantile(levels_db, (0.1, 0.95))
    if high < _SILENT_DB or high - low < _LEAST_CONTRAST_DB:
        few = min(_FEW_FRAMES, len(levels_db))
        loudest = np.partition(levels_db, -few)[-few]
        if loudest - high >= 2 * _LEAST_CONTRAST_DB:
            high = loudest
    if high < _SILENT_DB:
        return np.zeros_like(levels_db)
    if high - low < _LEAST_CONTRAST_DB:
        return np.ones_like(levels_db)
    low = max(low, high - _GREATEST_CONTRAST_DB)
    middle, slope = low + (high - low) / 3, (high - low) / 12
    return (1 / (1 + np.exp(-(levels_db - middle) / slope))).astype(np.float32)


def _levels_db(frames_FN: np.ndarray) -> np.ndarray:
    power = np.square(frames_FN - frames_FN.mean(axis=1, keepdims=True)).mean(axis=1)
    return (10 * np.log10(np.maximum(power, 10 ** (_LOWEST_DB / 10)))).astype(np.float32)


def _frames(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the samples in whole frames, float32 ``[F, 512]``; the last is filled with silence."""
    rest = np.zeros(0, dtype=np.float32)
    for block in blocks:
        samples = np.concatenate([rest, block])
        whole = len(samples) - len(samples) % FRAME_SAMPLES
        if whole:
            yield samples[:whole].reshape(-1, FRAME_SAMPLES)
        rest = samples[whole:]
    if len(rest):
        yield np.pad(rest, (0, FRAME_SAMPLES - len(rest)))[None]


class _Silero:
    """Silero's network at work; what it remembers goes from block to block."""

    def __init__(self, network: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(network), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._before = np.zeros(_CONTEXT_SAMPLES, dtype=np.float32)
        self._hidden = np.zeros((1, 1, 128), dtype=np.float32)
        self._cell = np.zeros((1, 1, 128), dtype=np.float32)

    def probabilities(self, frames_FN: np.ndarray) -> np.ndarray:
        """Return the probability of speech in the frames that come next, float32 ``[F]``."""
        found = []
        for start in range(0, len(frames_FN), _FRAMES_PER_CALL):
            part = frames_FN[start : start + _FRAMES_PER_CALL]
            before_FC = np.vstack([self._before, part[:-1, -_CONTEXT_SAMPLES:]])
            self._before = part[-1, -_CONTEXT_SAMPLES:].copy()
            values, self._hidden, self._cell = self._session.run(
                ["speech_probs", "hn", "cn"],
                {"input": np.hstack([before_FC, part]), "h": self._hidden, "c": self._cell},
            )
            found.append(np.asarray(values, dtype=np.float32).reshape(-1))
        return np.concatenate(found)


def _network_file(*, needed: bool) -> Path | None:
    """Return the file of Silero's network, or ``None`` where it is not installed."""
    if needed:
        require_packages("the detector 'silero'", "long", "silero_vad", "onnxruntime")
    # The package itself is not imported: it would set the number of torch's threads to 1.
    spec = importlib.util.find_spec("silero_vad")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    network = next(
        (Path(one) / _NETWORK for one in folders if (Path(one) / _NETWORK).is_file()), None
    )
    if needed and network is None:
        raise MissingDependencyError(
            "the detector 'silero' needs silero-vad 6.2.3 or newer, but an older one is installed: "
            "pip install --upgrade 'taskaware[long]'"
        )
    return network if importlib.util.find_spec("onnxruntime") is not None else None
