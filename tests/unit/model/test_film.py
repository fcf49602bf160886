"""FiLM: equations 6 and 7."""

from __future__ import annotations

import pytest
import torch

from taskaware.model.film import Film, film, film_penalty


def test_equation_7_scales_and_shifts_every_position_alike():
    x, gamma, beta = torch.randn(2, 3, 4), torch.randn(2, 4), torch.randn(2, 4)
    out = film(x, gamma, beta)
    for b in range(2):
        for s in range(3):
            torch.testing.assert_close(out[b, s], gamma[b] * x[b, s] + beta[b])


def test_equation_6_takes_gamma_from_the_first_half_and_beta_from_the_second():
    task_embedding = torch.arange(8.0)[None]
    modulation = Film.from_task_embedding(task_embedding, 4)
    assert modulation.gamma_BLD.tolist() == [[[0, 1, 2, 3]]]
    assert modulation.beta_BLD.tolist() == [[[4, 5, 6, 7]]]


def test_a_pair_for_each_place_is_used_at_its_place_alone():
    task_embedding = torch.arange(16.0)[None]
    modulation = Film.from_task_embedding(task_embedding, 4)
    x = torch.ones(1, 1, 4)
    assert modulation(x, 1)[0, 0].tolist() == [8 + 12, 9 + 13, 10 + 14, 11 + 15]


def test_the_gradient_of_film_is_exact():
    x = torch.randn(2, 3, 4, dtype=torch.double, requires_grad=True)
    gamma = torch.randn(2, 4, dtype=torch.double, requires_grad=True)
    beta = torch.randn(2, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(film, (x, gamma, beta))
    assert torch.autograd.gradgradcheck(film, (x, gamma, beta))


def test_the_penalty_is_zero_at_the_identity_alone():
    identity = torch.cat([torch.ones(1, 4), torch.zeros(1, 4)], dim=1)
    assert film_penalty(identity, 4) == 0
    assert film_penalty(identity + 0.1, 4) == pytest.approx(0.01)


def test_a_task_embedding_of_a_wrong_width_is_refused():
    with pytest.raises(ValueError, match="multiple of 8"):
        Film.from_task_embedding(torch.zeros(1, 9), 4)


def test_a_modulated_output_keeps_its_type_and_is_rounded_once():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4)
    gamma, beta = torch.tensor([[1.003, 0.5, 2.0, 1.0]]), torch.tensor([[0.001, 0.0, -1.0, 0.0]])
    narrow = x.bfloat16()
    assert film(narrow, gamma, beta).dtype == torch.bfloat16
    expected = (gamma[:, None] * narrow.float() + beta[:, None]).bfloat16()
    assert torch.equal(film(narrow, gamma, beta), expected)
    assert film(x, gamma.double(), beta.double()).dtype == torch.float32
