"""A byte-level vocabulary has the face and the promises of one that is trained here."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskaware.data.vocabulary.tokenizer_pieces import tokenizer_bytes
from taskaware.data.vocabulary.vocabulary import Vocabulary
from taskaware.errors import DataError, MissingDependencyError

tokenizers = pytest.importorskip("tokenizers", reason="the extra `pretrained` is not there")

TEXTS = ["the red house is far away", "das grüne Haus ist nah", "日本語 😀"] * 5
TAGS = ["<|endoftext|>", "<|start|>", "<|en|>", "<|0.02|>"]


def trained() -> dict:
    """A tokenizer.json of GPT-2's kind, with pieces added as Whisper's are."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([" " + text for text in TEXTS], trainer)
    tokenizer.add_special_tokens(TAGS[:3])
    tokenizer.add_tokens(TAGS[3:])  # as text, which it must not be
    return json.loads(tokenizer.to_str())


TOKENIZER = trained()
SIZE = 310


def file_bytes(tokenizer: object = TOKENIZER, **changes) -> bytes:
    end = next(t["id"] for t in TOKENIZER["added_tokens"] if t["content"] == TAGS[0])
    values = {"pad": end, "begin": end + 1, "end": end, "size": SIZE}
    return tokenizer_bytes(tokenizer, **(values | changes))  # type: ignore[arg-type]


VOCABULARY = Vocabulary(file_bytes())
WITHOUT_SPACE = Vocabulary(file_bytes(adds_space=False))


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=200, deadline=None)
def test_any_text_comes_back(text: str):
    assert VOCABULARY.decode(VOCABULARY.encode(text)) == text
    assert WITHOUT_SPACE.decode(WITHOUT_SPACE.encode(text)) == text


@pytest.mark.parametrize("text", [*TAGS, "a <|en|><|0.02|> b", " <|start|>", "  two  ", "", "▁"])
def test_names_of_control_pieces_in_a_text_stay_text(text: str):
    ids = VOCABULARY.encode(text)
    assert not {VOCABULARY.tag_id(tag) for tag in TAGS} & set(ids)
    assert VOCABULARY.decode(ids) == text


def test_control_pieces_decode_to_nothing_and_have_names():
    ids = [VOCABULARY.tag_id(tag) for tag in TAGS]
    around = [*ids, *VOCABULARY.encode("the house"), VOCABULARY.EOS, SIZE - 1]
    assert VOCABULARY.decode(around) == "the house"
    assert VOCABULARY.pieces(ids) == TAGS
    assert VOCABULARY.has_tag("<|en|>")
    assert not VOCABULARY.has_tag("a")


def test_ids_are_those_of_the_library():
    theirs = tokenizers.Tokenizer.from_str(json.dumps(TOKENIZER))
    for text in TEXTS:
        assert VOCABULARY.encode(text) == theirs.encode(" " + text).ids
        assert theirs.decode(VOCABULARY.encode(text)).strip() == text


def test_the_special_pieces_are_its_own_and_those_of_the_class_stay():
    assert (
        VOCABULARY.tag_id("<|endoftext|>"),
        VOCABULARY.tag_id("<|start|>"),
    ) == (VOCABULARY.EOS, VOCABULARY.BOS)
    assert (Vocabulary.PAD, Vocabulary.BOS, Vocabulary.EOS, Vocabulary.UNK) == (0, 1, 2, 3)
    assert VOCABULARY.size == len(VOCABULARY) == SIZE


def test_save_and_load_keep_every_byte(tmp_path):
    VOCABULARY.save(tmp_path / "vocabulary.model")
    assert Vocabulary.load(tmp_path / "vocabulary.model").sha256 == VOCABULARY.sha256
    assert VOCABULARY.sha256 != WITHOUT_SPACE.sha256


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"{", "must be a JSON file"),
        (b"{}", "taskaware byte-level pieces"),
        (file_bytes(size=0), "from 1 to 4,194,304, but is 0"),
        (file_bytes(size=100), "must be from 0 to 99"),
        (file_bytes(size=303), "belongs to another model"),
        (file_bytes(end=-1), "must be from 0 to"),
        (file_bytes({}), "must be a byte-level BPE"),
        (file_bytes(TOKENIZER | {"normalizer": {"type": "NFKC"}}), "normaliser NFKC"),
        (file_bytes(TOKENIZER | {"decoder": {"type": "Metaspace"}}), "decoder Metaspace"),
        (
            file_bytes(TOKENIZER | {"pre_tokenizer": {"type": "Psychic"}}),
            "cannot be read by the tokenizers library",
        ),
    ],
    ids=range(10),
)
def test_a_file_that_is_no_byte_level_vocabulary_is_refused_by_name(
    tmp_path, content: bytes, wanted: str
):
    path = tmp_path / "vocabulary.model"
    path.write_bytes(content)
    with pytest.raises(DataError, match=wanted) as caught:
        Vocabulary.load(path)
    assert str(path) in str(caught.value)


def test_a_missing_library_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingDependencyError, match=r"taskaware\[pretrained\]"):
        Vocabulary(file_bytes())
