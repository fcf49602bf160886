"""Texts that espeak-ng speaks: who speaks, what becomes of it, and the same again after a stop."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
import soundfile
from scripted_models import asr, mt, read_lines, write_lines

from taskaware.augment import speak as module
from taskaware.augment.blocks import WRITTEN
from taskaware.augment.settings import SpeechSettings
from taskaware.augment.speak import TOO_LONG, UNSPEAKABLE, speak
from taskaware.errors import TaskawareError, UnknownTaskError, UserError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    find_spec("espeakng_loader") is None, reason="the extra `demo` is not installed"
)
SPOKEN_TWICE = SpeechSettings(kinds=("asr", "st"), voices=2, sample_rate_hz=8000, max_seconds=3)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return write_lines(
        tmp_path / "web.jsonl",
        mt("one", "Good morning.", "Guten Morgen.", utterance="u1"),
        asr("not a text", "never spoken"),
        mt("nothing", "...", "..."),
        mt("long", "and so on, " * 20, "und so weiter"),
    )


def test_a_text_becomes_recognition_and_speech_translation_by_voices_that_the_seed_draws(
    texts: Path, tmp_path: Path
):
    written = speak([texts], tmp_path / "out.jsonl", SPOKEN_TWICE, seed=1, num_workers=1)
    lines = read_lines(written.path)
    assert [(line["id"], line["task"], line["kind"], line["target_text"]) for line in lines] == [
        ("one-asr-v1", "asr_en", "asr", "Good morning."),
        ("one-st-v1", "st_en_de", "st", "Guten Morgen."),
        ("one-asr-v2", "asr_en", "asr", "Good morning."),
        ("one-st-v2", "st_en_de", "st", "Guten Morgen."),
    ]
    first, same, second, _ = lines
    assert first["audio"] == same["audio"] != second["audio"]
    assert first["speaker"] != second["speaker"]
    assert first["origin"] == f"speech by espeak-ng, voice {first['speaker']}"
    assert (first["utterance"], first["dataset"]) == ("u1", "web")
    assert "source_text" not in first
    info = soundfile.info(first["audio"])
    assert (info.samplerate, info.format, info.subtype) == (8000, "FLAC", "PCM_16")
    assert 0.3 < info.duration < 3
    counts = {what: number for (_, what), number in written.counts.items()}
    assert (counts[UNSPEAKABLE], counts[TOO_LONG], counts[WRITTEN]) == (2, 2, 4)


def test_another_seed_draws_other_voices(texts: Path, tmp_path: Path):
    settings = SpeechSettings(voices=3, max_seconds=3)
    speakers = []
    for seed in (1, 2):
        path = tmp_path / f"{seed}.jsonl"
        speak([texts], path, settings, seed=seed, num_workers=1)
        speakers.append([line["speaker"] for line in read_lines(path)])
    assert speakers[0] != speakers[1]


def test_speech_that_was_stopped_is_the_same_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    words = ("one", "two", "three", "four", "five")
    texts = write_lines(tmp_path / "web.jsonl", *(mt(word, word, word) for word in words))
    monkeypatch.setattr(module, "_TEXTS_PER_PROCESS", 1)
    monkeypatch.setattr(module, "_PROCESSES_PER_BLOCK", 2)
    path = tmp_path / "out.jsonl"

    def contents() -> dict[str, bytes]:
        files = [path, *sorted((tmp_path / "out").rglob("*.flac"))]
        return {str(file): file.read_bytes() for file in files}

    settings = SpeechSettings(sample_rate_hz=8000)
    speak([texts], path, settings, seed=1, num_workers=2)
    expected = contents()
    assert len(expected) == 6
    path.unlink()
    for file in (tmp_path / "out").rglob("*.flac"):
        file.unlink()

    def stop(stage: str, done: int, total: int) -> None:
        if done == 3:  # in the middle of the second block
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        speak([texts], path, settings, seed=1, num_workers=1, progress=stop)
    assert not path.exists()
    assert speak([texts], path, settings, seed=1, num_workers=1).went_on_from == 2
    assert contents() == expected


def test_a_process_that_is_killed_is_noticed(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from concurrent.futures.process import BrokenProcessPool

    def die(job: object) -> list[str]:
        raise BrokenProcessPool

    monkeypatch.setattr(module, "_speak_in_a_process", die)
    with pytest.raises(TaskawareError, match="the same command resumes"):
        speak([texts], tmp_path / "o.jsonl", SPOKEN_TWICE, seed=1, num_workers=1)


def test_a_language_that_espeak_does_not_speak_and_tasks_that_do_not_fit_are_refused(
    tmp_path: Path, texts: Path
):
    path = tmp_path / "o.jsonl"
    with pytest.raises(UnknownTaskError, match="did you mean 'mt_en_de'"):
        speak([texts], path, SpeechSettings(of=("mt_en_d",)), seed=1)
    with pytest.raises(UserError, match="text in 'en' to speak"):
        speak([texts], path, SpeechSettings(of=("asr_en",)), seed=1)
    strange = write_lines(tmp_path / "s.jsonl", mt("a", "b", "c", source_language="xx"))
    with pytest.raises(UserError, match="espeak-ng speaks, but is 'xx'"):
        speak([strange], path, SpeechSettings(language="xx"), seed=1)
