"""While training, padding is left out; what is learnt from is as if it were not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from conftest import ASR, MT, NUM_PIECES, TASKS, random_batch, tiny_settings
from taskaware.model import attention, frontend, stepwise_attention
from taskaware.model.create_model import create_model
from taskaware.model.dropout import draw
from taskaware.model.packing import AS_IT_IS, WithoutPadding, packing_that_pays
from taskaware.training.joint import LossArguments, Support, batch_loss, derangement
from taskaware.training.settings import ObjectiveSettings

MODELS = {
    "vanilla": {"conditioning": {"cue": "none"}},
    "explicit": {"conditioning": {"cue": "explicit"}},
    "implicit": {"conditioning": {"cue": "implicit"}},
    "implicit, a pair a place, in the parts, with bottlenecks": {
        "conditioning": {
            "cue": "implicit",
            "film_scope": "per_block",
            "film_places": "parts",
            "bottleneck": 4,
        }
    },
    "the decoder alone": {"conditioning": {"cue": "explicit", "film_on": "decoder"}},
    "prepended": {"conditioning": {"cue": "implicit", "acts_by": "prepend"}},
    "joined": {"conditioning": {"cue": "implicit", "acts_by": "join"}},
    "norms first": {"norm": "pre"},
    "Conformer": {"encoder_block": "conformer", "conformer_kernel": 3},
    "attention example by example": {"attention_dropout": 1e-14},  # a number in 10 ** 14
    "an encoder of texts": {"num_text_encoder_layers": 1},
}


def loss_and_gradients(model: nn.Module, task) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    batch = random_batch(task, num_examples=5, dtype=torch.float64)
    rows = derangement(5, torch.Generator().manual_seed(1))
    objective = ObjectiveSettings(ctc_weight=0.5, film_penalty=0.1, label_smoothing=0.1)
    arguments = LossArguments(
        task_index=1, gradient_reaches_shared_layers=True, objective=objective
    )
    model.zero_grad(set_to_none=True)
    loss = batch_loss(model, batch, Support(batch, rows), arguments).total
    loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return loss.detach(), gradients


@pytest.mark.parametrize("task", [ASR, MT], ids=["speech", "text"])
@pytest.mark.parametrize("kind", MODELS)
def test_losses_and_gradients_are_those_of_the_padded_batch(kind: str, task, monkeypatch):
    monkeypatch.setattr(frontend, "_PART_FRAMES", 100)  # two examples at a time
    monkeypatch.setattr(attention, "_LEAST_POSITIONS", 1)
    settings = tiny_settings(**MODELS[kind])
    model = create_model(settings, vocabulary_size=NUM_PIECES, tasks=TASKS).double()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)  # also what is 0 at first acts
    wanted_loss, wanted = loss_and_gradients(model.eval(), task)
    loss, gradients = loss_and_gradients(model.train(), task)
    torch.testing.assert_close(loss, wanted_loss, rtol=1e-12, atol=1e-12)
    assert gradients.keys() == wanted.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-9, atol=1e-12, msg=name)


def test_products_see_valid_positions_alone_while_training_and_the_whole_batch_otherwise():
    model = create_model(tiny_settings(), vocabulary_size=NUM_PIECES, tasks=TASKS)
    batch = random_batch(MT)
    seen: list[int] = []

    def note(_module: nn.Module, given: tuple[torch.Tensor]) -> None:
        seen.append(given[0].numel() // given[0].shape[-1])

    model.encoder[0].feed_forward.register_forward_pre_hook(note)
    model.decoder[0].feed_forward.register_forward_pre_hook(note)
    for is_training in (True, False):
        model.train(is_training)(batch, None)
    valid = [int(batch.source_lengths.sum()), int(batch.target_lengths.sum())]
    assert seen == [*valid, batch.source.numel(), batch.target_input.numel()]
    assert valid != seen[2:]


def test_attention_of_an_encoder_computes_no_weight_of_padding_while_training(monkeypatch):
    monkeypatch.setattr(attention, "_LEAST_POSITIONS", 1)
    drawn: list[tuple[int, ...]] = []

    def note(shape: torch.Size, probability: float) -> tuple[torch.Tensor, float]:
        drawn.append(tuple(shape))
        return draw(shape, probability)

    monkeypatch.setattr(stepwise_attention, "draw", note)
    settings = tiny_settings(attention_dropout=0.1)
    model = create_model(settings, vocabulary_size=NUM_PIECES, tasks=TASKS)
    batch = random_batch(MT)
    assert len(set(batch.source_lengths.tolist())) > 1
    model.train()(batch, None)
    each = [(settings.num_heads, length, length) for length in batch.source_lengths.tolist()]
    assert drawn[: len(each)] == each


def test_packing_and_unpacking_keep_every_valid_position():
    lengths = torch.tensor([3, 1, 4])
    packing = WithoutPadding(lengths, 4)
    x = torch.randn(3, 4, 2)
    packed = packing.pack(x)
    assert packed.shape == (8, 1, 2)
    for row, length in enumerate(lengths):
        assert torch.equal(packing.unpack(packed)[row, :length], x[row, :length])
    rows = torch.arange(3.0)[:, None]
    assert packing.spread(rows)[:, 0].tolist() == [0, 0, 0, 1, 2, 2, 2, 2]
    assert packing.spread(rows[:1]).shape == (1, 1)


def test_a_batch_without_padding_is_computed_as_it_is():
    assert packing_that_pays(torch.tensor([4, 4]), 4) is AS_IT_IS
    assert packing_that_pays(torch.tensor([4, 3]), 4) is not AS_IT_IS
