"""What of a task embedding acts where, beyond the paper's places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from conftest import ASR, NUM_PIECES, TASKS, random_batch, tiny_settings
from taskaware.model.adapter_settings import AdapterSettings
from taskaware.model.create_model import create_model
from taskaware.model.modulation import Bottleneck, Layout
from taskaware.model.parts import create_layout, initial_task_embedding, neutral_task_embedding

if TYPE_CHECKING:
    from taskaware.types import Task

INSIDE = [
    {"film_places": "parts"},
    {"bottleneck": 3},
    {"film_places": "parts", "bottleneck": 3, "film_scope": "per_block"},
    {"film_places": "parts", "bottleneck": 3, "film_on": "decoder"},
]


def settings(**conditioning):
    return tiny_settings(conditioning={"cue": "explicit", **conditioning})


def network(chosen, *, seed: int = 0):
    torch.manual_seed(seed)
    model = create_model(chosen, vocabulary_size=NUM_PIECES, tasks=TASKS).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Bottleneck):
                module.up.weight.normal_()
    return model


def test_the_width_of_a_task_embedding_is_what_the_layout_says():
    layout = Layout(d_model=8, num_pairs=3, num_parts=5, parts_have_film=True, bottleneck=4)
    assert layout.width == 2 * 8 * 3 + 2 * 8 * 5 + 4 * 5
    assert layout.neutral().shape == layout.initial().shape == (layout.width,)


@pytest.mark.parametrize("inside", INSIDE)
def test_a_neutral_task_embedding_leaves_a_trained_model_as_it_is_bit_for_bit(inside):
    chosen = settings(**inside)
    model, batch = network(chosen), random_batch(ASR)
    neutral = neutral_task_embedding(chosen)[None]
    assert torch.equal(model(batch, neutral), model(batch, None))


@pytest.mark.parametrize("inside", INSIDE)
def test_an_untrained_model_is_the_plain_one(inside):
    chosen, batch = settings(**inside), random_batch(ASR)
    model = create_model(chosen, vocabulary_size=NUM_PIECES, tasks=TASKS).eval()
    assert torch.equal(model(batch, initial_task_embedding(chosen)[None]), model(batch, None))


def test_every_number_of_a_task_embedding_acts():
    chosen = settings(film_places="parts", bottleneck=2, film_scope="per_block")
    model, batch = network(chosen).double(), random_batch(ASR)
    batch = type(batch)(**{**vars(batch), "source": batch.source.double()})
    embedding = create_layout(chosen).initial().double()[None].requires_grad_()
    model(batch, embedding).square().sum().backward()
    assert embedding.grad is not None
    # A bottleneck number whose ReLU is shut at every position has no gradient.
    film_width = create_layout(chosen).film_width
    assert bool((embedding.grad[0, :film_width] != 0).all())
    assert bool((embedding.grad[0, film_width:] != 0).any())


def test_film_on_the_decoder_leaves_the_encoder_the_same_for_all_tasks():
    chosen = settings(film_on="decoder", film_places="parts", bottleneck=2, film_scope="per_block")
    assert not chosen.modulates_encoder
    model, batch = network(chosen), random_batch(ASR)
    embedding = initial_task_embedding(chosen)[None]
    other = embedding + 0.3 * torch.randn_like(embedding)
    source, lengths = model.preprocess_source(batch.source, batch.source_lengths, "speech")
    one, two = (model.encode(source, lengths, each).memory_BSD for each in (embedding, other))
    assert torch.equal(one, two)
    assert not torch.allclose(model(batch, embedding), model(batch, other))


@pytest.mark.parametrize("inside", INSIDE)
def test_step_by_step_the_decoder_gives_what_it_gives_of_the_whole_target(inside):
    chosen = settings(**inside)
    model, batch = network(chosen), random_batch(ASR)
    embedding = initial_task_embedding(chosen)[None].expand(batch.num_examples, -1)
    embedding = embedding + 0.2 * torch.randn_like(embedding)
    whole = model(batch, embedding)
    state = model.start_decoding(batch.source, batch.source_lengths, "speech", embedding)
    for position in range(int(batch.target_lengths.min())):
        logits = model.step(batch.target_input[:, position : position + 1], state)
        torch.testing.assert_close(logits[:, 0], whole[:, position], rtol=1e-4, atol=1e-5)


def test_a_joined_task_embedding_is_added_to_every_position_of_the_encoders_output():
    chosen = settings(acts_by="join")
    assert not chosen.modulates_encoder
    model, batch = network(chosen), random_batch(ASR)
    nothing = initial_task_embedding(chosen)[None]
    assert torch.equal(model(batch, nothing), model(batch, None))
    embedding = torch.randn(batch.num_examples, chosen.d_model)
    source, lengths = model.preprocess_source(batch.source, batch.source_lengths, "speech")
    plain, joined = (model.encode(source, lengths, each).memory_BSD for each in (None, embedding))
    torch.testing.assert_close(joined, plain + embedding[:, None])
    cached = model.encode(
        plain, model.encode(source, lengths, None).mask_BS.sum(1), embedding, is_encoded=True
    )
    torch.testing.assert_close(cached.memory_BSD, joined)


def test_what_the_task_network_reads_of_the_encoder_never_depends_on_its_own_answer():
    reads = {"cue": "implicit", "implicit_reads": "encoded"}
    problems = [message for _, message in tiny_settings(conditioning=reads).validate()]
    assert any("`film_on` 'decoder' where `implicit_reads` is 'encoded'" in m for m in problems)
    assert not list(tiny_settings(conditioning={**reads, "film_on": "decoder"}).validate())
    adapted = tiny_settings(
        conditioning={**reads, "film_on": "decoder"},
        adapters=AdapterSettings(method="lora", where="everything"),
    )
    assert [name for name, _ in adapted.validate()] == ["adapters"]


def test_a_refusal_of_what_acts_on_the_encoder_names_what_can_be_had_instead():
    reads = {"cue": "implicit", "implicit_reads": "encoded", "acts_by": "prepend"}
    (problem,) = [message for _, message in tiny_settings(conditioning=reads).validate()]
    assert "`acts_by` 'join', or 'film' with `film_on` 'decoder'" in problem
    assert not list(tiny_settings(conditioning={**reads, "acts_by": "join"}).validate())


def test_a_layer_norm_never_divides_by_less_than_the_deviation():
    found = list(tiny_settings(layer_norm_eps=-1e-6).validate())
    assert [name for name, _ in found] == ["layer_norm_eps"]
    assert not list(tiny_settings(layer_norm_eps=0.0).validate())


@pytest.mark.parametrize("task", TASKS)
def test_an_encoder_that_the_task_network_reads_gives_the_same_as_one_that_runs_later(task: Task):
    conditioning = {"cue": "implicit", "film_on": "decoder"}
    reading = network(tiny_settings(conditioning={**conditioning, "implicit_reads": "encoded"}))
    plain, batch = network(tiny_settings(conditioning=conditioning)), random_batch(task)
    embedding = reading.embed_task(reading.preprocess(batch), 0)
    assert embedding is not None
    assert torch.equal(reading(batch, embedding), plain(batch, embedding))
    assert not torch.equal(embedding, plain.embed_task(plain.preprocess(batch), 0))
