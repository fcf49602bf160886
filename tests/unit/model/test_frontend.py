"""Preprocessing layers: lengths, padding, the shared embedding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from conftest import NUM_BINS, NUM_PIECES, TASKS, tiny_settings
from taskaware.model.create_model import create_model
from taskaware.model.frontend import (
    FeatureFrontend,
    SpeechFrontend,
    TimeConvolutions,
    TokenEmbedding,
)


def frontend() -> SpeechFrontend:
    return SpeechFrontend(NUM_BINS, 8, channels=4)


MODULES = {
    "paper": frontend,
    "four frames": lambda: SpeechFrontend(
        NUM_BINS, 8, channels=4, kernel=5, strides=(2, 2), activation="glu"
    ),
    "whisper": lambda: TimeConvolutions(
        NUM_BINS, 8, channels=6, kernel=3, strides=(1, 2), activation="gelu"
    ),
    "speech2text": lambda: TimeConvolutions(
        NUM_BINS, 8, channels=6, kernel=5, strides=(2, 2), activation="glu"
    ),
}


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("num_frames", [1, 2, 7, 8, 9, 16, 17, 63])
def test_the_lengths_promised_are_the_lengths_made(kind: str, num_frames: int):
    module = MODULES[kind]()
    sequence, lengths = module(torch.randn(1, num_frames, NUM_BINS), torch.tensor([num_frames]))
    assert sequence.shape[1] == int(lengths)


def lengths_behind(module: nn.Module) -> list[int]:
    lengths = torch.tensor([8, 9, 800])
    return module(torch.zeros(3, 800, NUM_BINS), lengths)[1].tolist()


def test_three_layers_make_one_position_of_eight_frames():
    assert lengths_behind(frontend()) == [1, 2, 100]


def test_two_layers_make_one_position_of_four_frames_and_strides_say_otherwise():
    assert lengths_behind(MODULES["four frames"]()) == [2, 3, 200]
    assert lengths_behind(MODULES["speech2text"]()) == [2, 3, 200]
    assert lengths_behind(MODULES["whisper"]()) == [4, 5, 400]


@pytest.mark.parametrize("kind", MODULES)
def test_more_padding_never_changes_a_valid_position_of_speech(kind: str):
    module, frames = MODULES[kind](), torch.randn(2, 30, NUM_BINS)
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


def test_convolutions_equal_plain_ones_whose_padding_is_set_to_zero():
    module = frontend()
    frames, lengths = torch.randn(3, 21, NUM_BINS), torch.tensor([21, 9, 14])
    found, found_lengths = module(frames, lengths)
    x, left = frames[:, None], lengths
    for convolution in module.convolutions:
        mask = torch.arange(x.shape[2]) < left[:, None]
        x = convolution(x * mask[:, None, :, None]).relu()
        left = (left + 1) // 2
    plain = module.projection(x.transpose(1, 2).flatten(2))
    assert found_lengths.tolist() == left.tolist()
    valid = torch.arange(found.shape[1]) < left[:, None]
    torch.testing.assert_close(found[valid], plain[valid])
    weights = list(module.parameters())
    ours = torch.autograd.grad(found[valid].square().sum(), weights)
    theirs = torch.autograd.grad(plain[valid].square().sum(), weights)
    torch.testing.assert_close(ours, theirs)


def test_what_is_computed_again_for_a_gradient_has_the_weights_of_the_way_forward():
    frontend = SpeechFrontend(NUM_BINS, 8, channels=4, strides=(2, 2, 2)).double()
    names, parameters = zip(*frontend.named_parameters(), strict=True)
    frames, lengths = torch.randn(3, 30, NUM_BINS).double(), torch.tensor([30, 22, 17])

    def loss(weights: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.func.functional_call(frontend, weights, (frames, lengths))[0].square().mean()

    found = []
    for is_training in (True, False):  # only while training it is computed again
        frontend.train(is_training)
        others = {name: 1.1 * one for name, one in zip(names, parameters, strict=True)}
        first = torch.autograd.grad(loss(others), parameters, create_graph=True)
        pairs = zip(names, parameters, first, strict=True)
        after_a_step = {name: one - 0.1 * gradient for name, one, gradient in pairs}
        found.append((first, torch.autograd.grad(loss(after_a_step), parameters)))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("activation", ["relu", "gelu", "swish", "glu"])
@pytest.mark.parametrize("num_layers", [2, 3])
@pytest.mark.parametrize("kind", ["conv2d", "conv1d"])
def test_speech_has_the_size_of_embedded_text_at_the_start(kind, num_layers, activation):
    torch.manual_seed(0)
    settings = tiny_settings(
        **{"d_model": 128, "num_features": 80, "cnn_channels": 32, "frontend": kind},
        **{"num_cnn_layers": num_layers, "cnn_activation": activation},
    )
    model = create_model(settings, vocabulary_size=NUM_PIECES, tasks=TASKS)
    lengths = torch.full((4,), 400)
    frames = torch.randn(4, 400, 80)  # features are normalised
    with torch.inference_mode():
        speech, _ = model.preprocess_source(frames, lengths, "speech")
        text, _ = model.preprocess_source(torch.arange(NUM_PIECES)[None], lengths[:1], "text")
    # Within a factor of 2: torch's own initialisation makes it 5 to 29 times smaller.
    assert 0.5 < float(speech.square().mean().sqrt() / text.square().mean().sqrt()) < 2


def test_features_of_another_network_have_the_size_of_embedded_text_at_the_start():
    torch.manual_seed(0)
    settings = tiny_settings(d_model=128, num_features=96)
    task = replace(TASKS[0], source_modality="features")
    model = create_model(settings, vocabulary_size=NUM_PIECES, tasks=[task])
    with torch.inference_mode():
        features, _ = model.preprocess_source(
            100 * torch.randn(4, 50, 96), torch.full((4,), 50), "features"
        )
    assert 0.7 < float(features.square().mean().sqrt()) < 1.4
