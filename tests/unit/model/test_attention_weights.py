"""Weights of cross-attention, computed again."""

from __future__ import annotations

import pytest
import torch

from conftest import NUM_PIECES, TASKS, tiny_settings
from taskaware.model.attention_weights import cross_attention_weights
from taskaware.model.create_model import create_model
from taskaware.model.packing import valid_mask


def test_the_weights_times_the_values_are_what_attention_put_out():
    model = create_model(tiny_settings(), vocabulary_size=NUM_PIECES, tasks=TASKS).eval()
    block = model.decoder[0].cross_attention
    x_BTD = torch.randn(2, 5, model.d_model)
    memory = block.look_at(torch.randn(2, 7, model.d_model))
    mask_BS = valid_mask(torch.tensor([7, 4]), 7)
    with cross_attention_weights(model.decoder[0]) as found:
        expected = block(x_BTD, memory, mask_BS=mask_BS)
    weights_BHTS = found.stacked()
    assert weights_BHTS.sum(dim=-1) == pytest.approx(torch.ones(weights_BHTS.shape[:3]), abs=1e-5)
    assert float(weights_BHTS[1, :, :, 4:].max()) == 0.0
    attended = (weights_BHTS @ memory.values).transpose(1, 2).flatten(2)
    assert torch.allclose(block.output(attended), expected, atol=1e-5)


def test_the_hooks_are_gone_afterwards_also_after_a_failure():
    model = create_model(tiny_settings(), vocabulary_size=NUM_PIECES, tasks=TASKS).eval()
    with pytest.raises(RuntimeError), cross_attention_weights(model.decoder):
        raise RuntimeError
    assert not any(m._forward_pre_hooks for m in model.decoder.modules())
