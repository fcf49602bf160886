"""Preprocessing layers: lengths, padding, the shared embedding."""

from __future__ import annotations

import pytest
import torch

from conftest import NUM_BINS
from taskaware.model.frontend import FeatureFrontend, SpeechFrontend, TokenEmbedding


def frontend() -> SpeechFrontend:
    return SpeechFrontend(NUM_BINS, 8, num_layers=3, channels=4)


@pytest.mark.parametrize("num_frames", [1, 2, 7, 8, 9, 16, 17, 63])
def test_the_lengths_promised_are_the_lengths_made(num_frames: int):
    module = frontend()
    sequence, lengths = module(torch.randn(1, num_frames, NUM_BINS), torch.tensor([num_frames]))
    assert sequence.shape[1] == int(lengths)
    assert module.output_lengths(torch.tensor([num_frames])).tolist() == lengths.tolist()


def test_three_layers_make_one_position_of_eight_frames():
    assert frontend().output_lengths(torch.tensor([8, 9, 800])).tolist() == [1, 2, 100]


def test_more_padding_never_changes_a_valid_position_of_speech():
    module, frames = frontend(), torch.randn(2, 30, NUM_BINS)
    lengths = torch.tensor([30, 21])
    padded = torch.cat([frames, torch.full((2, 19, NUM_BINS), 7.0)], dim=1)
    alone, _ = module(frames[1:, :21], lengths[1:])
    together, out_lengths = module(padded, lengths)
    torch.testing.assert_close(together[1, : int(out_lengths[1])], alone[0])


def test_the_embedding_is_scaled_and_shared_with_the_output_layer():
    embedding = TokenEmbedding(10, 16)
    pieces = torch.tensor([[3, 5]])
    torch.testing.assert_close(embedding.embed(pieces), embedding.weight[[3, 5]][None] * 4.0)
    state = torch.randn(2, 16)
    torch.testing.assert_close(embedding.logits(state), state @ embedding.weight.T)


def test_features_of_any_network_keep_their_length():
    sequence, lengths = FeatureFrontend(6, 8)(torch.randn(2, 5, 6), torch.tensor([5, 3]))
    assert sequence.shape == (2, 5, 8)
    assert lengths.tolist() == [5, 3]
