"""Recordings of any length, from Python and from the command line, with small models."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch

import taskaware
from conftest import TASKS, tiny_settings
from taskaware.cli.main import run
from taskaware.data.sound.settings import FeatureSettings
from taskaware.data.vocabulary.vocabulary import Vocabulary
from taskaware.decoding.settings import DecodingSettings
from taskaware.errors import SourceWarning, UserError
from taskaware.inference.model import TaskAwareModel
from taskaware.inference.recordings import stretches
from taskaware.inference.recordings.settings import LongRecordingSettings
from taskaware.inference.recordings.transcribing import LISTENING, transcribe
from taskaware.model.create_model import create_model
from tiny_corpus import RATE_HZ, speak

if TYPE_CHECKING:
    from pathlib import Path

BY_LEVEL = LongRecordingSettings(detector="level")  # to Silero's, tones are no speech


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights that always writes five words or parts of words."""
    torch.manual_seed(1)
    vocabulary = Vocabulary.train(["the red house is far away", "one two six ten"] * 9, size=290)
    settings = tiny_settings(num_features=80, conditioning={"cue": "explicit"})
    transformer = create_model(settings, vocabulary_size=vocabulary.size, tasks=TASKS)
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    words = {i for i in range(vocabulary.size) if vocabulary.decode([i]).strip().isalpha()}
    made = TaskAwareModel(
        transformer=transformer,
        settings=settings,
        tasks=TASKS,
        vocabulary=vocabulary,
        feature_settings=FeatureSettings(),
        decoding=DecodingSettings(
            beam=2,
            max_pieces=6,
            end_at_limit=True,
            suppressed=tuple(sorted(set(range(vocabulary.size)) - words)),
            examples_per_batch=4,
        ),
        task_embeddings={one.name: torch.randn(1, transformer.layout.width) for one in TASKS},
        longest_sources={"asr_en": 118, "st_en_de": 118, "mt_en_de": 3},
    )
    place = tmp_path_factory.mktemp("long") / "model"
    made.save(place)
    return place


@pytest.fixture(scope="module")
def model(folder: Path) -> TaskAwareModel:
    return taskaware.load(folder, device="cpu")


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    """Ten seconds: tones with pauses between."""
    pause = np.zeros(int(0.5 * RATE_HZ), np.float32)
    said = [speak("one two"), pause, speak("six"), pause, speak("ten one"), pause]
    return np.concatenate(said * 3)


@pytest.fixture(scope="module")
def recording(folder: Path, wave: np.ndarray) -> Path:
    path = folder.parent / "my talk.wav"
    soundfile.write(path, wave, RATE_HZ)
    return path


def test_times_are_in_order_within_the_recording_and_the_texts_are_those_of_the_words(
    model: TaskAwareModel, wave: np.ndarray
):
    said: list[tuple[str, int, int]] = []
    found = transcribe(model, wave, "asr_en", BY_LEVEL, progress=lambda *where: said.append(where))
    assert found.duration_seconds == pytest.approx(len(wave) / RATE_HZ)
    assert found.guarded.num_stretches >= 6
    # The model was trained on 1.2 s at most: no stretch is longer.
    assert all(one.end_seconds - one.start_seconds <= 1.7 for one in found.segments)
    for one in found.segments:
        assert 0 < one.confidence <= 1
        assert " ".join(word.text for word in one.words) == " ".join(one.text.split())
        times = [t for word in one.words for t in (word.start_seconds, word.end_seconds)]
        assert times == sorted(times)
        assert one.start_seconds <= times[0] <= times[-1] <= one.end_seconds
    assert found.text == " ".join(one.text for one in found.segments)
    assert [where[0] for where in said if where[1] == 0] == ["asr_en"]
    assert said[0][0] == LISTENING
    assert said[-1] == ("asr_en", 10, 10)


