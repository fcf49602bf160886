"""The vocabulary: fixed ids, tags apart from text, sizes that adapt, reproducible bytes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from taskaware.data.vocabulary.vocabulary import Vocabulary, task_tag, too_large
from taskaware.errors import DataError, UserError

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = [
    "the red house is far away",
    "the green house is near",
    "das rote Haus ist weit weg",
    "das grüne Haus ist nah",
] * 5
TAGS = [task_tag("asr"), task_tag("mt")]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.train(TEXTS, size=320, tags=TAGS)


def test_special_pieces_have_their_ids(vocabulary: Vocabulary):
    ids = [Vocabulary.PAD, Vocabulary.BOS, Vocabulary.EOS, Vocabulary.UNK]
    assert ids == [0, 1, 2, 3]
    assert vocabulary.pieces(ids) == ["<pad>", "<s>", "</s>", "<unk>"]
    assert len(vocabulary) == vocabulary.size == 320


def test_a_word_is_the_same_piece_at_the_start_and_inside(vocabulary: Vocabulary):
    first, inside = vocabulary.encode("house"), vocabulary.encode("the house")
    assert inside[-len(first) :] == first


def test_special_pieces_and_tags_decode_to_nothing(vocabulary: Vocabulary):
    ids = vocabulary.encode("the red house")
    around = [vocabulary.BOS, vocabulary.tag_id("<task:mt>"), *ids, vocabulary.EOS, vocabulary.PAD]
    assert vocabulary.decode(around) == "the red house"


@pytest.mark.parametrize("text", ["<s>", "</s>", "<pad>", "<unk>", "<task:mt>", "<0x41>", "a <s>b"])
def test_names_of_control_pieces_in_a_text_stay_text(vocabulary: Vocabulary, text: str):
    trained_on_them = Vocabulary.train([*TEXTS, *[text] * 20], size=330, tags=TAGS)
    for each in (vocabulary, trained_on_them):
        ids = each.encode(text)
        assert not {0, 1, 2, 3, each.tag_id("<task:mt>")} & set(ids)
        assert each.decode(ids) == text


def test_pieces_that_are_no_utf8_decode_to_the_replacement_character(vocabulary: Vocabulary):
    assert vocabulary.decode(vocabulary.encode("日")[:-1]) == "\ufffd"


def test_an_id_outside_the_vocabulary_is_refused(vocabulary: Vocabulary):
    with pytest.raises(ValueError, match="from 0 to 319"):
        vocabulary.decode([320])


def test_a_lone_surrogate_is_no_text(vocabulary: Vocabulary):
    with pytest.raises(ValueError, match="lone surrogate at position 2"):
        vocabulary.encode("ab\ud800")


def test_equal_texts_give_equal_bytes(vocabulary: Vocabulary):
    again = Vocabulary.train(iter(TEXTS), size=320, tags=TAGS)
    assert again.model_bytes == vocabulary.model_bytes
    assert again.sha256 == vocabulary.sha256
    assert Vocabulary.train(TEXTS[:-1], size=320, tags=TAGS).sha256 != vocabulary.sha256


def test_a_size_that_the_texts_cannot_fill_is_lowered_and_logged(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, logger="taskaware"):
        vocabulary = Vocabulary.train(["ab ab"], size=8_000)
    assert vocabulary.size < 300
    assert f"{vocabulary.size} pieces, fewer than the 8000 asked for" in caplog.text
    assert vocabulary.decode(vocabulary.encode("ab ab ü")) == "ab ab ü"


def test_a_size_below_the_characters_is_refused_with_the_least_size():
    with pytest.raises(UserError, match=r"must be at least \d+ .* but is 100") as caught:
        Vocabulary.train(TEXTS, size=100)
    least = int(str(caught.value).split("at least ")[1].split()[0])
    assert Vocabulary.train(TEXTS, size=least).size == least


def test_no_text_is_refused():
    with pytest.raises(UserError, match="at least one text"):
        Vocabulary.train(["", ""], size=300)


def test_many_texts_get_the_pieces_that_each_gets_alone(vocabulary: Vocabulary):
    texts = [f"{'a ▁b' if i % 7 == 0 else 'the house'} {i}" for i in range(1500)]
    many = vocabulary.encode_many(texts)
    assert many == [vocabulary.encode(text) for text in texts]
    assert many == [
        ids for i in range(0, 1500, 100) for ids in vocabulary.encode_many(texts[i : i + 100])
    ]


def test_save_and_load_keep_every_byte(vocabulary: Vocabulary, tmp_path: Path):
    vocabulary.save(tmp_path / "v.model")
    assert Vocabulary.load(tmp_path / "v.model").sha256 == vocabulary.sha256


def test_a_vocabulary_that_its_texts_cannot_fill_often_enough_is_remarked_on():
    texts = [f"word{i} other{i * 7} thing{i * 13}" for i in range(600)]
    large = Vocabulary.train(texts, size=2000)
    remark = too_large(large, texts)
    total = sum(map(len, large.encode_many(texts)))
    assert f"has {large.size:,} pieces, but the training texts hold only {total:,}" in remark
    assert "--vocabulary-size 500" in remark
    assert too_large(large, 20 * texts) == ""
    assert too_large(Vocabulary.train(texts, size=1000), texts) == ""


def test_a_file_that_is_no_vocabulary_is_refused_by_name(tmp_path: Path):
    with pytest.raises(DataError, match=r"v\.model: the vocabulary file does not exist"):
        Vocabulary.load(tmp_path / "v.model")
    (tmp_path / "v.model").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"v\.model: the vocabulary must be a sentencepiece model"):
        Vocabulary.load(tmp_path / "v.model")


def test_an_unknown_tag_is_refused_with_the_nearest(vocabulary: Vocabulary):
    assert vocabulary.has_tag("<task:mt>")
    with pytest.raises(DataError, match="did you mean '<task:asr>'"):
        vocabulary.tag_id("<task:asx>")
    with pytest.raises(DataError):
        vocabulary.tag_id("e")  # a piece, but of texts


def test_training_is_silent(capfd: pytest.CaptureFixture[str]):
    Vocabulary.train(TEXTS, size=320)
    assert capfd.readouterr() == ("", "")
