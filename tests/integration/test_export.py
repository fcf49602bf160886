"""``taskaware export`` to a plain model, to CTranslate2 and to Hugging Face's layout and back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import taskaware
from conftest import ASR, MT
from taskaware.cli.main import run
from taskaware.decoding.settings import with_beam
from taskaware.export.ctranslate2_files import write_ctranslate2
from taskaware.export.fold import fold
from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.create_model import create_model
from taskaware.model.parts import initial_task_embedding
from tiny_models import random_model
from tiny_translators import ENGLISH, marian, transformers
from tiny_whisper import save_whisper

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.inference.model import TaskAwareModel


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A post-norm model of three tasks."""
    folder = tmp_path_factory.mktemp("models") / "model"
    random_model(norm="post").save(folder)
    return folder


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Whisper in Hugging Face's layout, and beside it, imported, ``ours``."""
    folder = save_whisper(tmp_path_factory.mktemp("whisper") / "theirs")
    tasks = ["--tasks", "asr_en,st_de_en"]
    assert run(["import", str(folder), "--to", str(folder.parent / "ours"), *tasks]) == 0
    return folder


def exported(model: Path, form: str, to: Path, *more: str) -> int:
    return run(["export", str(model), "--as", form, "--to", str(to), *more])


# --- the command ---


