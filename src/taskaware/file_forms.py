"""What a file is by its first bytes, where a text or a recording is wanted and it is none."""

from __future__ import annotations

import codecs
import re

HEAD_BYTES = 4096
"""As many first bytes of a file as ``other_than_text`` wants."""

_FORMS = tuple(
    (re.compile(pattern, re.DOTALL), what)
    for pattern, what in (
        (rb"RIFF....WAVE|RF64....WAVE", "a recording (WAV)"),
        (rb"fLaC[\0\x80]", "a recording (FLAC)"),
        (rb"OggS\0", "a recording (Ogg)"),
        # The second byte of a frame: version and layer, of which some do not exist.
        (rb"ID3[\x02-\x04]|\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd]", "a recording (MP3)"),
        (rb"\xff[\xf0\xf1\xf8\xf9]", "a recording (AAC)"),
        (rb"FORM....AIF[FC]", "a recording (AIFF)"),
        (rb"\.snd\0", "a recording (AU)"),
        (rb"NIST_1A\n", "a recording (NIST sphere)"),
        (rb"\0...ftyp", "a recording or a film (MP4)"),
        (rb"\x1aE\xdf\xa3", "a recording or a film (Matroska, WebM)"),
        (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a recording or a film (ASF, WMA)"),
        (rb"RIFF....AVI ", "a recording or a film (AVI)"),
        (rb"caff\0", "a recording (CAF)"),
        (rb"#!AMR(?:-WB)?\n", "a recording (AMR)"),
        (rb"wvpk....[\x02-\x10]\x04", "a recording (WavPack)"),
        (rb"MAC [\x01-\x1f]", "a recording (Monkey's Audio)"),
        (rb"PK\x03\x04", "a zip archive, as spreadsheets are"),
        (rb"\x1f\x8b", "compressed by gzip"),
        (rb"BZh[1-9]1AY", "compressed by bzip2"),
        (rb"\xfd7zXZ\0", "compressed by xz"),
        (rb"\x28\xb5\x2f\xfd", "compressed by zstd"),
        (rb"7z\xbc\xaf", "a 7z archive"),
        (rb"\0\x05\x16[\0\x07]", "what a Mac notes of another file (AppleDouble)"),
        (rb"%PDF-", "a PDF document"),
        (rb"\xd0\xcf\x11\xe0", "a document of an office suite"),
        (rb"PAR1\x15", "a Parquet file"),
        (rb"\x93NUMPY", "a NumPy file"),
        (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a", "a picture"),
        (rb"\xff\xfe|\xfe\xff", "UTF-16"),
    )
)
_MAY_BE_READ = frozenset(
    f"a recording ({form})"
    for form in ("WAV", "FLAC", "Ogg", "MP3", "AIFF", "AU", "NIST sphere", "CAF")
)
# Texts that are found under the name of a recording, and what brings the recording.
_TEXTS = (
    (
        rb"version https://git-lfs\.github\.com/",
        "a pointer of Git LFS: get the file (git lfs pull)",
    ),
    (rb"\s*<(?:!doctype html|html)\b", "a web page (HTML): download the recording itself"),
    (rb"(?:\s*#EXTM3U|\s*\[playlist\])", "a playlist: give the recordings that it names"),
)
_CONVERTED = "convert it (ffmpeg -i IN OUT.flac)"
_NULLS_WITHIN = 200
_ADVICE = {"UTF-16": ": save it as UTF-8", "compressed": ": unpack it"}


def other_than_text(head: bytes) -> str | None:
    """Return what a file is that is no text in UTF-8, or ``None`` where it may be one.

    Args:
        head: Its first bytes, ``HEAD_BYTES`` of them where it has so many.
    """
    for pattern, what in _FORMS:
        if pattern.match(head):
            return what
    first = head[:_NULLS_WITHIN]
    if b"\0" not in first:
        return None
    return "UTF-16" if _is_utf_16(first) else "a binary file: it holds null bytes"


def other_than_recording(head: bytes) -> str | None:
    """Return what a file is that is no recording, and what to do; ``None`` where it may be one.

    Recordings of a form that libsndfile does not read are named too.

    Args:
        head: Its first bytes, ``HEAD_BYTES`` of them where it has so many.
    """
    what = other_than_text(head)
    if what is None:
        known = (told for pattern, told in _TEXTS if re.match(pattern, head, re.IGNORECASE))
        return next(known, "a text" if head and _is_plain_text(head) else None)
    if what.startswith("a recording"):
        return None if what in _MAY_BE_READ else f"{what}, of a form that is not read: {_CONVERTED}"
    if what.startswith("a binary file"):
        return None
    if what == "UTF-16":
        return "a text in UTF-16"
    is_packed = what.startswith(("compressed", "a zip", "a 7z"))
    return f"{what}: unpack it" if is_packed else what


def _is_plain_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(sign in "\t\n\r\f" or sign >= " " for sign in text)


def advised(what: str) -> str:
    """Return what ``other_than_text`` says, and what to do, where that is plain."""
    return next(
        (what + advice for start, advice in _ADVICE.items() if what.startswith(start)), what
    )


def _is_utf_16(head: bytes) -> bool:
    """Return whether bytes are text of two bytes a character, most of it Latin, without a mark."""
    for name in ("utf-16-le", "utf-16-be"):
        try:
            text = codecs.getincrementaldecoder(name)().decode(head)
        except UnicodeDecodeError:
            continue
        latin = sum("\t" <= character <= "\u024f" for character in text)
        if latin > len(text) / 2:
            return True
    return False
