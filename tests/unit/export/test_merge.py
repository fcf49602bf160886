"""A task's adapters merged: the same logits and sequences from a model that has none."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import taskaware
from conftest import ASR, MT, ST, random_batch
from taskaware.errors import CheckpointError, UserError
from taskaware.export.exporting import Form, export
from taskaware.export.fold import fold
from taskaware.export.merge import merge_adapters
from taskaware.export.onnx_files import write_onnx
from taskaware.model.adapter_settings import AdapterSettings
from taskaware.model.adapters import set_of
from taskaware.model.reduced import prepare_weights
from taskaware.model.settings import BridgeSettings, EncoderSettings
from tiny_models import adapted, random_model

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.inference.model import TaskAwareModel
    from taskaware.model.adapter_settings import AdapterMethod
    from taskaware.types import Task

pytest.importorskip("peft", reason="the extra `adapters` is not installed")

MERGED: tuple[AdapterMethod, ...] = ("lora", "ia3", "layer_norms")
CASES: dict[str, dict[str, Any]] = {
    "pre, told nothing": {"conditioning": {"cue": "none"}},
    "post, told by a piece, with biases": {
        "norm": "post",
        "attention_bias": True,
        "conditioning": {"cue": "target_tag"},
    },
    "pre, a task embedding": {"conditioning": {"cue": "explicit", "film_scope": "per_block"}},
    "post, a task embedding of examples": {"norm": "post", "conditioning": {"cue": "implicit"}},
    "a task embedding on parts": {
        "attention_bias": True,
        "conditioning": {"cue": "explicit", "film_places": "parts", "film_scope": "per_block"},
    },
    "joined": {"conditioning": {"cue": "explicit", "acts_by": "join"}},
    "conformer": {"encoder_block": "conformer", "conformer_kernel": 3},
    "texts have an encoder of their own": {
        "num_text_encoder_layers": 2,
        "conditioning": {"cue": "none"},
    },
    "texts have an encoder of their own, and a task embedding": {
        "norm": "post",
        "num_text_encoder_layers": 1,
        "conditioning": {"cue": "explicit", "film_scope": "per_block"},
    },
    "encoder of another width, with a bridge": {
        "encoder": EncoderSettings(d_model=24, d_ff=40, norm="pre"),
        "bridge": BridgeSettings(num_layers=1),
        "norm": "post",
        "num_text_encoder_layers": 1,
        "conditioning": {"cue": "none"},
    },
    "an output layer of its own": {"tied_output": False, "output_bias": True},
}


def logits(model: TaskAwareModel, task: Task, *, of: Task | None = None) -> torch.Tensor:
    """The logits of a task on its examples, or on those of another."""
    dtype = next(model.transformer.parameters()).dtype
    batch = replace(random_batch(of or task, dtype=dtype), task=task)
    embedding = model.task_embeddings.get(task.name)
    with torch.inference_mode():
        return model.transformer(batch, None if embedding is None else embedding.to(dtype))


@pytest.mark.parametrize("where", ["decoder", "everything"])
@pytest.mark.parametrize("method", MERGED)
@pytest.mark.parametrize("case", CASES)
def test_an_exported_model_has_the_logits_of_the_task_with_its_adapters(
    case: str, method: AdapterMethod, where: str
):
    base = random_model(double=True, **CASES[case])
    model = adapted(base, method, where=where, scale=3, dropout=0.5)
    for task in (ASR, MT):
        wanted = logits(model, task)
        assert not torch.allclose(wanted, logits(base, task), rtol=1e-2, atol=1e-2)
        plain = fold(model, task.name).model
        torch.testing.assert_close(logits(plain, task), wanted, rtol=1e-10, atol=1e-10)
        assert torch.equal(logits(model, task), wanted)  # the model itself is as it was
        assert plain.settings.adapters == AdapterSettings()
        assert plain.transformer.adapters.tasks == ()
        names = plain.transformer.state_dict()
        assert not any("base_layer" in name or set_of(name) is not None for name in names)


@pytest.mark.parametrize("task", [ASR, MT], ids=lambda task: task.name)
@pytest.mark.parametrize("method", MERGED)
def test_in_float32_logits_agree_to_a_hundred_thousandth(method: AdapterMethod, task: Task):
    model = adapted(random_model(conditioning={"cue": "none"}), method)
    plain = fold(model, task.name).model
    torch.testing.assert_close(logits(plain, task), logits(model, task), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", MERGED)
def test_in_bfloat16_a_merged_weight_is_rounded_once(method: AdapterMethod):
    model = adapted(random_model(conditioning={"cue": "none"}), method)
    model.transformer.bfloat16()
    wide = adapted(random_model(conditioning={"cue": "none"}, double=True), method)
    wide.transformer.load_state_dict(model.transformer.state_dict())
    rounded, exact = (fold(one, MT.name).model.transformer.state_dict() for one in (model, wide))
    assert all(value.dtype == torch.bfloat16 for value in rounded.values())
    assert all(torch.equal(rounded[name], exact[name].bfloat16()) for name in exact)


@pytest.mark.parametrize("task", ["mt_en_de", "asr_en"])
@pytest.mark.parametrize("method", MERGED)
def test_a_saved_model_writes_what_the_adapted_one_writes_and_needs_no_library(
    method: AdapterMethod, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model = adapted(random_model(conditioning={"cue": "target_tag"}), method)
    generator = np.random.default_rng(0)
    sources = {
        "mt_en_de": ["the red house", "a dog is far away", "weg"],
        "asr_en": [0.1 * generator.standard_normal(n).astype(np.float32) for n in (9_000, 5_000)],
    }[task]
    wanted = model.run_many(task, sources)
    model.save(tmp_path / "adapted")
    export(taskaware.load(tmp_path / "adapted", device="cpu"), "plain", tmp_path / "p", task=task)
    monkeypatch.setitem(sys.modules, "peft", None)
    plain = taskaware.load(tmp_path / "p", device="cpu")
    found = plain.run_many(task, sources)
    assert [[h.token_ids for h in row] for row in found] == [
        [h.token_ids for h in row] for row in wanted
    ]
    for one, other in zip(found, wanted, strict=True):
        assert one[0].log_prob == pytest.approx(other[0].log_prob, rel=1e-4)
    assert plain.provenance["merged_adapters"] == method
    prepare_weights(plain.transformer, "int8")  # as no model with adapters can be


@pytest.mark.parametrize("method", [*MERGED, "bottleneck"])
def test_a_task_without_adapters_is_exported_with_the_weights_of_the_base(
    method: AdapterMethod, tmp_path: Path
):
    base = random_model(double=True)
    model = adapted(base, method)
    plain = fold(model, ST.name).model
    torch.testing.assert_close(logits(plain, ST), logits(base, ST), rtol=1e-10, atol=1e-10)
    exported = export(model, "plain", tmp_path / "plain", task=ST.name)
    assert any("not merged: st_en_de has no adapters" in line for line in exported.remarks)


@pytest.mark.parametrize("cue", ["explicit", "implicit"])
@pytest.mark.parametrize(
    "how", [{"acts_by": "prepend"}, {"bottleneck": 3, "film_scope": "per_block"}], ids=str
)
@pytest.mark.parametrize("method", MERGED)
def test_merged_without_a_fold_a_model_keeps_its_task_network_and_one_task(
    method: AdapterMethod, how: dict[str, Any], cue: str, tmp_path: Path
):
    model = adapted(random_model(conditioning={"cue": cue, **how}), method)
    merged = merge_adapters(model, MT.name)
    merged.save(tmp_path / "merged")
    again = taskaware.load(tmp_path / "merged", device="cpu")
    assert again.tasks == (MT,)
    assert set(again.task_embeddings) == {MT.name}
    torch.testing.assert_close(logits(again, MT), logits(model, MT), rtol=1e-5, atol=1e-5)
    assert not any(name.startswith("frontends.") for name in again.transformer.state_dict())
    if cue == "explicit":
        rows = (again.transformer.task_network, model.transformer.task_network)
        own, all_rows = (network.state_dict()["rows"] for network in rows if network is not None)
        assert torch.equal(own, all_rows[2:])


def test_a_model_without_adapters_is_merged_as_it_is():
    model = random_model()
    assert merge_adapters(model, MT.name) is model


def test_settings_of_adapters_that_no_task_has_are_not_exported():
    model = adapted(random_model(), "lora", sets=())
    assert fold(model, MT.name).model.settings.adapters == AdapterSettings()


def test_adapters_on_a_plain_model_are_merged_like_those_on_any_other():
    plain = fold(random_model(double=True), MT.name).model
    assert plain.settings.folded.decoder_residuals
    model = adapted(plain, "lora")
    again = fold(model, MT.name).model
    torch.testing.assert_close(logits(again, MT), logits(model, MT), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", ["plain", "ctranslate2", "huggingface"])
def test_bottlenecks_are_refused_with_the_reason_and_what_can_be_had(form: Form, tmp_path: Path):
    model = adapted(random_model(norm="post", conditioning={"cue": "none"}), "bottleneck")
    with pytest.raises(UserError, match="have a ReLU between their layers") as caught:
        export(model, form, tmp_path / form, task=MT.name)
    assert "`--as onnx --task mt_en_de` keeps them" in str(caught.value)
    assert "st_en_de can be exported, without adapters" in str(caught.value)
    assert not (tmp_path / form).exists()


def test_an_onnx_file_of_several_tasks_with_weights_of_their_own_is_refused(tmp_path: Path):
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    with pytest.raises(UserError, match="must have one task for an ONNX file"):
        write_onnx(adapted(random_model(), "lora"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_adapters_that_give_weights_too_large_to_be_written_are_refused(tmp_path: Path):
    model = adapted(random_model(), "lora")
    with torch.no_grad():
        for name, parameter in model.transformer.named_parameters():
            if set_of(name) == 2:
                parameter.fill_(1e25)
    with pytest.raises(CheckpointError, match="adapters of 'mt_en_de' must give finite weights"):
        export(model, "plain", tmp_path / "plain", task=MT.name)
    assert not (tmp_path / "plain").exists()


@pytest.mark.parametrize("form", ["plain", "onnx"])
def test_a_task_must_be_named_where_tasks_have_weights_of_their_own(form: Form, tmp_path: Path):
    model = adapted(random_model(), "lora")
    with pytest.raises(UserError, match="as asr_en, mt_en_de have weights of their own"):
        export(model, form, tmp_path / form)
    assert not (tmp_path / form).exists()
