"""How languages are written: tags of languages, words without white space, what nobody sees.

What overlap, cleaning and scores all ask of a text, answered in one place.
"""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Script = Literal["han", "kana", "yi", "hangul", "th", "lo", "bo", "my", "km", "other"]

# Signs: each is a syllable or a word. Letters: several make a word. Neither kind of script
# separates words by white space; Hangul does, and is told apart for BLEU's tokeniser alone.
_SIGNS: frozenset[Script] = frozenset({"han", "kana", "yi"})
_LETTERS: frozenset[Script] = frozenset({"th", "lo", "bo", "my", "km", "other"})
_RANGES: tuple[tuple[int, int, Script], ...] = (
    (0x0E00, 0x0E7F, "th"),
    (0x0E80, 0x0EFF, "lo"),
    (0x0F00, 0x0FFF, "bo"),
    (0x1000, 0x109F, "my"),
    (0x1100, 0x11FF, "hangul"),
    (0x1780, 0x17FF, "km"),
    (0x1950, 0x19DF, "other"),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF, "other"),  # Tai Tham
    (0x1B00, 0x1B7F, "other"),  # Balinese
    (0x2E80, 0x2FDF, "han"),
    (0x3005, 0x3007, "han"),
    (0x3021, 0x3029, "han"),
    (0x3038, 0x303B, "han"),
    (0x3040, 0x30FF, "kana"),
    (0x3100, 0x312F, "han"),  # Bopomofo
    (0x3130, 0x318F, "hangul"),
    (0x31A0, 0x31BF, "han"),
    (0x31F0, 0x31FF, "kana"),
    (0x3400, 0x4DBF, "han"),
    (0x4E00, 0x9FFF, "han"),
    (0xA000, 0xA48F, "yi"),
    (0xA980, 0xA9DF, "other"),  # Javanese
    (0xA9E0, 0xA9FF, "my"),
    (0xAA60, 0xAA7F, "my"),
    (0xAA80, 0xAADF, "other"),  # Tai Viet
    (0xAC00, 0xD7FF, "hangul"),
    (0xF900, 0xFAFF, "han"),
    (0xFF66, 0xFF9F, "kana"),
    (0x1B000, 0x1B16F, "kana"),
    (0x20000, 0x3FFFF, "han"),
)
# Letters of a script for each word of the same text in English, rounded. Measured on pairs of 4 to
# 20 English words of Debian's message catalogues, medians: Chinese 1.7 (8,470 pairs), Japanese 3.0
# (7,255), Thai 4.3 (1,159), Khmer 3.7 (377), Burmese 2.7 (875), Dzongkha 3.7 (1,190).
_SIGNS_PER_WORD = 2
_LETTERS_PER_WORD = 4
_KANA_SHARE = 0.05  # of the signs: from here on Japanese rather than Chinese

