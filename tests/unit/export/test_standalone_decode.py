"""The program beside exported models hears, cuts and searches as the toolkit does."""

from __future__ import annotations

import io
import random
import wave
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from taskaware.data.sound.features import log_mel
from taskaware.data.sound.settings import FeatureSettings
from taskaware.export.onnx_description import describe, feature_constants
from tiny_models import random_model, vocabulary

pytest.importorskip("onnxruntime", reason="the extra `export` is not there")

from taskaware.export.standalone import decode

if TYPE_CHECKING:
    from pathlib import Path

ABOUT = describe(random_model())
IDS = {piece: i for i, piece in enumerate(ABOUT["pieces"]) if isinstance(piece, str)}
BYTES = {piece[0]: i for i, piece in enumerate(ABOUT["pieces"]) if isinstance(piece, list)}
WHISPER = FeatureSettings(kind="whisper", num_mel_bins=80, padded_seconds=1.0)


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("the rdousfawyieHatgn▁é日\n —") | st.characters(codec="utf-8")))
def test_texts_are_cut_into_the_pieces_of_the_vocabulary(text: str):
    assert decode.cut(text, IDS, BYTES) == vocabulary().encode(text)


@pytest.mark.parametrize(
    "how",
    [
        FeatureSettings(),
        FeatureSettings(sample_rate_hz=8_000, num_mel_bins=23, normalisation="none", low_hz=50),
        WHISPER,
        FeatureSettings(kind="whisper", num_mel_bins=80),
    ],
    ids=["kaldi", "kaldi, others", "whisper", "whisper, unpadded"],
)
@pytest.mark.parametrize("num_samples", [100, 3_999, 16_000])
def test_features_are_those_of_the_toolkit(how: FeatureSettings, num_samples: int):
    samples = 0.1 * np.random.default_rng(0).standard_normal(num_samples).astype(np.float32)
    model = random_model()
    model.feature_settings = how
    told, constants = describe(model)["features"], feature_constants(how)
    ours = log_mel(torch.from_numpy(samples), how).numpy()
    theirs = decode.log_mel(samples, told, *constants)
    assert theirs.dtype == np.float32
    np.testing.assert_allclose(theirs, ours, atol=2e-3 if how.normalisation == "none" else 1e-3)


def test_a_recording_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="at most 1 s"):
        decode.whisper_log_mel(
            np.zeros(16_001, np.float32),
            {"window_samples": 400, "hop_samples": 160, "padded_seconds": 1.0}
            | {"sample_rate_hz": 16_000},
            np.ones(400),
            np.ones((201, 80)),
        )


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wav_files_of_any_width_are_read(width: int, tmp_path: Path):
    wanted = np.array([[0.5, -0.5], [-1.0, 0.0], [0.25, 0.25]])
    scale = 2 ** (8 * width - 1)
    numbers = (wanted * scale).astype(np.int64) + (128 if width == 1 else 0)
    data = b"".join(int(n).to_bytes(width, "little", signed=width > 1) for n in numbers.ravel())
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(width)
        file.setframerate(16_000)
        file.writeframes(data)
    path = tmp_path / "stereo.wav"
    path.write_bytes(written.getvalue())
    np.testing.assert_allclose(decode.waveform(path, 16_000), wanted.mean(axis=1), atol=1e-6)


def test_a_file_that_is_no_wav_is_refused(tmp_path: Path):
    path = tmp_path / "talk.flac"
    path.write_bytes(b"fLaC" + bytes(100))
    with pytest.raises(ValueError, match="must be a WAV file of PCM"):
        decode.waveform(path, 16_000)


def test_another_rate_keeps_the_tone():
    times = np.arange(11_025) / 11_025
    tone = np.sin(2 * np.pi * 440 * times).astype(np.float32)
    changed = decode.resample(tone, 11_025, 16_000)
    wanted = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(changed[200:-200], wanted[200:-200], atol=1e-3)


def test_repeating_finds_what_followed_before():
    from taskaware.decoding.pieces import repeating

    draw = random.Random(0)
    for size in (1, 2, 3):
        for _ in range(50):
            pieces = [draw.randrange(3) for _ in range(draw.randrange(12))]
            found = repeating(torch.tensor(pieces, dtype=torch.int64).view(1, 1, -1), size)
            assert sorted(set(decode.repeating(pieces, size))) == sorted(
                {piece for _, _, piece in found}
            )
