"""Whisper's features: against those of Hugging Face's library, and by what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from taskaware.data.prepare.extraction import extract_source
from taskaware.data.quality.checks import Finding
from taskaware.data.quality.settings import CheckSettings
from taskaware.data.sound.features import log_mel, num_frames
from taskaware.data.sound.settings import FeatureSettings
from taskaware.data.sound.whisper_features import slaney_filters, whisper_log_mel
from taskaware.errors import AudioError
from taskaware.types import Speech


def waveform(seconds: float, *, seed: int = 0) -> torch.Tensor:
    """Tones that come and go, with noise."""
    generator = np.random.default_rng(seed)
    time = np.arange(int(seconds * 16_000)) / 16_000
    tones = sum(np.sin(2 * np.pi * hz * time) * np.sin(time * hz / 90) for hz in (130, 700, 3100))
    return torch.from_numpy(0.1 * tones + 0.01 * generator.standard_normal(len(time))).float()


@pytest.mark.parametrize("num_mel_bins", [80, 128])
@pytest.mark.parametrize("seconds", [0.3, 7.123, 30.0])
def test_features_are_those_of_the_transformers_library(num_mel_bins: int, seconds: float):
    transformers = pytest.importorskip("transformers", reason="the other one is not there")
    theirs = transformers.WhisperFeatureExtractor(feature_size=num_mel_bins)
    samples = waveform(seconds)
    wanted = theirs(samples.numpy(), sampling_rate=16_000, return_tensors="pt").input_features[0].T
    ours = whisper_log_mel(samples, num_mel_bins=num_mel_bins)
    assert ours.shape == (3000, num_mel_bins)
    torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_samples", [0, 1, 159, 160, 200, 201, 399, 16_000, 16_161])
@pytest.mark.parametrize("padded_seconds", [0.0, 2.0])
def test_the_number_of_frames_is_the_one_promised(num_samples: int, padded_seconds: float):
    settings = FeatureSettings(kind="whisper", padded_seconds=padded_seconds)
    frames = log_mel(waveform(2.0)[:num_samples], settings)
    assert len(frames) == num_frames(num_samples, settings)
    assert len(frames) == (200 if padded_seconds else num_samples // 160)
    assert frames.isfinite().all()


def test_silence_is_finite_and_even():
    frames = whisper_log_mel(torch.zeros(16_000), padded_seconds=0.0)
    assert frames.unique().numel() == 1


def test_a_recording_that_is_longer_than_the_model_hears_is_refused():
    with pytest.raises(AudioError, match=r"at most 2 s.*lasts 3\.0 s"):
        whisper_log_mel(waveform(3.0), padded_seconds=2.0)
    assert len(whisper_log_mel(waveform(3.0), padded_seconds=0.0)) == 300


def test_every_filter_has_the_same_area():
    # Hertz a bin, times the sum: 1 up to what 40 Hz wide bins cannot resolve.
    areas = slaney_filters(80).sum(dim=1) * 40
    torch.testing.assert_close(areas[60:], torch.ones(20), atol=0.02, rtol=0)


@pytest.mark.parametrize("store", ["features", "audio"])
def test_a_recording_too_long_for_the_model_is_a_bad_line_of_its_manifest(tmp_path, store: str):
    path = tmp_path / "long.wav"
    soundfile.write(path, waveform(3.0).numpy(), 16_000)
    found = extract_source(
        Speech(path=path),
        column="audio",
        features=FeatureSettings(kind="whisper", padded_seconds=2.0),
        checks=CheckSettings(),
        num_columns=None,
        keep_audio=store == "audio",
    )
    assert isinstance(found, Finding)
    assert "at most 2 s" in found.reason
