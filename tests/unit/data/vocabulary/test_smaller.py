"""A vocabulary cut to the pieces of some texts cuts those as before, and still writes others."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskaware.data.vocabulary.prompts import whisper_prompt
from taskaware.data.vocabulary.smaller import cut_to
from taskaware.data.vocabulary.tokenizer_pieces import tokenizer_bytes
from taskaware.data.vocabulary.vocabulary import Vocabulary
from taskaware.errors import UnknownTaskError, UserError
from taskaware.types import Task

tokenizers = pytest.importorskip("tokenizers", reason="the extra `pretrained` is not there")

LEARNT_FROM = [
    *("the red house is far away, the green house is nearer than the red one",),
    *("das grüne Haus ist näher als das rote, und die Häuser sind weit weg",),
    *("une maison rouge, l'été, les maisons vertes", "日本語 日本 😀😀", "aaaa aaa aaaaaaa"),
] * 5
KEPT_FOR = ["the red house is nearer", "das Haus ist rot", "aaa"]
PROMPT_TAGS = ["<|startoftranscript|>", "<|en|>", "<|de|>", "<|haw|>", "<|translate|>"]
PROMPT_TAGS += ["<|transcribe|>", "<|notimestamps|>"]
OTHER_TAGS = ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|0.00|>", "<|0.02|>"]


def trained() -> dict:
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([" " + text for text in LEARNT_FROM], trainer)
    made.add_special_tokens(["<|endoftext|>", *PROMPT_TAGS, *OTHER_TAGS])
    return json.loads(made.to_str())


TOKENIZER = trained()
ADDED = {token["content"]: token["id"] for token in TOKENIZER["added_tokens"]}


def opened(tokenizer: dict = TOKENIZER, **changes) -> Vocabulary:
    end, start = (ADDED[name] for name in ("<|endoftext|>", "<|startoftranscript|>"))
    values = {"family": "whisper", "pad": end, "begin": start, "end": end, "size": 450} | changes
    return Vocabulary(tokenizer_bytes(tokenizer, **values))


@dataclass
class Cut:
    """A vocabulary before and after, and the new ids of the pieces that stayed."""

    whole: Vocabulary
    smaller: Vocabulary
    new_ids: dict[int, int]


def cut(vocabulary: Vocabulary, texts: list[str]) -> Cut:
    found = cut_to(vocabulary, texts)
    new_ids = {old: new for new, old in enumerate(found.kept)}
    return Cut(vocabulary, found.vocabulary, new_ids)


CUT = cut(opened(), KEPT_FOR)


def check(text: str) -> bool:
    """Check one text; return whether all of its pieces were kept."""
    before, after = CUT.whole.encode(text), CUT.smaller.encode(text)
    assert CUT.smaller.decode(after) == text
    if not set(before) <= set(CUT.new_ids):
        return False
    assert after == [CUT.new_ids[i] for i in before]
    return True


def test_the_texts_are_cut_as_before_and_most_pieces_are_gone():
    assert all(map(check, KEPT_FOR))
    assert 256 < CUT.smaller.size < 320
    assert not any(map(check, ["une maison", "the houses far away", "日本 😀"]))


# Words and letters of the texts, so that many pieces were kept.
NEAR = st.lists(st.sampled_from([*" ".join(KEPT_FOR).split(" "), *"tHaes ,'ü"])).map("".join)


@given(st.one_of(NEAR, st.lists(NEAR).map(" ".join)))
@settings(max_examples=500, deadline=None)
def test_texts_of_kept_pieces_are_cut_as_before(text: str):
    check(text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=200, deadline=None)
def test_any_text_comes_back(text: str):
    check(text)


def test_all_pieces_on_the_way_to_a_piece_stay_and_no_others_of_the_texts_alphabet():
    names = set(CUT.smaller.pieces(range(CUT.smaller.size)))
    made = {"".join(merge) for merge in TOKENIZER["model"]["merges"]}
    for text in KEPT_FOR:
        assert set(CUT.whole.pieces(CUT.whole.encode(text))) <= names
    values = json.loads(CUT.smaller.model_bytes)["tokenizer"]["model"]
    assert {"".join(merge) for merge in values["merges"]} == names & made
    assert list(values["vocab"].values()) == list(range(len(values["vocab"])))


def test_old_files_write_merges_with_a_space():
    model = TOKENIZER["model"]
    old = model | {"merges": [" ".join(merge) for merge in model["merges"]]}
    again = cut(opened(TOKENIZER | {"model": old}), KEPT_FOR)
    assert [again.smaller.encode(t) for t in KEPT_FOR] == [CUT.smaller.encode(t) for t in KEPT_FOR]


def test_the_pieces_of_prompts_stay_and_those_of_times_go():
    assert CUT.smaller.tags == ["<|endoftext|>", *PROMPT_TAGS]
    for name in CUT.smaller.tags:
        assert CUT.new_ids[CUT.whole.tag_id(name)] == CUT.smaller.tag_id(name)
    for name in ("PAD", "BOS", "EOS", "UNK"):
        assert CUT.new_ids[getattr(CUT.whole, name)] == getattr(CUT.smaller, name)
    for source, target in (("de", "en"), ("en", "de"), ("haw", "haw")):
        task = Task(
            name="task",
            kind="st",
            source_modality="speech",
            source_language=source,
            target_language=target,
        )
        before, after = (
            whisper_prompt(vocabulary, task, names_task=True)
            for vocabulary in (CUT.whole, CUT.smaller)
        )
        assert after == tuple(CUT.new_ids[i] for i in before)


def test_names_of_control_pieces_in_a_text_stay_text():
    for text in ["a <|en|> b", "<|0.02|>", "<|endoftext|>"]:
        assert not set(CUT.smaller.encode(text)) & set(CUT.smaller.control_ids)
        assert CUT.smaller.decode(CUT.smaller.encode(text)) == text


def english_only() -> Vocabulary:
    """Pieces enough that a text begins where that of the English-only models does."""
    model = TOKENIZER["model"]
    missing = 50_256 - len(model["vocab"])
    more = {f"{'a' * 20}{i}": i + len(model["vocab"]) for i in range(missing)}
    added = [token | {"id": token["id"] + missing} for token in TOKENIZER["added_tokens"]]
    tokenizer = TOKENIZER | {
        "model": model | {"vocab": model["vocab"] | more},
        "added_tokens": added,
    }
    ids = {token["content"]: token["id"] for token in added}
    end = ids["<|endoftext|>"]
    return opened(tokenizer, pad=end, end=end, begin=end + 1, size=50_300)


def test_an_english_only_model_stays_one():
    whole = english_only()
    smaller = cut(whole, KEPT_FOR).smaller
    english, german = (
        Task(name=name, kind="asr", source_modality="speech", source_language=name[-2:])
        for name in ("asr_en", "asr_de")
    )
    for vocabulary in (whole, smaller):
        names = vocabulary.pieces(whisper_prompt(vocabulary, english, names_task=True))
        assert names == ["<|startoftranscript|>", "<|notimestamps|>"]
        with pytest.raises(UnknownTaskError, match="English-only"):
            whisper_prompt(vocabulary, german, names_task=True)


def test_it_can_be_cut_again_and_padding_may_have_no_piece():
    again = cut(CUT.smaller, KEPT_FOR[:1])
    assert again.smaller.size < CUT.smaller.size
    assert again.smaller.decode(again.smaller.encode("日本")) == "日本"
    padded = cut(opened(pad=449), KEPT_FOR)
    assert padded.smaller.PAD == padded.new_ids[449] == padded.smaller.size - 1
    assert padded.smaller.encode(KEPT_FOR[0]) == CUT.smaller.encode(KEPT_FOR[0])


@pytest.mark.parametrize("texts", [[], ["", " "]])
def test_without_a_text_there_is_nothing_to_keep(texts: list[str]):
    with pytest.raises(UserError, match="at least one, but there is no text"):
        cut_to(opened(), texts)


def test_a_vocabulary_that_was_trained_here_is_not_cut():
    with pytest.raises(UserError, match="a pretrained model's"):
        cut_to(Vocabulary.train(["the house"], size=300), KEPT_FOR)