def test_a_plain_model_is_used_by_predict_as_any_other(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert exported(saved, "plain", tmp_path / "plain", "--task", "mt_en_de") == 0
    said = capsys.readouterr().out
    assert "folded: the last norms of the decoder's blocks" in said
    assert "kept as a constant: scale and shift of the embedded target" in said
    outputs = []
    for model in (saved, tmp_path / "plain"):
        arguments = ["predict", str(model), "--text", "the red house", "--task", "mt_en_de"]
        assert run(arguments) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert run(["inspect", str(tmp_path / "plain")]) == 0
    assert "task network" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "--task must say which of the model's tasks is exported"),
        (("--task", "mt_en_fr"), "did you mean 'mt_en_de'"),
        (("--task", "mt_en_de", "--int8"), "--int8 must go with onnx or ctranslate2"),
    ],
)
def test_a_wrong_request_is_refused_and_leaves_nothing(
    more: tuple[str, ...],
    message: str,
    saved: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    assert exported(saved, "plain", tmp_path / "new", *more) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_task_for_onnx_is_refused(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert exported(saved, "onnx", tmp_path / "new", "--task", "mt_en_de") == 2
    assert "--task must be left out with onnx" in capsys.readouterr().err


def test_a_folder_of_somebody_or_of_another_command_is_refused(
    saved: Path, whisper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    assert exported(saved, "plain", tmp_path / "notes", "--task", "mt_en_de") == 2
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    (run_folder / "log.jsonl").write_text("{}")
    record = [json.dumps({"taskaware": "", "format": 1}), json.dumps(["log.jsonl", ""])]
    (run_folder / ".taskaware-written").write_text("\n".join(record))
    assert exported(saved, "plain", run_folder, "--task", "mt_en_de") == 2
    assert "log.jsonl of another command" in capsys.readouterr().err
    assert (run_folder / "log.jsonl").read_text() == "{}"
    assert exported(saved, "plain", whisper.parent / "ours", "--task", "mt_en_de") == 2


def test_an_earlier_export_is_replaced_as_a_whole(saved: Path, whisper: Path, tmp_path: Path):
    assert exported(saved, "plain", tmp_path / "out", "--task", "mt_en_de") == 0
    ours = whisper.parent / "ours"
    assert exported(ours, "huggingface", tmp_path / "out", "--task", "asr_en") == 0
    assert not (tmp_path / "out" / "model.json").exists()
    assert exported(saved, "plain", tmp_path / "out", "--task", "asr_en") == 0
    assert taskaware.load(tmp_path / "out").tasks[0].name == "asr_en"
    assert not (tmp_path / "out" / "config.json").exists()


def test_an_export_never_replaces_the_model_that_it_is_made_of(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    assert exported(saved, "plain", out, "--task", "mt_en_de") == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert exported(out, "plain", tmp_path / "." / "out", "--task", "mt_en_de") == 2
    assert "--to must be another folder than the model's" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_an_export_that_fails_leaves_the_earlier_one(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert exported(saved, "plain", tmp_path / "out", "--task", "mt_en_de") == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert exported(saved, "huggingface", tmp_path / "out", "--task", "mt_en_de") == 2
    assert "the pieces of neither Whisper nor Marian" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# --- CTranslate2 ---


def translator(model: TaskAwareModel, folder: Path) -> Any:
    ctranslate2 = pytest.importorskip("ctranslate2", reason="the extra `export` is not there")
    folder.mkdir()
    write_ctranslate2(model, folder)
    return ctranslate2.Translator(str(folder), device="cpu", intra_threads=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "post"},
        {"norm": "post", "conditioning": {"cue": "implicit", "film_scope": "per_block"}},
        {"conditioning": {"cue": "none"}, "activation": "swish", "attention_bias": True},
        {"conditioning": {"cue": "explicit", "acts_by": "join"}, "source_positions": "learnt"},
    ],
    ids=["post", "a pair for each place", "pre, told nothing", "joined"],
)
def test_ctranslate2_writes_the_sequences_of_the_whole_model(
    changes: dict[str, Any], tmp_path: Path
):
    model = random_model(**changes)
    theirs = translator(fold(model, MT.name).model, tmp_path / "ct2")
    names = model.vocabulary.pieces(range(model.vocabulary.size))
    for text in ("the red house", "a dog is far away", "Weg"):
        wanted = model.run_many(MT.name, [text], decoding=with_beam(model.decoding, 1))[0][0]
        found = theirs.translate_batch(
            [[names[i] for i in model.vocabulary.encode(text)]],
            beam_size=1,
            return_scores=True,
            min_decoding_length=0,  # there, an output has at least one piece
            max_decoding_length=len(wanted.token_ids) + wanted.finished,
            suppress_sequences=[[names[i]] for i in model.vocabulary.NEVER],
        )[0]
        assert found.hypotheses[0] == model.vocabulary.pieces(wanted.token_ids)
        num_pieces = len(wanted.token_ids) + wanted.finished
        assert found.scores[0] * num_pieces == pytest.approx(wanted.log_prob, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "task", "reason"),
    [
        ({}, MT.name, "pre-norm model, and CTranslate2 has no such layer"),
        ({"norm": "post"}, ASR.name, "hears other features than Whisper's"),
        ({"encoder_block": "conformer", "norm": "post"}, MT.name, "has Conformer blocks"),
    ],
)
def test_what_ctranslate2_cannot_represent_is_refused_with_the_reason(
    changes: dict[str, Any],
    task: str,
    reason: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    pytest.importorskip("ctranslate2", reason="the extra `export` is not there")
    random_model(**changes).save(tmp_path / "model")
    assert exported(tmp_path / "model", "ctranslate2", tmp_path / "out", "--task", task) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_ctranslate2_hears_what_an_imported_whisper_hears(whisper: Path, tmp_path: Path):
    ctranslate2 = pytest.importorskip("ctranslate2", reason="the extra `export` is not there")
    ours = taskaware.load(whisper.parent / "ours", device="cpu")
    for int8 in ((), ("--int8",)):
        folder = tmp_path / f"whisper{len(int8)}"
        form = ("ctranslate2", folder, "--task", "st_de_en")
        assert exported(whisper.parent / "ours", *form, *int8) == 0
    sizes = [(tmp_path / f"whisper{i}" / "model.bin").stat().st_size for i in (0, 1)]
    assert sizes[1] < sizes[0] / 2
    theirs = ctranslate2.models.Whisper(str(tmp_path / "whisper0"), device="cpu")
    prompt = json.loads((tmp_path / "whisper0" / "export.json").read_text())["tasks"][0]["prompt"]
    samples = 0.1 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    features = ours.encode_source(samples, "speech")
    wanted = ours.decode(ours.task("st_de_en"), [features], decoding=with_beam(ours.decoding, 1))[
        0
    ][0]
    found = theirs.generate(
        ctranslate2.StorageView.from_array(np.ascontiguousarray(features.T[None])),
        [prompt],
        beam_size=1,
        no_repeat_ngram_size=ours.decoding.no_repeat,
        max_length=32,  # half of it is the limit, less than the positions behind the prompt
        suppress_tokens=list(ours.decoding.suppressed),
    )
    assert found[0].sequences_ids[0] == list(wanted.token_ids)


# --- Hugging Face's layout ---


def test_a_whisper_comes_back_as_it_was(whisper: Path, tmp_path: Path):
    assert exported(whisper.parent / "ours", "huggingface", tmp_path, "--task", "st_de_en") == 0
    before, after = (load_file(folder / "model.safetensors") for folder in (whisper, tmp_path))
    assert set(before) == set(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    theirs = [
        transformers.WhisperForConditionalGeneration.from_pretrained(folder).eval()
        for folder in (whisper, tmp_path)
    ]
    given = {"input_features": torch.randn(1, 80, 200), "decoder_input_ids": torch.tensor([[271]])}
    with torch.inference_mode():
        logits = [model(**given).logits for model in theirs]
    assert torch.equal(*logits)
    assert theirs[1].generation_config.task == "translate"
    assert theirs[1].generation_config.language == "<|de|>"
    again = tmp_path / "again"
    assert run(["import", str(tmp_path), "--to", str(again), "--tasks", "st_de_en"]) == 0
    loaded, ours = taskaware.load(again), taskaware.load(whisper.parent / "ours")
    assert loaded.vocabulary.sha256 == ours.vocabulary.sha256
    assert loaded.decoding == ours.decoding


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def test_a_marian_comes_back_as_it_was(tmp_path: Path):
    theirs, tokenizer, _ = marian(tmp_path / "theirs")
    assert run(["import", str(tmp_path / "theirs"), "--to", str(tmp_path / "ours")]) == 0
    assert exported(tmp_path / "ours", "huggingface", tmp_path / "back") == 0
    back = transformers.MarianMTModel.from_pretrained(tmp_path / "back").eval()
    given = tokenizer(ENGLISH[:3], return_tensors="pt", padding=True)
    assert torch.equal(back.generate(**given), theirs.generate(**given))


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def test_a_marian_that_learnt_tasks_goes_back_with_one_of_them_folded(tmp_path: Path):
    marian(tmp_path / "theirs")
    assert run(["import", str(tmp_path / "theirs"), "--to", str(tmp_path / "ours")]) == 0
    model = task_aware(taskaware.load(tmp_path / "ours", device="cpu"))
    model.save(tmp_path / "aware")
    assert exported(tmp_path / "aware", "huggingface", tmp_path / "back") == 0
    back = transformers.MarianMTModel.from_pretrained(tmp_path / "back").eval()
    source = torch.tensor([[*model.vocabulary.encode_source(ENGLISH[0]), model.vocabulary.EOS]])
    target = torch.tensor([[model.vocabulary.BOS, 5, 9, 11]])
    transformer, embedding = model.transformer, model.task_embeddings["mt_en_de"]
    with torch.inference_mode():
        theirs = back(input_ids=source, decoder_input_ids=target).logits
        lengths = torch.tensor([source.shape[1]])
        encoded = transformer.encode(
            *transformer.preprocess_source(source, lengths, "text"), embedding
        )
        states = transformer.decode(
            transformer.token_embedding.embed(target), torch.tensor([4]), encoded
        )
        ours = transformer.token_embedding.logits(states)
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)


def task_aware(model: TaskAwareModel) -> TaskAwareModel:
    """The model with an explicit task network and a random task embedding."""
    settings = replace(model.settings, conditioning=ConditioningSettings(cue="explicit"))
    made = create_model(settings, vocabulary_size=model.vocabulary.size, tasks=model.tasks)
    made.load_state_dict(model.transformer.state_dict(), strict=False)
    initial = initial_task_embedding(settings)
    embedding = (initial + 0.3 * torch.randn_like(initial))[None]
    embeddings = {task.name: embedding.clone() for task in model.tasks}
    return replace(model, transformer=made.eval(), settings=settings, task_embeddings=embeddings)


def test_a_whisper_with_a_task_embedding_in_it_does_not_fit_there(
    whisper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    task_aware(taskaware.load(whisper.parent / "ours", device="cpu")).save(tmp_path / "aware")
    for form in ("huggingface", "ctranslate2"):
        pytest.importorskip("ctranslate2", reason="the extra `export` is not there")
        arguments = (form, tmp_path / "back", "--task", "asr_en")
        assert exported(tmp_path / "aware", *arguments) == 2
        assert (
            "which is left of a task embedding that acts on a pre-norm" in capsys.readouterr().err
        )
