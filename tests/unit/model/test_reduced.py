"""Weights in fewer bits: nearly the same logits, the same results as exact products of them."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from conftest import MT, NUM_PIECES, ST, TASKS, random_batch, tiny_settings
from taskaware.errors import UserError
from taskaware.model.adapter_settings import AdapterSettings
from taskaware.model.create_model import create_model
from taskaware.model.reduced import Int8Linear, Weights, is_reduced, prepare_weights
from taskaware.training.tensors import weights


def logits(model, batch, task_embedding=None):
    state = model.start_decoding(
        batch.source, batch.source_lengths, batch.task.source_modality, task_embedding
    )
    return torch.stack(
        [model.step(pieces[:, None], state).float() for pieces in batch.target_input.unbind(1)]
    )


@pytest.mark.parametrize("kind", get_args(Weights))
@pytest.mark.parametrize("task", [ST, MT])
@torch.inference_mode()
def test_logits_are_nearly_those_of_float32(kind: Weights, task):
    settings = tiny_settings(
        conditioning={"cue": "explicit", "film_places": "parts", "bottleneck": 4}
    )
    model = create_model(settings, vocabulary_size=NUM_PIECES, tasks=TASKS).eval()
    batch = random_batch(task)
    width = model.embed_task(model.preprocess(batch), 0).shape[-1]
    embedding = torch.rand(1, width, generator=torch.Generator().manual_seed(0))
    wanted = logits(model, batch, embedding)
    prepare_weights(model, kind)
    assert is_reduced(model) == (kind != "float32")
    tolerance = {"float32": 1e-5, "bfloat16": 0.03, "int8": 0.06}[kind]
    off = (logits(model, batch, embedding) - wanted).abs().max() / wanted.abs().max()
    assert float(off) < tolerance
    if kind != "float32":
        assert float(off) > 0


@pytest.mark.parametrize("kind", get_args(Weights))
@pytest.mark.parametrize("task", [ST, MT])
@torch.inference_mode()
def test_a_conformer_in_fewer_bits_puts_out_nearly_what_it_did(kind: Weights, task):
    settings = tiny_settings(encoder_block="conformer")
    model = create_model(settings, vocabulary_size=NUM_PIECES, tasks=TASKS).eval()
    batch = random_batch(task)
    wanted = logits(model, batch)
    prepare_weights(model, kind)
    off = (logits(model, batch) - wanted).abs().max() / wanted.abs().max()
    assert float(off) < 0.06


@torch.inference_mode()
def test_a_product_in_int8_is_that_of_the_rounded_numbers():
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(5, 8, generator=generator), torch.randn(2, 3, 8, generator=generator)
    bias = torch.randn(5, generator=generator)

    def rounded(numbers):
        step = numbers.abs().amax(dim=-1, keepdim=True) / 127
        return (numbers / step).round() * step

    wanted = F.linear(rounded(x), rounded(weight), bias)
    torch.testing.assert_close(Int8Linear(weight, bias)(x), wanted)
    torch.testing.assert_close(Int8Linear(weight, None)(x), wanted - bias)
    assert torch.isfinite(Int8Linear(weight, bias)(torch.zeros(1, 8))).all()


def test_weights_that_are_laid_out_anew_are_saved_as_they_were():
    model = create_model(tiny_settings(), vocabulary_size=NUM_PIECES, tasks=TASKS)
    before = weights(model)
    prepare_weights(model, "float32")
    after = weights(model)
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(tensor.is_contiguous() for tensor in after.values())


def test_a_model_with_adapters_is_not_reduced():
    settings = tiny_settings(adapters=AdapterSettings(method="bottleneck", rank=2))
    model = create_model(
        settings, vocabulary_size=NUM_PIECES, tasks=TASKS, adapter_tasks=[TASKS[0].name]
    )
    with pytest.raises(UserError, match="adapters"):
        prepare_weights(model, "int8")
