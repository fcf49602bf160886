"""Task characteristics networks: equations 1 to 5."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from taskaware.model.layers import EncoderLayer
from taskaware.model.packing import valid_mask
from taskaware.model.task_network import (
    ExplicitTaskNetwork,
    ImplicitTaskNetwork,
    bidirectional_attention,
    identity_bias,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from taskaware.model.layers import NormPlace

D, K = 16, 8


def implicit(*, normalises: bool = False) -> ImplicitTaskNetwork:
    network = ImplicitTaskNetwork(
        D,
        d_task=K,
        d_task_ff=16,
        num_heads=2,
        dropout=0.0,
        initial_embedding=identity_bias(D, 1),
        normalises=normalises,
    )
    torch.nn.init.normal_(network.output.weight)
    return network


def test_equation_1_is_one_linear_layer_on_a_one_hot_vector():
    network = ExplicitTaskNetwork(3, identity_bias(D, 1))
    torch.nn.init.normal_(network.rows)
    one_hot = torch.nn.functional.one_hot(torch.tensor([2, 0]), 3).float()
    torch.testing.assert_close(network(torch.tensor([2, 0])), one_hot @ network.rows + network.bias)


def test_an_explicit_network_has_s_times_2d_parameters_and_a_bias():
    network = ExplicitTaskNetwork(3, identity_bias(512, 1))
    assert sum(p.numel() for p in network.parameters()) == 3 * 2 * 512 + 2 * 512


def test_an_implicit_network_of_the_papers_size_has_one_and_a_half_million_parameters():
    network = ImplicitTaskNetwork(
        512,
        d_task=256,
        d_task_ff=512,
        num_heads=4,
        dropout=0.1,
        initial_embedding=identity_bias(512, 1),
    )
    assert sum(p.numel() for p in network.parameters()) == 1_579_008


def test_equation_3_is_a_mean_of_the_valid_positions_weighted_by_the_scaled_dot_product():
    x, y = torch.randn(1, 3, K), torch.randn(1, 5, K)
    found = bidirectional_attention(x, y, torch.tensor([4]))
    weights = (x[0] @ y[0, :4].T / K**0.5).softmax(dim=-1)
    torch.testing.assert_close(found[0], weights @ y[0, :4])


def test_small_embeddings_with_a_large_common_part_are_told_apart_where_they_are_normalised():
    """Whisper's have 0.027 in the root mean square, 0.025 of it common; positions have 0.7.

    An implicit network on a Whisper gave seven tasks the same t_e, whatever it was trained for.
    """
    lengths, source = torch.tensor([4, 4]), torch.randn(1, 4, D).expand(2, 4, D)
    target = 0.025 * torch.randn(D) + 0.011 * torch.randn(2, 4, D)

    def apart(network: ImplicitTaskNetwork) -> float:
        with torch.no_grad():
            first, second = network(source, lengths, target, lengths)
        return float((first - second).square().mean().sqrt())

    torch.manual_seed(1)
    plain = implicit()
    normalised = implicit(normalises=True)
    normalised.load_state_dict(plain.state_dict())
    assert apart(normalised) > 10 * apart(plain)


def test_the_size_of_what_is_normalised_does_not_matter_and_padding_neither():
    network = implicit(normalises=True)
    source, target, lengths = torch.randn(2, 5, D), torch.randn(2, 4, D), torch.tensor([5, 3])
    source[1, 3:] = 0
    found = network(source, lengths, target, torch.tensor([4, 4]))
    larger = network(20 * source + 3, lengths, target / 10 - 1, torch.tensor([4, 4]))
    torch.testing.assert_close(larger, found, atol=1e-3, rtol=1e-3)


def test_the_summary_is_taken_at_the_last_valid_position_never_at_padding():
    network = implicit()
    source, target = torch.randn(2, 6, D), torch.randn(2, 5, D)
    source_lengths, target_lengths = torch.tensor([6, 4]), torch.tensor([3, 5])
    together = network(source, source_lengths, target, target_lengths)
    for b in range(2):
        s, t = int(source_lengths[b]), int(target_lengths[b])
        alone = network(
            source[b : b + 1, :s],
            source_lengths[b : b + 1],
            target[b : b + 1, :t],
            target_lengths[b : b + 1],
        )
        torch.testing.assert_close(together[b], alone[0])


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_last_position_of_a_block_is_that_of_the_whole_block_and_so_is_its_gradient(
    norm: NormPlace,
):
    around = {"dropout": 0.0, "attention_dropout": 0.0, "relu_dropout": 0.0, "eps": 1e-6}
    block = EncoderLayer(K, 2, 16, norm=norm, attention_bias=True, **around)
    lengths, before = torch.tensor([6, 3, 0]), torch.randn(3, 6, K)
    rows, last = torch.arange(3), torch.tensor([5, 2, 0])

    def outcome(compute: Callable[[Tensor], Tensor]) -> list[Tensor]:
        x = before.clone().requires_grad_()
        found = compute(x)
        return [found, *torch.autograd.grad(found.square().sum(), [x, *block.parameters()])]

    whole = outcome(lambda x: block(x, mask_BS=None, causal=True)[rows, last])
    alone = outcome(lambda x: block.last(x, lengths))
    for a, b in zip(alone, whole, strict=True):
        torch.testing.assert_close(a, b)


def test_the_encoder_blocks_are_causal_so_that_the_last_position_alone_sees_all():
    network = implicit()
    x = torch.randn(1, 6, D)
    changed = x.clone()
    changed[0, 4] += 1.0
    before, after = network._represent(x), network._represent(changed)
    torch.testing.assert_close(before[0, :4], after[0, :4])
    assert not torch.allclose(before[0, 5], after[0, 5])


def test_source_and_target_share_the_weights_of_both_blocks():
    names = {name.split(".")[0] for name, _ in implicit().named_parameters()}
    assert names == {"projection", "representation", "summary", "norm", "hidden", "output"}


def test_an_untrained_network_gives_nearly_the_identity_of_film():
    network = ImplicitTaskNetwork(
        D, d_task=K, d_task_ff=16, num_heads=2, dropout=0.0, initial_embedding=identity_bias(D, 1)
    )
    lengths = torch.tensor([5])
    embedding = network(torch.randn(1, 5, D), lengths, torch.randn(1, 5, D), lengths)
    assert (embedding - identity_bias(D, 1)).abs().max() < 0.05


def test_on_a_cpu_autocast_does_not_reach_the_summaries():
    network, lengths = implicit(), torch.tensor([5, 3])
    source, target = torch.randn(2, 5, D).bfloat16(), torch.randn(2, 5, D)
    summaries: list[Tensor] = []
    network.hidden.register_forward_pre_hook(lambda _, given: summaries.append(given[0]))
    with torch.autocast("cpu", torch.bfloat16):
        network(source, lengths, target, lengths)
    network(source.float(), lengths, target, lengths)
    torch.testing.assert_close(*summaries)


def test_a_mask_is_true_where_a_position_is_valid():
    assert valid_mask(torch.tensor([1, 3]), 3).tolist() == [[True, False, False], [True] * 3]
