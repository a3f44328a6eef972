"""Muon against its definition, for matrices and kernels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from striate.train.muon import Muon, orthogonalize
from striate.train.optimizer import build_optimizer
from striate.train.recipe import Recipe


@pytest.mark.parametrize("shape", [(8, 32), (32, 8), (16, 16)])
def test_orthogonalize_keeps_the_singular_vectors(shape):
    torch.manual_seed(0)
    matrix = torch.randn(*shape, dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    # The quintic of Jordan et al. 2024, applied to the singular values alone.
    values = values / values.norm()
    for _ in range(3):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    torch.testing.assert_close(orthogonalize(matrix), left @ torch.diag(values) @ right, rtol=1e-5, atol=1e-5)


def test_orthogonalize_takes_zero():
    assert torch.equal(orthogonalize(torch.zeros(3, 4)), torch.zeros(3, 4))


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("shape", [(6, 3), (4, 2, 3, 3)])
def test_two_updates_of_a_weight_by_hand(shape, nesterov):
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(*shape))
    optimizer = Muon(
        [{"params": [weight], "weight_decay": 0.1, "orthogonal": True}], lr=0.2, momentum=0.6, nesterov=nesterov
    )
    expected, velocity = weight.detach().clone(), torch.zeros(*shape)
    scale = max(1.0, shape[0] / weight[0].numel()) ** 0.5
    for _ in range(2):
        weight.grad = torch.randn(*shape)
        velocity = 0.6 * velocity + weight.grad
        direction = weight.grad + 0.6 * velocity if nesterov else velocity
        update = scale * orthogonalize(direction.reshape(shape[0], -1)).reshape(shape)
        expected = expected * (1 - 0.2 * 0.1) - 0.2 * update
        optimizer.step()
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-5, atol=1e-6)


def test_normalized_weights_keep_their_length():
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(5, 2, 3, 3))
    groups = [{"params": [weight], "orthogonal": True}]
    optimizer = Muon(groups, lr=0.1, momentum=0.0, nesterov=False, normalize=True)
    before, gradient = weight.detach().clone(), torch.randn(5, 2, 3, 3)
    weight.grad = gradient.clone()
    optimizer.step()
    update = orthogonalize(gradient.reshape(5, -1)).reshape(5, 2, 3, 3)  # 5 rows, 18 columns: no scale
    torch.testing.assert_close(weight.detach(), before * 5**0.5 / before.norm() - 0.1 * update, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_what_is_not_to_be_orthogonal_takes_plain_sgd(shape):
    bias = nn.Parameter(torch.zeros(*shape))
    optimizer = Muon([{"params": [bias]}], lr=0.1, momentum=0.5, nesterov=False)
    for expected in (-0.1, -0.25):  # 0.1 * 1, then 0.1 * (0.5 + 1) more
        bias.grad = torch.ones(*shape)
        optimizer.step()
        torch.testing.assert_close(bias.detach(), torch.full(shape, expected))


def test_layout_of_the_kernels_makes_no_difference():
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 8, 3)
    other = nn.Conv2d(4, 8, 3)
    other.load_state_dict(plain.state_dict())
    other = other.to(memory_format=torch.channels_last)
    images = torch.randn(2, 4, 6, 6)
    for network in (plain, other):
        optimizer = build_optimizer(network, recipe=Recipe(opt="muon"))
        for _ in range(2):
            optimizer.zero_grad()
            network(images).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(plain.weight, other.weight, rtol=1e-4, atol=1e-5)


def test_a_parameter_without_gradient_stays():
    weight = nn.Parameter(torch.ones(2, 2))
    Muon([{"params": [weight]}], lr=0.1, momentum=0.5, nesterov=True).step()
    assert torch.equal(weight.detach(), torch.ones(2, 2))
