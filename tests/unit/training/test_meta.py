"""Meta-learning: the inner step by hand, the exact second order, what each step may change."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call

from conftest import ASR, MT, NUM_PIECES, TASKS, random_batch, tiny_settings
from taskaware.model.create_model import create_model
from taskaware.training.joint import LossArguments, Support, batch_loss
from taskaware.training.meta import BatchLoss, adapt, episode_loss
from taskaware.training.settings import ObjectiveSettings

OBJECTIVE = ObjectiveSettings(label_smoothing=0.1, film_penalty=0.0)


def quadratic(theta, phi, data: Tensor) -> Tensor:
    """``(theta - data)^2 / 2 + phi theta``: its gradient is ``theta - data + phi``."""
    weight, cue = theta["w"], phi["p"]
    return ((weight - data) ** 2 / 2 + cue * weight).sum()


def scalars(weight: float, cue: float):
    theta = {"w": torch.tensor([weight], dtype=torch.float64, requires_grad=True)}
    phi = {"p": torch.tensor([cue], dtype=torch.float64, requires_grad=True)}
    return theta, phi


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("inner_steps", [1, 2, 5])
def test_the_inner_steps_on_a_quadratic_are_those_done_by_hand(
    second_order: bool, inner_steps: int
):
    theta, phi = scalars(3.0, 0.5)
    support = torch.tensor([1.0], dtype=torch.float64)
    adapted = adapt(
        quadratic,
        theta,
        phi,
        support,
        inner_learning_rate=0.1,
        inner_steps=inner_steps,
        second_order=second_order,
    )
    # Every step brings theta nearer to data - phi = 0.5 by the factor 0.9.
    assert adapted["w"].item() == pytest.approx(0.5 + 0.9**inner_steps * 2.5, abs=1e-12)


def test_the_exact_outer_gradient_on_a_quadratic_has_the_factor_that_the_first_order_leaves_out():
    support, query = (torch.tensor([v], dtype=torch.float64) for v in (1.0, -2.0))
    gradients = {}
    for second_order in (False, True):
        theta, phi = scalars(3.0, 0.5)
        adapted = adapt(
            quadratic, theta, phi, support, inner_learning_rate=0.1, second_order=second_order
        )
        loss = quadratic(adapted, phi, query)
        gradients[second_order] = [
            g.item() for g in torch.autograd.grad(loss, [theta["w"], phi["p"]])
        ]
    adapted_weight = 3.0 - 0.1 * (3.0 - 1.0 + 0.5)
    at_adapted = adapted_weight + 2.0 + 0.5
    assert gradients[False][0] == pytest.approx(at_adapted, abs=1e-12)
    assert gradients[True][0] == pytest.approx(0.9 * at_adapted, abs=1e-12)
    # phi acts on the query's loss directly, and in the exact gradient through theta' too.
    assert gradients[False][1] == pytest.approx(adapted_weight, abs=1e-12)
    assert gradients[True][1] == pytest.approx(adapted_weight - 0.1 * at_adapted, abs=1e-12)


def module_and_arguments(cue: str = "implicit", dtype: torch.dtype = torch.float64, **changes):
    settings = tiny_settings(
        conditioning={"cue": cue},
        **({"d_model": 4, "d_ff": 6, "num_encoder_layers": 1, "num_decoder_layers": 1} | changes),
    )
    conditioning = replace(settings.conditioning, d_task=4, d_task_ff=6)
    settings = replace(settings, conditioning=conditioning)
    model = create_model(settings, vocabulary_size=NUM_PIECES, tasks=TASKS).to(dtype)
    if cue == "implicit":  # as created it is nearly the identity, and so are its gradients
        torch.nn.init.normal_(model.task_network.output.weight, std=0.3)
    arguments = LossArguments(
        task_index=2, gradient_reaches_shared_layers=True, objective=OBJECTIVE
    )
    return BatchLoss(model), arguments


def text_episode():
    batches = [random_batch(MT, num_examples=2, seed=seed) for seed in (1, 2)]
    return [(batch, Support(batch, torch.tensor([1, 0]))) for batch in batches]


def test_second_order_gradients_of_a_tiny_model_are_exact():
    module, arguments = module_and_arguments()
    support, query = text_episode()
    names = ["model.decoder.0.feed_forward.expand.bias", "model.task_network.hidden.bias"]
    fixed = {name: p.detach() for name, p in module.named_parameters()}

    def outer(*values: Tensor) -> Tensor:
        weights = fixed | dict(zip(names, values, strict=True))
        phi = {n: w for n, w in weights.items() if n.startswith("model.task_network.")}
        theta = {n: w.requires_grad_() for n, w in weights.items() if n not in phi}

        def loss(theta, phi, data):
            asked = replace(arguments, twice_differentiable=True)
            return functional_call(module, {**theta, **phi}, (*data, asked)).total

        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            adapted = adapt(loss, theta, phi, support, inner_learning_rate=0.5, second_order=True)
            return loss(adapted, phi, query)

    values = [fixed[name].clone().requires_grad_() for name in names]
    assert gradcheck(outer, values, atol=1e-7)


def test_the_loss_of_a_tiny_model_has_exact_second_derivatives():
    module, arguments = module_and_arguments()
    batch, looks_at = text_episode()[0]
    fixed = dict(module.named_parameters())
    names = ["model.decoder_norm.weight", "model.task_network.hidden.bias"]

    def loss(*values: Tensor) -> Tensor:
        asked = replace(arguments, twice_differentiable=True)
        weights = fixed | dict(zip(names, values, strict=True))
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return functional_call(module, weights, (batch, looks_at, asked)).total

    values = [fixed[name].detach().clone().requires_grad_() for name in names]
    assert gradgradcheck(loss, values, atol=1e-6)


def gradients(module: BatchLoss, arguments, *, inner_learning_rate: float, second_order: bool):
    module.zero_grad(set_to_none=True)
    support, query = text_episode()
    loss = episode_loss(
        module,
        support,
        query,
        arguments=arguments,
        inner_learning_rate=inner_learning_rate,
        inner_steps=2,
        second_order=second_order,
    )
    loss.total.backward()
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


def test_with_an_inner_step_of_nearly_zero_meta_learning_is_joint_learning_on_the_query():
    module, arguments = module_and_arguments()
    _, (query, looks_at) = text_episode()
    module.zero_grad(set_to_none=True)
    batch_loss(module.model, query, looks_at, arguments).total.backward()
    joint = {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
    for second_order in (False, True):
        meta = gradients(module, arguments, inner_learning_rate=1e-12, second_order=second_order)
        assert meta.keys() == joint.keys()
        for name, gradient in joint.items():
            torch.testing.assert_close(meta[name], gradient, rtol=1e-6, atol=1e-8)


def test_first_and_second_order_differ_where_the_inner_step_is_large():
    module, arguments = module_and_arguments()
    first = gradients(module, arguments, inner_learning_rate=0.5, second_order=False)
    second = gradients(module, arguments, inner_learning_rate=0.5, second_order=True)
    name = "model.token_embedding.weight"
    assert not torch.allclose(first[name], second[name], rtol=1e-2)


@pytest.mark.parametrize("cue", ["explicit", "implicit"])
def test_the_inner_step_leaves_the_task_network_as_it_is_and_the_outer_step_moves_it(cue: str):
    module, arguments = module_and_arguments(cue)
    theta, phi = module.theta_and_phi()
    assert phi
    assert all(".task_network." in name for name in phi)
    assert not any(".task_network." in name for name in theta)
    seen: list[dict[str, Tensor]] = []

    def loss(theta, phi, data):
        seen.append(dict(phi))
        return functional_call(module, {**theta, **phi}, (*data, arguments)).total

    support, query = text_episode()
    before = {name: weight.clone() for name, weight in phi.items()}
    adapted = adapt(loss, theta, phi, support, inner_learning_rate=0.5, inner_steps=2)
    assert adapted.keys() == theta.keys()
    for asked in seen:
        assert all(asked[name] is phi[name] for name in phi)
    assert any(not torch.equal(adapted[name], theta[name]) for name in theta)
    assert all(torch.equal(phi[name], before[name]) for name in phi)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    loss(adapted, phi, query).backward()
    optimiser.step()
    assert any(not torch.equal(phi[name], before[name]) for name in phi)


def test_the_model_itself_is_not_changed_by_an_episode():
    module, arguments = module_and_arguments()
    before = {name: weight.clone() for name, weight in module.state_dict().items()}
    gradients(module, arguments, inner_learning_rate=0.5, second_order=False)
    for name, weight in module.state_dict().items():
        assert torch.equal(weight, before[name])


def test_layers_that_an_episode_does_not_use_have_no_gradient():
    module, arguments = module_and_arguments()
    found = gradients(module, arguments, inner_learning_rate=0.1, second_order=False)
    assert not any("frontends" in name for name in found)


@pytest.mark.parametrize("second_order", [False, True])
def test_an_episode_of_speech_lowers_its_own_loss(second_order: bool):
    module, arguments = module_and_arguments(dtype=torch.float32, d_model=16, d_ff=32)
    arguments = replace(arguments, task_index=0)
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
    batch = random_batch(ASR, seed=1)
    support = batch, Support(batch, torch.tensor([1, 2, 3, 0]))
    query = batch, Support(batch, torch.tensor([3, 0, 1, 2]))
    losses = []
    for _ in range(12):
        optimiser.zero_grad()
        loss = episode_loss(
            module,
            support,
            query,
            arguments=arguments,
            inner_learning_rate=1e-2,
            inner_steps=1,
            second_order=second_order,
        )
        loss.total.backward()
        optimiser.step()
        losses.append(float(loss.total.detach()))
    assert losses[-1] < 0.9 * losses[0]