# What a tag of BCP 47 begins with, or a name in its place, to the shortest code (ISO 639).
_CODES: dict[str, str] = {
    **dict.fromkeys(("zho", "chi", "cmn", "yue", "wuu", "nan", "hak", "gan", "hsn"), "zh"),
    **dict.fromkeys(("cdo", "cjy", "cpx", "czh", "czo", "mnp", "lzh"), "zh"),
    **dict.fromkeys(("chinese", "mandarin", "cantonese"), "zh"),
    **dict.fromkeys(("jpn", "japanese", "jp"), "ja"),
    **dict.fromkeys(("kor", "korean", "kr"), "ko"),
    **dict.fromkeys(("tha", "thai", "nod", "tts", "sou"), "th"),
    **dict.fromkeys(("lao",), "lo"),
    **dict.fromkeys(("khm", "khmer", "kxm"), "km"),
    **dict.fromkeys(("mya", "bur", "burmese", "mnw", "shn", "ksw"), "my"),
    **dict.fromkeys(("bod", "tib", "tibetan", "dzo", "dz"), "bo"),
    **dict.fromkeys(("tur", "turkish"), "tr"),
    **dict.fromkeys(("aze", "azj", "azerbaijani"), "az"),
    **{"ara": "ar", "arb": "ar", "ben": "bn", "bul": "bg", "cat": "ca", "ces": "cs", "cze": "cs"},
    **{"cym": "cy", "wel": "cy", "dan": "da", "deu": "de", "ger": "de", "german": "de"},
    **{"ell": "el", "gre": "el", "eng": "en", "english": "en", "est": "et", "eus": "eu"},
    **{"baq": "eu", "fas": "fa", "per": "fa", "pes": "fa", "fin": "fi", "fra": "fr", "fre": "fr"},
    **{"french": "fr", "gle": "ga", "glg": "gl", "guj": "gu", "heb": "he", "iw": "he"},
    **{"hin": "hi", "hrv": "hr", "hun": "hu", "hye": "hy", "arm": "hy", "ind": "id", "in": "id"},
    **{"isl": "is", "ice": "is", "ita": "it", "italian": "it", "kan": "kn", "kat": "ka"},
    **{"geo": "ka", "kaz": "kk", "lav": "lv", "lvs": "lv", "lit": "lt", "mal": "ml", "mar": "mr"},
    **{"mkd": "mk", "mac": "mk", "msa": "ms", "may": "ms", "zsm": "ms", "nep": "ne", "nld": "nl"},
    **{"dut": "nl", "dutch": "nl", "nor": "no", "nob": "no", "nb": "no", "pan": "pa", "pol": "pl"},
    **{"por": "pt", "portuguese": "pt", "ron": "ro", "rum": "ro", "romanian": "ro", "rus": "ru"},
    **{"russian": "ru", "slk": "sk", "slo": "sk", "slv": "sl", "spa": "es", "spanish": "es"},
    **{"sqi": "sq", "alb": "sq", "srp": "sr", "swa": "sw", "swh": "sw", "swe": "sv", "tam": "ta"},
    **{"tel": "te", "tgl": "tl", "fil": "tl", "ukr": "uk", "urd": "ur", "uzb": "uz", "vie": "vi"},
}
_UNSEPARATED = frozenset({"zh", "ja", "th", "lo", "km", "my", "bo", "other"})
_DOTLESS = frozenset({"tr", "az", "crh", "gag"})  # their capital I is a dotless letter

# Default_Ignorable_Code_Point beside category Cf, and the Arabic tatweel, which only stretches.
_IGNORABLE = (
    *((0x034F, 0x034F), (0x0640, 0x0640), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x2065, 0x2065), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8)),
    (0xE0000, 0xE0FFF),
)


def language_code(tag: str) -> str:
    """The shortest code of a tag's language: ``zh`` for ``zh-Hans``, ``zh_CN``, ``cmn``, ``yue``.

    Tags are read like BCP 47's, whatever the case, with ``-`` or ``_``; one that is not known is
    its first part in lower case.
    """
    first = re.split(r"[-_.@ ]", tag.strip().casefold(), maxsplit=1)[0]
    return _CODES.get(first, first)


def written_language(tag: str, texts: Iterable[str]) -> str:
    """The code of the language that texts are written in, as scores and counts must know it.

    The tag decides where it names a language whose words are not separated by white space, or
    Korean, and the texts are in a script of such a language (romanised text is not). Else the
    script decides where most letters are of such a script: ``ja`` with kana, else ``zh``; ``ko``,
    ``th``, ``lo``, ``km``, ``my``, ``bo``; ``other``: another script of that kind.
    """
    code = language_code(tag)
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(script(character) or "" for character in text if character.isalpha())
    asian = counts.total() - counts[""]
    if code in _UNSEPARATED or code == "ko":
        if asian or not counts:
            return code
        return ""  # romanised, or not that language at all
    if 2 * asian <= counts.total():
        return code
    kana, signs = counts["kana"], counts["han"] + counts["kana"]
    rest = Counter({name: n for name, n in counts.items() if name not in ("", "han", "kana")})
    name, number = rest.most_common(1)[0] if rest else ("", 0)
    if signs >= number:
        return "ja" if kana >= _KANA_SHARE * signs else "zh"
    return {"hangul": "ko", "yi": "other"}.get(name, name)


