"""``taskaware export`` of models with adapters: plain, ONNX, CTranslate2, Hugging Face.

Each form is compared with the model that has the adapters, never with the merged one alone.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import taskaware
from conftest import ASR, MT
from taskaware.cli.main import run
from taskaware.decoding.settings import with_beam
from taskaware.model.adapters import set_of
from tiny_models import adapted, random_model
from tiny_translators import ENGLISH, marian, transformers
from tiny_whisper import END, save_whisper

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.inference.model import TaskAwareModel
    from taskaware.model.adapter_settings import AdapterMethod

pytest.importorskip("peft", reason="the extra `adapters` is not installed")

MERGED: tuple[AdapterMethod, ...] = ("lora", "ia3", "layer_norms")
LINES = ["the red house", "a dog — ein Hund is far away", "weg"]


def text_model(
    method: AdapterMethod, *, sets: tuple[str, ...] = ("asr_en", "mt_en_de"), **changes: Any
) -> TaskAwareModel:
    settings = {"norm": "post", "attention_bias": True, "conditioning": {"cue": "none"}}
    return adapted(random_model(**(settings | changes)), method, sets=sets)


def exported(model: Path, form: str, to: Path, *more: str) -> int:
    return run(["export", str(model), "--as", form, "--to", str(to), *more])


# --- the command ---


@pytest.mark.parametrize("method", MERGED)
def test_predict_writes_the_same_with_the_exported_model_in_an_empty_folder(
    method: AdapterMethod,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    text_model(method).save(tmp_path / "mine")
    text_model(method, sets=()).save(tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines.txt").write_text("\n".join(LINES), encoding="utf-8")
    command = ["export", "mine", "--as", "plain", "--task", "mt_en_de", "--to", "exports/plain"]
    assert run(command) == 0
    assert f"merged: the adapters of mt_en_de ({method})" in capsys.readouterr().out
    outputs = []
    for model in ("mine", "exports/plain", "base"):
        if model == "exports/plain":
            monkeypatch.setitem(sys.modules, "peft", None)
        assert run(["predict", model, "--task", "mt_en_de", "lines.txt"]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] != outputs[2]
    assert run(["inspect", "exports/plain", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["adapters"] == {}


def test_a_wrong_request_for_a_model_with_adapters_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    text_model("bottleneck").save(tmp_path / "mine")
    before = {path.name for path in tmp_path.iterdir()}
    for form, more, message in (
        ("plain", (), "as asr_en, mt_en_de have weights of their own (adapters)"),
        ("onnx", (), "as asr_en, mt_en_de have weights of their own (adapters)"),
        ("plain", ("--task", "mt_en_fr"), "did you mean 'mt_en_de'"),
        ("onnx", ("--task", "mt_en_fr"), "did you mean 'mt_en_de'"),
        ("plain", ("--task", "mt_en_de"), "have a ReLU between their layers"),
        ("ctranslate2", ("--task", "mt_en_de"), "`--as onnx --task mt_en_de` keeps them"),
    ):
        assert exported(tmp_path / "mine", form, tmp_path / "out", *more) == 2
        assert message in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == before


# --- ONNX ---


@pytest.mark.parametrize(
    ("method", "task"),
    [("lora", MT), ("bottleneck", ASR)],  # making graphs takes seconds
    ids=lambda value: getattr(value, "name", value),
)
def test_an_onnx_file_of_one_task_finds_the_sequences_of_the_adapted_model(
    method: AdapterMethod, task: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("onnxruntime", reason="the extra `export` is not there")
    pytest.importorskip("onnxscript", reason="the extra `export` is not there")
    from taskaware.export.standalone.decode import Model

    conditioning = {"cue": "explicit", "acts_by": "prepend"} if task is MT else {"cue": "none"}
    sizes: dict[str, Any] = {"num_encoder_layers": 1, "num_decoder_layers": 1}
    text_model(method, conditioning=conditioning, **sizes).save(tmp_path / "mine")
    assert exported(tmp_path / "mine", "onnx", tmp_path / "onnx", "--task", task.name) == 0
    wanted_remark = "kept as layers" if method == "bottleneck" else "merged"
    assert f"{wanted_remark}: the adapters of {task.name} ({method})" in capsys.readouterr().out
    ours, theirs = taskaware.load(tmp_path / "mine", device="cpu"), Model(tmp_path / "onnx")
    generator = np.random.default_rng(0)
    recordings = [0.1 * generator.standard_normal(n).astype(np.float32) for n in (9_000, 5_000)]
    given: list[Any] = LINES if task is MT else recordings
    read = [theirs.cut(one) if task is MT else theirs.features(one) for one in given]
    wanted = [row[0] for row in ours.run_many(task.name, given)]
    found = theirs.decode(task.name, read)
    assert [one.pieces for one in found] == [list(one.token_ids) for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-3)
    assert [one["name"] for one in theirs.about["tasks"]] == [task.name]


# --- CTranslate2 ---


@pytest.mark.parametrize("method", MERGED)
def test_ctranslate2_writes_the_sequences_of_the_adapted_model(
    method: AdapterMethod, tmp_path: Path
):
    ctranslate2 = pytest.importorskip("ctranslate2", reason="the extra `export` is not there")
    model = text_model(method)
    model.save(tmp_path / "mine")
    assert exported(tmp_path / "mine", "ctranslate2", tmp_path / "ct2", "--task", "mt_en_de") == 0
    theirs = ctranslate2.Translator(str(tmp_path / "ct2"), device="cpu", intra_threads=1)
    names = model.vocabulary.pieces(range(model.vocabulary.size))
    for text in LINES:
        wanted = model.run_many(MT.name, [text], decoding=with_beam(model.decoding, 1))[0][0]
        num_pieces = len(wanted.token_ids) + wanted.finished
        found = theirs.translate_batch(
            [[names[i] for i in model.vocabulary.encode(text)]],
            beam_size=1,
            return_scores=True,
            min_decoding_length=0,  # there, an output has at least one piece
            max_decoding_length=num_pieces,
            suppress_sequences=[[names[i]] for i in model.vocabulary.NEVER],
        )[0]
        assert found.hypotheses[0] == model.vocabulary.pieces(wanted.token_ids)
        assert found.scores[0] * num_pieces == pytest.approx(wanted.log_prob, rel=1e-4)


# --- Hugging Face's layout ---


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Whisper, imported."""
    folder = tmp_path_factory.mktemp("whisper")
    theirs = save_whisper(folder / "theirs")
    tasks = ["--tasks", "asr_en,st_de_en"]
    assert run(["import", str(theirs), "--to", str(folder / "ours"), *tasks]) == 0
    return folder / "ours"


