"""A file that is no text is called what it is, by whatever wanted a text."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import pytest
import soundfile

from taskaware.data.corpora.files import read_lines
from taskaware.data.manifest.read import read_manifest
from taskaware.data.sound import audio
from taskaware.errors import AudioError, UserError
from taskaware.file_forms import HEAD_BYTES, other_than_recording, other_than_text
from taskaware.pipes import read_given_text
from taskaware.pretrained.texts import read_texts
from taskaware.run.experiment import Experiment
from taskaware.settings.typed import load
from tiny_corpus import RATE_HZ, speak

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def recording(form: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, speak("one"), RATE_HZ, format=form)
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.txt", "one")
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "RF64"])
def test_a_recording_is_known_by_its_first_bytes(form: str):
    assert (other_than_text(recording(form)) or "").startswith("a recording")


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (archive(), "a zip archive"),
        (b"%PDF-1.7\n", "a PDF"),
        ("one\ntwo".encode("utf-16"), "UTF-16"),
        ("eins für\tzwei".encode("utf-16-le"), "UTF-16"),
        ("eins für\tzwei".encode("utf-16-be"), "UTF-16"),
        (bytes(range(256)), "a binary file"),
    ],
)
def test_other_files_are_known_too(head: bytes, what: str):
    assert (other_than_text(head) or "").startswith(what)


@pytest.mark.parametrize(
    "text",
    ["", "OggS and fLaC", "RIFF on a WAVE", "the ftyp box", "PAR1 for the course", "\ufeffID3",
     "MAC address", ".snd", "caff", "grün\n", "日本語", '{"task": "asr"}'],
)  # fmt: skip
def test_a_text_is_taken_for_nothing_else(text: str):
    assert other_than_text(text.encode()) is None


def read_toml(path: Path) -> object:
    return load(Experiment, path)


@pytest.mark.parametrize(
    ("read", "wanted"),
    [
        (read_manifest, "a manifest, a table of text in UTF-8"),
        (read_toml, "settings in TOML, a text in UTF-8"),
        (lambda path: read_given_text(path, most_bytes=1 << 20), "a text in UTF-8"),
        (lambda path: list(read_texts(path)), "a manifest or a text in UTF-8"),
        (lambda path: list(read_lines(path)), "a text in UTF-8"),
    ],
)
def test_whatever_wants_a_text_says_what_it_got_instead(
    read: Callable[[Path], object], wanted: str, tmp_path: Path
):
    for content, what in ((recording("MP3"), "a recording (MP3)"), (archive(), "a zip archive")):
        path = tmp_path / "given"
        path.write_bytes(content)
        with pytest.raises(UserError) as error:
            read(path)
        assert f"must be {wanted}, but is {what}" in str(error.value)


NO_RECORDINGS = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n": "a pointer of Git LFS: get the",
    b"\n<!DOCTYPE html>\n<html>": "a web page (HTML): download the recording itself",
    b"#EXTM3U\na.mp3\n": "a playlist: give the recordings that it names",
    "Grüße.\n".encode(): "a text",
    "Grüße.\n".encode("utf-16"): "a text in UTF-16",
    archive(): "a zip archive, as spreadsheets are: unpack it",
    b"\x1f\x8b\x08": "compressed by gzip: unpack it",
    b"%PDF-1.7\n": "a PDF document",
    b"\0\x05\x16\x07\0\2\0\0Mac OS X": "what a Mac notes of another file (AppleDouble)",
    b"\0\0\0\x20ftypM4A ": "a recording or a film (MP4), of a form that is not read: convert it",
    b"RIFF\0\0\0\0AVI LIST": "a recording or a film (AVI), of a form that is not read: convert it",
}


@pytest.mark.parametrize(("content", "what"), NO_RECORDINGS.items(), ids=NO_RECORDINGS.values())
@pytest.mark.parametrize("name", ["given.wav", "given.mp3"])
def test_what_is_no_recording_is_called_what_it_is_before_a_decoder_sees_it(
    name: str, content: bytes, what: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / name).write_bytes(content)
    for source in (tmp_path / name, io.BytesIO(content)):
        with pytest.raises(AudioError) as error:
            audio.info(source)
        assert f"must be a recording (wav, flac, mp3, ogg, NIST sphere), but is {what}" in str(
            error.value
        )
    assert capfd.readouterr() == ("", "")  # that of MP3 says there what it meets


# RAW is samples alone; of SD2 libsndfile writes a second file, "._", into the working folder.
@pytest.mark.parametrize("form", sorted(set(soundfile.available_formats()) - {"RAW", "SD2"}))
def test_whatever_libsndfile_writes_is_taken_for_a_recording_that_may_be_read(form: str):
    buffer = io.BytesIO()
    rate = 48_000 if form == "OGG" else 8_000
    try:
        soundfile.write(buffer, speak("one"), rate, format=form)
    except soundfile.LibsndfileError:  # as of forms whose usual samples are of another kind
        soundfile.write(buffer, speak("one"), rate, format=form, subtype="PCM_16")
    assert other_than_recording(buffer.getvalue()[:HEAD_BYTES]) is None


def test_a_stream_is_looked_at_from_where_it_stands_and_read_from_there():
    stream = io.BytesIO(b"a text" + recording("WAV"))
    stream.seek(len(b"a text"))
    assert audio.info(stream).sample_rate_hz == RATE_HZ
