"""The vocabularies of Marian, M2M100, NLLB and Speech2Text: ids of their own, refusals."""

from __future__ import annotations

import io
import json

import pytest
import sentencepiece

from taskaware.data.vocabulary.mapped_pieces import mapped_bytes
from taskaware.data.vocabulary.vocabulary import Vocabulary
from taskaware.errors import DataError


def model(texts: list[str]) -> bytes:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(texts * 5),
        model_writer=written,
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return written.getvalue()


ENGLISH, GERMAN = model(["the red house", "a dog sees it"]), model(["das rote Haus", "ein Hund"])


def names(of: bytes) -> list[str]:
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(of)
    return [processor.IdToPiece(i) for i in range(3, processor.GetPieceSize())]


LISTED = ["<pad>", "</s>", "<unk>", ">>de<<", *sorted({*names(ENGLISH), *names(GERMAN)})]
IDS = {name: i for i, name in enumerate(LISTED)}


def file_bytes(**changes) -> bytes:
    values = {
        "family": "marian",
        "ids": IDS,
        "controls": {">>de<<": 3},
        "source_model": ENGLISH,
        "target_model": GERMAN,
        "pad": 0,
        "begin": 0,
        "end": 1,
        "unknown": 2,
        "size": len(IDS) + 2,
    }
    return mapped_bytes(**(values | changes))  # type: ignore[arg-type]


def test_sources_and_targets_are_cut_by_models_of_their_own_and_come_back():
    vocabulary = Vocabulary(file_bytes())
    source, target = vocabulary.encode_source("the red house"), vocabulary.encode("das rote Haus")
    assert vocabulary.decode(source) == "the red house"
    assert vocabulary.decode(target) == "das rote Haus"
    assert vocabulary.pieces(source)[0].startswith("▁")
    assert vocabulary.UNK not in source
    assert vocabulary.size == len(IDS) + 2


def test_control_pieces_and_what_is_unknown_decode_to_nothing():
    vocabulary = Vocabulary(file_bytes())
    ids = [vocabulary.tag_id(">>de<<"), *vocabulary.encode("das Haus"), vocabulary.EOS, 2]
    assert vocabulary.decode([*ids, vocabulary.size - 1]) == "das Haus"
    assert vocabulary.UNK in vocabulary.encode("日本")


def test_texts_are_changed_to_the_case_that_the_model_was_trained_on():
    lower = Vocabulary(file_bytes(case="lower", target_model=ENGLISH))
    assert lower.decode(lower.encode("The RED house")) == "the red house"


def test_a_saved_vocabulary_is_the_same(tmp_path):
    vocabulary = Vocabulary(file_bytes())
    vocabulary.save(tmp_path / "vocabulary.model")
    again = Vocabulary.load(tmp_path / "vocabulary.model")
    assert again.sha256 == vocabulary.sha256
    assert again.family == "marian"


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (file_bytes(size=5), "belong to another model"),
        (file_bytes(end=-1), "belong to another model"),
        (file_bytes(source_model=b"nothing"), "source_model must be a sentencepiece model"),
        (json.dumps({"format": "taskaware mapped sentence pieces"}).encode(), "must say family"),
    ],
    ids=range(4),
)
def test_a_file_that_does_not_fit_together_is_refused(tmp_path, content: bytes, wanted: str):
    path = tmp_path / "vocabulary.model"
    path.write_bytes(content)
    with pytest.raises(DataError, match=wanted):
        Vocabulary.load(path)