def our_logits(
    model: TaskAwareModel, task: str, source: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """The logits of the model's decoder for one source, with the adapters of the task."""
    transformer, modality = model.transformer, model.task(task).source_modality
    lengths = torch.tensor([source.shape[1]])
    with torch.inference_mode(), transformer.adapters.use(task):
        sequence, lengths = transformer.preprocess_source(source, lengths, modality)
        encoded = transformer.encode(sequence, lengths, None, modality=modality)
        embedded = transformer.token_embedding.embed(target)
        states = transformer.decode(embedded, torch.tensor([target.shape[1]]), encoded)
        return transformer.token_embedding.logits(states)


@pytest.mark.parametrize("where", ["decoder", "everything"])
@pytest.mark.parametrize("method", MERGED)
def test_an_adapted_whisper_goes_back_with_its_adapters_in_the_weights(
    method: AdapterMethod, where: str, whisper: Path, tmp_path: Path
):
    base = taskaware.load(whisper, device="cpu")
    model = adapted(base, method, sets=("st_de_en",), where=where)
    model.save(tmp_path / "mine")
    assert exported(tmp_path / "mine", "huggingface", tmp_path / "back", "--task", "st_de_en") == 0
    theirs = transformers.WhisperForConditionalGeneration.from_pretrained(tmp_path / "back").eval()
    features = torch.randn(1, 80, 200)
    target = torch.tensor([[END + 1, 5, 9, 11]])
    with torch.inference_mode():
        found = theirs(input_features=features, decoder_input_ids=target).logits
    source = features.transpose(1, 2)
    wanted = our_logits(model, "st_de_en", source, target)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found, our_logits(model, "asr_en", source, target), atol=1e-2)


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
@pytest.mark.parametrize("method", MERGED)
def test_an_adapted_marian_goes_back_with_its_adapters_in_the_weights(
    method: AdapterMethod, tmp_path: Path
):
    marian(tmp_path / "theirs")
    assert run(["import", str(tmp_path / "theirs"), "--to", str(tmp_path / "ours")]) == 0
    base = taskaware.load(tmp_path / "ours", device="cpu")
    model = adapted(base, method)
    model.save(tmp_path / "mine")
    assert exported(tmp_path / "mine", "huggingface", tmp_path / "back") == 0
    back = transformers.MarianMTModel.from_pretrained(tmp_path / "back").eval()
    source = torch.tensor([[*model.vocabulary.encode_source(ENGLISH[0]), model.vocabulary.EOS]])
    target = torch.tensor([[model.vocabulary.BOS, 5, 9, 11]])
    with torch.inference_mode():
        found = back(input_ids=source, decoder_input_ids=target).logits
    wanted = our_logits(model, "mt_en_de", source, target)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found, our_logits(base, "mt_en_de", source, target), atol=1e-2)
    assert not any(set_of(name) is not None for name in back.state_dict())
