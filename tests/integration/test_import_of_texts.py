"""``taskaware import`` of models that Hugging Face's tokenizers cut texts for with sentencepiece.

Small random models of Marian, M2M100, NLLB and Speech2Text with vocabularies trained on the spot:
ids and translations are those of the other library.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
import sentencepiece
import torch

import taskaware
from taskaware.cli.main import run
from taskaware.data.batches.batching import collate
from tiny_translators import ENGLISH, GERMAN, m2m100, marian, names, pieces, save_random

if TYPE_CHECKING:
    from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is ever downloaded
transformers = pytest.importorskip("transformers", reason="the other implementation is not there")

TEXTS = ["the house is green", "a red dog is far away ", "something ünknown: 日本"]
MAKERS = {"marian": marian, "m2m_100": m2m100}


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
@pytest.mark.parametrize("family", MAKERS)
def test_texts_are_cut_and_translated_as_by_the_other_library(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "theirs"
    folder.mkdir()
    theirs, tokenizer, asked = MAKERS[family](folder)
    assert run(["import", str(folder), "--to", str(tmp_path / "ours"), "--tasks", "mt_en_de"]) == 0
    model = taskaware.load(tmp_path / "ours", device="cpu")
    task = model.task("mt_en_de")
    wanted = []
    for text in TEXTS:
        inputs = tokenizer(text, return_tensors="pt")
        (around,) = model.cue(task).around([model.encode_source(text, "text")])
        assert around.tolist() == inputs["input_ids"][0].tolist()
        out = theirs.generate(**inputs, do_sample=False, **asked)
        prompt = len(model.cue(task).prompt)
        wanted.append([i for i in out[0, prompt:].tolist() if i != model.vocabulary.EOS])
    found = [list(hypotheses[0].token_ids) for hypotheses in model.run_many("mt_en_de", TEXTS)]
    assert found == wanted
    assert any(wanted)
    ids = model.vocabulary.encode(GERMAN[2])
    assert model.vocabulary.decode(ids) == tokenizer.decode(ids) == GERMAN[2]
    targets = tokenizer(text_target=GERMAN[1])["input_ids"]
    batch = collate(
        task, [around], [np.array(model.vocabulary.encode(GERMAN[1]))], cue=model.cue(task)
    )
    learnt = batch.target_output[0].tolist()
    assert learnt == targets
    capsys.readouterr()
    assert run(["predict", str(tmp_path / "ours"), "--text", TEXTS[0]]) == 0
    assert capsys.readouterr().out.removesuffix("\n") == model.vocabulary.decode(wanted[0])


def test_an_opus_model_names_its_own_direction_and_others_must_be_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for maker in MAKERS.values():
            folder = tmp_path / maker.__name__
            folder.mkdir()
            maker(folder)
    assert run(["import", str(tmp_path / "marian"), "--to", str(tmp_path / "a")]) == 0
    assert [task.name for task in taskaware.load(tmp_path / "a").tasks] == ["mt_en_de"]
    capsys.readouterr()
    assert run(["import", str(tmp_path / "m2m100"), "--to", str(tmp_path / "b")]) == 2
    assert "--tasks mt_en_de" in capsys.readouterr().err
    arguments = [str(tmp_path / "m2m100"), "--to", str(tmp_path / "b"), "--tasks", "mt_en_xx"]
    assert run(["import", *arguments]) == 2
    assert "one that the model knows (af, am" in capsys.readouterr().err
    shutil.copy(tmp_path / "m2m100" / "vocab.json", tmp_path / "marian" / "vocab.json")
    assert run(["import", str(tmp_path / "marian"), "--to", str(tmp_path / "b")]) == 1
    assert "does not fit" in capsys.readouterr().err
    (tmp_path / "m2m100" / "sentencepiece.bpe.model").unlink()
    arguments[-1] = "mt_en_de"
    assert run(["import", *arguments]) == 1
    assert "must hold sentencepiece.bpe.model" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_nllb_numbers_its_pieces_as_fairseq_does(tmp_path: Path):
    model_bytes = pieces([*ENGLISH, *GERMAN], 80)
    (tmp_path / "sentencepiece.bpe.model").write_bytes(model_bytes)
    languages = ["deu_Latn", "eng_Latn"]
    (tmp_path / "special_tokens_map.json").write_text(
        json.dumps({"additional_special_tokens": languages})
    )
    size = len(names(model_bytes)) + 3  # sentencepiece's own three
    save_random("M2M100", tmp_path, vocab_size=size + 4, search={})
    arguments = [str(tmp_path), "--to", str(tmp_path / "ours"), "--tasks", "mt_eng_Latn_deu_Latn"]
    assert run(["import", *arguments]) == 0
    model = taskaware.load(tmp_path / "ours", device="cpu")
    cue = model.cue(model.tasks[0])
    assert cue.prompt == (2, size + 1)
    assert (cue.source_prefix, cue.source_suffix) == ((size + 2,), (2,))
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(model_bytes)
    ids = processor.EncodeAsIds("the red house")
    assert model.encode_source("the red house", "text").tolist() == [i + 1 for i in ids]


def test_speech2text_hears_and_writes_what_the_other_one_does(tmp_path: Path):
    model_bytes = pieces(GERMAN, 60)
    listed = ["<s>", "<pad>", "</s>", "<unk>", *names(model_bytes)]
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "sentencepiece.bpe.model").write_bytes(model_bytes)
    (folder / "vocab.json").write_text(json.dumps({p: i for i, p in enumerate(listed)}))
    theirs = save_random(
        "Speech2Text",
        folder,
        vocab_size=len(listed),
        conv_channels=32,
        search={"num_beams": 5, "early_stopping": True, "max_length": 20},
    )
    arguments = [str(folder), "--to", str(tmp_path / "ours"), "--tasks", "st_en_de"]
    assert run(["import", *arguments]) == 0
    model = taskaware.load(tmp_path / "ours", device="cpu")
    time = np.arange(24_000) / 16_000
    noise = 0.05 * np.random.default_rng(0).standard_normal(len(time))
    waveform = (0.3 * np.sin(2 * np.pi * 300 * time * (1 + time)) + noise).astype(np.float32)
    frames = torch.from_numpy(model.read_source(waveform, "speech").array)[None]
    out = theirs.generate(frames, do_sample=False)
    tokenizer = transformers.Speech2TextTokenizer(
        vocab_file=str(folder / "vocab.json"), spm_file=str(folder / "sentencepiece.bpe.model")
    )
    wanted = tokenizer.decode(out[0], skip_special_tokens=True).strip()
    assert model.run("st_en_de", waveform).strip() == wanted
    assert wanted
