"""The graphs that become ONNX give what the model gives; PyTorch alone computes both here."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from conftest import ASR, MT, random_batch
from taskaware.export.onnx_graphs import EncoderGraph, StepGraph, exportable
from tiny_models import random_model

LEARNT = {"source_positions": "learnt", "target_positions": "learnt"}
CASES: dict[str, dict[str, Any]] = {
    "shared": {},
    "a pair for each place, learnt positions": {
        "conditioning": {"cue": "implicit", "film_scope": "per_block"},
        **LEARNT,
    },
    "parts and bottlenecks": {
        "conditioning": {"cue": "explicit", "film_places": "parts", "bottleneck": 4}
    },
    "a vector before both": {"conditioning": {"cue": "explicit", "acts_by": "prepend"}},
    "joined, post, other sinusoids": {
        "conditioning": {"cue": "explicit", "acts_by": "join"},
        "norm": "post",
        "source_positions": "sinusoidal_vaswani",
        "target_positions": "sinusoidal_vaswani",
        "first_position": 2,
    },
    "conformer, told by a piece": {
        "conditioning": {"cue": "target_tag"},
        "encoder_block": "conformer",
        "conformer_kernel": 3,
    },
    "output layer of its own": {
        "conditioning": {"cue": "none"},
        "tied_output": False,
        "output_bias": True,
    },
}


@pytest.mark.parametrize("is_transposed", [False, True], ids=["as it is", "transposed output"])
@pytest.mark.parametrize("task", [ASR, MT], ids=lambda task: task.name)
@pytest.mark.parametrize("case", CASES)
@torch.inference_mode()
def test_the_graphs_give_the_probabilities_of_the_search(case: str, task: Any, is_transposed: bool):
    model = random_model(**CASES[case])
    whole, parts = model.transformer, exportable(model.transformer)
    batch, W, never = random_batch(task), 3, (0, 1)
    B = len(batch.source)
    embedding = model.task_embeddings.get(task.name)
    rows = () if embedding is None else (embedding.expand(B, -1),)
    state = whole.start_decoding(
        batch.source, batch.source_lengths, task.source_modality, embedding, width=W
    )
    encoder = EncoderGraph(parts, task.source_modality)
    mask, *tensors = encoder(batch.source, batch.source_lengths, *rows)
    memory = tensors[: 2 * len(state.memory)]
    past = [each.repeat_interleave(W, dim=0) for each in tensors[len(memory) :]]
    if not past:
        past = [torch.zeros(B * W, 2, 0, 8) for _ in memory]
    step = StepGraph(parts, never, is_transposed=is_transposed)
    for column in range(4):
        pieces = batch.target_input[:, :1].expand(-1, W) + column
        logits = whole.step(pieces, state)
        logits[..., list(never)] = -1e30
        log_probs, *past = step(pieces, mask, memory, past, *rows)
        torch.testing.assert_close(log_probs, logits.log_softmax(-1), rtol=1e-5, atol=2e-5)


def test_the_copy_leaves_the_model_as_it_was():
    model = random_model()
    before = {name: value.clone() for name, value in model.transformer.state_dict().items()}
    exportable(model.transformer)
    after = model.transformer.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert model.transformer.task_network is not None