def separates_words(code: str) -> bool:
    """Whether a language (a code of ``written_language``) separates words by white space."""
    return code not in _UNSEPARATED


@functools.cache
def script(character: str) -> Script | None:
    """The script of a character where it is one that this module tells apart."""
    code = ord(character)
    return next((name for first, last, name in _RANGES if first <= code <= last), None)


def is_sign(character: str) -> bool:
    """Whether a character is a syllable or a word of its own: Han, kana, Bopomofo, Yi."""
    return script(character) in _SIGNS and character.isalpha()


def words(text: str) -> list[str]:
    """The words between white space; each sign, or letter of Thai and the like, is one by itself.

    Marks stay with their letter.
    """
    return [word for part in text.split() for word in _parts(part)]


def count_words(text: str) -> int:
    """The number of words of a text, as well as it can be told.

    Words between white space count as they are. Where words are not separated, 2 signs of Chinese
    or Japanese, or 4 letters of Thai, Lao, Khmer, Burmese or Tibetan, count as a word, rounded up:
    about what the same text has in English.
    """
    if text.isascii():
        return len(text.split())
    found = words(text)
    signs = sum(is_sign(word[0]) for word in found)
    letters = sum(_is_unseparated(word[0]) for word in found) - signs
    if not signs and not letters:
        return len(found)
    rest = sum(
        any(map(str.isalnum, word)) for word in found if not _is_unseparated(word[0])
    )  # without the signs of punctuation between them
    return rest + math.ceil(signs / _SIGNS_PER_WORD + letters / _LETTERS_PER_WORD)


def has_unseparated_words(text: str) -> bool:
    """Whether most letters of a text are of scripts that do not separate words."""
    letters = [character for character in text if character.isalpha()]
    return 2 * sum(map(_is_unseparated, letters)) > len(letters)


def visible(text: str) -> str:
    """The text in Unicode's normal form KC, without what nobody sees or hears.

    Form KC makes one of full-width and other forms of a letter. Removed are control characters but
    white space, format characters (zero-width spaces and joiners, soft hyphens, marks of direction,
    byte order marks), variation selectors, fillers, and the Arabic tatweel.
    """
    if text.isascii() and text.isprintable():
        return text
    kept = "".join(character for character in text if not _is_ignorable(character))
    return unicodedata.normalize("NFKC", kept)


def lower(text: str, language: str = "") -> str:
    """The text in lower case, by the rule of its language (a code of ``language_code``).

    In Turkish, Azerbaijani, Crimean Tatar and Gagauz, ``I`` becomes the dotless ``ı``. In every
    language ``İ`` becomes a plain ``i``, and a final ``ς`` the ``σ`` that it is.
    """
    if language in _DOTLESS:
        text = text.replace("I", "ı")
    return text.replace("İ", "i").lower().replace("i\u0307", "i").replace("ς", "σ")


def has_dotless_i(language: str) -> bool:
    """Whether ``lower`` treats the language's capital I in its own way."""
    return language in _DOTLESS


def _parts(text: str) -> list[str]:
    """The words of a text without white space."""
    if text.isascii():
        return [text]
    found: list[str] = []
    is_open = False  # whether another character goes on with the last word
    for character in text:
        is_mark = unicodedata.category(character).startswith("M")
        alone = _is_unseparated(character)
        if found and (is_mark or (is_open and not alone)):
            found[-1] += character
        else:
            found.append(character)
            is_open = not alone
    return found


@functools.cache
def _is_unseparated(character: str) -> bool:
    found = script(character)
    return (found in _SIGNS or found in _LETTERS) and character.isalpha()


@functools.cache
def _is_ignorable(character: str) -> bool:
    category = unicodedata.category(character)
    if category == "Cc":
        return not character.isspace()
    code = ord(character)
    return category == "Cf" or any(first <= code <= last for first, last in _IGNORABLE)
