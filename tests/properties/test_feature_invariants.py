"""Log-Mel features of any waveform."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from taskaware.data.sound.features import log_mel, num_frames
from taskaware.data.sound.settings import FeatureSettings

RAW = FeatureSettings(normalisation="none")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 20_000), st.floats(0, 1), st.floats(-1, 1), st.integers(0, 1000))
def test_features_are_finite_and_as_many_as_promised(
    num_samples: int, loudness: float, offset: float, seed: int
):
    generator = torch.Generator().manual_seed(seed)
    waveform = loudness * (2 * torch.rand(num_samples, generator=generator) - 1) + offset
    for feature_settings in (RAW, FeatureSettings()):
        features = log_mel(waveform, feature_settings)
        assert features.shape == (num_frames(num_samples, feature_settings), 80)
        assert torch.isfinite(features).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(0, 1000))
def test_a_frame_depends_on_its_own_window_only(first_frame: int, seed: int):
    waveform = 0.1 * torch.randn(10_000, generator=torch.Generator().manual_seed(seed))
    whole = log_mel(waveform, RAW)
    rest = log_mel(waveform[first_frame * RAW.hop_samples :], RAW)
    torch.testing.assert_close(rest, whole[first_frame:], atol=1e-4, rtol=0)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 5.0), st.integers(0, 1000))
def test_louder_speech_has_the_same_normalised_features(gain: float, seed: int):
    # Loud enough for every bin to be far above the floor below the logarithm.
    waveform = 10 * torch.randn(8_000, generator=torch.Generator().manual_seed(seed))
    louder = log_mel(gain * waveform, FeatureSettings())
    torch.testing.assert_close(louder, log_mel(waveform, FeatureSettings()), atol=0.01, rtol=0)
