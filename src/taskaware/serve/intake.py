"""What clients send, checked before it costs anything: recordings, features, texts.

Nothing here takes a name of a client's for a file's: sources are bytes and ``Text`` alone.

Shape legend: S source positions, F feature bins.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from taskaware.data.sound import audio
from taskaware.errors import AudioError, TaskawareError
from taskaware.inference.recordings.sources import open_recording
from taskaware.inference.recordings.transcribing import is_long
from taskaware.inference.sources import Hearing
from taskaware.serve.failures import ServiceError, of_error, too_large
from taskaware.types import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import soundfile

    from taskaware.data.sound.sound_blocks import LongSound
    from taskaware.inference.model import TaskAwareModel
    from taskaware.inference.sources import ReadSource
    from taskaware.serve.settings import ServeSettings
    from taskaware.types import Task

_SAMPLE_RATES_HZ = (1_000, 768_000)
# Samples of all channels for each second that a recording may last: stereo at 96 kHz.
_SAMPLES_A_SECOND = 192_000
# What libsndfile says where a FLAC header does not give the length.
_UNKNOWN_FRAMES = 1 << 36
_BLOCK_SAMPLES = 1 << 20
_MAX_FEATURE_HEADER = 10_000
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Content(io.BytesIO):
    """A client's file. A decoder that is led before its beginning stays where it is.

    An exception would not reach us through the decoder, but standard error.
    """

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A source as it goes to the model.

    Attributes:
        read: What the model reads; ``None`` of a recording that is too long to be read at once.
        sound: A recording, to be read by blocks; ``None`` of any other source.
        in_parts: Whether it is decoded in parts.
    """

    read: ReadSource | None = None
    sound: LongSound | None = None
    in_parts: bool = False

    @property
    def num_pieces(self) -> int:
        """How many pieces a text has; 0 of any other source."""
        if self.read is None or self.read.array.ndim != 1:
            return 0
        return len(self.read.array)

    @property
    def duration_seconds(self) -> float | None:
        """How long a recording is."""
        return None if self.sound is None else self.sound.duration_seconds


def read_text(model: TaskAwareModel, text: str, settings: ServeSettings) -> Heard:
    """Return a text as the model reads it.

    Raises:
        ServiceError: It is too long, or no Unicode.
    """
    require_short(text, settings, "text")
    try:
        read = model.read_source(Text(text), "text")
    except TaskawareError as error:
        raise of_error(error, param="text") from error
    _require_few_pieces(len(read.array), settings, "text")
    return Heard(read=read)


def pieces_of_target(model: TaskAwareModel, text: str, settings: ServeSettings, param: str) -> int:
    """Return how many pieces the target of an example has.

    Raises:
        ServiceError: It is too long, or no Unicode.
    """
    require_short(text, settings, param)
    number = len(model.vocabulary.encode(text))
    _require_few_pieces(number, settings, param)
    return number


def require_few_together(number: int, settings: ServeSettings, param: str) -> None:
    """Check how many pieces the texts of a request have together.

    Raises:
        ServiceError: They have too many.
    """
    if number > settings.max_pieces_a_request:
        raise too_large(
            f"the texts of a request must have at most {settings.max_pieces_a_request:,} pieces of "
            f"the model's vocabulary together, each counted for every task, but have {number:,}: "
            "send several requests",
            param,
        )


def _require_few_pieces(number: int, settings: ServeSettings, param: str) -> None:
    if number > settings.max_pieces:
        raise too_large(
            f"a text must have at most {settings.max_pieces:,} pieces of the model's vocabulary, "
            f"but has {number:,}: cut it into shorter ones",
            param,
        )


def require_short(text: str, settings: ServeSettings, param: str) -> None:
    """Check that a text is Unicode, and no longer than the service takes.

    Raises:
        ServiceError: It is.
    """
    if len(text) > settings.max_characters:
        raise too_large(
            f"a text must have at most {settings.max_characters:,} characters, but has "
            f"{len(text):,}: cut it into shorter ones",
            param,
        )
    if _SURROGATE.search(text):
        raise ServiceError("a text must be Unicode, but has half of a surrogate pair", param=param)


def read_features(model: TaskAwareModel, content: bytes, settings: ServeSettings) -> Heard:
    """Return features, the bytes of a ``.npy``, as the model reads them.

    Raises:
        ServiceError: They are too large, damaged, or something else.
    """
    _require_size(content, settings, "features")
    with telling("features"):
        _require_whole_array(content)
        return Heard(read=model.read_source(io.BytesIO(content), "features"))


def read_recording(
    model: TaskAwareModel,
    content: bytes,
    tasks: Sequence[Task],
    settings: ServeSettings,
    *,
    param: str,
    in_parts: bool = False,
) -> Heard:
    """Return a recording as it goes to the model.

    Args:
        model: The model.
        content: Any container that libsndfile reads.
        tasks: Those that will hear it.
        settings: The limits.
        param: What to call it in errors.
        in_parts: Whether it is decoded in parts also where it is short.

    Raises:
        ServiceError: It is too long or too large, damaged, or something else.
    """
    sound = opened(model, content, settings, param=param)
    with telling(param), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what speaks against an output is in the answer
        if is_long(model, tasks, sound):
            return Heard(sound=sound, in_parts=True)
        read = model.read_source(_Content(content), "speech")
        return Heard(read=read, sound=sound, in_parts=in_parts)


