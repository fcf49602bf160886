"""What a user may give a model as a source, and how it becomes what the model reads.

What a source is:

* a ``Path`` is a file: a recording, or features (``.npy``);
* bytes and open binary files are recordings (or ``.npy`` files of features);
* a ``Speech`` is a segment of a recording, or one channel of it;
* an array or tensor of one dimension is a waveform, one of two dimensions is features;
* a ``Text`` is a text;
* a string is a path for a task that takes speech or features, and a text for a task that takes
  text. Where no task says which, it is a path if it names a file (``names_a_file``), else a text.
  A text task refuses a string that names a file: a ``Text`` says that it is a text all the same.

Shape legend: N samples, S source positions, F feature bins.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, TypedDict

import numpy as np
import torch

from taskaware.data.manifest.line import channel_number
from taskaware.data.quality.checks import check_features
from taskaware.data.quality.doubts import doubts_about_sound, too_long_to_hear
from taskaware.data.sound import audio
from taskaware.data.sound.audio import Sound
from taskaware.data.sound.features import log_mel
from taskaware.data.writing_systems import visible
from taskaware.errors import AudioError, DataError, UserError, counted
from taskaware.inference.source_arrays import as_numpy, as_waveform, load_array
from taskaware.inference.source_texts import as_path, require_unicode
from taskaware.types import MODALITIES, Speech, Text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskaware.data.sound.settings import FeatureSettings
    from taskaware.data.vocabulary.vocabulary import Vocabulary
    from taskaware.types import Modality

AUDIO_SUFFIXES = frozenset(
    (
        *("aac", "aif", "aifc", "aiff", "amr", "ape", "au", "caf", "flac", "m4a", "m4b", "mka"),
        *("mp2", "mp3", "mp4", "oga", "ogg", "opus", "ra", "rf64", "snd", "sph", "spx", "voc"),
        *("w64", "wav", "webm", "wma", "wv"),
    )
)
"""Endings of recordings, without the dot; some of them cannot be read, but none is a text."""

BYTES = bytes | bytearray | memoryview

Source = Text | Speech | str | os.PathLike[str] | BYTES | BinaryIO | np.ndarray | torch.Tensor
"""One source; see the top of this file."""

_EXPECTED: Mapping[Modality, str] = {
    "text": "a text",
    "speech": "a recording (a path, bytes, an open binary file) or a waveform of one dimension",
    "features": "a .npy file or an array of two dimensions",
}
_SAMPLE_RATES_HZ = (1_000, 1_000_000)
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, kw_only=True)
class Hearing:
    """How recordings and waveforms are heard.

    Attributes:
        sample_rate_hz: Rate of the waveforms that are given as numbers; ``None``: the model's own.
        channel: The channel of recordings that is heard, from 1; ``None``: the mean of all.
    """

    sample_rate_hz: int | None = None
    channel: int | None = None

    @classmethod
    def of(cls, *, sample_rate_hz: int | None = None, channel: int | str = "mean") -> Hearing:
        """Check what a user says.

        Raises:
            UserError: The rate or the channel is impossible.
        """
        lowest, highest = _SAMPLE_RATES_HZ
        is_whole = isinstance(sample_rate_hz, int | np.integer)
        if sample_rate_hz is not None and not (is_whole and lowest <= sample_rate_hz <= highest):
            raise UserError(
                f"`sample_rate_hz` must be a whole number from {lowest} to {highest}, but is "
                f"{sample_rate_hz!r}"
            )
        rate = None if sample_rate_hz is None else int(sample_rate_hz)
        return cls(sample_rate_hz=rate, channel=channel_number(channel))


class HearingOptions(TypedDict, total=False):
    """How recordings and waveforms are heard, as keywords; see ``Hearing``."""

    sample_rate_hz: int | None
    channel: int | str


@dataclass(frozen=True, kw_only=True)
class ReadSource:
    """A source as a model reads it.

    Attributes:
        array: float32 ``[S, F]`` or int64 ``[S]``.
        name: What messages call it.
        doubts: Why the output may be worth nothing, for example that the recording is silent.
        is_blank: Whether it is a text without a word, whose output is an empty text.
    """

    array: np.ndarray
    name: str
    doubts: tuple[str, ...] = ()
    is_blank: bool = False


def as_list(
    sources: Iterable[Source],
    *,
    what: str = "several sources",
    advice: str = "put one source into brackets, or use `run`",
) -> list[Source]:
    """Return several sources as a list.

    Args:
        sources: What was given.
        what: What it is called in the message.
        advice: What to do.

    Raises:
        UserError: It is one source; a string or an array would fall into its parts.
    """
    one = str | BYTES | os.PathLike | np.ndarray | torch.Tensor | io.IOBase
    if isinstance(sources, one) or not isinstance(sources, Iterable):
        raise UserError(f"{what} must be a list, but are a {type(sources).__name__}: {advice}")
    found = list(sources)
    for source in found:
        require_parts(source)
    return found


def require_parts(source: object) -> None:
    """Require that what a source consists of is of the right types, and a file open.

    Raises:
        UserError: It is not.
    """
    match source:
        case Text() if not isinstance(source.text, str):
            raise UserError(f"the text of a Text must be a str, but is {_a_type(source.text)}")
        case Speech():
            times = (source.start_seconds, source.duration_seconds or 0.0)
            if not isinstance(source.path, str | os.PathLike):
                raise UserError(f"a Speech must have a path, but has one {_a_type(source.path)}")
            if not all(isinstance(time, int | float | np.number) for time in times):
                raise UserError("the times of a Speech must be numbers of seconds, but are not")
            channel_number("mean" if source.channel is None else source.channel)
        case torch.Tensor() if source.is_nested:
            raise UserError("a tensor must be a dense one, but is nested: give each of its parts")
    if getattr(source, "closed", False) is True:
        raise UserError("a file must be open, but is closed: open it again, open(path, 'rb')")


def names_a_file(text: str) -> bool:
    """Return whether a string names a file rather than being a text.

    It does where it ends like a recording (``.wav``) or features (``.npy``) and is one word, or
    begins with a folder (``my recordings/talk one.wav``); and where a file of this name exists,
    unless the name is a mere word and the file is no recording. "See www.abc.net.au" does not.
    """
    words = text.split()
    if not words:
        return False
    separators = (os.sep, os.altsep or os.sep)
    begins_with_folder = any(sign in words[0] for sign in separators) and "://" not in words[0]
    suffix = text.rpartition(".")[2].lower()
    if (suffix in AUDIO_SUFFIXES or suffix == "npy") and (len(words) == 1 or begins_with_folder):
        return True
    # Not Path.is_file, which fails for a text that is too long for a name.
    if not os.path.isfile(text):  # noqa: PTH113
        return False
    return "." in text or begins_with_folder or audio.is_recording(text)


def modality_of(source: Source) -> Modality:
    """Return what a source is where no task says it; the rule is at the top of this file.

    Raises:
        UserError: It is nothing that a model reads.
    """
    require_parts(source)
    match source:
        case Text():
            return "text"
        case str():
            return _modality_of_file(source) if names_a_file(source) else "text"
        case os.PathLike():
            return _modality_of_file(os.fspath(source))
        case Speech() | bytes() | bytearray() | memoryview():
            return "speech"
        case np.ndarray() | torch.Tensor():
            return "features" if source.ndim == 2 and 1 not in source.shape else "speech"
    if hasattr(source, "read"):
        return "speech"
    raise UserError(
        "a source must be a text, a recording (a path, bytes, an open binary file), a waveform or "
        f"features, but is {_a_type(source)}"
    )


def read_source(
    source: Source,
    modality: Modality,
    *,
    vocabulary: Vocabulary,
    feature_settings: FeatureSettings,
    num_columns: int | None = None,
    longest_frames: int | None = None,
    hearing: Hearing | None = None,
) -> ReadSource:
    """Return a source as a model reads it.

    Args:
        source: See the top of this file.
        modality: What the task takes.
        vocabulary: Cuts texts.
        feature_settings: How a waveform becomes features.
        num_columns: F that features must have; ``None``: any.
        longest_frames: What a recording may have; ``None``: any number.
        hearing: The rate of waveforms, the channel of recordings.

    Raises:
        AudioError: A recording cannot be read, is not finite, has no whole frame or too many.
        DataError: Features cannot be read, or are not what the model takes.
        UserError: The source is of another modality.
    """
    require_parts(source)
    hearing = hearing or Hearing()
    facts = MODALITIES[modality]
    if facts.is_text:
        text = _text(source)
        return ReadSource(
            array=np.array(vocabulary.encode_source(text), dtype=np.int64),
            name=_short(text),
            is_blank=not visible(text).strip(),
        )
    name = source_name(source)
    if not facts.is_recording:
        return ReadSource(array=_features(source, num_columns), name=name)
    sound = _sound(source, name, feature_settings, hearing)
    frames = _log_mel(sound.waveform, name, feature_settings)
    too_long = too_long_to_hear(len(frames), longest_frames, feature_settings)
    if too_long is not None:
        raise AudioError(f"{name}: {too_long}")
    return ReadSource(
        array=frames,
        name=name,
        doubts=doubts_about_sound(sound, feature_settings),
    )


def source_name(source: Source) -> str:
    """Return what messages call a source."""
    match source:
        case Text():
            return _short(source.text)
        case str():
            return _short(audio.shown(source))
        case os.PathLike():
            return audio.shown(os.fspath(source))
        case Speech():
            start, duration = source.start_seconds, source.duration_seconds
            end = "" if duration is None else f"{start + duration:g}"
            stretch = f" ({start:g} to {end or 'its end,'} s)" if start or end else ""
            return audio.shown(source.path) + stretch
        case np.ndarray() | torch.Tensor():
            return "the waveform" if source.ndim < 2 or 1 in source.shape else "the features"
    return str(getattr(source, "name", "the recording"))


# --- texts ---


def _text(source: Source) -> str:
    match source:
        case Text():
            text = source.text
        case str():
            if names_a_file(source):
                raise UserError(
                    f"'{audio.shown(source)}' names a file, but the task takes a text: for a text "
                    "give Text('...') of taskaware, for a recording take a task for speech"
                )
            text = source
        case _:
            raise of_another_modality("text", source)
    require_unicode(text)
    return text


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


# --- recordings ---


def _sound(source: Source, name: str, feature_settings: FeatureSettings, hearing: Hearing) -> Sound:
    """Return the samples of a source at the model's rate."""
    rate = feature_settings.sample_rate_hz
    match source:
        case Speech():
            channel = hearing.channel if source.channel is None else source.channel
            return audio.read_sound(
                source.path,
                sample_rate_hz=rate,
                start_seconds=source.start_seconds,
                duration_seconds=source.duration_seconds,
                channel=channel,
            )
        case str() | os.PathLike():
            return audio.read_sound(as_path(source), sample_rate_hz=rate, channel=hearing.channel)
        case np.ndarray() | torch.Tensor():
            own_rate = hearing.sample_rate_hz or rate
            waveform = as_waveform(source, name)
            audio.require_samples(waveform, name)
            heard = audio.resampled(waveform, own_rate, rate)
            return Sound(waveform=heard, sample_rate_hz=own_rate)
    stream = as_stream(source, "speech")
    return audio.read_sound(stream, sample_rate_hz=rate, channel=hearing.channel)


