"""Cipher languages: English whose words are replaced, one by one, by those of a made-up language.

They are target languages without end for the embedded corpus: enough of them to train more tasks
than there are grammars. A cipher is not a language: word order, number of words and every
distinction between words are those of English, so that translating is looking words up.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from taskaware.data.embedded.grammar import vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_NUM_CIPHERS = 99

# Plain letters, so that every word is made of ordinary word pieces.
_ONSETS = ("br", "ch", "gl", "kr", "pl", "sh", "sk", "st", "tr", *"bdfghjklmnprstvwz")
_VOWELS = ("ai", "ei", "ou", *"aeiou")
_CODAS = ("nd", "rt", "sh", *"klmnprstx")
# What one language uses of them: its words sound alike.
_NUM_ONSETS, _NUM_VOWELS, _NUM_CODAS = 10, 4, 4
_CODA_PROBABILITY = 0.4
_MIN_LENGTH_OF_LONG_WORDS = 8


@dataclass(frozen=True, kw_only=True)
class Cipher:
    """One cipher language.

    Attributes:
        code: Its language code: ``c01`` to ``c99``.
        words: What each English word of the grammar becomes, both in lower case; one to one.
    """

    code: str
    words: Mapping[str, str]

    def encipher(self, text: str) -> str:
        """Replace every word; capitals, spaces and punctuation stay where they are.

        Raises:
            ValueError: The text has a word that the grammar does not have.
        """
        return re.sub(r"\w+", lambda match: self._replacement(match.group()), text)

    def _replacement(self, english: str) -> str:
        word = self.words.get(english.lower())
        if word is None:
            raise ValueError(
                f"`text` must be made of the grammar's words, but has {english!r} instead."
            )
        return word.capitalize() if english[0].isupper() else word


@cache
def ciphers(num_ciphers: int) -> tuple[Cipher, ...]:
    """The first cipher languages: the same ones in every process and version of Python.

    No two of them have a word in common, and none has a word of the English vocabulary.

    Args:
        num_ciphers: How many, 0 to ``MAX_NUM_CIPHERS``. More of them begin with fewer of them.

    Raises:
        ValueError: ``num_ciphers`` is out of range.
    """
    if not 0 <= num_ciphers <= MAX_NUM_CIPHERS:
        raise ValueError(
            f"`num_ciphers` must be in 0..{MAX_NUM_CIPHERS}, but is {num_ciphers} instead."
        )
    english = sorted(vocabulary())
    taken = set(english)
    found = []
    for number in range(1, num_ciphers + 1):
        words = {}
        for word in english:
            words[word] = next(name for name in _names(number, word) if name not in taken)
            taken.add(words[word])
        found.append(Cipher(code=f"c{number:02d}", words=words))
    return tuple(found)


def _names(number: int, english: str) -> Iterator[str]:
    """What language ``number`` may call an English word, the best name first, without end."""
    sounds = _bytes(f"cipher {number}")
    onsets = _chosen(_ONSETS, _NUM_ONSETS, sounds)
    vowels = _chosen(_VOWELS, _NUM_VOWELS, sounds)
    codas = _chosen(_CODAS, _NUM_CODAS, sounds)
    num_syllables = 3 if len(english) >= _MIN_LENGTH_OF_LONG_WORDS else 2
    draws = _bytes(f"cipher {number} {english}")
    while True:
        syllables = [_one(onsets, draws) + _one(vowels, draws) for _ in range(num_syllables)]
        coda = _one(codas, draws) if next(draws) < 256 * _CODA_PROBABILITY else ""
        yield "".join(syllables) + coda


def _bytes(seed: str) -> Iterator[int]:
    """Numbers 0 to 255 without end. Unlike ``random``'s, they are the same for ever."""
    for block in itertools.count():
        yield from hashlib.sha256(f"{seed} {block}".encode()).digest()


def _one(choices: tuple[str, ...], draws: Iterator[int]) -> str:
    return choices[next(draws) % len(choices)]


def _chosen(choices: tuple[str, ...], num: int, draws: Iterator[int]) -> tuple[str, ...]:
    """Some distinct ones."""
    left = list(choices)
    return tuple(left.pop(next(draws) % len(left)) for _ in range(num))
