"""Sentencepiece models cut to the pieces of some texts cut those as before and know what they lost.

Of both kinds of models: unigram language models and byte-pair encoding.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from taskaware.data.vocabulary.cut_mapped import without_pieces
from taskaware.data.vocabulary.mapped_pieces import mapped_bytes
from taskaware.data.vocabulary.smaller import cut_to
from taskaware.data.vocabulary.vocabulary import Vocabulary
from taskaware.errors import DataError, UserError

Kind = Literal["unigram", "bpe"]
ENGLISH = ["the red house is far away", "the green house is nearer", "a dog sees the houses"]
GERMAN = ["das rote Haus ist weiß", "die grünen Häuser sind näher", "ein Hund sieht das Haus"]
KEPT_FOR = ["the red house is nearer", "das rote Haus"]


def model(texts: list[str], kind: Kind) -> bytes:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(texts * 5),
        model_writer=written,
        vocab_size=90,
        model_type=kind,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return written.getvalue()


def names(of: bytes) -> list[str]:
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(of)
    return [processor.IdToPiece(i) for i in range(3, processor.GetPieceSize())]


def whole(kind: Kind, **changes) -> Vocabulary:
    english, german = model(ENGLISH, kind), model(GERMAN, kind)
    listed = ["<pad>", "</s>", "<unk>", ">>de<<", *sorted({*names(english), *names(german)})]
    values = {
        "family": "marian",
        "ids": {name: i for i, name in enumerate(listed)},
        "controls": {">>de<<": 3},
        "source_model": english,
        "target_model": german,
        "pad": 0,
        "begin": 0,
        "end": 1,
        "unknown": 2,
        "size": len(listed) + 2,
    }
    return Vocabulary(mapped_bytes(**(values | changes)))


@dataclass
class Cut:
    """A vocabulary before and after, and the new ids of the pieces that stayed."""

    whole: Vocabulary
    smaller: Vocabulary
    new_ids: dict[int, int]


def cut(vocabulary: Vocabulary, texts: list[str]) -> Cut:
    found = cut_to(vocabulary, texts)
    return Cut(vocabulary, found.vocabulary, {old: new for new, old in enumerate(found.kept)})


CUTS: dict[Kind, Cut] = {kind: cut(whole(kind), KEPT_FOR) for kind in ("unigram", "bpe")}
# Words and letters of the texts, so that many pieces were kept, and some others.
NEAR = st.lists(st.sampled_from([*" ".join(KEPT_FOR).split(" "), *"tHaesüß日", "green"]))
WORDS = st.lists(NEAR.map("".join)).map(" ".join)


@pytest.mark.parametrize("kind", CUTS)
@given(text=WORDS)
@settings(max_examples=300, deadline=None)
def test_texts_of_kept_pieces_are_cut_as_before(kind: Kind, text: str):
    found = CUTS[kind]
    for method in ("encode", "encode_source"):
        before, after = (getattr(one, method)(text) for one in (found.whole, found.smaller))
        if set(before) <= set(found.new_ids):
            assert after == [found.new_ids[i] for i in before]


@pytest.mark.parametrize("kind", CUTS)
def test_the_texts_are_and_another_of_their_letters_is_written_by_smaller_pieces(kind: Kind):
    found = CUTS[kind]
    assert found.smaller.size < found.whole.size - 15
    for encode in ("encode", "encode_source"):
        for text in KEPT_FOR:
            before, after = (getattr(one, encode)(text) for one in (found.whole, found.smaller))
            assert after == [found.new_ids[i] for i in before]
    other = "das Haus ist ein Hund"
    before, after = found.whole.encode(other), found.smaller.encode(other)
    assert not set(before) <= set(found.new_ids)
    assert found.smaller.decode(after) == other
    assert found.smaller.lost_in(other) == []


@pytest.mark.parametrize("kind", CUTS)
def test_characters_that_were_lost_are_told_from_those_that_never_were_pieces(kind: Kind):
    found = CUTS[kind]
    assert found.smaller.lost_in("weiß, ß, 日") == ["w", "ß"]
    assert found.whole.lost_in("weiß, ß, 日") == []
    assert found.smaller.UNK in found.smaller.encode("ß")
    assert found.smaller.lost_in("white", is_source=True) == ["w"]
    again = cut(found.smaller, ["das Haus"]).smaller
    assert again.lost_in("rot weiß") == ["r", "o", "t", "w", "e", "i", "ß"]
    assert again.size < found.smaller.size


@pytest.mark.parametrize("kind", CUTS)
def test_special_and_control_pieces_stay(kind: Kind):
    found = CUTS[kind]
    assert found.smaller.tags == [">>de<<"]
    for name in ("PAD", "BOS", "EOS", "UNK"):
        assert found.new_ids[getattr(found.whole, name)] == getattr(found.smaller, name)
    assert found.new_ids[found.whole.tag_id(">>de<<")] == found.smaller.tag_id(">>de<<")
    assert found.smaller.family == "marian"


def test_texts_are_changed_to_the_case_of_the_model_before_pieces_are_kept():
    upper = cut(whole("bpe", case="lower", target_model=model(ENGLISH, "bpe")), ["The RED house"])
    assert upper.smaller.decode(upper.smaller.encode("the Red HOUSE")) == "the red house"
    assert upper.smaller.UNK not in upper.smaller.encode("THE RED house")


def test_bytes_stay():
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(GERMAN * 5),
        model_writer=written,
        vocab_size=400,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    both = {"source_model": written.getvalue(), "target_model": written.getvalue()}
    ids = {name: i for i, name in enumerate(["<pad>", "</s>", "<unk>", *names(written.getvalue())])}
    found = cut(whole("bpe", ids=ids, controls={}, size=len(ids), **both), ["das Haus"])
    for text in ("das 日", "die Häuser"):
        assert found.smaller.decode(found.smaller.encode(text)) == text
        assert found.smaller.lost_in(text) == []
    assert found.smaller.size < found.whole.size


def test_without_a_text_there_is_nothing_to_keep():
    with pytest.raises(UserError, match="there is no text"):
        cut_to(whole("bpe"), [" "])


@pytest.mark.parametrize("damaged", [b"\x0a\x80", b"\x08\x05", b"text"])
def test_what_is_no_sentencepiece_model_is_refused(damaged: bytes):
    with pytest.raises(DataError, match="must hold sentencepiece models"):
        without_pieces(damaged, ["the"])


def test_without_a_piece_to_take_away_a_model_stays_as_it_was():
    assert without_pieces(model(ENGLISH, "bpe"), ["h", "nothing"]) == model(ENGLISH, "bpe")
