"""Synthetic speech: audible, of plausible length, by distinct voices."""

from __future__ import annotations

import builtins
import ctypes

import numpy as np
import pytest

from taskaware import errors
from taskaware.data.embedded.grammar import vocabulary
from taskaware.data.sound import synthesis
from taskaware.data.sound.synthesis import Synthesiser, Voice, voices

TEXT = "The old teacher reads a red book today."


@pytest.fixture(scope="module")
def synthesiser():
    pytest.importorskip("espeakng_loader", reason="needs the extra 'demo'")
    return Synthesiser()


def test_there_are_at_least_forty_voices_with_different_names_in_a_fixed_order():
    assert voices() == voices()
    assert len({voice.name for voice in voices()}) == len(voices()) >= 40


def test_every_voice_speaks_audibly_without_clipping_at_plausible_speed(synthesiser):
    for voice in voices():
        # Its hissing consonants are the loudest sounds of the corpus.
        samples = synthesiser.synthesise("She washes five fresh cherries today.", voice)
        assert samples.dtype == np.float32
        assert samples.ndim == 1
        assert 1.2 < len(samples) / synthesiser.sample_rate_hz < 2.6, voice.name
        assert 0.01 < np.sqrt(np.mean(samples**2)) < 0.3, voice.name
        assert np.abs(samples).max() < 0.999, voice.name


def test_voices_differ_in_sound(synthesiser):
    def long_term_spectrum(voice):
        samples = synthesiser.synthesise(TEXT, voice)
        frames = np.lib.stride_tricks.sliding_window_view(samples, 512)[::256] * np.hanning(512)
        power = (np.abs(np.fft.rfft(frames)) ** 2).mean(axis=0)[4:196]
        return np.log(power.reshape(-1, 6).mean(axis=1) + 1e-9)

    # One voice a timbre: the accents of a timbre share its spectrum.
    spectra = [long_term_spectrum(voice) for voice in voices()[::4]]
    again = long_term_spectrum(voices()[0])
    same = np.sqrt(np.mean((spectra[0] - again) ** 2))
    for index, spectrum in enumerate(spectra):
        for other in spectra[:index]:
            assert np.sqrt(np.mean((spectrum - other) ** 2)) > 2 * same


def test_silence_at_the_ends_is_cut_to_50_ms():
    spoken = np.full(1_000, 0.5, dtype=np.float32)
    padded = np.concatenate([np.zeros(3_000, np.float32), spoken, np.zeros(70, np.float32)])
    trimmed = synthesis._trimmed(padded, 10_000)
    assert len(trimmed) == 500 + 1_000 + 70
    np.testing.assert_array_equal(trimmed[500:1_500], spoken)


def test_a_longer_sentence_takes_longer(synthesiser):
    short = synthesiser.synthesise("She sings.", voices()[0])
    assert len(synthesiser.synthesise(TEXT, voices()[0])) > 2 * len(short)


def test_no_two_words_of_the_corpus_sound_alike_in_any_accent(synthesiser):
    library = synthesis._espeak()[0]
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    for accent in {voice.name.partition("+")[0] for voice in voices()}:
        assert library.espeak_SetVoiceByName(accent.encode()) == 0
        heard: dict[bytes, str] = {}
        for word in sorted(vocabulary()):
            text = ctypes.c_char_p(word.encode())
            phonemes = library.espeak_TextToPhonemes(ctypes.byref(text), 1, 0)
            assert heard.setdefault(phonemes, word) == word, (accent, phonemes)


@pytest.mark.parametrize("name", ["en-us+nobody", "nowhere"])
def test_an_unknown_voice_is_refused(synthesiser, name):
    with pytest.raises(ValueError, match="voice"):
        synthesiser.synthesise(TEXT, Voice(name=name, rate_words_per_minute=200, pitch=50))


@pytest.mark.parametrize("text", ["", "  ", "..."])
def test_nothing_to_speak_is_refused(synthesiser, text):
    with pytest.raises(ValueError, match="text"):
        synthesiser.synthesise(text, voices()[0])


def test_a_missing_library_names_what_to_install(monkeypatch):
    original = builtins.__import__

    def without_espeak(name, *arguments, **keywords):
        if name == "espeakng_loader":
            raise ImportError(name)
        return original(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_espeak)
    monkeypatch.setattr(synthesis, "_espeak", synthesis._espeak.__wrapped__)
    with pytest.raises(errors.MissingDependencyError, match=r"pip install 'taskaware\[demo\]'"):
        Synthesiser()
