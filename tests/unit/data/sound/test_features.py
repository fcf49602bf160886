"""Log-Mel features: Kaldi's numbers, by Kaldi's own code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from taskaware.data.sound.features import ENERGY_FLOOR, log_mel, num_frames
from taskaware.data.sound.settings import FeatureSettings

RAW = FeatureSettings(normalisation="none")


def kaldi(waveform: np.ndarray, settings: FeatureSettings) -> np.ndarray:
    knf = pytest.importorskip("kaldi_native_fbank")
    options = knf.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.samp_freq = settings.sample_rate_hz
    options.frame_opts.frame_length_ms = settings.window_ms
    options.frame_opts.frame_shift_ms = settings.hop_ms
    options.frame_opts.preemph_coeff = settings.preemphasis
    options.mel_opts.num_bins = settings.num_mel_bins
    options.mel_opts.low_freq = settings.low_hz
    computer = knf.OnlineFbank(options)
    computer.accept_waveform(settings.sample_rate_hz, waveform.tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])


WAVEFORMS = {
    "noise": np.random.default_rng(0).normal(0, 0.1, 20_000),
    "a tone with an offset": 0.2 + 0.5 * np.sin(0.1 * np.arange(20_000)),
    "digital silence": np.zeros(8_000),
    "a faint sound": np.random.default_rng(1).normal(0, 1e-5, 8_000),
    "more frames than a block": np.random.default_rng(2).normal(0, 0.1, 16_000 * 7),
}


@pytest.mark.parametrize("name", WAVEFORMS)
def test_features_agree_with_kaldi(name: str):
    waveform = WAVEFORMS[name].astype(np.float32)
    ours = log_mel(torch.from_numpy(waveform), RAW).numpy()
    np.testing.assert_allclose(ours, kaldi(waveform, RAW), atol=1e-3)


def test_features_agree_with_kaldi_for_other_settings():
    settings = FeatureSettings(
        sample_rate_hz=8_000,
        num_mel_bins=40,
        window_ms=32,
        hop_ms=8,
        low_hz=60,
        preemphasis=0.9,
        normalisation="none",
    )
    waveform = np.random.default_rng(3).normal(0, 0.1, 8_000).astype(np.float32)
    ours = log_mel(torch.from_numpy(waveform), settings).numpy()
    np.testing.assert_allclose(ours, kaldi(waveform, settings), atol=1e-3)


@pytest.mark.parametrize("num_samples", [0, 1, 399])
def test_less_than_a_window_gives_no_frames(num_samples: int):
    features = log_mel(torch.randn(num_samples), FeatureSettings())
    assert features.shape == (0, 80)
    assert features.dtype == torch.float32


def test_normalised_features_have_mean_zero_and_variance_one_in_every_bin():
    waveform = torch.from_numpy(WAVEFORMS["noise"]).float()
    features = log_mel(waveform, FeatureSettings())
    torch.testing.assert_close(features.mean(0), torch.zeros(80), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.var(0, correction=0), torch.ones(80), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "waveform", [torch.zeros(8_000), torch.full((8_000,), 0.5), torch.randn(400)]
)
def test_a_bin_that_does_not_move_stays_near_zero(waveform: torch.Tensor):
    features = log_mel(waveform, FeatureSettings())
    assert torch.isfinite(features).all()
    assert features.abs().max() < 1e-3


def test_silence_is_the_floor():
    features = log_mel(torch.zeros(800), RAW)
    torch.testing.assert_close(features, torch.full((3, 80), float(np.log(ENERGY_FLOOR))))


def test_two_dimensions_are_refused():
    with pytest.raises(ValueError, match=r"shape \[N\]"):
        log_mel(torch.zeros(1, 800), RAW)


def test_num_frames_counts_whole_windows():
    assert [num_frames(n, RAW) for n in (399, 400, 559, 560, 16_000)] == [0, 1, 1, 2, 98]