def _log_mel(waveform: np.ndarray, name: str, feature_settings: FeatureSettings) -> np.ndarray:
    frames = log_mel(torch.from_numpy(waveform), feature_settings).numpy()
    if not len(frames):
        raise AudioError(
            f"{name}: must last at least {feature_settings.window_ms:g} ms, but has "
            f"{counted(len(waveform), 'sample')}"
        )
    return frames


# --- features ---


def _features(source: Source, num_columns: int | None) -> np.ndarray:
    """Return features as float32 ``[S, F]``."""
    name = source_name(source)
    match source:
        case np.ndarray() | torch.Tensor():
            array = as_numpy(source)
        case str() | os.PathLike():
            array = load_array(as_path(source), name)
        case _:
            array = load_array(as_stream(source, "features"), name)
    finding = check_features(array, num_columns)
    if finding is not None:
        raise DataError(f"{name}: {finding.reason}")
    return array.astype(np.float32)


# --- any ---


def as_stream(source: Source, modality: Modality) -> BinaryIO:
    """Return bytes or an open file as a binary file.

    Raises:
        UserError: It is another source.
    """
    if isinstance(source, BYTES):
        return io.BytesIO(source)
    if isinstance(source, io.TextIOBase):
        raise UserError("a file must be opened as binary, open(path, 'rb'), but is opened as text")
    if not isinstance(source, str | Text) and hasattr(source, "read"):
        return source  # type: ignore[return-value]
    raise of_another_modality(modality, source)


def _modality_of_file(path: str) -> Modality:
    return "features" if path.lower().endswith(".npy") else "speech"


def of_another_modality(modality: Modality, source: object) -> UserError:
    """Return the exception for a source that a task does not take."""
    hint = ""
    if isinstance(source, os.PathLike) and modality == "text":
        hint = ": a path is a file; give the text that it holds, or a list of its lines"
    return UserError(
        f"the source of a {modality} task must be {_EXPECTED[modality]}, but is "
        f"{_a_type(source)}{hint}"
    )


def _a_type(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} within a list"
    return f"of type {type(value).__name__}"
