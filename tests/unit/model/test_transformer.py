"""The task-aware Transformer as a whole."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from conftest import ASR, MT, NUM_BINS, NUM_PIECES, ST, TASKS, random_batch, tiny_settings
from taskaware.errors import UserError
from taskaware.model.attention import PositionSignal, sinusoidal_positions
from taskaware.model.create_model import create_model
from taskaware.model.settings import ModelSettings
from taskaware.model.task_network import identity_bias
from taskaware.settings import from_mapping
from taskaware.types import Batch, Task


def model(**changes):
    return create_model(tiny_settings(**changes), vocabulary_size=NUM_PIECES, tasks=TASKS).eval()


def noise(embedding: torch.Tensor) -> torch.Tensor:
    return embedding + 0.3 * torch.randn_like(embedding)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_gamma_one_and_beta_zero_are_exactly_the_plain_transformer(task: Task, norm: str):
    network, batch = model(norm=norm), random_batch(task)
    identity = identity_bias(16, 1)[None]
    assert torch.equal(network(batch, identity), network(batch, None))


@pytest.mark.parametrize("task", TASKS)
def test_shared_film_equals_per_block_film_with_the_same_pair_everywhere(task: Task):
    network, batch = model(), random_batch(task)
    pair = noise(identity_bias(16, 1)[None])
    everywhere = pair.repeat(1, tiny_settings().num_places)
    torch.testing.assert_close(network(batch, pair), network(batch, everywhere))


@pytest.mark.parametrize("place", range(6))
def test_every_block_and_preprocessing_layer_is_modulated(place: int):
    network, batch = model(), random_batch(ASR)
    per_place = identity_bias(16, 6)[None]
    changed = per_place.clone()
    changed[0, place * 32 : place * 32 + 16] *= 1.5
    assert not torch.allclose(network(batch, per_place), network(batch, changed))


def pad_more(batch: Batch, num_source: int, num_target: int) -> Batch:
    def pad(x: torch.Tensor, amount: int, value: float) -> torch.Tensor:
        shape = (x.shape[0], amount, *x.shape[2:])
        return torch.cat([x, torch.full(shape, value, dtype=x.dtype)], dim=1)

    return replace(
        batch,
        source=pad(batch.source, num_source, 3),
        target_input=pad(batch.target_input, num_target, 3),
        target_output=pad(batch.target_output, num_target, 3),
    )


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("acts_by", ["film", "prepend"])
def test_more_padding_changes_neither_the_outputs_nor_the_task_embedding(task: Task, acts_by: str):
    network, batch = model(conditioning={"acts_by": acts_by}), random_batch(task)
    torch.nn.init.normal_(network.task_network.output.weight, std=0.1)
    padded = pad_more(batch, 13, 5)
    embedding = network.embed_task(network.preprocess(batch), 0)
    again = network.embed_task(network.preprocess(padded), 0)
    torch.testing.assert_close(embedding, again)
    logits, padded_logits = network(batch, embedding), network(padded, again)
    for row, length in enumerate(batch.target_lengths):
        torch.testing.assert_close(logits[row, :length], padded_logits[row, :length])


@pytest.mark.parametrize("task", TASKS)
def test_an_example_has_the_same_output_alone_as_in_a_batch(task: Task):
    network, batch = model(), random_batch(task)
    together = network(batch, None)
    for row in range(batch.num_examples):
        s, t = int(batch.source_lengths[row]), int(batch.target_lengths[row])
        alone = replace(
            batch,
            source=batch.source[row : row + 1, :s],
            source_lengths=batch.source_lengths[row : row + 1],
            target_input=batch.target_input[row : row + 1, :t],
            target_output=batch.target_output[row : row + 1, :t],
            target_lengths=batch.target_lengths[row : row + 1],
        )
        torch.testing.assert_close(network(alone, None)[0], together[row, :t])


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "conditioning",
    [{}, {"film_scope": "per_block"}, {"acts_by": "prepend"}, {"cue": "explicit"}, {"cue": "none"}],
    ids=str,
)
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_decoding_step_by_step_equals_the_whole_target_at_once(task, conditioning, norm):
    network = model(conditioning=conditioning, norm=norm)
    batch = random_batch(task)
    embedding = network.embed_task(network.preprocess(batch), 1)
    if embedding is not None:
        embedding = noise(embedding)
    whole = network(batch, embedding)
    state = network.start_decoding(
        batch.source, batch.source_lengths, task.source_modality, embedding, width=2
    )
    for position in range(batch.target_input.shape[1]):
        pieces = batch.target_input[:, position : position + 1].expand(-1, 2)
        logits = network.step(pieces, state)
        for row in (batch.target_lengths > position).nonzero()[:, 0]:
            torch.testing.assert_close(logits[row, 0], whole[row, position])
            torch.testing.assert_close(logits[row, 1], whole[row, position])


OPTIONS = {
    "activation": "swish",
    "attention_bias": True,
    "source_positions": "learnt",
    "target_positions": "learnt",
    "num_source_positions": 60,
    "num_target_positions": 20,
    "embedding_scale": False,
    "tied_output": False,
    "output_bias": True,
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "options",
    [
        OPTIONS,
        OPTIONS | {"norm": "post", "target_positions": "sinusoidal_vaswani"},
        {"first_position": 2, "frontend": "conv1d", "cnn_activation": "glu"},
    ],
    ids=["learnt", "post", "offset"],
)
def test_the_options_of_pretrained_models_keep_padding_and_decoding_step_by_step(task, options):
    network, batch = model(conditioning={"cue": "none"}, **options), random_batch(task)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    whole, padded = network(batch, None), network(pad_more(batch, 7, 5), None)
    state = network.start_decoding(batch.source, batch.source_lengths, task.source_modality, None)
    for position in range(batch.target_input.shape[1]):
        logits = network.step(batch.target_input[:, position : position + 1], state)
        for row in (batch.target_lengths > position).nonzero()[:, 0]:
            torch.testing.assert_close(logits[row, 0], whole[row, position])
            torch.testing.assert_close(padded[row, position], whole[row, position])


@pytest.mark.parametrize("scaled", [True, False])
def test_the_implicit_network_normalises_what_it_reads_where_embeddings_are_not_scaled(scaled):
    network = model(conditioning={"cue": "implicit"}, embedding_scale=scaled)
    assert network.task_network.normalises is not scaled


def test_positions_with_an_offset_are_the_later_ones():
    from_zero, from_two = PositionSignal(8), PositionSignal(8, offset=2)
    x = torch.zeros(1, 600, 8)  # longer than the table at first
    torch.testing.assert_close(from_two(x)[:, :598], from_zero(x)[:, 2:])


def test_the_wavelengths_of_vaswani_et_al_are_those_of_the_formula():
    signal = sinusoidal_positions(5, 6, wavelengths="vaswani")
    for position in range(5):
        for i in range(3):
            angle = position / 10_000 ** (2 * i / 6)
            assert signal[position, i] == pytest.approx(math.sin(angle), abs=1e-6)
            assert signal[position, 3 + i] == pytest.approx(math.cos(angle), abs=1e-6)


def test_a_sequence_longer_than_the_learnt_positions_is_refused():
    network = model(conditioning={"cue": "none"}, **(OPTIONS | {"num_target_positions": 2}))
    with pytest.raises(UserError, match="at most 2 positions"):
        network(random_batch(MT), None)


def test_a_target_position_sees_nothing_behind_it():
    network, batch = model(), random_batch(ST)
    changed = batch.target_input.clone()
    changed[:, 2] = 5
    before = network(batch, None)
    after = network(replace(batch, target_input=changed), None)
    torch.testing.assert_close(before[:, :2], after[:, :2])


@pytest.mark.parametrize(("preset", "num_layers"), [("single_modality", 6), ("multi_modality", 12)])
def test_the_presets_have_the_sizes_of_table_8(preset: str, num_layers: int):
    settings = from_mapping(ModelSettings, {"preset": preset})
    assert (settings.num_encoder_layers, settings.num_decoder_layers) == (num_layers, num_layers)
    assert (settings.d_model, settings.num_heads, settings.d_ff) == (512, 8, 1024)
    assert settings.dropout == 0.1


def test_a_text_model_has_no_speech_front_end():
    network = create_model(tiny_settings(), vocabulary_size=NUM_PIECES, tasks=[MT])
    assert not network.frontends


def test_precomputed_features_are_a_modality_of_their_own():
    task = Task(name="signs", kind="other", source_modality="features", target_language="de")
    network = create_model(tiny_settings(), vocabulary_size=NUM_PIECES, tasks=[task]).eval()
    batch = replace(random_batch(ASR), task=task)
    assert batch.source.shape[2] == NUM_BINS
    assert network(batch, None).shape[2] == NUM_PIECES
