"""The program beside exported models ends with one message, whatever it is given."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import wave
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from taskaware.export.onnx_description import describe, feature_constants
from tiny_models import random_model

pytest.importorskip("onnxruntime", reason="the extra `export` is not there")

from taskaware.export.standalone import decode

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An export without its graphs."""
    model = random_model()
    window, filters = feature_constants(model.feature_settings)
    np.savez(tmp_path / "features.npz", window=window, filters=filters)
    (tmp_path / "export.json").write_text(json.dumps(describe(model)), encoding="utf-8")
    shutil.copy(decode.__file__, tmp_path / "decode.py")
    recording(tmp_path / "talk.wav")
    return tmp_path


def recording(path: Path, *, rate_hz: int = 16_000, num_samples: int = 8_000) -> Path:
    samples = 3_000 * np.random.default_rng(0).standard_normal(num_samples)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def refused(folder: Path, *arguments: str, code: int = 1) -> str:
    """Return the one message with which the program ends."""
    done = subprocess.run(
        [sys.executable, str(folder / "decode.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("beam", ["-1", "0", "1001", "two"])
def test_a_beam_that_cannot_be_is_a_misuse(beam: str, folder: Path):
    said = refused(folder, "--task", "asr_en", "--beam", beam, "talk.wav", code=2)
    assert f"argument --beam: must be from 1 to 1000, but is '{beam}'" in said


def test_a_task_that_there_is_not_is_a_misuse(folder: Path):
    said = refused(folder, "--task", "asr_fr", "talk.wav", code=2)
    assert "--task must be one of asr_en" in said
    assert "'asr_fr'" in said


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "File doesn't exist"), (b"garbage", "failed"), (b"", "")]
)
def test_a_graph_that_is_missing_or_damaged_is_named(
    content: bytes | None, reason: str, folder: Path
):
    if content is not None:
        (folder / "encoder_speech.onnx").write_bytes(content)
    said = refused(folder, "--task", "asr_en", str(folder / "talk.wav"))
    assert f"{folder / 'encoder_speech.onnx'}: must be a graph of this export, but" in said
    assert reason in said
    assert "copy the whole folder of the export again" in said


def test_a_beam_of_none_is_refused_from_python(folder: Path):
    model = decode.Model(folder)
    with pytest.raises(ValueError, match="beam must be from 1 to 1000, but is 0"):
        model.decode("asr_en", [np.zeros((5, 80), np.float32)], beam=0)
    with pytest.raises(ValueError, match="a source must have a frame or a piece"):
        model.decode("asr_en", [np.zeros((0, 80), np.float32)])


def test_recordings_without_samples_are_refused(tmp_path: Path, folder: Path):
    empty = tmp_path / "empty.wav"
    empty.write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty.wav: must be a WAV file of PCM, but: it ends too"):
        decode.waveform(empty, 16_000)
    for rate in (8_000, 16_000):
        none = recording(tmp_path / "none.wav", rate_hz=rate, num_samples=0)
        with pytest.raises(ValueError, match="it has no samples"):
            decode.waveform(none, 16_000)
    short = recording(folder / "short.wav", num_samples=20)
    with pytest.raises(ValueError, match=r"short.wav: must last at least as long as a frame"):
        decode.Model(folder).read("asr_en", short)
    odd = recording(tmp_path / "odd.wav", rate_hz=2_000_000_000)
    with pytest.raises(ValueError, match="its rate is 2000000000 Hz"):
        decode.waveform(odd, 16_000)


def test_a_truncated_recording_is_refused_but_one_that_came_through_a_pipe_is_read(tmp_path: Path):
    path = recording(tmp_path / "talk.wav")
    whole = path.read_bytes()
    path.write_bytes(whole[:10_001])
    with pytest.raises(ValueError, match="it is truncated"):
        decode.waveform(path, 16_000)
    unknown = b"\xff\xff\xff\xff"
    path.write_bytes(whole[:4] + unknown + whole[8:40] + unknown + whole[44:])
    assert len(decode.waveform(path, 16_000)) == 8_000


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        (np.zeros((3, 3)), "its shape is"),
        (np.zeros(0), "its shape is"),
        (np.full(5, np.nan), "not finite"),
        (np.array(["a"]), "it holds no numbers"),
    ],
)
def test_an_array_that_is_no_waveform_is_refused(numbers: np.ndarray, reason: str, tmp_path: Path):
    path = tmp_path / "talk.npy"
    np.save(path, numbers)
    with pytest.raises(ValueError, match=f"must be a .npy file of a waveform.*{reason}"):
        decode.waveform(path, 16_000)


def changed(about: dict[str, Any], *path: Any, value: Any = None) -> dict[str, Any]:
    """Return the description with a value at a place, or without the name."""
    *outer, last = path
    inner: Any = about
    for name in outer:
        inner = inner[name]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return about


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("tasks",), None, "tasks is missing"),
        (("pieces",), None, "pieces is missing"),
        (("decoding", "stopping"), None, "decoding.stopping is missing"),
        (("tasks", 1, "prompt"), None, r"tasks\[1\].prompt is missing"),
        (("tasks", 0, "prompt"), [], "a task has no prompt"),
        (("tasks", 0), 5, r"tasks\[0\] is no object"),
        (("features", "fft"), None, "features.fft is missing"),
        (("decoding", "beam"), "4", "decoding.beam has the wrong type"),
        (("decoding", "suppressed"), [10**6], "1000000 is none of its"),
    ],
)
def test_a_description_that_lacks_a_part_is_refused_by_its_name(
    path: tuple[Any, ...], value: Any, said: str, folder: Path
):
    about = changed(describe(random_model()), *path, value=value)
    (folder / "export.json").write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(ValueError, match=f"export.json: must be the description.*{said}"):
        decode.Model(folder)


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_damaged_constants_of_the_features_are_named(content: bytes | None, folder: Path):
    path = folder / "features.npz"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match=r"features.npz: must be window and filters"):
        decode.Model(folder).read("asr_en", folder / "talk.wav")


def test_a_text_that_is_not_utf_8_is_named(folder: Path):
    path = folder / "lines.txt"
    path.write_bytes(b"caf\xe9\n")
    said = refused(folder, "--task", "mt_en_de", str(path))
    assert f"{path}: must be a text file in UTF-8" in said


@pytest.mark.parametrize(("task", "name"), [("asr_en", "nothing.wav"), ("mt_en_de", "nothing.txt")])
def test_a_file_that_is_not_there_is_not_to_be_converted(task: str, name: str, folder: Path):
    said = refused(folder, "--task", task, str(folder / name))
    assert said.endswith("but: No such file or directory; look at its name\n")
    said = refused(folder, "--task", task, str(folder))
    assert said.endswith("but: Is a directory; look at its name\n")
