"""No text is changed by the vocabulary, whatever it is made of."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskaware.data.vocabulary import Vocabulary

FIXED = [
    "Die Straße ist „schön“, aber naß – für 5 €.",
    "Îmi place să mănânc pâine și brânză; țărușul e aici.",
    "Iğdır'ın ışığı: çok güzel, şöyle öğüt İstanbul ı i.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "“curly” ‘quotes’ »guillemets« \"straight\" 'single'",
    "two  spaces   three",
    "  leading and trailing  ",
    " ",
    "",
    "tab\there, newline\nthere, carriage\r\nreturn, NUL\x00.",
    "no-break\u00a0space, thin\u2009space, ideographic\u3000space, line\u2028separator",
    "zero\u200bwidth, soft\u00adhyphen, \ufeffbyte order mark",
    "▁the sign of a space▁ ▁▁",
    "😀 👩‍👩‍👧‍👦 👋🏽 🇩🇪 ❤️",
    "e\u0301 (combining) and é (composed), ﬁ ligature, Ⅷ, ½",
    "<s> </s> <pad> <unk> <0x41> <task:mt> ⁇ \ufffd",
    "日本語 العربية עברית हिन्दी ไทย \U0010ffff",
]


@functools.cache
def vocabulary() -> Vocabulary:
    return Vocabulary.train(FIXED[:9] * 3, size=500, tags=["<task:mt>"])


@pytest.mark.parametrize("text", FIXED)
def test_a_hard_text_comes_back_exactly(text: str):
    assert vocabulary().decode(vocabulary().encode(text)) == text
    assert Vocabulary.UNK not in vocabulary().encode(text)


@settings(max_examples=500, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_exactly(text: str):
    assert vocabulary().decode(vocabulary().encode(text)) == text


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([" ", "▁", "the", "<s>", "\n", "ü", "▁t", "\x00", "  a"])))
def test_any_mix_of_spaces_and_signs_comes_back_exactly(parts: list[str]):
    text = "".join(parts)
    assert vocabulary().decode(vocabulary().encode(text)) == text


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_many_texts_encode_as_each_alone(texts: list[str]):
    assert vocabulary().encode_many(texts) == [vocabulary().encode(text) for text in texts]
