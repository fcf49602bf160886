"""Speed, tempo, echo and masks: what they promise, without any other program."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from taskaware import settings as settings_files
from taskaware.data.sound.augmentation import (
    IDENTITY,
    Draw,
    augment,
    draws,
    echo,
    spec_augment,
    speed,
    tempo,
)
from taskaware.data.sound.settings import AugmentationSettings

RATE = 16_000
PAPER = AugmentationSettings(share=1.0)
FIELDS = ("speed", "tempo", "echo_delay_seconds", "echo_decay")


def buzz(pitch_hz: float, num_samples: int = 2 * RATE) -> np.ndarray:
    """A voice-like tone: ten harmonics."""
    time = np.arange(num_samples) / RATE
    parts = [np.sin(2 * np.pi * pitch_hz * k * time + k) / k for k in range(1, 11)]
    return (0.1 * np.sum(parts, axis=0)).astype(np.float32)


def pitch_hz(waveform: np.ndarray) -> float:
    """The strongest frequency below 400 Hz, to a twentieth of a hertz."""
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), n=1 << 19))
    frequencies = np.fft.rfftfreq(1 << 19, 1 / RATE)
    return float(frequencies[np.argmax(np.where(frequencies < 400, spectrum, 0))])


@pytest.mark.parametrize("factor", [0.85, 0.95, 1.1, 1.3])
def test_tempo_changes_the_length_and_keeps_the_pitch_and_the_loudness(factor: float):
    before = buzz(130.0)
    after = tempo(before, factor, RATE)
    assert after.dtype == np.float32
    assert len(after) == round(len(before) / factor)
    assert pitch_hz(after) == pytest.approx(130.0, rel=0.002)
    assert np.std(after) == pytest.approx(np.std(before), rel=0.02)


@pytest.mark.parametrize("factor", [0.95, 1.02, 1.05])
def test_speed_changes_the_length_and_moves_the_pitch_by_the_same_factor(factor: float):
    before = buzz(130.0)
    after = speed(before, factor, RATE)
    assert after.dtype == np.float32
    assert len(after) == round(len(before) / factor)
    assert pitch_hz(after) == pytest.approx(130.0 * factor, rel=0.002)


@pytest.mark.parametrize("factor", [0.85, 1.3])
def test_tempo_moves_every_sound_to_its_place(factor: float):
    waveform = np.zeros(4 * RATE, np.float32)
    for second in (1, 2, 3):
        waveform[second * RATE : second * RATE + 800] = buzz(200.0, 800)
    after = np.abs(tempo(waveform, factor, RATE))
    for second in (1, 2, 3):
        due = round(second * RATE / factor)
        nearby = after[due - RATE // 5 : due + RATE // 5]
        assert after[due - 400 : due + 1200].max() > 0.05
        assert (nearby > 0.01).any()


@pytest.mark.parametrize("factor", [0.85, 1.3])
def test_tempo_goes_on_where_the_segment_before_would_have_gone_on(factor: float):
    # A place that fits exactly is always within reach of a search over more than one period.
    period = np.random.default_rng(0).normal(0, 0.1, 160).astype(np.float32)
    before = np.tile(period, 200)
    after = tempo(before, factor, RATE)
    inner = len(after) - 2000  # the noise itself ends abruptly
    np.testing.assert_allclose(after[:inner], np.resize(period, inner), atol=1e-6)


@pytest.mark.parametrize("factor", [0.85, 1.3])
def test_segments_that_do_not_fit_are_faded_into_each_other(factor: float):
    # Nothing fits in a signal that only rises: it must jump by up to 470 samples' worth.
    rising = np.arange(2 * RATE, dtype=np.float32)
    steps = np.diff(tempo(rising, factor, RATE))[:-2000]
    assert np.abs(steps).max() < 5


def test_an_echo_is_the_signal_again_later_and_lower():
    impulse = np.zeros(1000, np.float32)
    impulse[100] = 0.5
    after = echo(impulse, 0.02, 0.15, RATE)
    assert len(after) == 1000 + 320
    assert {int(i): float(after[i]) for i in np.flatnonzero(after)} == {
        100: 0.5,
        420: pytest.approx(0.075),
    }


def test_an_echo_of_whole_samples_is_not_a_sample_early():
    # 1.001 * 16,000 is a hair less than 16,016 in floating point.
    assert len(echo(np.ones(1, np.float32), 1.001, 0.1, RATE)) == 1 + 16_016


def test_speed_comes_before_tempo_and_the_echo_last():
    waveform = buzz(130.0)
    drawn = Draw(speed=1.04, tempo=0.9, echo_delay_seconds=0.1, echo_decay=0.2)
    expected = echo(tempo(speed(waveform, 1.04, RATE), 0.9, RATE), 0.1, 0.2, RATE)
    np.testing.assert_array_equal(augment(waveform, drawn, RATE), expected)


def test_nothing_drawn_is_nothing_done():
    waveform = buzz(130.0)
    assert augment(waveform, IDENTITY, RATE) is waveform


@pytest.mark.parametrize("num_samples", [0, 1, 2, 100, 1119, 1120, 1121, 16_001])
@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100])
def test_the_new_length_is_known_beforehand(num_samples: int, rate: int):
    waveform = np.random.default_rng(num_samples).normal(0, 0.1, num_samples).astype(np.float32)
    drawn = draws(PAPER, seed=1, epoch=0, key=("lengths",), num=5)
    for each in (drawn[i] for i in range(5)):
        after = augment(waveform, each, rate)
        assert after.dtype == np.float32
        # Two roundings of half a sample each, and the delay rounded down.
        expected = num_samples / (each.speed * each.tempo) + each.echo_delay_seconds * rate
        assert not num_samples or len(after) == pytest.approx(expected, abs=2.5)
    factors = [1 / (drawn[i].speed * drawn[i].tempo) for i in range(5)]
    np.testing.assert_allclose(drawn.length_factors, factors, rtol=1e-15)


def test_equal_input_gives_equal_output():
    waveform = buzz(130.0)
    each = draws(PAPER, seed=1, epoch=0, key=("equal",), num=1)[0]
    before = waveform.copy()
    first, second = augment(waveform, each, RATE), augment(waveform.copy(), each, RATE)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(waveform, before)


def test_draws_are_uniform_in_the_ranges_of_the_paper():
    drawn = draws(PAPER, seed=1, epoch=0, key=("many",), num=4000)
    ranges = ((0.95, 1.05), (0.85, 1.3), (0.02, 0.2), (0.05, 0.2))
    for name, (low, high) in zip(FIELDS, ranges, strict=True):
        values = getattr(drawn, name)
        assert values.min() >= low
        assert values.max() <= high
        # The mean and the spread of a uniform distribution, to four standard errors.
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.02 * (high - low))
        assert values.std() == pytest.approx((high - low) / 12**0.5, rel=0.03)
    correlations = np.corrcoef([getattr(drawn, name) for name in FIELDS])
    assert np.abs(correlations - np.eye(4)).max() < 0.07


def test_a_share_of_the_examples_is_changed_and_the_others_are_left_alone():
    drawn = draws(replace(PAPER, share=0.3), seed=1, epoch=0, key=("some",), num=4000)
    unchanged = [drawn[i] == IDENTITY for i in range(len(drawn))]
    assert np.mean(unchanged) == pytest.approx(0.7, abs=0.03)
    # Who is changed says nothing of how.
    for name, low, high in (("speed", 0.95, 1.05), ("tempo", 0.85, 1.3), ("echo_decay", 0.05, 0.2)):
        values = getattr(drawn, name)[~np.array(unchanged)]
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.04 * (high - low))
    nothing = draws(AugmentationSettings(), seed=1, epoch=0, key=("none",), num=100)
    assert all(nothing[i] == IDENTITY for i in range(100))


@pytest.mark.parametrize("name", ["speed", "tempo", "echo"])
def test_switching_one_change_off_leaves_the_others_as_they_were(name: str):
    both = draws(PAPER, seed=1, epoch=0, key=("switch",), num=20)
    fewer = draws(replace(PAPER, **{name: False}), seed=1, epoch=0, key=("switch",), num=20)
    for field in FIELDS:
        if field.startswith(name):
            assert (getattr(fewer, field) == getattr(IDENTITY, field)).all()
        else:
            np.testing.assert_array_equal(getattr(fewer, field), getattr(both, field))


def test_draws_depend_on_seed_epoch_and_key_and_on_nothing_else():
    def drawn(num: int = 3, seed: int = 1, epoch: int = 2, key: tuple[int | str, ...] = ("a", 3)):
        return draws(PAPER, seed=seed, epoch=epoch, key=key, num=num).tempo[:3].tolist()

    assert drawn() == drawn() == drawn(num=1000)
    others = [drawn(seed=2), drawn(epoch=3), drawn(key=("a", 4)), drawn(key=("a3",)), drawn(key=())]
    assert len({tuple(values) for values in (drawn(), *others)}) == 6


def test_draws_are_the_same_on_every_machine():
    # Written down once: a change would make a resumed run see other speech than it began with.
    first = draws(PAPER, seed=1, epoch=2, key=("iwslt", 7), num=2)[1]
    assert [getattr(first, name) for name in FIELDS] == pytest.approx(
        [0.9672207618257153, 1.2917303648297207, 0.02633630931014148, 0.050236436164337796],
        abs=1e-12,
    )


def test_a_waveform_of_two_channels_is_refused():
    for change in (speed, tempo):
        with pytest.raises(ValueError, match=r"must have shape \[N\], but has \[10, 2\]"):
            change(np.zeros((10, 2), np.float32), 1.1, RATE)
        with pytest.raises(ValueError, match="must be above 0, but is 0"):
            change(np.zeros(10, np.float32), 0, RATE)


MASKS = AugmentationSettings(
    num_time_masks=2,
    max_time_mask_frames=20,
    num_frequency_masks=2,
    max_frequency_mask_bins=10,
)


def normalised(num_frames: int = 100, num_bins: int = 80) -> np.ndarray:
    features = np.random.default_rng(0).normal(size=(num_frames, num_bins)).astype(np.float32)
    return features - features.mean(axis=0)


def test_masks_are_whole_stretches_of_frames_and_of_bins():
    features = normalised()
    random = np.random.default_rng(1)
    for _ in range(50):
        result = spec_augment(features, MASKS, random)
        masked = np.abs(result) < 1e-6
        frames, bins = masked.all(axis=1), masked.all(axis=0)
        assert frames.sum() <= 2 * 20
        assert bins.sum() <= 2 * 10
        assert num_stretches(frames) <= 2
        assert num_stretches(bins) <= 2
        # What no mask covers is as it was.
        np.testing.assert_array_equal(result[~frames][:, ~bins], features[~frames][:, ~bins])


def num_stretches(masked: np.ndarray) -> int:
    return int(np.diff(np.concatenate(([0], masked.astype(int)))).clip(min=0).sum())


def test_the_length_of_a_mask_is_uniform_from_none_to_the_longest_and_its_place_is_anywhere():
    one = replace(MASKS, num_time_masks=1, max_time_mask_frames=4, num_frequency_masks=0)
    features, random = normalised(6), np.random.default_rng(2)
    lengths, covered = [], np.zeros(6)
    for _ in range(2000):
        frames = (np.abs(spec_augment(features, one, random)) < 1e-6).all(axis=1)
        lengths.append(frames.sum())
        covered += frames
    assert np.bincount(lengths) == pytest.approx(np.full(5, 400), abs=80)
    assert (covered > 0).all()


def test_a_time_mask_covers_at_most_its_share_of_the_frames():
    capped = replace(MASKS, num_time_masks=1, num_frequency_masks=0, max_time_mask_share=0.1)
    features, random = normalised(50), np.random.default_rng(3)
    lengths = {
        int((np.abs(spec_augment(features, capped, random)) < 1e-6).all(axis=1).sum())
        for _ in range(200)
    }
    assert lengths == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_masked_values_are_the_mean_of_their_bin(dtype: type):
    features = (normalised() + 7 * np.arange(80)).astype(dtype)
    result = spec_augment(features, MASKS, np.random.default_rng(0))
    changed = result != features
    assert result.dtype == dtype
    assert changed.any()
    means = np.broadcast_to(features.astype(np.float64).mean(axis=0), features.shape)
    np.testing.assert_allclose(result[changed], means[changed], rtol=1e-3, atol=1e-5)


def test_without_masks_and_without_frames_features_stay_as_they_are():
    features = normalised()
    assert spec_augment(features, PAPER, np.random.default_rng(0)) is features
    empty = features[:0]
    assert spec_augment(empty, MASKS, np.random.default_rng(0)) is empty
    with pytest.raises(ValueError, match=r"must have shape \[S, F\]"):
        spec_augment(features[0], MASKS, np.random.default_rng(0))


def test_masks_of_one_example_do_not_depend_on_the_length_of_the_one_before():
    one, other = np.random.default_rng(4), np.random.default_rng(4)
    spec_augment(normalised()[:0], MASKS, one)
    spec_augment(normalised(90), MASKS, other)
    np.testing.assert_array_equal(
        spec_augment(normalised(), MASKS, one), spec_augment(normalised(), MASKS, other)
    )


def test_masks_longer_than_the_example_still_fit():
    wide = replace(MASKS, max_time_mask_frames=500, max_frequency_mask_bins=500)
    random = np.random.default_rng(0)
    for num_frames in (1, 2, 3):
        assert spec_augment(normalised(num_frames), wide, random).shape == (num_frames, 80)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"share": 1.2}, "share"),
        ({"share": 0.5, "speed": False, "tempo": False, "echo": False}, "share"),
        ({"speed_range": (1.05, 0.95)}, "speed_range"),
        ({"tempo_range": (85.0, 130.0)}, "tempo_range"),
        ({"echo_delay_range_ms": (-1.0, 20.0)}, "echo_delay_range_ms"),
        ({"echo_decay_range": (0.1, 2.0)}, "echo_decay_range"),
        ({"num_time_masks": 2}, "max_time_mask_frames"),
        ({"num_frequency_masks": -1}, "num_frequency_masks"),
        ({"max_time_mask_share": -0.1}, "max_time_mask_share"),
    ],
)
def test_impossible_settings_are_named(wrong: dict[str, object], field: str):
    assert [name for name, _ in AugmentationSettings(**wrong).validate()] == [field]  # type: ignore[arg-type]


def test_by_default_nothing_is_changed_and_all_settings_go_through_toml(tmp_path):
    default = AugmentationSettings()
    assert not default.changes_signal
    assert not default.masks_features
    assert PAPER.changes_signal
    assert MASKS.masks_features
    path = tmp_path / "settings.toml"
    path.write_text(settings_files.dump(MASKS), encoding="utf-8")
    assert settings_files.load(AugmentationSettings, path) == MASKS
    assert "# Whether a changed signal gets one echo." in settings_files.describe(type(MASKS))


def test_the_settings_load_without_numpy_and_torch():
    code = (
        "import sys, taskaware.data.sound.settings; "
        "sys.exit(bool({'numpy', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
