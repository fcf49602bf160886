"""Cipher languages: one word for each English word, the same ones for ever, shared by no two."""

from __future__ import annotations

import re

import pytest

from taskaware.data.embedded.ciphers import MAX_NUM_CIPHERS, ciphers
from taskaware.data.embedded.grammar import generate, vocabulary


def test_every_word_of_the_grammar_has_one_word_of_its_own_in_each_language():
    for cipher in ciphers(MAX_NUM_CIPHERS):
        assert set(cipher.words) == vocabulary()
        assert len(set(cipher.words.values())) == len(cipher.words)


def test_languages_share_no_word_with_each_other_or_with_english():
    words = [word for cipher in ciphers(MAX_NUM_CIPHERS) for word in cipher.words.values()]
    assert len(set(words)) == len(words)
    assert vocabulary().isdisjoint(words)


def test_words_are_lower_case_letters_of_at_least_two_syllables():
    for cipher in ciphers(MAX_NUM_CIPHERS):
        for word in cipher.words.values():
            assert re.fullmatch(r"([b-z]{1,2}[aeiou]{1,2}){2,3}[a-z]{0,2}", word), word


def test_the_words_are_those_of_every_other_process_and_version_of_python():
    first, last = ciphers(MAX_NUM_CIPHERS)[0], ciphers(MAX_NUM_CIPHERS)[-1]
    text = "The old man reads a book, but my grandmother does not sleep on Monday."
    assert (first.code, last.code) == ("c01", "c99")
    assert first.encipher(text) == (
        "Befa jejurt jejart fono choju tranu, skuru chefort plechaja skenum ruskom tratrul jeskel "
        "Pujurt."
    )
    assert last.words["the"] == "geimap"


def test_capitals_and_punctuation_stay_and_every_sentence_can_be_read_back():
    (cipher,) = ciphers(1)
    english = {word: word_of_english for word_of_english, word in cipher.words.items()}
    for sentence in generate(2_000, seed=3):
        text = cipher.encipher(sentence.english)
        assert text[0].isupper()
        assert text[-1] == sentence.english[-1]
        back = re.sub(r"\w+", lambda match: english[match.group().lower()], text)
        assert back == sentence.english.lower()


def test_more_languages_begin_with_fewer():
    assert ciphers(5)[:2] == ciphers(2)
    assert ciphers(0) == ()


@pytest.mark.parametrize("num_ciphers", [-1, 100])
def test_an_impossible_number_is_refused(num_ciphers):
    with pytest.raises(ValueError, match="num_ciphers"):
        ciphers(num_ciphers)


def test_a_word_that_is_not_of_the_grammar_is_named():
    with pytest.raises(ValueError, match="'xylophone'"):
        ciphers(1)[0].encipher("The xylophone sings.")