def opened(
    model: TaskAwareModel, content: bytes, settings: ServeSettings, *, param: str
) -> LongSound:
    """Return a recording that is within the limits; none of it is decoded.

    Raises:
        ServiceError: As ``read_recording``.
    """
    _require_size(content, settings, param)
    with telling(param):
        require_declared_length(content, settings)
        return open_recording(_Content(content), model.feature_settings, Hearing())


def _require_size(content: bytes, settings: ServeSettings, param: str) -> None:
    if len(content) > settings.max_upload_bytes:
        raise too_large(
            f"a file must have at most {settings.max_upload_bytes:,} bytes, but has "
            f"{len(content):,}",
            param,
        )
    if not content:
        what = "features (.npy)" if param == "features" else "a recording"
        raise ServiceError(
            f"the file must be {what}, but is empty (0 bytes)", code="invalid_audio", param=param
        )


@contextmanager
def telling(param: str) -> Iterator[None]:
    """Turn what is raised for a file into what a client is told."""
    try:
        yield
    except TaskawareError as error:
        raise of_error(error, param=param) from error
    except (MemoryError, ValueError, RuntimeError, ArithmeticError, OSError) as error:
        # Of libraries that decode what strangers made.
        raise ServiceError(
            f"the file cannot be decoded ({error}): convert it (ffmpeg -i IN OUT.flac)",
            code="invalid_audio",
            param=param,
        ) from error


def from_base64(text: str, settings: ServeSettings, param: str) -> bytes:
    """Return what base64 text holds.

    Raises:
        ServiceError: It is something else, or too large.
    """
    if len(text) > settings.max_upload_bytes * 4 // 3 + 8:
        raise too_large(
            f"a recording must have at most {settings.max_upload_bytes:,} bytes, but this has more",
            param,
        )
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ServiceError(
            f"must be base64 (RFC 4648, without line breaks), but is not: {error}", param=param
        ) from error


def require_declared_length(content: bytes, settings: ServeSettings) -> None:
    """Check that a recording is within the limits by its header.

    Decoders make no more of a file than its header says, so that small files cannot become large:
    a header that says too much is refused, and one that says nothing is counted up to the limit.

    Raises:
        AudioError: It is no recording.
        ServiceError: It is too long.
    """
    import soundfile

    try:
        with soundfile.SoundFile(_Content(content)) as file:
            _require_possible(file.samplerate, file.channels)
            most = _most_frames(file.samplerate, file.channels, settings)
            if file.frames >= _UNKNOWN_FRAMES:
                _count_up_to(file, most, settings)
            elif file.frames > most:
                raise _too_long(file.frames / file.samplerate, file.channels, settings)
    except (soundfile.SoundFileError, TypeError):
        pass  # `info` says what is wrong
    info = audio.info(_Content(content))
    frames = math.ceil(info.duration_seconds * info.sample_rate_hz)
    if frames > _most_frames(info.sample_rate_hz, info.num_channels, settings):
        raise _too_long(info.duration_seconds, info.num_channels, settings)


def _require_possible(rate_hz: int, num_channels: int) -> None:
    lowest, highest = _SAMPLE_RATES_HZ
    if not lowest <= rate_hz <= highest:
        raise AudioError(
            f"the sample rate must be from {lowest:,} to {highest:,} Hz, but is {rate_hz:,} Hz"
        )
    if num_channels < 1:
        raise AudioError("a recording must have a channel, but has none")


def _most_frames(rate_hz: int, num_channels: int, settings: ServeSettings) -> int:
    by_time = settings.max_seconds * rate_hz
    by_memory = settings.max_seconds * _SAMPLES_A_SECOND / num_channels
    return int(min(by_time, by_memory)) + 1


def _too_long(seconds: float, num_channels: int, settings: ServeSettings) -> ServiceError:
    channels = f" in {num_channels} channels" if num_channels > 2 else ""
    return too_large(
        f"a recording must last at most {settings.max_seconds:g} s, but lasts "
        f"{seconds:,.1f} s{channels}: cut it into parts"
    )


def _count_up_to(file: soundfile.SoundFile, most: int, settings: ServeSettings) -> None:
    """Decode a recording whose header does not say its length, in blocks, up to a limit."""
    import soundfile

    size = max(_BLOCK_SAMPLES // file.channels, 1)
    block = np.empty((size, file.channels), dtype=np.float32)
    count = 0
    try:
        while read := len(file.read(out=block)):
            count += read
            if count > most:
                raise _too_long(count / file.samplerate, file.channels, settings)
    except soundfile.SoundFileError:
        return  # at the end of such a file


def _require_whole_array(content: bytes) -> None:
    """Check that a ``.npy`` holds what its header says, before room for that is made.

    Raises:
        ServiceError: It does not.
    """
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, kind = read(stream, max_header_size=_MAX_FEATURE_HEADER)
    except (ValueError, KeyError, EOFError, SyntaxError, RecursionError, MemoryError) as error:
        raise ServiceError(
            "features must be a NumPy file of one array (.npy), but cannot be read as one",
            code="invalid_features",
        ) from error
    declared, there = math.prod(shape) * kind.itemsize, len(content) - stream.tell()
    if kind.hasobject or declared != there:
        raise ServiceError(
            f"features must be a whole NumPy file of numbers, but its header says {declared:,} "
            f"bytes and it holds {there:,}",
            code="invalid_features",
        )