@pytest.mark.parametrize("segmentation", ["pauses", "windows"])
def test_each_part_of_the_text_is_told_while_the_next_ones_are_still_decoded(
    segmentation, model: TaskAwareModel, wave: np.ndarray
):
    settings = replace(BY_LEVEL, segmentation=segmentation)
    parts: list[str] = []
    seconds: list[int] = []  # up to which the recording was decoded when each part was told
    decoded = [0]
    found = transcribe(
        model,
        wave,
        "asr_en",
        settings,
        progress=lambda stage, done, total: decoded.append(done),
        on_text=lambda part: (parts.append(part), seconds.append(decoded[-1])),
    )
    assert "".join(parts) == found.text
    assert len(parts) == len(found.segments)
    assert seconds[0] < 3, "of ten seconds: the first comes soon"
    assert found.text == transcribe(model, wave, "asr_en", settings).text


def test_a_stretch_is_decoded_as_it_is_alone(model: TaskAwareModel):
    wave = speak("one two")
    found = transcribe(model, wave, "asr_en", replace(BY_LEVEL, guards=False))
    [[alone]] = model.run_many("asr_en", [wave])
    assert found.text == alone.text.strip()
    assert found.log_prob == pytest.approx(alone.log_prob, abs=1e-4)


@pytest.mark.parametrize("segmentation", ["pauses", "divide", "windows"])
def test_bytes_paths_and_waveforms_give_the_same_whatever_the_way_of_cutting(
    segmentation, model: TaskAwareModel, recording: Path, wave: np.ndarray
):
    settings = replace(BY_LEVEL, segmentation=segmentation, guards=False)
    soundfile.write(recording, wave, RATE_HZ, subtype="FLOAT")
    found = [
        transcribe(model, source, "st_en_de", settings)
        for source in (wave, recording, recording.read_bytes())
    ]
    assert found[0].segments
    assert found[0] == found[1] == found[2]


def test_times_can_come_from_ctc(model: TaskAwareModel, wave: np.ndarray):
    by_ctc = replace(model, provenance={**model.provenance, "ctc_weight": 0.3})
    found = transcribe(by_ctc, wave, "asr_en", replace(BY_LEVEL, guards=False))
    other = transcribe(model, wave, "asr_en", replace(BY_LEVEL, guards=False))
    assert found.text == other.text
    assert found.words != other.words
    times = [word.start_seconds for word in found.words]
    assert times == sorted(times)


def test_what_repeats_itself_is_decoded_again_and_counted(
    model: TaskAwareModel, wave: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stretches.guards, "repeats", lambda text: True)
    found = transcribe(model, wave, "asr_en", BY_LEVEL)
    assert found.guarded.num_repeating == found.guarded.num_stretches > 0
    unguarded = transcribe(model, wave, "asr_en", replace(BY_LEVEL, guards=False))
    assert unguarded.guarded.num_repeating == 0


def test_text_for_silence_is_left_out_and_counted(
    model: TaskAwareModel, wave: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stretches.guards, "is_invented", lambda **_: True)
    found = transcribe(model, wave, "asr_en", BY_LEVEL)
    assert (found.text, found.segments) == ("", ())
    assert found.guarded.num_silent > 0


def test_silence_has_no_text_and_a_warning(model: TaskAwareModel):
    with pytest.warns(SourceWarning, match="nobody speaks in it"):
        assert model.transcribe(np.zeros(20 * RATE_HZ, np.float32)) == ""


