"""An encoder of texts beside that of speech."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from conftest import ASR, MT, NUM_PIECES, TASKS, random_batch, tiny_settings
from taskaware.export.fold import fold
from taskaware.model.create_model import create_model
from taskaware.model.film import ConstantFilm
from taskaware.model.parts import neutral_task_embedding
from taskaware.model.reduced import prepare_weights
from taskaware.model.text_encoder import entrance_for
from taskaware.training.trainable import TEXT_ENCODER, freeze_all_but
from tiny_models import random_model

if TYPE_CHECKING:
    from taskaware.types import Task

LAYERS = 2


def with_text_encoder(**changes):
    settings = tiny_settings(num_text_encoder_layers=LAYERS, **changes)
    return create_model(settings, vocabulary_size=NUM_PIECES, tasks=TASKS).eval()


@pytest.mark.parametrize(("task", "reads"), [(MT, True), (ASR, False)], ids=str)
def test_texts_are_read_by_it_alone_and_speech_never(task: Task, reads: bool):
    network, batch = with_text_encoder(), random_batch(task)
    before = network(batch, None)
    with torch.no_grad():
        network.text_encoder.norm.bias.add_(torch.randn(16))
    assert torch.equal(network(batch, None), before) != reads
    changed = network(batch, None)
    with torch.no_grad():
        network.encoder_norm.bias.add_(torch.randn(16))
    assert torch.equal(network(batch, None), changed) == reads


def test_with_the_weights_of_the_one_encoder_it_is_the_one_encoder():
    network = with_text_encoder()
    one = create_model(tiny_settings(), vocabulary_size=NUM_PIECES, tasks=TASKS).eval()
    shared = {n: v for n, v in one.state_dict().items() if n in network.state_dict()}
    network.load_state_dict(shared, strict=False)
    network.text_encoder.blocks.load_state_dict(one.encoder.state_dict())
    network.text_encoder.norm.load_state_dict(one.encoder_norm.state_dict())
    batch = random_batch(MT)
    torch.testing.assert_close(network(batch, None), one(batch, None), rtol=0.0, atol=0.0)


def test_small_embeddings_with_a_large_common_part_are_told_apart_behind_its_entrance():
    """Whisper's have 0.027 in the root mean square, 0.025 of it common; new blocks add about 1.

    What one piece of 12 changes was hardly to be seen in what the encoder of texts put out.
    """
    batch = random_batch(MT)
    other = replace(batch, source=torch.cat([batch.source[:, 1:2], batch.source[:, 1:]], dim=1))

    @torch.no_grad()
    def changed(*, enters: bool) -> float:
        torch.manual_seed(1)
        network = with_text_encoder(embedding_scale=False)
        network.token_embedding.weight.copy_(small)
        as_they_are = ConstantFilm(16).state_dict()
        network.text_encoder.entrance.load_state_dict(
            entrance_for(small) if enters else as_they_are
        )
        found = [network.preprocess(each) for each in (batch, other)]
        outputs = [
            network.run_encoder(f.source_BSD, f.source_lengths, modality="text")[0] for f in found
        ]
        return float((outputs[0] - outputs[1])[:, 0].square().mean().sqrt())

    small = 0.025 * torch.randn(16) + 0.011 * torch.randn(NUM_PIECES, 16)
    assert changed(enters=True) > 5 * changed(enters=False)


def test_an_entrance_gives_embedded_pieces_mean_0_and_variance_1():
    weight = 0.025 * torch.randn(16) + 0.011 * torch.randn(500, 16)
    entrance = ConstantFilm(16)
    entrance.load_state_dict(entrance_for(weight))
    entered = entrance(weight[None])[0].detach()
    torch.testing.assert_close(entered.mean(dim=0), torch.zeros(16), atol=1e-5, rtol=0)
    assert float(entered.square().mean()) == pytest.approx(1, abs=1e-5)
    constant = entrance_for(torch.ones(3, 16))  # all pieces are one: nothing to be told apart
    assert all(bool(value.isfinite().all()) for value in constant.values())


@pytest.mark.parametrize("place", range(9))
def test_each_of_its_places_is_modulated_and_none_of_the_other_encoder(place: int):
    conditioning = {"cue": "explicit", "film_scope": "per_block"}
    settings = tiny_settings(num_text_encoder_layers=LAYERS, conditioning=conditioning)
    network, batch = with_text_encoder(conditioning=conditioning), random_batch(MT)
    embedding = neutral_task_embedding(settings)[None]
    assert embedding.shape[1] == 9 * 2 * 16  # 2 entrances, 2 + 2 blocks, and 1 + 2 of texts
    changed = embedding.clone()
    changed[0, place * 32 : place * 32 + 16] *= 1.5
    acts = not torch.allclose(network(batch, embedding), network(batch, changed))
    assert acts == (place > 2)  # the source's entrance and two blocks are the other encoder's


@pytest.mark.parametrize("scope", ["shared", "per_block"])
def test_what_acts_on_the_decoder_alone_leaves_it_as_it_is(scope: str):
    conditioning = {"cue": "explicit", "film_on": "decoder", "film_scope": scope}
    settings = tiny_settings(num_text_encoder_layers=LAYERS, conditioning=conditioning)
    network = with_text_encoder(conditioning=conditioning)
    batch = random_batch(MT)
    found = network.preprocess(batch)
    one = neutral_task_embedding(settings)[None]
    memories = [
        network.encode(found.source_BSD, found.source_lengths, each, modality="text").memory_BSD
        for each in (one, one + torch.randn_like(one))
    ]
    assert torch.equal(*memories)


@pytest.mark.parametrize("cue", ["none", "explicit", "implicit"])
@pytest.mark.parametrize("acts_by", ["film", "prepend", "join"])
def test_decoding_step_by_step_gives_the_logits_of_the_whole(cue: str, acts_by: str):
    network = with_text_encoder(conditioning={"cue": cue, "acts_by": acts_by})
    batch = random_batch(MT)
    support = network.preprocess(batch)
    embedding = network.embed_task(support, 0)
    whole = network(batch, embedding)
    state = network.start_decoding(batch.source, batch.source_lengths, "text", embedding)
    pieces = batch.target_input
    steps = [network.step(pieces[:, i : i + 1], state) for i in range(pieces.shape[1])]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("task", [MT, ASR], ids=str)
@pytest.mark.parametrize("film_on", ["everything", "decoder"])
@pytest.mark.parametrize("scope", ["shared", "per_block"])
def test_a_plain_model_of_one_task_has_the_one_encoder_that_it_needs(
    scaled: bool, norm: str, task: Task, film_on: str, scope: str
):
    conditioning = {"cue": "explicit", "film_on": film_on, "film_scope": scope}
    model = random_model(
        double=True,
        norm=norm,
        conditioning=conditioning,
        num_text_encoder_layers=LAYERS + 1,
        embedding_scale=scaled,
    )
    folded = fold(model, task.name)
    plain = folded.model
    assert plain.settings.num_text_encoder_layers == 0
    says = "scale and shift of what enters the encoder of texts" in folded.constants
    assert says == (task is MT and not scaled)
    assert not any(TEXT_ENCODER in name for name in plain.transformer.state_dict())
    own_layers = LAYERS + 1 if task is MT else tiny_settings().num_encoder_layers
    assert len(plain.transformer.encoder) == own_layers
    batch = random_batch(task, dtype=torch.float64)
    wanted = model.transformer(batch, model.task_embeddings[task.name].double())
    torch.testing.assert_close(plain.transformer(batch, None), wanted)


def test_a_new_one_is_trained_where_the_rest_is_frozen_and_an_old_one_is_not():
    for new, is_trained in (((TEXT_ENCODER,), True), ((), False)):
        network = with_text_encoder(conditioning={"cue": "explicit"})
        freeze_all_but(network, "task_network", task_indices=[0], new_parts=new)
        of_texts = [p for n, p in network.named_parameters() if n.startswith(TEXT_ENCODER)]
        assert all(parameter.requires_grad == is_trained for parameter in of_texts)
        assert not any(parameter.requires_grad for parameter in network.encoder.parameters())


def test_its_weights_are_reduced_like_the_other_encoders():
    network, batch = with_text_encoder(), random_batch(MT)
    before = network(batch, None)
    prepare_weights(network, "bfloat16")
    assert not torch.equal(network(batch, None), before)
    kinds = {type(m).__name__ for m in network.text_encoder.modules()}
    assert "Bfloat16Linear" in kinds
    assert "Linear" not in kinds
