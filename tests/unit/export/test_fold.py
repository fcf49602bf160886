"""A task's modulation folded into the weights: the same logits from a plain model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

import taskaware
from conftest import ASR, MT, random_batch
from taskaware.errors import CheckpointError, UserError
from taskaware.export.exporting import export
from taskaware.export.fold import fold
from taskaware.model.reduced import prepare_weights
from tiny_models import random_model

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.export.exporting import Form
    from taskaware.inference.model import TaskAwareModel
    from taskaware.types import Task

POST: dict[str, Any] = {"norm": "post"}
CASES: dict[str, dict[str, Any]] = {
    "post": POST,
    "pre": {},
    "pre, a pair for each place": {"conditioning": {"cue": "explicit", "film_scope": "per_block"}},
    "post, a pair for each place": {
        **POST,
        "conditioning": {"cue": "implicit", "film_scope": "per_block"},
    },
    "decoder alone": {"conditioning": {"cue": "explicit", "film_on": "decoder"}},
    "parts": {"conditioning": {"cue": "explicit", "film_places": "parts"}},
    "parts, post, with biases": {
        **POST,
        "attention_bias": True,
        "conditioning": {"cue": "explicit", "film_places": "parts", "film_scope": "per_block"},
    },
    "conformer": {"encoder_block": "conformer", "conformer_kernel": 3},
    "conformer, parts of the decoder": {
        "encoder_block": "conformer",
        "conformer_kernel": 3,
        "conditioning": {"cue": "explicit", "film_places": "parts", "film_on": "decoder"},
    },
    "joined": {"conditioning": {"cue": "explicit", "acts_by": "join"}},
    "joined, post": {**POST, "conditioning": {"cue": "explicit", "acts_by": "join"}},
    "convolutions over time": {
        "frontend": "conv1d",
        "cnn_activation": "gelu",
        "source_positions": "learnt",
        "target_positions": "learnt",
    },
    "told by a piece": {"conditioning": {"cue": "target_tag"}},
}


def logits(model: TaskAwareModel, task: Task) -> torch.Tensor:
    dtype = next(model.transformer.parameters()).dtype
    batch = random_batch(task, dtype=dtype)
    embedding = model.task_embeddings.get(task.name)
    with torch.inference_mode():
        return model.transformer(batch, None if embedding is None else embedding.to(dtype))


@pytest.mark.parametrize("task", [ASR, MT], ids=lambda task: task.name)
@pytest.mark.parametrize("case", CASES)
def test_a_folded_model_has_the_logits_of_the_task(case: str, task: Task):
    model = random_model(double=True, **CASES[case])
    folded = fold(model, task.name).model
    torch.testing.assert_close(logits(folded, task), logits(model, task), rtol=1e-10, atol=1e-10)
    assert folded.transformer.task_network is None
    assert not folded.task_embeddings
    assert folded.tasks == (task,)


@pytest.mark.parametrize("case", ["post", "pre, a pair for each place", "conformer", "joined"])
def test_a_folded_model_writes_what_the_whole_one_writes(case: str, tmp_path: Path):
    model = random_model(**CASES[case])
    fold(model, "mt_en_de").model.save(tmp_path / "plain")
    plain = taskaware.load(tmp_path / "plain", device="cpu")
    texts = ["the red house", "a dog is far away", "weg"]
    before, after = (m.run_many("mt_en_de", texts) for m in (model, plain))
    assert [[h.token_ids for h in row] for row in after] == [
        [h.token_ids for h in row] for row in before
    ]
    assert after[0][0].log_prob == pytest.approx(before[0][0].log_prob, rel=1e-4)


def test_post_norm_leaves_no_constant_inside_the_blocks():
    folded = fold(random_model(**POST), ASR.name)
    left = folded.model.settings.folded
    assert (left.source, left.target) == (False, True)
    assert not left.encoder_residuals
    assert not left.decoder_residuals
    assert len(folded.constants) == 1


def test_pre_norm_keeps_one_scale_a_block_and_says_so():
    folded = fold(random_model(), ASR.name)
    assert folded.model.settings.folded.encoder_residuals
    assert any("pre-norm" in line for line in folded.constants)


def test_a_folded_model_can_be_folded_again_and_stays_the_same():
    once = fold(random_model(), ASR.name).model
    twice = fold(once, ASR.name)
    assert twice.exactly == twice.constants == ()
    assert torch.equal(logits(twice.model, ASR), logits(once, ASR))


def test_a_front_end_of_another_modality_is_left_out():
    names = fold(random_model(), MT.name).model.transformer.state_dict()
    assert not any(name.startswith("frontends") for name in names)


@pytest.mark.parametrize(
    ("conditioning", "reason"),
    [
        ({"cue": "explicit", "acts_by": "prepend"}, "as a vector before source and target"),
        ({"cue": "explicit", "bottleneck": 4}, "bottlenecks beside its attention"),
    ],
)
def test_what_is_no_scale_and_shift_is_refused_with_the_reason(
    conditioning: dict[str, Any], reason: str
):
    with pytest.raises(UserError, match=reason):
        fold(random_model(conditioning=conditioning), ASR.name)


@pytest.mark.parametrize("form", ["plain", "onnx", "ctranslate2", "huggingface"])
def test_a_model_without_an_embedding_of_a_task_or_with_reduced_weights_is_not_exported(
    form: Form, tmp_path: Path
):
    model = random_model()
    task = None if form == "onnx" else ASR.name
    without = {name: t_e for name, t_e in model.task_embeddings.items() if name != ASR.name}
    for embeddings in ({}, without):
        incomplete = replace(model, task_embeddings=embeddings)
        with pytest.raises(CheckpointError, match=r"must have an embedding of .*asr_en"):
            export(incomplete, form, tmp_path / "made", task=task)
    wide = {ASR.name: torch.ones(1, 64)}
    if form != "onnx":
        with pytest.raises(UserError, match=r"task_embeddings\['asr_en'\]` must be \[1, 32\]"):
            export(replace(model, task_embeddings=wide), form, tmp_path / "made", task=task)
    prepare_weights(model.transformer, "int8")
    with pytest.raises(UserError, match="must have its own weights, but has reduced ones"):
        export(model, form, tmp_path / "made", task=task)
    assert not (tmp_path / "made").exists()