def test_long_and_short_sources_come_back_in_their_order(
    model: TaskAwareModel, wave: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("taskaware.data.sound.speech_detection._network_file", lambda needed: None)
    short = [speak("one two"), speak("six")]
    expected = model.transcribe(short)
    found = model.transcribe([short[0], wave, short[1]])
    assert (found[0], found[2]) == tuple(expected)
    assert found[1] == model.transcript(wave, "asr_en", settings=BY_LEVEL).text


def test_what_cannot_be_is_refused_before_anything_is_heard(
    model: TaskAwareModel, wave: np.ndarray
):
    with pytest.raises(UserError, match="must take speech, but 'mt_en_de' takes text"):
        transcribe(model, wave, "mt_en_de")
    with pytest.raises(UserError, match=r"greatest_seconds.* must be from 1 to 3,600, but is 0"):
        transcribe(model, wave, "asr_en", LongRecordingSettings(greatest_seconds=0.0))


# --- the command ---


@pytest.fixture
def predict(folder: Path, capsys: pytest.CaptureFixture[str]):
    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        options = ("--beam", "1", "--detector", "level")
        code = run(["predict", str(folder), *(str(word) for word in words), *options])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_a_long_recording_gives_one_line_and_one_object(predict, recording: Path):
    code, out, err = predict(recording, "--task", "asr_en")
    assert (code, out.count("\n")) == (0, 1)
    assert "my talk.wav asr_en, seconds 10/10" in err
    code, jsonl, _ = predict(recording, "--task", "asr_en", "--output", "jsonl")
    (line,) = map(json.loads, jsonl.splitlines())
    assert (code, line["text"]) == (0, out.strip("\n"))
    assert line["segments"]
    assert set(line["guarded"]) == {
        *("num_stretches", "num_repeating", "num_silent", "silent_seconds"),
    }


def test_subtitles_of_one_recording_go_to_standard_output_of_many_to_files(
    predict, recording: Path, tmp_path: Path
):
    code, out, _ = predict(recording, "--task", "asr_en", "--output", "vtt")
    assert code == 0
    assert out.startswith("WEBVTT\n\n00:00:0")
    to = tmp_path / "subtitles"
    code, out, err = predict(recording, "--output", "srt")
    assert (code, out) == (2, "")
    assert "--to FOLDER must be given (or --task, one task)" in err
    code, out, _ = predict(recording, recording, "--output", "srt", "--to", to)
    assert (code, out) == (0, "")
    assert sorted(path.name for path in to.glob("[!.]*")) == [
        *("my talk-2.asr_en.srt", "my talk-2.st_en_de.srt"),
        *("my talk.asr_en.srt", "my talk.st_en_de.srt"),
    ]
    code, ctm, _ = predict(recording, recording, "--task", "asr_en", "--output", "ctm")
    assert code == 0
    assert {line.split()[0] for line in ctm.splitlines()} == {"my_talk"}


def test_nobodys_file_is_written_over_and_that_is_said_before_the_work(
    predict, recording: Path, tmp_path: Path
):
    (tmp_path / "my talk.srt").write_text("mine", encoding="utf-8")
    code, _, err = predict(recording, "--task", "asr_en", "--output", "srt", "--to", tmp_path)
    assert code == 2
    assert "my talk.srt, which taskaware did not write" in err
    assert "seconds" not in err
    assert (tmp_path / "my talk.srt").read_text(encoding="utf-8") == "mine"


def test_requests_that_cannot_be_are_refused(predict, recording: Path, tmp_path: Path):
    for words, code, message in (
        ((recording, "--to", tmp_path), 2, "--to is for --output srt, vtt, tsv, ctm, stm"),
        (("--text", "one", "--output", "srt", "--task", "mt_en_de"), 1, "times are those of"),
        ((recording, "--greatest-seconds", "0.5"), 2, "must be from 1 to 3,600, but is 0.5"),
    ):
        found, out, err = predict(*words)
        assert (found, out) == (code, "")
        assert message in err
    code, _, err = predict(recording, "--num-best", "1", "--output", "vtts")
    assert (code, "did you mean 'vtt'" in err) == (2, True)


def test_an_empty_and_a_silent_recording_say_so(predict, tmp_path: Path):
    (tmp_path / "empty.wav").write_bytes(b"")
    code, out, err = predict(tmp_path / "empty.wav", "--task", "asr_en", "--output", "srt")
    assert (code, out) == (1, "")
    assert "empty.wav: must be a recording, but is empty (0 bytes)" in err
    soundfile.write(tmp_path / "silent.wav", np.zeros(20 * RATE_HZ), RATE_HZ)
    code, out, err = predict(tmp_path / "silent.wav", "--task", "asr_en", "--output", "srt")
    assert (code, out) == (0, "")
    assert "nobody speaks in it" in err
