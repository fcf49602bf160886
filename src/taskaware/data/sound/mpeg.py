"""How long an MPEG audio stream (mp3) is: its frames counted, since its header only estimates.

An MP3 without a Xing, Info or VBRI frame does not say how long it is. Decoders then guess from the
first frame's bit rate and the file's size: a guess that is too long makes a whole file look
truncated, one that is too short makes a decoder stop early. Reading the four-byte header of every
frame takes far less time than decoding (0.1 s for an hour) and is exact.

Layout of frames and their headers: ISO/IEC 11172-3 section 2.4.1, ISO/IEC 13818-3; the Xing and
Info frame: http://gabriel.mp3-tech.org/mp3infotag.html; tags: https://id3.org/id3v2.4.0-structure.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEADER_BYTES = 4
_ID3_HEADER_BYTES = 10
_LAYER_3_BITRATES = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_LAYER_2_BITRATES = {
    1: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_LAYER_1_BITRATES = {
    1: (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
}
_BITRATES_KBPS = {1: _LAYER_1_BITRATES, 2: _LAYER_2_BITRATES, 3: _LAYER_3_BITRATES}
_RATES_HZ = {1: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 3: (11_025, 12_000, 8_000)}


@dataclass(frozen=True, kw_only=True)
class MpegStream:
    """What the frames of a stream say.

    Attributes:
        first_byte: Where the first frame begins that holds sound.
        num_frames: Frames that hold sound.
        samples_per_frame: Samples of each channel in a frame.
        declared_frames: How many a Xing, Info or VBRI frame promises; ``None`` where there is none.
        is_cut: Whether the data end inside a frame.
        layer: 1, 2 or 3; mp3 is layer 3.
    """

    first_byte: int
    num_frames: int
    samples_per_frame: int
    declared_frames: int | None
    is_cut: bool
    layer: int

    @property
    def num_samples(self) -> int:
        """Samples of each channel."""
        return self.num_frames * self.samples_per_frame

    @property
    def is_truncated(self) -> bool:
        """Whether the stream is known to be shorter than it was."""
        return self.is_cut or (
            self.declared_frames is not None and self.declared_frames > self.num_frames + 1
        )

    @property
    def header_is_right(self) -> bool:
        """Whether a frame at the beginning says how many there are."""
        return self.declared_frames is not None and abs(self.declared_frames - self.num_frames) <= 1


@dataclass(frozen=True, slots=True)
class _Header:
    """The header of a frame: its size, and what must not change from frame to frame."""

    version: int  # 1, 2, or 3 for MPEG 2.5
    layer: int
    rate_hz: int
    num_bytes: int
    has_checksum: bool
    is_mono: bool

    @property
    def samples(self) -> int:
        if self.layer == 1:
            return 384
        return 576 if self.layer == 3 and self.version != 1 else 1152


def scan(data: bytes) -> MpegStream | None:
    """Count the frames of an MPEG audio stream.

    Returns:
        ``None`` where no frames are found, or where their size cannot be known (free format).
    """
    start = _after_tags(data)
    place = _next_frame(data, start, None)
    if place is None:
        return None
    first = _header(data, place)
    assert first is not None
    declared, is_information = _declared_frames(data, place, first)
    first_byte = place + first.num_bytes if is_information else place
    sizes: dict[bytes, int] = {}  # a stream has few different headers: each is taken apart once
    place, num_frames, is_cut = first_byte, 0, False
    while place + _HEADER_BYTES <= len(data):
        word = data[place : place + _HEADER_BYTES]
        size = sizes.get(word)
        if size is None:
            header = _header(data, place)
            if header is None or not _same_stream(header, first):
                found = _next_frame(data, place + 1, first)
                if found is None:
                    break  # a tag at the end
                place = found
                continue
            size = sizes[word] = header.num_bytes
        if place + size > len(data):
            is_cut = True
            break
        num_frames += 1
        place += size
    return MpegStream(
        first_byte=first_byte,
        num_frames=num_frames,
        samples_per_frame=first.samples,
        declared_frames=declared,
        is_cut=is_cut,
        layer=first.layer,
    )


def with_frame_count(data: bytes, stream: MpegStream) -> bytes:
    """Return a layer III stream with an Info frame that says how many frames there are."""
    word = bytearray(data[stream.first_byte : stream.first_byte + _HEADER_BYTES])
    word[1] |= 1  # no checksum
    # The frame needs room for its side information and the count, whatever the bit rate.
    word[2] = (8 << 4) | (word[2] & 0b1100)
    header = _header(bytes(word), 0)
    assert header is not None
    info = b"Info" + struct.pack(">II", 1, stream.num_frames)
    frame = bytes(word) + b"\0" * _side_information_bytes(header) + info
    return frame.ljust(header.num_bytes, b"\0") + data[stream.first_byte :]


def wav_payload(data: bytes) -> bytes | None:
    """Return what the data chunk of a WAV file holds, or ``None`` where there is none."""
    place = 12
    while place + 8 <= len(data):
        name, size = data[place : place + 4], struct.unpack_from("<I", data, place + 4)[0]
        if name == b"data":
            return data[place + 8 : place + 8 + size]
        place += 8 + size + size % 2
    return None


def _header(data: bytes, place: int) -> _Header | None:
    """Take a frame's header apart; ``None`` where it is none."""
    if place + _HEADER_BYTES > len(data) or data[place] != 0xFF or data[place + 1] < 0xE0:
        return None
    second, third, fourth = data[place + 1 : place + 4]
    version = {0b00: 3, 0b10: 2, 0b11: 1}.get(second >> 3 & 0b11)
    layer = 4 - (second >> 1 & 0b11)
    bitrate, rate, padding = third >> 4, third >> 2 & 0b11, third >> 1 & 1
    if version is None or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    rate_hz = _RATES_HZ[version][rate]
    bits = 1000 * _BITRATES_KBPS[layer][min(version, 2)][bitrate]
    if layer == 1:
        num_bytes = (12 * bits // rate_hz + padding) * 4
    else:
        num_bytes = (72 if layer == 3 and version != 1 else 144) * bits // rate_hz + padding
    return _Header(
        version=version,
        layer=layer,
        rate_hz=rate_hz,
        num_bytes=num_bytes,
        has_checksum=not second & 1,
        is_mono=fourth >> 6 == 0b11,
    )


def _same_stream(one: _Header, other: _Header) -> bool:
    return (one.version, one.layer, one.rate_hz) == (other.version, other.layer, other.rate_hz)


def _next_frame(data: bytes, start: int, like: _Header | None) -> int | None:
    """Return where the next frame begins that another follows, or that the data end with."""
    place = data.find(b"\xff", start)
    while place >= 0:
        header = _header(data, place)
        if header is not None and (like is None or _same_stream(header, like)):
            after = place + header.num_bytes
            following = _header(data, after)
            if after == len(data) or (following is not None and _same_stream(following, header)):
                return place
        place = data.find(b"\xff", place + 1)
    return None


def _after_tags(data: bytes) -> int:
    """Return where the ID3 tags at the beginning end."""
    place = 0
    while data.startswith(b"ID3", place) and place + _ID3_HEADER_BYTES <= len(data):
        size = 0
        for byte in data[place + 6 : place + 10]:
            size = size << 7 | byte & 0x7F
        footer = _ID3_HEADER_BYTES if data[place + 5] & 0x10 else 0
        place += _ID3_HEADER_BYTES + size + footer
    return place


def _side_information_bytes(header: _Header) -> int:
    """Return the size of a layer III frame's side information."""
    if header.version == 1:
        return 17 if header.is_mono else 32
    return 9 if header.is_mono else 17


def _declared_frames(data: bytes, place: int, header: _Header) -> tuple[int | None, bool]:
    """Return the count of a Xing, Info or VBRI frame, and whether the frame is one."""
    frame = data[place : place + header.num_bytes]
    checksum = 2 if header.has_checksum else 0
    for extra in dict.fromkeys((0, checksum)):  # some programs forget the checksum's two bytes
        at = _HEADER_BYTES + extra + _side_information_bytes(header)
        if frame[at : at + 4] in (b"Xing", b"Info") and len(frame) >= at + 12:
            flags, count = struct.unpack_from(">II", frame, at + 4)
            return (count if flags & 1 else None), True
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return struct.unpack_from(">I", frame, 50)[0], True
    return None, False
