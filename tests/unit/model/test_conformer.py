"""The Conformer encoder block: equations by hand, padding, FiLM, learning."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from conftest import ASR, MT, NUM_PIECES, TASKS, random_batch, tiny_settings
from taskaware.model.attention import attend, rotate_positions
from taskaware.model.conformer import ConformerLayer, ConvolutionModule
from taskaware.model.create_model import create_model
from taskaware.model.packing import valid_mask
from taskaware.model.settings import ModelSettings


def layer() -> ConformerLayer:
    block = ConformerLayer(
        16, 2, 32, kernel=5, dropout=0.0, attention_dropout=0.0, relu_dropout=0.0, eps=1e-6
    )
    return block.eval()


def conformer(**changes):
    settings = tiny_settings(
        encoder_block="conformer", conformer_kernel=5, num_cnn_layers=2, **changes
    )
    return create_model(settings, vocabulary_size=NUM_PIECES, tasks=TASKS).eval()


def test_more_padding_never_changes_a_valid_position_of_a_block():
    block, lengths = layer(), torch.tensor([9, 4])
    x = torch.randn(2, 14, 16)
    together = block(x, mask_BS=valid_mask(lengths, 14))
    for row, length in enumerate(lengths.tolist()):
        alone = block(x[row : row + 1, :length], mask_BS=valid_mask(lengths[row : row + 1], length))
        torch.testing.assert_close(together[row, :length], alone[0])


def test_other_examples_of_a_batch_change_nothing_also_while_training():
    block = layer().train()
    x, mask = torch.randn(3, 6, 16), torch.ones(3, 6, dtype=torch.bool)
    torch.testing.assert_close(block(x, mask_BS=mask)[:1], block(x[:1], mask_BS=mask[:1]))


def test_the_convolution_is_a_sum_over_shifted_gated_inputs():
    module = ConvolutionModule(16, kernel=5, eps=1e-6)
    x = torch.randn(1, 7, 16)
    value, gate = module.gate(x).chunk(2, dim=-1)
    gated = F.pad(value * gate.sigmoid(), (0, 0, 2, 2))
    kernel = module.depthwise.weight[:, 0, :, 0]
    summed = sum(gated[:, shift : shift + 7] * kernel[:, shift] for shift in range(5))
    by_hand = module.norm(summed + module.depthwise.bias)
    by_hand = module.output(by_hand * by_hand.sigmoid())
    computed = module(x, mask_BS=torch.ones(1, 7, dtype=torch.bool))
    torch.testing.assert_close(computed, by_hand)


def test_attention_with_turned_positions_sees_distances_alone():
    query, key, value = torch.randn(3, 1, 2, 5, 8)
    shifted = [F.pad(x, (0, 0, 11, 0)) for x in (query, key)]
    here = attend(rotate_positions(query), rotate_positions(key), value)
    there = attend(
        rotate_positions(shifted[0])[..., 11:, :], rotate_positions(shifted[1])[..., 11:, :], value
    )
    torch.testing.assert_close(here, there, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(here, attend(query, key, value))
    turned = rotate_positions(query.to(torch.bfloat16))
    assert turned.dtype == torch.bfloat16


@pytest.mark.parametrize("task", TASKS)
def test_an_untrained_task_network_leaves_a_conformer_nearly_as_it_is(task):
    network, batch = conformer(), random_batch(task)
    torch.nn.init.zeros_(network.task_network.output.weight)
    embedding = network.embed_task(network.preprocess(batch), 0)
    assert torch.equal(network(batch, embedding), network(batch, None))
    assert not torch.allclose(network(batch, 1.5 * embedding), network(batch, None))


@pytest.mark.parametrize("frontend", ["conv2d", "conv1d"])
def test_the_gradient_reaches_every_weight_of_a_conformer(frontend: str):
    network = conformer(frontend=frontend, conditioning={"cue": "none"}).train()
    network(random_batch(ASR), None).square().mean().backward()
    lost = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert lost == []


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_conformer_learns_one_batch_by_heart(norm: str):
    network, batch = conformer(norm=norm).train(), random_batch(ASR)
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(80):
        logits = network(batch, None).flatten(0, 1)
        loss = F.cross_entropy(logits, batch.target_output.flatten(), ignore_index=0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1


def test_text_goes_through_a_conformer_too():
    network, batch = conformer(), random_batch(MT)
    assert network(batch, None).shape[2] == NUM_PIECES


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"conformer_kernel": 4}, "conformer_kernel"),
        ({"cnn_kernel": 0}, "cnn_kernel"),
        ({"cnn_strides": (2, 2)}, "cnn_strides"),
        ({"cnn_strides": (2, 2, 0)}, "cnn_strides"),
        ({"encoder_block": "conformer", "d_model": 24, "num_heads": 8}, "d_model"),
    ],
    ids=str,
)
def test_an_impossible_conformer_or_front_end_is_named(changes: dict, field: str):
    assert [name for name, _ in ModelSettings(**changes).validate()] == [field]
